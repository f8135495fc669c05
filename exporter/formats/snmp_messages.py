"""SNMP's messages: v1 and v2c (RFC 1157, RFC 1901, RFC 3416), v3 (RFC 3412). The community is passed over."""

from typing import NamedTuple

from exporter.errors import ParseError
from exporter.formats.ber import INTEGER, OCTET_STRING, OID, SEQUENCE, expect, integer, object_id, read
from exporter.wire import Reader

__all__ = ["PDUS", "REPORT", "RESPONSE", "SnmpMessage", "begins", "parse"]

PDUS = {
    0xA0: "get-request",
    0xA1: "get-next-request",
    0xA2: "get-response",
    0xA3: "set-request",
    0xA4: "trap",
    0xA5: "get-bulk-request",
    0xA6: "inform-request",
    0xA7: "snmpV2-trap",
    0xA8: "report",
}
RESPONSE, TRAP, REPORT = 0xA2, 0xA4, 0xA8
_VERSIONS = {0: "v1", 1: "v2c", 3: "v3"}
_MAX_COMMUNITY = 255


class SnmpMessage(NamedTuple):
    """A message. `pdu` is the PDU's tag, 0 where it is encrypted; `oid` the first variable's name."""

    version: str
    pdu: int
    serial: int
    """The request id; in v3 the message id, which is in the clear always."""
    status: int
    """The error status of a response."""
    oid: str
    reportable: bool
    """v3: the sender wants to be told of errors: it asks."""


def begins(data: bytes) -> bool:
    """Tell, as cheaply as can be, whether a datagram is a message: a known version, and lengths that meet its end."""
    if len(data) < 20 or data[0] != SEQUENCE:
        return False
    at, end = _extent(data, 1)
    if end != len(data) or data[at : at + 2] != b"\x02\x01" or data[at + 2] not in _VERSIONS:
        return False
    version = data[at + 2]
    at += 3
    if version == 3:
        if data[at] != SEQUENCE:
            return False
        at, end = _extent(data, at + 1)
        return end < len(data) and data[at] == INTEGER and data[end] == OCTET_STRING
    if data[at] != OCTET_STRING:
        return False
    _, at = _extent(data, at + 1)
    return at + 2 < len(data) and data[at] in PDUS and _extent(data, at + 1)[1] == len(data)


def _extent(data: bytes, at: int) -> tuple[int, int]:
    """Read a length; give where the contents begin and end."""
    first = data[at]
    if first < 0x80:
        return at + 1, at + 1 + first
    if not 0x80 < first <= 0x84:
        return 0, 0
    start = at + 1 + (first & 0x7F)
    return start, start + int.from_bytes(data[at + 1 : start], "big")


def parse(data: bytes) -> SnmpMessage:
    """Read a datagram. `ParseError`: it is none of SNMP, or damaged."""
    outer = Reader(data)
    message = expect(outer, SEQUENCE)
    version = _VERSIONS.get(integer(expect(message, INTEGER)))
    if version is None or len(outer):
        raise ParseError("version")
    if version == "v3":
        return _version3(message)
    if len(expect(message, OCTET_STRING)) > _MAX_COMMUNITY:
        raise ParseError("community")
    tag, body = read(message)
    if len(message):
        raise ParseError("length")
    serial, status, oid = _pdu(tag, body)
    return SnmpMessage(version, tag, serial, status, oid, reportable=False)


def _version3(message: Reader) -> SnmpMessage:
    """Read the header and, where it is not encrypted, the scoped PDU (RFC 3412 section 6)."""
    header = expect(message, SEQUENCE)
    serial = integer(expect(header, INTEGER))
    integer(expect(header, INTEGER))  # the largest message
    flags = expect(header, OCTET_STRING).u8()
    integer(expect(header, INTEGER))  # the security model
    expect(message, OCTET_STRING)
    tag, body = read(message)
    reportable = bool(flags & 4)
    if flags & 2:
        if tag != OCTET_STRING:
            raise ParseError("encrypted")
        return SnmpMessage("v3", 0, serial, 0, "", reportable)
    if tag != SEQUENCE:
        raise ParseError("scoped")
    expect(body, OCTET_STRING)
    expect(body, OCTET_STRING)
    tag, body = read(body)
    _, status, oid = _pdu(tag, body)
    return SnmpMessage("v3", tag, serial, status, oid, reportable)


def _pdu(tag: int, body: Reader) -> tuple[int, int, str]:
    """Read a PDU: its id, its error status, the first variable (of a v1 trap: the enterprise)."""
    if tag not in PDUS:
        raise ParseError("pdu")
    if tag == TRAP:
        return 0, 0, object_id(expect(body, OID))
    serial = integer(expect(body, INTEGER))
    status = integer(expect(body, INTEGER))
    integer(expect(body, INTEGER))
    variables = expect(body, SEQUENCE)
    if not len(variables):
        return serial, status, ""
    return serial, status, object_id(expect(expect(variables, SEQUENCE), OID))
