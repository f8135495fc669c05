"""NTP 1 to 4: RFC 5905, RFC 4330 (SNTP), RFC 7822, RFC 9327 (control), and ntpd's private mode 7.

Clients ask and servers answer; symmetric and broadcast packets are notices. A kiss-o'-death (stratum 0, RFC 5905
section 7.4) is an error. NTP's clock says nothing about ours: the latency is from the capture's time stamps.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.ntp_packets import MODES, Control, Private, TimePacket, control, private, time_packet
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_PORT = 123
_KISSES = frozenset({"ACST", "AUTH", "AUTO", "BCST", "CRYP", "DENY", "DROP", "RSTR", "INIT", "MCST", "NKEY"})
_MORE_KISSES = frozenset({"NTSN", "RATE", "RMOT", "STEP"})
_CODES = _KISSES | _MORE_KISSES
_FAULTS = ("ok", "authentication", "format", "opcode", "association", "variable", "value", "prohibited")
"""RFC 9327 section 2.1, error codes in the status word; 0 is none of them."""


def _usual(ends: Ends) -> bool:
    return _PORT in (ends.port0, ends.port1)


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) < 8 or not data[0] & 7 or not 8 <= data[0] & 0x3F <= 39:
        return NO
    mode = data[0] & 7
    if mode < 6:
        return YES if time_packet(data, usual=_usual(ends)) else NO
    found = (control if mode == 6 else private)(data, usual=_usual(ends))
    return YES if found else NO


class _Ntp(Parser):
    """Keeps nothing: an answer carries its question's time or number."""

    __slots__ = ()

    def __init__(self, ends: Ends) -> None:
        pass

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if len(data) < 8:
            raise ParseError("short")
        mode = data[0] & 7
        if mode == 6:
            if found := control(data, usual=True):
                return [_control(found)]
        elif mode == 7:
            if asked := private(data, usual=True):
                return [_private(asked)]
        elif packet := time_packet(data, usual=True):
            return [_time(packet)]
        raise ParseError("packet")

    def gap(self, side: int) -> bool:
        return True

    def idle(self) -> bool:
        return True


def _attrs(flags: int) -> dict[str, str | tuple[str, ...]]:
    return {"ntp.version": str(flags >> 3 & 7), "ntp.mode": MODES[flags & 7]}


def _time(packet: TimePacket) -> Message:
    attrs = _attrs(packet.flags)
    attrs["ntp.stratum"] = str(packet.stratum)
    version = str(packet.version)
    mode = packet.mode
    if mode == 3:
        return Message(kind=Kind.REQUEST, op="client", version=version, match=packet.sent, attrs=attrs)
    kind, op = (Kind.RESPONSE, "client") if mode == 4 else (Kind.NOTICE, MODES[mode])
    status, failed = "ok", False
    if packet.reference:
        attrs["ntp.reference_id"] = _reference(packet)
    if packet.stratum == 0 and mode == 4:
        status, failed = clean(packet.reference.to_bytes(4, "big").rstrip(b"\0")), True
        status = status if status in _CODES else "other"
    elif packet.flags >> 6 == 3 or packet.stratum in (0, 16):
        status = "unsynchronized"
    return Message(
        kind=kind, op=op, status=status, error=failed, version=version, match=packet.origin, attrs=attrs
    )


def _reference(packet: TimePacket) -> str:
    """Name the server's own source: four letters up to stratum 1, else an IPv4 address (or a hash of an IPv6 one)."""
    if packet.stratum > 1:
        return str(IPv4Address(packet.reference))
    return clean(packet.reference.to_bytes(4, "big").rstrip(b"\0"))


def _control(packet: Control) -> Message:
    attrs, version = _attrs(packet.flags), str(packet.flags >> 3 & 7)
    match = ("control", packet.serial)
    if not packet.bits & 0x80:
        return Message(kind=Kind.REQUEST, op="control", version=version, match=match, attrs=attrs)
    status, failed = "ok", bool(packet.bits & 0x40)
    if failed:
        code = packet.status >> 8
        status = _FAULTS[code] if 0 < code < len(_FAULTS) else "other"
    return Message(
        kind=Kind.RESPONSE,
        op="control",
        status=status,
        error=failed,
        version=version,
        match=match,
        attrs=attrs,
    )


def _private(packet: Private) -> Message:
    attrs, version = _attrs(packet.flags), str(packet.flags >> 3 & 7)
    match = ("private", packet.code)
    if not packet.flags & 0x80:
        return Message(kind=Kind.REQUEST, op="private", version=version, match=match, attrs=attrs)
    failed = packet.items >> 12 not in (0, 5)  # 5: nothing there to be told
    status = "other" if failed else "ok"
    return Message(
        kind=Kind.RESPONSE,
        op="private",
        status=status,
        error=failed,
        version=version,
        match=match,
        attrs=attrs,
    )


DISSECTOR = Dissector(
    name="ntp",
    transports=frozenset({"udp"}),
    ports=frozenset({_PORT}),
    operations=frozenset(MODES) - {"reserved", "server"},
    statuses=_CODES | frozenset(_FAULTS) | {"unsynchronized"},
    probe=_probe,
    parser=_Ntp,
    reads="version, mode, stratum, reference; kiss-o'-death, control and private messages",
    specification="RFC 5905, 4330, 7822, 9327",
)
