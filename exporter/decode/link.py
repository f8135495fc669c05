"""Link layers: from a frame to its network protocol (an EtherType) and where that begins.

Link types are those of pcap's LINKTYPE_ registry (tcpdump.org/linktypes.html). Most differ only in where an EtherType
stands; those are rows of a table. Reading is bounded: at most `LAYERS_MAX` tags, labels and headers.
"""

from collections.abc import Callable
from struct import Struct, error
from types import ModuleType

from exporter.decode.ip import ARP, IPV4, IPV6, MPLS, TRANSPARENT_ETHERNET
from exporter.errors import UndecodableError

__all__ = ["ethernet", "ppp", "strip", "typed"]

LAYERS_MAX = 16
PPPOE, PPP, LLC = 0x8864, 0x880B, 0x0004
"""EtherTypes; PPP is GRE's (RFC 1701), LLC is Linux cooked capture's."""

_U16 = Struct(">H").unpack_from
_U32 = Struct(">I").unpack_from

# Frames whose EtherType stands at a fixed place, 2 bytes before what it names: Ethernet, Cisco HDLC (and with a
# direction byte), cooked, IP over IEEE 1394, Broadcom and Marvell switch tags.
_TYPE_AT = {1: 12, 104: 2, 205: 3, 113: 14, 138: 16, 281: 16, 284: 16, 285: 20}
# IP without a link header, or behind a header of fixed length: raw (three numbers), IPv4, IPv6, SLIP, OpenBSD enc.
_BARE_AT = {12: 0, 14: 0, 101: 0, 228: 0, 229: 0, 8: 16, 109: 12}
# PPP, serial PPP, PPP with a direction byte.
_PPP_AT = {9: 0, 50: 0, 204: 1}
# Tags that are followed by another EtherType: how much further that stands. 802.1Q, 802.1ad, their old numbers,
# VN-Tag (802.1BR), Cisco metadata.
_TAGS = {0x8100: 4, 0x88A8: 4, 0x9100: 4, 0x9200: 4, 0x9300: 4, 0x8926: 6, 0x8909: 8}
_PPP_TYPES = {0x21: IPV4, 0x57: IPV6, 0x281: MPLS, 0x283: MPLS}
_NETWORK = frozenset((IPV4, IPV6, ARP))
_LABELLED = frozenset((MPLS, 0x8848))
_INET6 = frozenset((10, 23, 24, 28, 30))
"""AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS."""

Place = tuple[int, int]
"""An EtherType (IPv4, IPv6 or ARP) and where it begins."""


def _fallback() -> ModuleType:
    """Give the decoder of the rare link types when it is needed: dpkt takes 6 MiB of each worker."""
    from exporter.decode import fallback  # noqa: PLC0415

    return fallback


def strip(link: int, data: bytes) -> Place:
    """Give the network protocol of a frame and its place; `UndecodableError` if it has none that we know."""
    at = _TYPE_AT.get(link)
    try:
        if at is not None:
            kind = data[at] << 8 | data[at + 1]
            if kind == IPV4:
                return kind, at + 2
            return typed(kind, data, at + 2)
        if link in _BARE_AT:
            return _bare(data, _BARE_AT[link])
        if link in _PPP_AT:
            return ppp(data, _PPP_AT[link])
        reader = _READERS.get(link)
        if reader is not None:
            return reader(data)
    except (IndexError, error):
        raise UndecodableError("truncated") from None
    raise UndecodableError("link_type")


def ethernet(data: bytes, pos: int) -> Place:
    """Read an Ethernet frame that begins at `pos`."""
    return typed(_U16(data, pos + 12)[0], data, pos + 14)


def typed(kind: int, data: bytes, pos: int) -> Place:
    """Pass over tags, labels and sessions until there is IP or ARP; `kind` is the EtherType of what begins at `pos`."""
    for _ in range(LAYERS_MAX):
        if kind in _NETWORK:
            return kind, pos
        if kind in _TAGS:
            pos += _TAGS[kind]
            kind = _U16(data, pos - 2)[0]
        elif kind in _LABELLED:
            kind, pos = _mpls(data, pos)
        elif kind == TRANSPARENT_ETHERNET:
            kind, pos = _U16(data, pos + 12)[0], pos + 14
        elif kind == 0x88E7:  # provider backbone bridges (802.1ah): a service tag, then a whole frame
            kind, pos = _U16(data, pos + 16)[0], pos + 18
        elif kind == PPPOE:  # RFC 2516 section 4: version and type, code (0: session), session, length
            if data[pos + 1]:
                raise UndecodableError("not_ip")
            return ppp(data, pos + 6)
        elif kind == PPP:
            return ppp(data, pos)
        elif kind < 0x0600:  # a length (802.3), or LLC by number (Linux cooked capture)
            kind, pos = _llc(data, pos)
        else:
            raise UndecodableError("not_ip")
    raise UndecodableError("nested")


def ppp(data: bytes, pos: int) -> Place:
    """Read a PPP frame (RFC 1661, RFC 1662): address and control, and a protocol of one or two bytes; or Cisco HDLC."""
    if data[pos] in {0x0F, 0x8F}:
        return typed(_U16(data, pos + 2)[0], data, pos + 4)
    if data[pos] == 0xFF and data[pos + 1] == 0x03:
        pos += 2
    protocol = data[pos]
    pos += 1
    if not protocol & 1:
        protocol = protocol << 8 | data[pos]
        pos += 1
    kind = _PPP_TYPES.get(protocol)
    if kind is None:
        raise UndecodableError("not_ip")
    return typed(kind, data, pos)


def _mpls(data: bytes, pos: int) -> Place:
    """Pass over a label stack (RFC 3032); what follows it is told by its first nibble (RFC 4928 section 3)."""
    for _ in range(LAYERS_MAX):
        label = _U32(data, pos)[0]
        pos += 4
        if label & 0x100:
            break
    else:
        raise UndecodableError("nested")
    nibble = data[pos] >> 4
    if nibble == 4:
        return IPV4, pos
    if nibble == 6:
        return IPV6, pos
    if nibble == 0:  # a pseudowire's control word (RFC 4385), Ethernet in all that we know
        return TRANSPARENT_ETHERNET, pos + 4
    return TRANSPARENT_ETHERNET, pos


def _llc(data: bytes, pos: int) -> Place:
    """Read 802.2: SNAP (RFC 1042) or IP's own access point."""
    head = data[pos : pos + 3]
    if head == b"\xaa\xaa\x03":
        return _U16(data, pos + 6)[0], pos + 8
    if head == b"\x06\x06\x03":
        return IPV4, pos + 3
    raise UndecodableError("not_ip")


def _bare(data: bytes, pos: int) -> Place:
    """Tell IPv4 from IPv6 by the version."""
    version = data[pos] >> 4
    if version == 4:
        return IPV4, pos
    if version == 6:
        return IPV6, pos
    raise UndecodableError("not_ip")


def _family(family: int, pos: int) -> Place:
    """Tell the protocol from a BSD address family."""
    if family == 2:
        return IPV4, pos
    if family in _INET6:
        return IPV6, pos
    raise UndecodableError("not_ip")


def _null(data: bytes) -> Place:
    """BSD loopback: the address family in the byte order of whoever captured (0), or big-endian (108)."""
    family = _U32(data, 0)[0]
    return _family(family if family < 0x10000 else int.from_bytes(data[:4], "little"), 4)


def _frame_relay(data: bytes, pos: int = 0) -> Place:
    """RFC 2427: an address of 2 to 4 bytes, UI, a protocol id; or Cisco's way: an EtherType after the address."""
    at = next((at for at in range(pos + 2, pos + 5) if data[at - 1] & 1), 0)
    if not at:
        raise UndecodableError("malformed")
    if data[at] != 0x03:
        return typed(_U16(data, at)[0], data, at + 2)
    if data[at + 1] == 0xCC:
        return IPV4, at + 2
    if data[at + 1] == 0x8E:
        return IPV6, at + 2
    if data[at + 1 : at + 3] == b"\x00\x80":  # padding and SNAP
        return typed(_U16(data, at + 6)[0], data, at + 8)
    raise UndecodableError("not_ip")


def _pktap(data: bytes) -> Place:
    """Apple's header: its length, a record type, the link type of what follows (little-endian)."""
    size, link = int.from_bytes(data[:4], "little"), int.from_bytes(data[8:12], "little")
    return _behind(data, size, link)


def _ppi(data: bytes) -> Place:
    return _behind(data, int.from_bytes(data[2:4], "little"), int.from_bytes(data[4:8], "little"))


def _behind(data: bytes, size: int, link: int) -> Place:
    """Read a frame that follows a header of its capture program; such headers do not nest."""
    if not 8 <= size <= len(data) or _READERS.get(link) in {_pktap, _ppi}:
        raise UndecodableError("malformed")
    kind, pos = strip(link, data[size:])
    return kind, pos + size


_READERS: dict[int, Callable[[bytes], Place]] = {
    0: _null,
    108: _null,
    51: lambda data: typed(PPPOE, data, 0),
    100: lambda data: typed(LLC, data, 0),
    276: lambda data: typed(_U16(data, 0)[0], data, 20),
    107: _frame_relay,
    206: lambda data: _frame_relay(data, 1),
    117: lambda data: _family(data[1], (data[0] + 3) & ~3),
    149: _pktap,
    258: _pktap,
    192: _ppi,
    105: lambda data: typed(*_fallback().wireless(data, 0)),
    127: lambda data: typed(*_fallback().radiotap(data)),
}
