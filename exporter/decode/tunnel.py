"""Tunnels: what is inside of a packet, and where.

A function here looks at an outer packet's payload and answers with the tunnel's name, the EtherType of what is inside
and its place in the payload; the caller decodes that. A tunnel over UDP is believed only when its header's fixed bits
and reserved bits are right, and when an IP packet that fits follows (`frame.py` checks that): a port number alone
would invent connections.
"""

from collections.abc import Callable
from struct import Struct

from exporter.decode.ip import IPV4, IPV6, MPLS, TRANSPARENT_ETHERNET
from exporter.decode.link import PPP
from exporter.model import Packet

__all__ = ["CARRIERS", "inside"]

Inside = tuple[str, int, int]
"""Tunnel name, EtherType, place."""

ERSPAN2, ERSPAN3 = 0x88BE, 0x22EB
HEADERS_MAX = 16

_U16 = Struct(">H").unpack_from
_GRE = Struct(">HH").unpack_from


def inside(packet: Packet) -> Inside | None:
    """Say what `packet` carries, if it is a tunnel's; raises `IndexError` or `struct.error` if that is cut off."""
    if packet.transport == "udp":
        data = packet.payload
        if len(data) < 16:
            return None
        reader = _UDP.get(packet.dport) or _UDP_EITHER.get(packet.sport)
        found = reader(data) if reader is not None else None
        return found or _teredo(data, packet.length)
    other = _PORTLESS.get(packet.transport)
    return other(packet.payload) if other is not None else None


def _version(data: bytes, at: int) -> int:
    """Tell IPv4 from IPv6 by the version; 0 if it is neither."""
    return {4: IPV4, 6: IPV6}.get(data[at] >> 4, 0)


def _ipip(data: bytes) -> Inside | None:
    """IP in IP (RFC 2003, RFC 2473, RFC 4213): any of the versions in any."""
    kind = _version(data, 0)
    return ("ipip", kind, 0) if kind else None


def _gre(data: bytes) -> Inside | None:
    """RFC 2784 and RFC 2890 (checksum, key, sequence), RFC 1701 (routing), RFC 2637 (version 1: PPTP)."""
    flags, kind = _GRE(data, 0)
    at = 4
    if flags & 7 == 1:
        if kind != PPP or not flags & 0x2000:
            return None
        at += 4 + (4 if flags & 0x1000 else 0) + (4 if flags & 0x0080 else 0)
        return ("gre", PPP, at) if len(data) > at else None
    if flags & 7:
        return None
    at += (4 if flags & 0xC000 else 0) + (4 if flags & 0x2000 else 0) + (4 if flags & 0x1000 else 0)
    if flags & 0x4000:
        at = _source_routes(data, at)
    if kind == ERSPAN2:
        return _erspan2(data, at) if flags & 0x1000 else ("erspan", TRANSPARENT_ETHERNET, at)
    if kind == ERSPAN3:
        return _erspan3(data, at)
    if kind == 0x883E:  # WCCP: version 2 puts four bytes before the packet
        return "gre", IPV4, at if data[at] >> 4 == 4 else at + 4
    return "gre", kind, at


def _source_routes(data: bytes, at: int) -> int:
    """Pass over source route entries (RFC 1701): family, offset, length; length 0 ends the list."""
    for _ in range(HEADERS_MAX):
        size = data[at + 3]
        at += 4 + size
        if not size:
            break
    return at


def _erspan2(data: bytes, at: int) -> Inside | None:
    """draft-foschiano-erspan section 4.2: 8 bytes, version 1. Type I has no header and no sequence number."""
    return ("erspan", TRANSPARENT_ETHERNET, at + 8) if data[at] >> 4 == 1 else None


def _erspan3(data: bytes, at: int) -> Inside | None:
    """draft-foschiano-erspan section 4.3: 12 bytes, version 2, an optional subheader of 8; frame type 2 is IP."""
    if data[at] >> 4 != 2:
        return None
    kind = data[at + 10] >> 2 & 0x1F
    at += 20 if data[at + 11] & 1 else 12
    if kind == 0:
        return "erspan", TRANSPARENT_ETHERNET, at
    return ("erspan", _version(data, at), at) if kind == 2 else None


def _vxlan(data: bytes) -> Inside | None:
    """RFC 7348 section 5: the I flag, all reserved bits 0; with a group policy (0x80) the middle is an id."""
    flags = data[0]
    if data[7] or flags & 0x7F != 0x08 or (flags == 0x08 and any(data[1:4])):
        return None
    return "vxlan", TRANSPARENT_ETHERNET, 8


def _vxlan_gpe(data: bytes) -> Inside | None:
    """draft-ietf-nvo3-vxlan-gpe section 3: version 0, the I and P flags, next protocol."""
    kind = {1: IPV4, 2: IPV6, 3: TRANSPARENT_ETHERNET, 5: MPLS}.get(data[3])
    if kind is None or data[0] & 0xFC != 0x0C or data[1] or data[2] or data[7]:
        return None
    return "vxlan", kind, 8


def _geneve(data: bytes) -> Inside | None:
    """RFC 8926 section 3.4: version 0, options of 4-byte words, reserved bits 0, an EtherType."""
    kind = _U16(data, 2)[0]
    if data[0] >> 6 or data[1] & 0x3F or data[7] or kind not in {TRANSPARENT_ETHERNET, IPV4, IPV6}:
        return None
    return "geneve", kind, 8 + 4 * (data[0] & 0x3F)


def _gtp(data: bytes) -> Inside | None:
    """3GPP TS 29.281 section 5: version 1, G-PDU, optional fields and extension headers."""
    flags = data[0]
    if flags & 0xF8 != 0x30 or data[1] != 255 or _U16(data, 2)[0] > 0xFFFF - 8:
        return None
    at = 8
    if flags & 7:
        at, following = 12, data[11] if flags & 4 else 0
        for _ in range(HEADERS_MAX):
            if not following:
                break
            size = 4 * data[at]
            if not size:
                return None
            at += size
            following = data[at - 1]
    kind = _version(data, at)
    return ("gtp", kind, at) if kind else None


def _teredo(data: bytes, length: int) -> Inside | None:
    """RFC 4380 section 5.1.1, on any port, because clients talk to each other on their own.

    An authentication and an origin indication may come first. What proves it: an IPv6 header whose length is the
    datagram's to the byte, and a Teredo or link-local address at one end at least.
    """
    at = 0
    if data[:2] == b"\x00\x01":
        at = 13 + data[2] + data[3]
    if data[at : at + 2] == b"\x00\x00":
        at += 8
    if len(data) < at + 40 or data[at] >> 4 != 6 or at + 40 + _U16(data, at + 4)[0] != length:
        return None
    ends = data[at + 8 : at + 12], data[at + 24 : at + 28]
    if b"\x20\x01\x00\x00" in ends or b"\xfe\x80\x00\x00" in ends:
        return "teredo", IPV6, at
    return None


def _l2tp(data: bytes) -> Inside | None:
    """RFC 2661 section 3.1: a data message of version 2; length, sequence and offset are optional."""
    flags = _U16(data, 0)[0]
    if flags & 0xB4FF != 0x0002:
        return None
    at = 6 + (2 if flags & 0x4000 else 0) + (4 if flags & 0x0800 else 0)
    if flags & 0x0200:
        at += 2 + _U16(data, at)[0]
    return "l2tp", PPP, at


_PORTLESS: dict[str, Callable[[bytes], Inside | None]] = {
    "ipip": _ipip,
    "gre": _gre,
    "ip-proto-97": lambda data: ("etherip", TRANSPARENT_ETHERNET, 2) if data[0] >> 4 == 3 else None,
    "ip-proto-137": lambda _: ("mpls", MPLS, 0),
}
_UDP: dict[int, Callable[[bytes], Inside | None]] = {
    4789: _vxlan,
    8472: _vxlan,  # Linux' default, older than the assignment
    4790: _vxlan_gpe,
    6081: _geneve,
    2152: _gtp,
    1701: _l2tp,
    4754: _gre,  # RFC 8086
    6635: lambda _: ("mpls", MPLS, 0),  # RFC 7510
}
_UDP_EITHER = {2152: _gtp, 1701: _l2tp}
CARRIERS = frozenset(("udp", *_PORTLESS))
"""Transports that may carry a tunnel."""
