"""Transports: ports, flags, the payload cut at the IP length, and the packet that an ICMP error speaks of.

A transport without ports is counted under its name, and its `payload` is the whole message, header included: a
dissector has no other way to see an echo's id or an ARP's sender. A header that cannot be trusted (cut by the capture,
or impossible) leaves flags 0 and payload empty: the packet is counted under its ports, and nothing else follows from
it. Without ports there is no connection to count it under, so that is `UndecodableError("truncated")`.
"""

from collections.abc import Callable
from struct import Struct, error

from exporter.decode.ip import ipv4, ipv6, walk
from exporter.errors import UndecodableError
from exporter.model import SYN, Packet

__all__ = ["mss", "name", "ports", "read"]

_TCP = Struct(">HHIIBBH").unpack_from
_UDP = Struct(">HHH").unpack_from
_PORTS = Struct(">HH").unpack_from

TCP, UDP, SCTP, ICMP, IGMP, ICMPV6 = 6, 17, 132, 1, 2, 58

_NAMES = {
    ICMP: "icmp",
    IGMP: "igmp",
    4: "ipip",
    TCP: "tcp",
    UDP: "udp",
    41: "ipip",
    47: "gre",
    50: "esp",
    51: "ah",
    ICMPV6: "icmpv6",
    89: "ospf",
    103: "pim",
    112: "vrrp",
    SCTP: "sctp",
}
_WITH_PORTS = frozenset((TCP, UDP, SCTP))
_ERRORS = frozenset((3, 4, 5, 11, 12))
"""ICMP messages that quote a packet (RFC 792); ICMPv6's are those below 128, 1 to 4 defined (RFC 4443)."""


def name(proto: int) -> str:
    """Name an IP protocol."""
    return _NAMES.get(proto) or f"ip-proto-{proto}"


def read(packet: Packet, proto: int, data: bytes, start: int, stop: int) -> None:
    """Read the transport `proto` at `data[start:stop]`; `stop` is its true end, behind `data`'s if that was cut."""
    reader = _READERS.get(proto)
    if reader is None:
        packet.transport = name(proto)
        _whole(packet, data, start, stop)
    else:
        reader(packet, data, start, stop)


def ports(packet: Packet, proto: int, data: bytes, start: int) -> None:
    """Read no more than a first fragment tells for sure: the ports. The rest comes with the whole datagram."""
    packet.transport = name(proto)
    if proto in _WITH_PORTS:
        try:
            packet.sport, packet.dport = _PORTS(data, start)
        except error:
            raise UndecodableError("truncated") from None


def _tcp(packet: Packet, data: bytes, start: int, stop: int) -> None:
    """RFC 9293 section 3.1."""
    packet.transport = "tcp"
    if stop - start < 20 or len(data) - start < 20:
        ports(packet, TCP, data[:stop], start)
        return
    packet.sport, packet.dport, packet.seq, packet.ack, offset, flags, packet.window = _TCP(data, start)
    body = start + (offset >> 2 & 60)
    if offset < 0x50 or body > stop:
        packet.seq = packet.ack = packet.window = 0
        return
    packet.flags = flags
    packet.length = stop - body
    packet.payload = data[body:stop]
    if flags & SYN and offset > 0x50:
        packet.extra = mss(data, start + 20, min(body, len(data)))


def mss(data: bytes, at: int, end: int) -> int:
    """Find the maximum segment size among the options (RFC 9293 section 3.2); 0 without one."""
    while at + 4 <= end:
        kind = data[at]
        if kind == 2 and data[at + 1] == 4:
            return data[at + 2] << 8 | data[at + 3]
        if kind == 0:
            break
        at += 1 if kind == 1 else max(data[at + 1], 2)
    return 0


def _udp(packet: Packet, data: bytes, start: int, stop: int) -> None:
    """RFC 768. A length of 0 stands for the rest (RFC 2675 section 4, and segmentation offload)."""
    packet.transport = "udp"
    try:
        packet.sport, packet.dport, length = _UDP(data, start)
    except error:
        ports(packet, UDP, data[:stop], start)
        return
    if stop - start < 8:
        if stop - start < 4:
            raise UndecodableError("truncated")
        return
    if 8 <= length < stop - start:
        stop = start + length
    elif 0 < length < 8:
        return
    packet.length = stop - start - 8
    packet.payload = data[start + 8 : stop]


def _sctp(packet: Packet, data: bytes, start: int, stop: int) -> None:
    """RFC 9260 section 3.1: the payload are the chunks."""
    ports(packet, SCTP, data[:stop], start)
    if stop - start >= 12:
        packet.length = stop - start - 12
        packet.payload = data[start + 12 : stop]


def _icmp(packet: Packet, data: bytes, start: int, stop: int) -> None:
    """RFC 792."""
    packet.transport = "icmp"
    _whole(packet, data, start, stop)
    payload = packet.payload
    if len(payload) >= 2:
        packet.extra = payload[0] << 8 | payload[1]
        if payload[0] in _ERRORS:
            packet.quoted = _quoted(payload)


def _icmpv6(packet: Packet, data: bytes, start: int, stop: int) -> None:
    """RFC 4443."""
    packet.transport = "icmpv6"
    _whole(packet, data, start, stop)
    payload = packet.payload
    if len(payload) >= 2:
        packet.extra = payload[0] << 8 | payload[1]
        if 0 < payload[0] < 5:
            packet.quoted = _quoted(payload)


def _igmp(packet: Packet, data: bytes, start: int, stop: int) -> None:
    """RFC 9776; every version has its type first."""
    packet.transport = "igmp"
    _whole(packet, data, start, stop)
    packet.extra = packet.payload[0] if packet.payload else 0


def _whole(packet: Packet, data: bytes, start: int, stop: int) -> None:
    packet.length = stop - start
    packet.payload = data[start:stop]


def _quoted(data: bytes) -> Packet | None:
    """Read the packet behind an ICMP error's 8 bytes. It is cut by nature (RFC 792: header and 8 bytes)."""
    if len(data) < 28:
        return None
    try:
        packet, proto, start, _, part = (ipv6 if data[8] >> 4 == 6 else ipv4)(data, 8, len(data))
        if part is not None:
            if part.offset:
                return None
            proto, start, place = walk(data, proto, start, len(data))
            if place is not None:
                return None
        ports(packet, proto, data, start)
    except UndecodableError:
        return None
    return packet


_READERS: dict[int, Callable[[Packet, bytes, int, int], None]] = {
    TCP: _tcp,
    UDP: _udp,
    SCTP: _sctp,
    ICMP: _icmp,
    ICMPV6: _icmpv6,
    IGMP: _igmp,
}
