"""Pieces of a byte stream, kept until enough of them is there; and what was read of them before an error."""

from collections.abc import Iterator

from exporter.model import Message

__all__ = ["Inbox", "until"]


def until(error: Exception, said: list[Message]) -> Iterator[Message]:
    """Give what was said before an error, then raise it."""
    yield from said
    raise error


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
