"""DHCPv6: RFC 8415, RFC 4704 (the client's name), RFC 5007 (lease queries), RFC 5460; relays' messages are unwrapped.

A client asks a group of all servers, and the answer comes from one of them: what goes to the group is a notice. A whole
datagram of options that end where it ends, with a client's or server's id among them, is what proves it.
"""

from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.casting import kind_of
from exporter.formats.dhcpv6_options import (
    FQDN,
    STATUS,
    VENDOR_CLASS,
    domain,
    options,
    proves,
    unwrap,
    vendor,
)
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAX_PENDING = 64
_TYPES = {
    1: "SOLICIT",
    2: "ADVERTISE",
    3: "REQUEST",
    4: "CONFIRM",
    5: "RENEW",
    6: "REBIND",
    7: "REPLY",
    8: "RELEASE",
    9: "DECLINE",
    10: "RECONFIGURE",
    11: "INFORMATION-REQUEST",
    12: "RELAY-FORW",
    13: "RELAY-REPL",
    14: "LEASEQUERY",
    15: "LEASEQUERY-REPLY",
    16: "LEASEQUERY-DONE",
    17: "LEASEQUERY-DATA",
}
_ANSWERS = {2: "solicit", 7: "reply", 15: "leasequery", 16: "leasequery", 17: "leasequery"}
"""Answers, and the operation that they answer; which one a REPLY does must be remembered."""
_STATUSES = (
    "Success",
    "UnspecFail",
    "NoAddrsAvail",
    "NoBinding",
    "NotOnLink",
    "UseMulticast",
    "NoPrefixAvail",
    "UnknownQueryType",
    "MalformedQuery",
    "NotConfigured",
    "NotAllowed",
    "QueryTerminated",
)


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) < 8 or not 0 < data[0] < 18:
        return NO
    at = 34 if data[0] in (12, 13) else 4
    if data[at : at + 1] not in (b"\0", b"\1"):  # no option's number is larger
        return NO
    return YES if proves(data, at) else NO


class _Dhcpv6(Parser):
    """Remembers which question a REPLY answers."""

    __slots__ = ("_asked", "_ends")

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._asked: dict[bytes, str] = {}

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        data, relays = unwrap(data)
        code = data[0]
        if code not in _TYPES:
            raise ParseError("type")
        found = options(data, 4)
        op = _ANSWERS.get(code, _TYPES[code].lower())
        serial = data[1:4]
        kind = Kind.NOTICE if code == 10 else kind_of(side, self._ends, response=code in _ANSWERS)
        attrs = _attributes(code, found)
        if relays:
            attrs["dhcpv6.relays"] = str(relays)
        if code not in _ANSWERS:
            self._remember(serial, op)
            return [Message(kind=kind, op=op, match=serial, attrs=attrs)]
        status = _status(found.get(STATUS, b""))
        op = self._asked.pop(serial, op)
        failed = status != "Success"
        return [Message(kind=kind, op=op, status=status, error=failed, match=serial, attrs=attrs)]

    def gap(self, side: int) -> bool:
        return True

    def _remember(self, serial: bytes, op: str) -> None:
        if len(self._asked) >= _MAX_PENDING:
            del self._asked[next(iter(self._asked))]
        self._asked[serial] = op


def _attributes(code: int, found: dict[int, bytes]) -> dict[str, str | tuple[str, ...]]:
    attrs: dict[str, str | tuple[str, ...]] = {"dhcpv6.message_type": _TYPES[code]}
    if name := domain(found.get(FQDN, b"")):
        attrs["dhcpv6.hostname"] = name
    if group := vendor(found.get(VENDOR_CLASS, b"")):
        attrs["dhcpv6.vendor_class"] = group
    return attrs


def _status(raw: bytes) -> str:
    """Read a status code (section 21.13); none means success."""
    code = int.from_bytes(raw[:2], "big")
    return _STATUSES[code] if code < len(_STATUSES) else "other"


DISSECTOR = Dissector(
    name="dhcpv6",
    transports=frozenset({"udp"}),
    ports=frozenset({546, 547}),
    operations=frozenset(name.lower() for name in _TYPES.values()),
    statuses=frozenset(_STATUSES),
    probe=_probe,
    parser=_Dhcpv6,
    reads="message type, host name, vendor class, status; inside relays' messages too",
    specification="RFC 8415, 4704, 5007, 5460",
)
