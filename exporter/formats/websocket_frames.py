"""WebSocket's frames (RFC 6455 section 5), and how they are recognised where the upgrade was not seen."""

from codecs import utf_8_decode
from typing import NamedTuple

from exporter.dissector import MORE, NO, YES
from exporter.errors import ParseError

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Head", "head", "recognise", "unmask"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_FINAL, _COMPRESSED, _RESERVED = 0x80, 0x40, 0x30
_MAX_CONTROL = 125

_MIN_TEXT = 5
_SAMPLE = 64
"""So much of a text says whether it is one."""
_CHAIN = 3
"""So many whole frames of a client, one after the other, are no accident."""
_MAX_CHAIN = 4096
_STARTS = frozenset(_FINAL | bits | kind for bits in (0, _COMPRESSED) for kind in _KNOWN if kind)
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\r\n") + b"\x7f"


class Head(NamedTuple):
    """A frame's beginning: `size` bytes of payload come after `start`."""

    kind: int
    final: bool
    mask: bytes
    start: int
    size: int


def head(data: bytes, at: int) -> Head | None:
    """Read a frame's header; None: it is not all there."""
    if len(data) - at < 2:
        return None
    first, second = data[at], data[at + 1]
    kind, size, start = first & 0x0F, second & 0x7F, at + 2
    control = kind >= CLOSE
    if kind not in _KNOWN or first & _RESERVED or (control and (size > _MAX_CONTROL or not first & _FINAL)):
        raise ParseError("frame")
    if size >= 126:
        wide = 2 if size == 126 else 8
        size = int.from_bytes(data[start : start + wide], "big")
        start += wide
    mask_end = start + 4 if second & 0x80 else start
    if mask_end > len(data):
        return None
    if size >> 63:
        raise ParseError("length")
    return Head(kind, bool(first & _FINAL), data[start:mask_end], mask_end, size)


def unmask(data: bytes, mask: bytes) -> bytes:
    """Take a client's mask off (section 5.3)."""
    size = len(data)
    if not mask or not size:
        return data
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with a text message, or with several frames of a client."""
    if len(data) < 2:
        return MORE if not data or data[0] in _STARTS else NO
    if data[0] not in _STARTS:
        return NO
    if data[0] == _FINAL | TEXT:
        return _probe_text(data)
    at = 0
    for _ in range(_CHAIN):
        if at + 1 < len(data) and not data[at + 1] & 0x80:
            return NO
        if at < len(data) and data[at] not in _STARTS:
            return NO
        size, start = _measure(data, at)
        at = start + size
        if at > _MAX_CHAIN:
            return NO
        if at > len(data):
            return MORE
    return YES


def _measure(data: bytes, at: int) -> tuple[int, int]:
    """Give a payload's size and where it begins; what is not there yet counts as far away."""
    if len(data) < at + 2:
        return 0, len(data) + 1
    size, start = data[at + 1] & 0x7F, at + 2
    if size > 125:
        wide = 2 if size == 126 else 8
        if len(data) < start + wide:
            return 0, len(data) + 1
        size = int.from_bytes(data[start : start + wide], "big")
        start += wide
    return size, start + 4 if data[at + 1] & 0x80 else start


def _probe_text(data: bytes) -> int:
    """It must be UTF-8 and without control characters, as far as it is there."""
    size, start = _measure(data, 0)
    if start > len(data):
        return MORE
    if size < _MIN_TEXT or size >> 63:
        return NO
    wanted = min(_SAMPLE, size)
    raw = data[start : start + wanted]
    if data[1] & 0x80:
        raw = unmask(raw, data[start - 4 : start])
    try:
        utf_8_decode(raw, "strict", len(raw) == size)
    except UnicodeDecodeError:
        return NO
    if len(raw.translate(None, _CONTROLS)) < len(raw):
        return NO
    return YES if len(raw) == wanted else MORE
