"""BSON's top level, as far as it is there: names and where their values are (bsonspec.org, version 1.1)."""

from collections.abc import Iterator

__all__ = ["elements", "text"]

_FIXED = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
_COUNTED = frozenset({2, 13, 14})
"""A length in front that does not count itself: text, code, symbol."""
_NESTED = frozenset({3, 4, 15})
"""A length in front that counts itself: document, array, code with its scope."""
_MAX_ELEMENTS = 64


def elements(data: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Give each element's name, type and the place of its value; stop where the data does, or makes no sense."""
    at += 4
    for _ in range(_MAX_ELEMENTS):
        end = data.find(b"\0", at + 1, at + 130)
        if end < 0 or not data[at]:
            return
        kind, value = data[at], end + 1
        yield data[at + 1 : end], kind, value
        size = int.from_bytes(data[value : value + 4], "little")
        if kind in _FIXED:
            at = value + _FIXED[kind]
        elif kind in _COUNTED:
            at = value + 4 + size
        elif kind in _NESTED:
            at = value + size
        elif kind == 5:  # bytes, after their length and their kind
            at = value + 5 + size
        else:
            return
        if at <= value and size == 0 and kind not in (6, 10, 127, 255):
            return
        if at >= len(data):
            return


def text(data: bytes, value: int) -> bytes:
    """Give a text's bytes without the zero at its end."""
    size = int.from_bytes(data[value : value + 4], "little")
    return data[value + 4 : value + 3 + size] if size else b""
