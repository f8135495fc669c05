"""DHCP for IPv4: RFC 2131, RFC 2132, RFC 3396 (long options), RFC 4388 and 6926 (lease queries); BOOTP (RFC 951).

A client without an address asks everybody, so that the answer is a connection of its own: what goes to 255.255.255.255
is a notice. Questions and answers are told apart by BOOTP's operation, and belong together by their transaction id.
BOOTP without the cookie of RFC 1497 is known on its own ports only, by an Ethernet address and the zeros behind it.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError, ShortError
from exporter.formats.casting import kind_of
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_COOKIE = b"\x63\x82\x53\x63"
_PAD, _HOSTNAME, _REQUESTED, _OVERLOAD, _TYPE, _VENDOR, _NAME, _END = 0, 12, 50, 52, 53, 60, 81, 255
_MAX_TEXT = 255
_PORTS = frozenset({67, 68})

_TYPES = {
    1: ("DISCOVER", "discover", ""),
    2: ("OFFER", "discover", "offer"),
    3: ("REQUEST", "request", ""),
    4: ("DECLINE", "decline", ""),
    5: ("ACK", "request", "ack"),
    6: ("NAK", "request", "nak"),
    7: ("RELEASE", "release", ""),
    8: ("INFORM", "inform", ""),
    9: ("FORCERENEW", "forcerenew", ""),
    10: ("LEASEQUERY", "leasequery", ""),
    11: ("LEASEUNASSIGNED", "leasequery", "unassigned"),
    12: ("LEASEUNKNOWN", "leasequery", "unknown"),
    13: ("LEASEACTIVE", "leasequery", "active"),
    14: ("BULKLEASEQUERY", "bulkleasequery", ""),
    15: ("LEASEQUERYDONE", "bulkleasequery", "done"),
    16: ("ACTIVELEASEQUERY", "activeleasequery", ""),
    17: ("LEASEQUERYSTATUS", "leasequery", "status"),
    18: ("TLS", "tls", ""),
}
"""IANA's registry of message types: the name, the operation, and the status where it is an answer."""
_UNANSWERED = frozenset({4, 7, 9})
"""DECLINE, RELEASE and FORCERENEW are told, not asked."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) < 240 or data[0] not in (1, 2) or data[2] > 16:
        return NO
    if data[236:240] == _COOKIE:
        return YES
    usual = ends.port0 in _PORTS and ends.port1 in _PORTS
    return YES if usual and data[1:3] == b"\x01\x06" and data[34:44] == bytes(10) else NO


class _Dhcp(Parser):
    """Remembers what its client asked for last: an ACK does not say."""

    __slots__ = ("_asked", "_ends")

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._asked = (b"", "")

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if len(data) < 240:
            raise ShortError
        if _probe(side, data, self._ends) != YES:
            raise ParseError("header")
        found = _options(data)
        code = int.from_bytes(found.get(_TYPE, b"")[:1], "big")
        name, op, status = _TYPES.get(code, ("", "bootp" if not code else "other", ""))
        serial = data[4:8]
        response = data[0] == 2
        if not response:
            self._asked = (serial, op)
        elif code in (5, 6) and self._asked[0] == serial:  # an INFORM's answer is an ACK too
            op = self._asked[1]
        kind = Kind.NOTICE if code in _UNANSWERED else kind_of(side, self._ends, response=response)
        attrs = _attributes(data, found)
        if name:
            attrs["dhcp.message_type"] = name
        message = Message(kind=kind, op=op, status=status, error=status == "nak", match=serial, attrs=attrs)
        return [message]

    def gap(self, side: int) -> bool:
        return True


def _options(data: bytes) -> dict[int, bytes]:
    """Read the options; what is repeated is one long option (RFC 3396). Those that do not fit end the reading."""
    found: dict[int, bytes] = {}
    if data[236:240] != _COOKIE:
        return found
    _walk(data, 240, len(data), found)
    overload = found.get(_OVERLOAD, b"\0")[:1]
    if overload in (b"\x01", b"\x03"):
        _walk(data, 108, 236, found)  # the field `file`
    if overload in (b"\x02", b"\x03"):
        _walk(data, 44, 108, found)  # the field `sname`
    return found


def _walk(data: bytes, at: int, end: int, found: dict[int, bytes]) -> None:
    while at < end and (code := data[at]) != _END:
        if code == _PAD:
            at += 1
            continue
        if at + 2 > end:
            return
        start = at + 2
        at = start + data[at + 1]
        if at > end:
            return
        value = data[start:at]
        found[code] = found[code] + value if code in found else value


def _attributes(data: bytes, found: dict[int, bytes]) -> dict[str, str | tuple[str, ...]]:
    attrs: dict[str, str | tuple[str, ...]] = {}
    if data[1] == 1 and data[2] == 6:
        attrs["dhcp.client_mac"] = data[28:34].hex(":")
    if name := found.get(_HOSTNAME, b"").rstrip(b"\0") or _qualified(found.get(_NAME, b"")):
        attrs["dhcp.hostname"] = clean(name, _MAX_TEXT)
    if vendor := found.get(_VENDOR, b"").rstrip(b"\0"):
        attrs["dhcp.vendor_class"] = clean(vendor, _MAX_TEXT)
    if len(wanted := found.get(_REQUESTED, b"")) == 4:
        attrs["dhcp.requested_address"] = str(IPv4Address(wanted))
    if (given := data[16:20]) != b"\0\0\0\0":
        attrs["dhcp.assigned_address"] = str(IPv4Address(given))
    return attrs


def _qualified(raw: bytes) -> bytes:
    """Read the client's full name (RFC 4702 section 2): flags, two result codes, text or DNS labels."""
    if len(raw) < 4:
        return b""
    name = raw[3:]
    if not raw[0] & 0x04:
        return name.rstrip(b"\0")
    labels, at = [], 0
    while at < len(name) and 0 < (size := name[at]) < 64:
        labels.append(name[at + 1 : at + 1 + size])
        at += 1 + size
    return b".".join(labels)


DISSECTOR = Dissector(
    name="dhcp",
    transports=frozenset({"udp"}),
    ports=frozenset({67, 68, 4011}),
    operations=frozenset(op for _, op, _ in _TYPES.values()) | {"bootp"},
    statuses=frozenset(status for _, _, status in _TYPES.values()) - {""},
    probe=_probe,
    parser=_Dhcp,
    reads="message type, host name, vendor class, hardware address, requested and assigned address",
    specification="RFC 2131, 2132, 3396, 4388, 4702, 6926, 951",
)
