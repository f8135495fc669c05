"""Bencoding (BEP 3): integers, byte strings, lists and dictionaries, bounded in depth and number."""

from typing import TypeAlias

from exporter.errors import ParseError, ShortError

__all__ = ["Value", "decode"]

Value: TypeAlias = "int | bytes | list[Value] | dict[bytes, Value]"

_MAX_DEPTH = 6
_MAX_ITEMS = 512
_MAX_DIGITS = 20


def decode(data: bytes) -> Value:
    """Read one value that fills the data to its last byte."""
    reader = _Decoder(data)
    value = reader.value(_MAX_DEPTH)
    if reader.pos != len(data):
        raise ParseError("trailing")
    return value


class _Decoder:
    __slots__ = ("_data", "_left", "pos")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _MAX_ITEMS
        self.pos = 0

    def value(self, depth: int) -> Value:
        kind = self._data[self.pos : self.pos + 1]
        self._left -= 1
        if not depth or self._left < 0:
            raise ParseError("depth")
        if kind.isdigit():
            return self._string()
        self.pos += 1
        if kind == b"i":
            return self._number(b"e")
        if kind == b"l":
            return self._list(depth)
        if kind == b"d":
            return self._dictionary(depth)
        raise ParseError("type") if kind else ShortError

    def _ended(self) -> bool:
        if self._data[self.pos : self.pos + 1] != b"e":
            return False
        self.pos += 1
        return True

    def _list(self, depth: int) -> "list[Value]":
        items: list[Value] = []
        while not self._ended():
            items.append(self.value(depth - 1))
        return items

    def _dictionary(self, depth: int) -> "dict[bytes, Value]":
        found: dict[bytes, Value] = {}
        while not self._ended():
            key = self._string()
            found[key] = self.value(depth - 1)
        return found

    def _number(self, end: bytes) -> int:
        at = self._data.find(end, self.pos, self.pos + _MAX_DIGITS)
        text = self._data[self.pos : at] if at > 0 else b""
        if not text.removeprefix(b"-").isdigit():
            raise ParseError("number")
        self.pos = at + 1
        return int(text)

    def _string(self) -> bytes:
        size = self._number(b":")
        start, self.pos = self.pos, self.pos + size
        if size < 0:
            raise ParseError("length")
        if self.pos > len(self._data):
            raise ShortError
        return self._data[start : self.pos]
