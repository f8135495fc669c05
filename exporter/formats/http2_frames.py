"""HTTP/2's frames: how a connection begins, and what surrounds a block of fields (RFC 9113 sections 3.4, 4, 6)."""

from exporter.dissector import MORE, NO, YES
from exporter.errors import ParseError

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "ERRORS",
    "GOAWAY",
    "HEADERS",
    "PREFACE",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "block",
    "recognise",
    "settings",
]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ERRORS = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)
"""RFC 9113 section 7."""

_SETTINGS_KNOWN = frozenset({1, 2, 3, 4, 5, 6, 8, 9})
_MAX_SETTINGS = 64 * 6
_FIRST = b"\0\0"
_NEXT = frozenset({SETTINGS, PING, WINDOW_UPDATE, GOAWAY, HEADERS})


def block(kind: int, flags: int, body: bytes) -> bytes:
    """Take padding, priority and a promised stream away: what is left is a block of fields, or its beginning."""
    at, end = 0, len(body)
    if flags & PADDED:
        if not body:
            raise ParseError("padding")
        at, end = 1, end - body[0]
    if kind == PUSH_PROMISE:
        at += 4
    elif flags & PRIORITISED:
        at += 5
    if at > end:
        raise ParseError("padding")
    return body[at:end]


def settings(body: bytes) -> dict[int, int]:
    """Give what a side asks of the other, by the setting's number."""
    if len(body) % 6:
        raise ParseError("settings")
    found: dict[int, int] = {}
    for at in range(0, min(len(body), _MAX_SETTINGS), 6):
        found[body[at] << 8 | body[at + 1]] = int.from_bytes(body[at + 2 : at + 6], "big")
    return found


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with a client's preface, or a server's: settings and a frame."""
    if data[:1] == b"P":
        if len(data) >= len(PREFACE):
            return YES if data.startswith(PREFACE) else NO
        return MORE if PREFACE.startswith(data) else NO
    if data[:2] != _FIRST[: len(data)]:
        return NO
    if len(data) < 9:
        return MORE if b"\x04\0\0\0\0\0".startswith(data[3:]) else NO
    size = data[2]
    if data[3:9] != b"\x04\0\0\0\0\0" or size % 6:
        return NO
    for at in range(9, min(9 + size, len(data) - 5), 6):
        if data[at] or data[at + 1] not in _SETTINGS_KNOWN:
            return NO
    after = data[9 + size : 18 + size]
    if len(after) < 9:
        return MORE
    return YES if after[0] == 0 and after[3] in _NEXT and not after[5] & 0x80 else NO
