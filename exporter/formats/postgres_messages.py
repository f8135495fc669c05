"""PostgreSQL's messages, and how a stream of them is recognised (PostgreSQL documentation, "Message Formats").

A message is a letter, a length that counts itself, and a body; only the first one of a client has no letter.
"""

from exporter.dissector import MORE, NO, YES
from exporter.errors import ParseError
from exporter.formats.sql import verb

__all__ = [
    "CANCEL",
    "CLIENT_ONLY",
    "GSS",
    "MAX_STARTUP",
    "SERVER_ONLY",
    "SSL",
    "TYPES",
    "chained",
    "recognise",
    "startup_size",
]

CANCEL, SSL, GSS = 80877102, 80877103, 80877104
"""Requests that stand where the version stands in a start-up message."""

CLIENT_ONLY = frozenset(b"QPBFpXf")
SERVER_ONLY = frozenset(b"RKZT123ntNAGWIsvV")
TYPES = CLIENT_ONLY | SERVER_ONLY | frozenset(b"CDESHcd")
MAX_STARTUP = 10000
"""The server's own limit (MAX_STARTUP_PACKET_LENGTH)."""

_VERSIONS = frozenset({0x30000, 0x30001, 0x30002})
_READY = b"Z\0\0\0\5"
_SYNC = b"S\0\0\0\4"
_MAX_PROBED = 1 << 20


def startup_size(data: bytes, at: int) -> int:
    """Give a start-up message's length; 0: not all of its eight first bytes are there."""
    if len(data) - at < 8:
        return 0
    size = int.from_bytes(data[at : at + 4], "big")
    code = int.from_bytes(data[at + 4 : at + 8], "big")
    if not 8 <= size <= MAX_STARTUP or code >> 16 not in (2, 3, 1234):
        raise ParseError("start")
    return size


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with this protocol."""
    if not data:
        return MORE
    if data[0]:
        return _authentication(data) if data[0] == 0x52 else chained(data)
    if data[1:2] not in (b"", b"\0") or (len(data) > 2 and data[2] > 0x27):
        return NO
    if len(data) < 8:
        return (
            MORE if data[4:8] == b"\0\3\0\0"[: len(data) - 4] or data[4:6] in (b"", b"\4", b"\4\xd2") else NO
        )
    size, code = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    if code in (SSL, GSS):
        return YES if size == 8 else NO
    if code == CANCEL:
        return YES if 16 <= size <= 268 else NO
    if code not in _VERSIONS or not 10 <= size <= MAX_STARTUP:
        return NO
    return _parameters(data, size)


def _parameters(data: bytes, size: int) -> int:
    """A start-up's names and values end where it ends, and a user is named."""
    body = data[8:size]
    if body[:1] and not (body[:1].isalpha() or body[0] == 0x5F):
        return NO
    if len(data) < size and len(data) < 4096:
        return MORE
    return YES if b"user\0" in body and (len(data) < size or body[-2:] == b"\0\0") else NO


def _authentication(data: bytes) -> int:
    """A server's request for a password, or its consent."""
    if len(data) < 9:
        return MORE if data[1:4] == b"\0\0\0"[: len(data) - 1] else NO
    size, code = int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:9], "big")
    plain = size == 8 and code in (0, 2, 3, 6, 7, 9)
    return YES if plain or (size == 12 and code == 5) or (14 <= size <= 255 and code == 10) else NO


def chained(data: bytes) -> int:
    """Messages one after the other, up to one that is whole and proves it (a connection found in mid-stream)."""
    at, end = 0, len(data)
    while at < end:
        if data[at] not in TYPES:
            return NO
        head = data[at + 1 : at + 5]
        if head[:1] not in (b"", b"\0"):
            return NO
        if len(head) < 4:
            return MORE
        size = int.from_bytes(head, "big")
        if not 4 <= size <= _MAX_PROBED:
            return NO
        answer = _proof(data, at, size)
        if answer != MORE:
            return answer
        at += 1 + size
    return MORE


def _proof(data: bytes, at: int, size: int) -> int:
    """What one message says for all: a state, a synchronisation after others, a query, an error."""
    kind = data[at]
    stop = at + 1 + size
    if kind == 0x5A:
        if size != 5 or (len(data) >= stop and data[stop - 1] not in b"ITE"):
            return NO
        return YES if len(data) >= stop else MORE
    if kind == 0x53 and size == 4:
        return YES if at else NO
    if kind not in b"QE" or len(data) < min(stop, 4096):
        return MORE
    body = data[at + 5 : stop]
    if kind == 0x45:
        return YES if body[:1] == b"S" and body[-2:] == b"\0\0" and b"\0C" in body else MORE
    if body.find(b"\0") not in (-1, len(body) - 1) or (len(data) >= stop and body[-1:] != b"\0"):
        return NO
    return YES if verb(body) != "other" else NO
