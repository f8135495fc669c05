"""IPv4 and IPv6: addresses, IP bytes, where the transport begins, and whether this is a fragment.

Bytes are IP bytes (DESIGN section 5): IPv4's total length, IPv6's payload length + 40, and where segmentation offload
left a zero there, what the layer below had room for. Positions are absolute; `stop` is the packet's true end, which
lies behind the captured bytes where the capture was cut. Checksums are not looked at: offload leaves them unset.
"""

from struct import Struct, error
from typing import NamedTuple

from exporter.errors import UndecodableError
from exporter.model import Packet

__all__ = [
    "AH",
    "ARP",
    "FRAGMENT",
    "IPV4",
    "IPV6",
    "MPLS",
    "TRANSPARENT_ETHERNET",
    "Key",
    "Parsed",
    "Part",
    "arp",
    "ipv4",
    "ipv6",
    "walk",
]

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
MPLS, TRANSPARENT_ETHERNET = 0x8847, 0x6558
"""EtherTypes (IEEE 802 numbers at IANA)."""

AH, FRAGMENT, NO_NEXT_HEADER, MOBILITY = 51, 44, 59, 135
JUMBO_MAX = 1 << 20
"""Largest packet that is believed: twice what Linux makes (gso_max_size). A claim of 4 GB would wreck the counters."""
HEADERS_MAX = 16
"""Extension headers that are walked; real packets have up to five, and each costs half a microsecond."""

_V4 = Struct(">BxHHHxB2x4s4s").unpack_from
_V6 = Struct(">BxxxHBx16s16s").unpack_from
_FRAGMENT = Struct(">BxHI").unpack_from
_JUMBO = Struct(">BBI").unpack_from
_ARP = Struct(">HHBBH").unpack_from

# RFC 8200 section 4 and IANA: hop-by-hop, routing, AH (RFC 4302), destination options, mobility (RFC 6275),
# HIP (RFC 7401), shim6 (RFC 5533). All but AH count in units of 8 bytes without the first.
_EXTENSIONS = frozenset((0, 43, FRAGMENT, AH, 60, MOBILITY, 139, 140))
_FINAL = frozenset((MOBILITY, 139))
"""Headers that are messages of their own when nothing follows them."""


Key = tuple[bytes, bytes, int, int]
"""Source, destination, protocol, identification (RFC 791); for IPv6 44 stands for the protocol, because only the first
fragment's next header counts (RFC 8200 section 4.5)."""


class Part(NamedTuple):
    """A fragment's place in its datagram. Not made for whole packets."""

    key: Key
    proto: int
    offset: int
    more: bool
    body: bytes
    """What was captured of it."""
    length: int
    """Its true length."""


Parsed = tuple[Packet, int, int, int, Part | None]
"""The packet, its transport protocol, where the transport begins, the packet's true end, its place if a fragment."""


def ipv4(data: bytes, pos: int, room: int) -> Parsed:
    """Read an IPv4 header (RFC 791 section 3.1) at `pos`; the layer below truly ends at `room`."""
    try:
        first, total, ident, offset, proto, src, dst = _V4(data, pos)
    except error:
        raise UndecodableError("truncated") from None
    if first == 0x45:
        start = pos + 20
    elif first >> 4 == 4 and first & 15 > 5:
        start = pos + 4 * (first & 15)
    else:
        raise UndecodableError("malformed")
    stop = pos + total if total else room
    if stop < start:
        raise UndecodableError("malformed")
    packet = Packet("", src, dst, stop - pos)
    if offset & 0x3FFF:
        body = data[start : min(stop, len(data))]
        key = (src, dst, proto, ident)
        part = Part(key, proto, (offset & 0x1FFF) * 8, offset & 0x2000 != 0, body, stop - start)
        return packet, proto, start, stop, part
    if proto == AH:
        proto, start = _skip(data, AH, start, stop)
    return packet, proto, start, stop, None


def ipv6(data: bytes, pos: int, room: int) -> Parsed:
    """Read an IPv6 header and its extension headers (RFC 8200 sections 3 and 4)."""
    try:
        first, length, proto, src, dst = _V6(data, pos)
    except error:
        raise UndecodableError("truncated") from None
    if first >> 4 != 6:
        raise UndecodableError("malformed")
    start = pos + 40
    if length or proto == NO_NEXT_HEADER:
        stop = start + length
    else:
        stop = start + _jumbo(data, start) if proto == 0 else room
        if stop <= start:
            stop = room
    if not start <= stop <= max(room, pos + JUMBO_MAX):
        raise UndecodableError("malformed")
    packet = Packet("", src, dst, stop - pos)
    if proto not in _EXTENSIONS:
        return packet, proto, start, stop, None
    proto, start, place = walk(data, proto, start, stop)
    if place is None:
        return packet, proto, start, stop, None
    offset, ident = place
    body = data[start : min(stop, len(data))]
    part = Part((src, dst, FRAGMENT, ident), proto, offset & 0xFFF8, offset & 1 != 0, body, stop - start)
    return packet, proto, start, stop, part


def walk(data: bytes, proto: int, start: int, stop: int) -> tuple[int, int, tuple[int, int] | None]:
    """Pass over extension headers: the protocol behind them, its place, and the fragment header's offset and id.

    The walk ends at a fragment header, unless it is an atomic one (RFC 6946), which means nothing.
    """
    for _ in range(HEADERS_MAX):
        if proto not in _EXTENSIONS:
            return proto, start, None
        if proto == FRAGMENT:
            try:
                after, offset, ident = _FRAGMENT(data, start)
            except error:
                raise UndecodableError("truncated") from None
            start += 8
            if start > stop:
                raise UndecodableError("malformed")
            if offset & 0xFFF9:
                return after, start, (offset, ident)
        else:
            after, behind = _skip(data, proto, start, stop)
            if after == NO_NEXT_HEADER and proto in _FINAL:
                return proto, start, None
            start = behind
        proto = after
    raise UndecodableError("malformed")


def _skip(data: bytes, proto: int, start: int, stop: int) -> tuple[int, int]:
    """Pass over one extension header; it may not reach behind the packet."""
    if start + 2 > len(data):
        raise UndecodableError("truncated" if stop >= start + 2 else "malformed")
    size = data[start + 1]
    start += 4 * (size + 2) if proto == AH else 8 * (size + 1)
    if start > stop:
        raise UndecodableError("malformed")
    return data[start - (4 * (size + 2) if proto == AH else 8 * (size + 1))], start


def _jumbo(data: bytes, start: int) -> int:
    """Find the jumbo payload option (RFC 2675 section 2) among the hop-by-hop options; 0 without one."""
    end = min(start + 8 * (data[start + 1] + 1), len(data)) if start + 2 <= len(data) else start
    at = start + 2
    while at + 6 <= end:
        kind, size, value = _JUMBO(data, at)
        if kind == 0xC2 and size == 4:
            return int(value)
        at += size + 2 if kind else 1
    return 0


def arp(data: bytes, pos: int) -> Packet:
    """Read an ARP packet for IPv4 (RFC 826); `src` and `dst` are the sender's and the target's IP addresses."""
    try:
        _, protocol, hardware, size, operation = _ARP(data, pos)
    except error:
        raise UndecodableError("truncated") from None
    if protocol != IPV4 or size != 4:
        raise UndecodableError("not_ip")
    total = 8 + 2 * (hardware + 4)
    payload = data[pos : pos + total]
    if len(payload) < total:
        raise UndecodableError("truncated")
    sender, target = 8 + hardware, 12 + 2 * hardware
    packet = Packet("arp", payload[sender : sender + 4], payload[target : target + 4], total)
    packet.extra = operation
    packet.payload = payload
    packet.length = total
    return packet
