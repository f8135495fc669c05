"""How an HTTP/1 body ends (RFC 9112 sections 6 and 7): measured and passed over, never kept."""

import re
from collections.abc import Callable

from exporter.errors import ParseError
from exporter.formats.head import Fields

__all__ = ["Body"]

NONE, LENGTH, SIZE, CHUNK, CHUNK_END, TRAILER, CLOSE = range(7)
"""What comes next: no body, so many bytes, a chunk's size, its bytes, its end, the trailer, or all until the close."""

_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r?")
_MAX_LINE = 4096


class Body:
    """A body under way on one side. `part` is what comes next of it; 0: there is none."""

    __slots__ = ("left", "part")

    def __init__(self) -> None:
        self.part = NONE
        self.left = 0

    def begin(self, fields: Fields, *, endless: bool) -> None:
        """Find how a body is delimited; without any word on it, it is `endless` or there is none."""
        coding = fields.get(b"transfer-encoding")
        length = fields.get(b"content-length")
        if coding and b"chunked" in coding.lower():
            self.part = SIZE
        elif coding or length is None:
            self.part = CLOSE if endless else NONE
        else:
            values = {value.strip() for value in length.split(b",")}
            value = values.pop()
            if values or not value.isdigit() or len(value) > 18:
                raise ParseError("length")
            self.left = int(value)
            self.part = LENGTH if self.left else NONE

    def reset(self) -> None:
        """Forget it: bytes were lost."""
        self.part = NONE
        self.left = 0

    def skip(self) -> int:
        """Hand over how many next bytes nobody needs to see; -1: all."""
        if self.part == CLOSE:
            return -1
        left = self.left
        if left:
            self._pass(left)
        return left

    def read(self, data: bytes, at: int) -> int:
        """Read on from `at`; give where reading stopped, or -1 if more is needed."""
        return _READERS[self.part](self, data, at)

    def _pass(self, size: int) -> None:
        self.left -= size
        if not self.left:
            self.part = NONE if self.part == LENGTH else CHUNK_END

    def read_bytes(self, data: bytes, at: int) -> int:
        size = min(self.left, len(data) - at)
        self._pass(size)
        return at + size

    def read_size(self, data: bytes, at: int) -> int:
        end = _line(data, at)
        if end < 0:
            return -1
        match = _CHUNK.fullmatch(data, at, end)
        if match is None:
            raise ParseError("chunk")
        self.left = int(match[1], 16)
        self.part = CHUNK if self.left else TRAILER
        return end + 1

    def read_end(self, data: bytes, at: int) -> int:
        line = data[at : at + 2]
        if line == b"\r":
            return -1
        if line[:1] != b"\n" and line != b"\r\n":
            raise ParseError("chunk")
        self.part = SIZE
        return at + 1 + (line == b"\r\n")

    def read_trailer(self, data: bytes, at: int) -> int:
        end = _line(data, at)
        if end >= 0 and data[at:end] in (b"", b"\r"):
            self.part = NONE
        return end + 1 if end >= 0 else -1

    def read_all(self, data: bytes, at: int) -> int:  # noqa: ARG002 - of the table's form
        return len(data)


_READERS: dict[int, Callable[[Body, bytes, int], int]] = {
    LENGTH: Body.read_bytes,
    SIZE: Body.read_size,
    CHUNK: Body.read_bytes,
    CHUNK_END: Body.read_end,
    TRAILER: Body.read_trailer,
    CLOSE: Body.read_all,
}


def _line(data: bytes, at: int) -> int:
    """Give where the line's feed is; -1: not there yet."""
    end = data.find(b"\n", at)
    if (len(data) if end < 0 else end) - at > _MAX_LINE:
        raise ParseError("long")
    return end
