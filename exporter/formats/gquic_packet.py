"""Packets of Google's QUIC before it became the IETF's: versions Q024 to Q046.

Up to Q043 a public header ("QUIC Wire Layout Specification", revision of 2016), from Q044 on a long header as in the
IETF's drafts of that time. The handshake is in the clear behind a hash. Q050 has the IETF's packets (`quic_packet`).
"""

import re
from typing import NamedTuple

from exporter.dissector import NO, YES
from exporter.errors import ParseError
from exporter.wire import Reader

__all__ = ["Packet", "packet", "recognise"]

_NAMES = {b"Q0%02d" % number: f"Q0{number:02d}" for number in (*range(24, 40), 43, 44, 46)}
_LONG = (b"Q044", b"Q046")
_LIST = re.compile(
    rb"(?s:Q0[2-5]\d|T05[01]|\xff\x00\x00.|\x00\x00\x00\x01"
    rb"|(?:[\n\x1a*:JZjz\x8a\x9a\xaa\xba\xca\xda\xea\xfa]){4}){1,32}"
)
"""What a server lists: Google's versions, the IETF's, and those that nobody speaks (GREASE)."""

VERSION, RESET, NONCE, CONNECTION = 1, 2, 4, 8
"""Flags of a public header."""
_NUMBER_SIZES = (1, 2, 4, 6)
_HASH = 12
_MAX_BEFORE_HELLO = 96


class Packet(NamedTuple):
    """A packet: the version's name ("": it does not tell), and where its frames begin."""

    version: str
    at: int
    number_size: int = 4
    short: bool = False
    """It has no version: the sender knows that the other side speaks it."""
    versions: tuple[str, ...] = ()
    """What the server speaks instead."""
    reset: bool = False


def packet(data: bytes) -> Packet:
    """Read a datagram's header, of any of the versions."""
    first = data[0]
    if first & 0x80:
        return _long(data)
    if first & 0x40:  # as in the IETF's
        return Packet("", len(data), short=True)
    return _public(data, first)


def _long(data: bytes) -> Packet:
    reader = Reader(data, 1)
    raw = reader.take(4)
    if raw not in _LONG:
        raise ParseError("version")
    sizes = reader.u8()
    for size in (sizes >> 4, sizes & 15):
        reader.skip(size + 3 if size else 0)
    number = 4 if raw == b"Q044" else 1 + (data[0] & 3)
    reader.skip(number + _HASH)
    return Packet(_NAMES[raw], reader.pos, number)


def _public(data: bytes, flags: int) -> Packet:
    reader = Reader(data, 1)
    reader.skip(8 if flags & CONNECTION else 0)
    if flags & RESET:
        return Packet("", len(data), reset=True)
    raw = reader.take(4) if flags & VERSION else b""
    if raw and (versions := _versions(data, reader.pos - 4)):
        return Packet("", len(data), versions=versions)
    if raw and raw not in _NAMES:
        raise ParseError("version")
    if flags & NONCE and not raw:  # 32 random bytes, and all after them is encrypted
        return Packet("", len(data), short=True)
    size = _NUMBER_SIZES[flags >> 4 & 3]
    name = _NAMES.get(raw, "")
    reader.skip(size + _HASH + (bool(raw) and name < "Q034"))  # a byte of private flags until then
    return Packet(name, reader.pos, size, short=not raw)


def _versions(data: bytes, at: int) -> tuple[str, ...]:
    """A server's list of versions and nothing else; a client's packet has one, and more than that."""
    if not _LIST.fullmatch(data, at):
        return ()
    return tuple([_NAMES.get(data[i : i + 4], "other") for i in range(at, len(data), 4)])


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a datagram opens a connection, or refuses the version of one."""
    if len(data) < 13:
        return NO
    flags = data[0]
    if flags & 0x80:
        return YES if data[1:5] in _LONG and data[5] in (0x50, 0x05, 0x55) and len(data) >= 38 else NO
    if data[9:13] not in _NAMES or flags & 0xCB != VERSION | CONNECTION:
        return NO
    if data.find(b"CHLO", 13, _MAX_BEFORE_HELLO) > 0:
        return YES
    return YES if _LIST.fullmatch(data, 9) else NO
