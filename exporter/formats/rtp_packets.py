"""RTP's and RTCP's packets: RFC 3550 sections 5 and 6, RFC 3551 (payload types), RFC 8285 (header extensions).

RTP's header alone proves little. A datagram counts as RTP where its payload also has the shape of its type, or where
it has a header extension that fits.
"""

from collections.abc import Callable
from typing import NamedTuple

from exporter.errors import ParseError, ShortError
from exporter.wire import Reader

__all__ = ["Control", "Media", "certain", "control", "media"]

_VERSION = 0x80
_MAX_EXTENSION = 64
"""Words."""
_FEEDBACK = frozenset({205, 206})
_OPENS = frozenset({200, 201}) | _FEEDBACK
_LEAST = {204: 8, 205: 8, 206: 8}
"""Bytes of a body that begins with two sources, or a source and a name."""


class Media(NamedTuple):
    """An RTP packet: payload type, source, its payload's place, and the extension's profile (0: none)."""

    kind: int
    source: int
    begin: int
    end: int
    profile: int


class Control(NamedTuple):
    """One RTCP packet: its type, and the worst share of lost packets that it reports (in 256ths; -1: no report)."""

    kind: int
    lost: int


def media(data: bytes) -> Media:
    """Read an RTP packet's header (section 5.1)."""
    size = len(data)
    if size < 12 or data[0] & 0xC0 != _VERSION or 64 <= data[1] & 0x7F < 96:
        raise ParseError("header")
    first = data[0]
    begin = 12 + 4 * (first & 0x0F)
    profile = 0
    if first & 0x10:
        reader = Reader(data, begin)
        profile = reader.u16()
        words = reader.u16()
        begin += 4 + 4 * words
        if words > _MAX_EXTENSION:
            raise ParseError("extension")
    end = size - (data[-1] if first & 0x20 else 0)
    if not begin <= end or (first & 0x20 and not data[-1]):
        raise ParseError("length")
    return Media(data[1] & 0x7F, int.from_bytes(data[8:12], "big"), begin, end, profile)


def certain(data: bytes) -> bool:
    """Tell whether a datagram must be RTP, whatever came before it."""
    try:
        packet = media(data)
    except ParseError:
        return False
    if packet.profile == 0xBEDE:
        return _elements(data, packet.begin, data[0] & 0x0F)
    payload = data[packet.begin : packet.end]
    if data[0] != _VERSION or not payload:
        return False
    shape = _SHAPES.get(packet.kind)
    return shape(payload) if shape else packet.kind >= 96 and _dynamic(payload)


def _elements(data: bytes, end: int, sources: int) -> bool:
    """Tell whether one-byte elements fill the extension (RFC 8285 section 4.2)."""
    at = 16 + 4 * sources
    while at < end:
        if data[at] == 0:
            at += 1
        elif data[at] >> 4 in (0, 15):
            return False
        else:
            at += 2 + (data[at] & 0x0F)
    return at == end


def _sampled(payload: bytes) -> bool:
    """G.711 and G.722: 8 bytes a millisecond, in packets of 10 to 60 ms (RFC 3551 section 4.5)."""
    return len(payload) in (80, 160, 240, 320, 480)


def _gsm(payload: bytes) -> bool:
    return not len(payload) % 33 and all(byte >> 4 == 0xD for byte in payload[::33])


def _g729(payload: bytes) -> bool:
    return len(payload) in (10, 12, 20, 22, 30, 40, 60)


def _g723(payload: bytes) -> bool:
    """Each frame's first two bits tell its size."""
    at = 0
    while at < len(payload):
        at += (24, 20, 4, 1)[payload[at] & 3]
    return at == len(payload) and len(payload) in (20, 24, 40, 48)


def _mpeg_audio(payload: bytes) -> bool:
    """RFC 2250 section 3.5: four bytes, two of them zero, and a frame's sync word."""
    return payload[:4] == b"\0\0\0\0" and payload[4:5] == b"\xff" and payload[5:6] >= b"\xe0"


def _transport_stream(payload: bytes) -> bool:
    return not len(payload) % 188 and all(byte == 0x47 for byte in payload[::188])


def _h263(payload: bytes) -> bool:
    """RFC 2190 section 5.1, at a picture's start."""
    return not payload[0] and payload[4:6] == b"\0\0" and len(payload) > 6 and payload[6] & 0xFC == 0x80


_SHAPES: dict[int, Callable[[bytes], bool]] = {
    0: _sampled,
    3: _gsm,
    4: _g723,
    8: _sampled,
    9: _sampled,
    14: _mpeg_audio,
    18: _g729,
    33: _transport_stream,
    34: _h263,
}


def _dynamic(payload: bytes) -> bool:
    """H.264 and H.265 in fragments (RFC 6184 section 5.8, RFC 7798 section 4.4.3), AAC (RFC 3640 section 3.3.6)."""
    if len(payload) < 64:
        return False
    first, second = payload[0], payload[1]
    if first & 0x9F == 28:
        return first & 0x60 != 0 and second & 0x20 == 0 and second & 0x1F in (1, 5) and second & 0xC0 != 0xC0
    if first == 0x62 and second == 1:
        return payload[2] & 0x3F < 22 and payload[2] & 0xC0 != 0xC0
    return first == 0 and second == 16 and (payload[2] << 8 | payload[3]) >> 3 == len(payload) - 4


def control(data: bytes) -> list[Control]:
    """Read a compound packet, which must fill the datagram (section 6.1); feedback may come alone (RFC 5506)."""
    found: list[Control] = []
    at, end = 0, len(data)
    while at < end:
        if end - at < 4:
            raise ShortError
        first, kind, begin = data[at], data[at + 1], at + 4
        at = begin + 4 * (data[at + 2] << 8 | data[at + 3])
        if at > end:
            raise ShortError
        if first & 0xC0 != _VERSION or not 200 <= kind <= 213 or (first & 0x20 and (at < end or at == begin)):
            raise ParseError("header")
        if not found and kind not in _OPENS:
            raise ParseError("first")
        found.append(Control(kind, _reports(kind, first & 0x1F, data, (begin, at))))
        if len(found) > 32:
            raise ParseError("many")
    return found


def _reports(kind: int, count: int, data: bytes, body: tuple[int, int]) -> int:
    """Check that what is counted fits, and give the worst loss of a report's blocks (section 6.4)."""
    at, size = body[0], body[1] - body[0]
    if kind < 202:
        at, size = (at + 24, size - 24) if kind == 200 else (at + 4, size - 4)
        if size < 24 * count:
            raise ParseError("report")
        return max(data[at + 4 : at + 24 * count : 24]) if count else -1
    least = 4 * count if kind == 203 else _LEAST.get(kind, 0)
    if size < least or (kind in _FEEDBACK and not count):
        raise ParseError("short")
    return -1
