"""Pieces of a byte stream, kept until enough of them is there; and what was read of them before an error."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

from exporter.dissector import Parser
from exporter.errors import ParseError
from exporter.model import Message

__all__ = ["Collector", "Datagrams", "Inbox", "until"]


def until(error: Exception, said: list[Message]) -> Iterator[Message]:
    """Give what was said before an error, then raise it."""
    yield from said
    raise error


class Collector(Parser):
    """A parser that collects what it reads; what was said before an error comes before the error."""

    __slots__ = ()

    @abstractmethod
    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        """Read on, and add to `found`; raise `ParseError` and nothing else."""

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found: list[Message] = []
        try:
            self._read(side, data, found)
        except ParseError as error:
            return until(error, found)
        return found


class Datagrams(Collector):
    """The same over datagrams, of which so many are read at the most; a lost one makes the next no harder to read."""

    __slots__ = ("_done", "_left")

    MOST: ClassVar[int]

    def __init__(self) -> None:
        """Want all that comes."""
        self._done = False
        self._left = self.MOST

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        self._left -= 1
        self._done = self._done or self._left < 0
        return super().feed(side, data)

    def skip(self, side: int) -> int:  # noqa: ARG002 - both sides alike
        return -1 if self._done else 0

    def gap(self, side: int) -> bool:  # noqa: ARG002 - as above
        return True


class Inbox:
    """What came of one side and is not read yet. Nothing is joined or read before as much is there as is needed."""

    __slots__ = ("_held", "_need")

    def __init__(self) -> None:
        self._held = bytearray()
        self._need = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, data: bytes) -> bytes:
        """Give all that can be read now; b"": wait."""
        held = self._held
        if not held:
            return data
        held += data
        if len(held) < self._need:
            return b""
        self._held = bytearray()
        return bytes(held)

    def keep(self, data: bytes, need: int) -> None:
        """Keep what is left for the next time, which comes when there are `need` bytes."""
        self._held += data
        self._need = need

    def take(self) -> bytes:
        """Give what is held, and forget it."""
        held, self._held = bytes(self._held), bytearray()
        return held
