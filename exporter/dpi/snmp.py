"""SNMP v1, v2c and v3 over UDP: RFC 1157, RFC 1901, RFC 3416, RFC 3412, RFC 3414 (reports). Never the community.

In v3 an encrypted PDU is known by its header only: whoever wants to be told of errors asks, the other side answers.
A report that tells an engine's id or clock belongs to the handshake of RFC 3414 section 4 and is no error.
"""

from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.formats.snmp_messages import PDUS, REPORT, RESPONSE, SnmpMessage, begins, parse
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAX_PENDING = 256
_MAX_OID = 256
_REQUESTS = frozenset({0xA0, 0xA1, 0xA3, 0xA5, 0xA6})
_STATUSES = (
    "noError",
    "tooBig",
    "noSuchName",
    "badValue",
    "readOnly",
    "genErr",
    "noAccess",
    "wrongType",
    "wrongLength",
    "wrongEncoding",
    "wrongValue",
    "noCreation",
    "inconsistentValue",
    "resourceUnavailable",
    "commitFailed",
    "undoFailed",
    "authorizationError",
    "notWritable",
    "inconsistentName",
)
_REPORTS = {
    "1": "unsupportedSecLevel",
    "2": "notInTimeWindow",
    "3": "unknownUserName",
    "4": "unknownEngineID",
    "5": "wrongDigest",
    "6": "decryptionError",
}
"""The counters that a report names: 1.3.6.1.6.3.15.1.1.N.0 (RFC 3414 section 5)."""
_REPORT = "1.3.6.1.6.3.15.1.1."
_HANDSHAKE = frozenset({"notInTimeWindow", "unknownEngineID"})


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return YES if begins(data) else NO


class _Snmp(Parser):
    """The requests that wait for an answer, by their id: an answer does not say what it answers."""

    __slots__ = ("_asked",)

    def __init__(self, ends: Ends) -> None:
        self._asked: dict[int, str] = {}

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found = parse(data)
        pdu = PDUS.get(found.pdu, "encrypted")
        attrs: dict[str, str | tuple[str, ...]] = {"snmp.version": found.version, "snmp.pdu": pdu}
        if 0 < len(found.oid) <= _MAX_OID:
            attrs["snmp.oid"] = found.oid
        kind, op, status, failed = Kind.NOTICE, pdu, "", False
        if found.pdu in (RESPONSE, REPORT) or (not found.pdu and found.serial in self._asked):
            kind = Kind.RESPONSE
            op = self._asked.pop(found.serial, pdu)
            status, failed = _outcome(found)
        elif found.pdu in _REQUESTS or (not found.pdu and found.reportable):
            kind = Kind.REQUEST
            self._remember(found.serial, pdu)
        return [
            Message(
                kind=kind,
                op=op,
                status=status,
                error=failed,
                match=None if kind is Kind.NOTICE else found.serial,
                version=found.version,
                attrs=attrs,
            )
        ]

    def gap(self, side: int) -> bool:
        return True

    def idle(self) -> bool:
        return not self._asked

    def _remember(self, serial: int, op: str) -> None:
        if len(self._asked) >= _MAX_PENDING:
            del self._asked[next(iter(self._asked))]
        self._asked[serial] = op


def _outcome(found: SnmpMessage) -> tuple[str, bool]:
    """Give an answer's status, and whether it is an error. What is encrypted tells nothing."""
    if not found.pdu:
        return "", False
    if found.pdu == REPORT:
        number = found.oid.removeprefix(_REPORT).removesuffix(".0")
        status = _REPORTS.get(number, "other")
        return status, status not in _HANDSHAKE
    status = _STATUSES[found.status] if 0 <= found.status < len(_STATUSES) else "other"
    return status, found.status != 0


DISSECTOR = Dissector(
    name="snmp",
    transports=frozenset({"udp"}),
    ports=frozenset({161, 162}),
    operations=frozenset(PDUS.values()) | {"encrypted"},
    statuses=frozenset(_STATUSES) | frozenset(_REPORTS.values()),
    probe=_probe,
    parser=_Snmp,
    reads="version, PDU type, error status, first variable's name; v3: header, reports; never the community",
    specification="RFC 1157, 1901, 3412, 3414, 3416",
)
