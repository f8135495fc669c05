"""Protocols of lines (RFC 5321, 959, 1939, 9051, 1459): both sides' bytes cut into lines, bodies passed over.

Lines end in a line feed; a carriage return before it is not a part of them. Where bytes were lost, reading goes on with
the first line that is whole.
"""

import re
from abc import abstractmethod

from exporter.dissector import Ends
from exporter.formats.stream import Collector
from exporter.model import Message

__all__ = ["LineParser"]

MAX_LINE = 16384
"""Of a longer line only its beginning and its end are kept."""
_HEAD, _TAIL = 1024, 64
_DOT = re.compile(rb"\n\.\r?\n")
"""What ends a body that is no counted one (RFC 5321 section 4.1.1.4, RFC 1939 section 3)."""


class LineParser(Collector):
    """A connection of lines. A subclass reads `line`; `over` is set by it where another protocol takes over.

    `silent`: nothing more is wanted of either side.
    """

    __slots__ = ("_body", "_held", "_lost", "_pass", "ends", "over", "silent")

    def __init__(self, ends: Ends) -> None:
        """Hold nothing yet."""
        self.ends = ends
        self.over = self.silent = False
        self._held = [b"", b""]
        self._lost = 0
        """The sides of which a line may have lost its beginning, a bit each."""
        self._body = 0
        """The sides that send a body which a dot ends, a bit each."""
        self._pass = [0, 0]

    @abstractmethod
    def line(self, side: int, line: bytes, found: list[Message]) -> None:
        """Read a line without its end."""

    def gone(self, side: int) -> None:
        """Forget what no longer holds as lines of this side are missing."""

    def skip(self, side: int) -> int:
        if self.silent:
            return -1
        size = self._pass[side]
        self._pass[side] = 0
        return size

    def gap(self, side: int) -> bool:
        self._held[side] = b""
        self._pass[side] = 0
        self._body &= ~(1 << side)
        self._lost |= 1 << side
        self.gone(side)
        return True

    def rest(self, side: int) -> bytes:
        held, self._held[side] = self._held[side], b""
        return held

    def pass_over(self, side: int, size: int) -> None:
        """Say that so many bytes follow this line which are no lines."""
        self._pass[side] = size

    def begin_body(self, side: int) -> None:
        """Say that a body follows this line, up to a line that is a dot."""
        self._body |= 1 << side

    def no_body(self, side: int) -> None:
        """Say that it does not follow after all."""
        self._body &= ~(1 << side)

    def in_body(self, side: int) -> bool:
        """Tell whether what this side sends is no line."""
        return bool(self._body >> side & 1)

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        bit = 1 << side
        data = self._held[side] + data
        at, end = 0, len(data)
        if self._lost & bit:
            at = data.find(b"\n") + 1
            if not at:
                return
            self._lost &= ~bit
        while at < end and not self.over:
            if self._pass[side]:
                size = min(self._pass[side], end - at)
                self._pass[side] -= size
                at += size
            elif self._body & bit:
                at, whole = _dot(data, at)
                if not whole:
                    break
                self._body &= ~bit
            else:
                stop = data.find(b"\n", at)
                if stop < 0:
                    break
                self.line(side, data[at : stop - 1 if data[stop - 1 : stop] == b"\r" else stop], found)
                at = stop + 1
                if self._body & bit:
                    at = stop  # the dot may be the body's first line: it comes after a line's end too
        left = data[at:]
        if len(left) > MAX_LINE and not self.over:
            left = left[:_HEAD] + left[-_TAIL:]
        self._held[side] = left


def _dot(data: bytes, at: int) -> tuple[int, bool]:
    """Find a body's end: where reading goes on, and whether it was there."""
    if found := _DOT.search(data, at):
        return found.end(), True
    last = data.rfind(b"\n", max(at, len(data) - 3))
    return (len(data) if last < 0 else last), False
