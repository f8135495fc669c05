"""TPKT and the transport protocol of class 0 in it (RFC 1006, RFC 2126, ITU-T X.224), as RDP and S7 use them."""

from exporter.errors import ParseError

__all__ = ["CONFIRM", "CONNECT", "DATA", "MORE_TPKT", "NO_TPKT", "contents", "size"]

CONNECT, CONFIRM, DATA = 0xE0, 0xD0, 0xF0
_KINDS = frozenset({CONNECT, CONFIRM, DATA, 0x80, 0x70})
"""Those above, a disconnect request and an error."""
NO_TPKT, MORE_TPKT = -1, 0


def size(data: bytes, at: int) -> int:
    """Give the length of the TPKT at `at`; `NO_TPKT`: there is none; `MORE_TPKT`: too few bytes to tell (seven do)."""
    head = data[at : at + 7]
    if head[:2] != b"\x03\0"[: len(head)]:
        return NO_TPKT
    if len(head) < 7:
        return MORE_TPKT
    length, indicator, kind = head[2] << 8 | head[3], head[4], head[5]
    if kind & 0xF0 not in _KINDS or not 2 <= indicator <= length - 5:
        return NO_TPKT
    if kind & 0xF0 == DATA:
        return length if indicator == 2 else NO_TPKT
    return length if indicator >= 6 or kind & 0xF0 == 0x70 else NO_TPKT


def contents(data: bytes) -> tuple[int, bytes, bytes]:
    """Read a TPKT: its TPDU's kind, that header's variable part, and what follows the header."""
    if len(data) < 7:
        raise ParseError("tpkt")
    kind, end = data[5] & 0xF0, 5 + data[4]
    return kind, data[7 if kind == DATA else 11 : end], data[end:]
