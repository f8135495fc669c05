"""Streams of messages that tell their own length: what of each is read, and that the rest is passed over unseen."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

from exporter.dissector import Ends, Parser
from exporter.errors import ParseError
from exporter.formats.stream import Inbox, until
from exporter.model import Message

__all__ = ["MORE_NEEDED", "Framed", "Waiting", "line_end"]

MORE_NEEDED = (0, 0)
"""What `measure` gives while the length cannot be told yet."""

T = TypeVar("T")
_MAX_WAITING = 256


class Waiting(Generic[T]):
    """The requests that wait for their response, first in, first out; of too many, the oldest is forgotten.

    Each gets a number that its response is matched by: after a gap, what is answered late belongs to nobody.
    """

    __slots__ = ("_all", "_serial")

    def __init__(self) -> None:
        self._all: list[tuple[int, T]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, what: T) -> int:
        """Note a request; give its number."""
        if len(self._all) >= _MAX_WAITING:
            del self._all[0]
        self._serial += 1
        self._all.append((self._serial, what))
        return self._serial

    def first(self) -> tuple[int, T] | None:
        """Give the oldest."""
        return self._all[0] if self._all else None

    def pop(self) -> tuple[int, T] | None:
        """Give the oldest, and forget it."""
        return self._all.pop(0) if self._all else None

    def put_back(self, entry: tuple[int, T]) -> None:
        """Let one be the oldest again."""
        self._all.insert(0, entry)

    def clear(self) -> None:
        self._all.clear()


class Framed(Parser):
    """A parser of messages one after the other; a protocol's own says how they are measured and what they mean."""

    __slots__ = ("_inboxes", "_left", "_lost", "done", "over")

    resumable: ClassVar[bool] = False
    """After a gap a side is read on from the first segment that `resumes` knows as a message's beginning."""

    def __init__(self, ends: Ends) -> None:  # noqa: ARG002 - of a parser's form
        self._inboxes = (Inbox(), Inbox())
        self._left = [0, 0]
        """Bytes of the message under way that nobody needs to see."""
        self._lost = [False, False]
        self.over = False
        """Another protocol has taken over."""
        self.done = False
        """Nothing more is wanted of this connection."""

    @abstractmethod
    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        """Give the length of the message at `at`, and how much of it is read (0: nothing); or `MORE_NEEDED`.

        Raise `ParseError` where no message begins.
        """

    @abstractmethod
    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        """Read a message's beginning, as long as `measure` said."""

    def resumes(self, side: int, data: bytes) -> bool:  # noqa: ARG002 - a default
        """Tell whether a message certainly begins here."""
        return False

    def forget(self) -> None:
        """Bytes are lost: forget what waits for them."""

    def resting(self) -> bool:
        """Tell whether no message is under way on either side."""
        return not (
            self.done or self.over or any(self._left) or any(self._lost) or any(map(len, self._inboxes))
        )

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found: list[Message] = []
        try:
            self._feed(side, data, found)
        except ParseError as error:
            return until(error, found)
        return found

    def skip(self, side: int) -> int:
        if self.done:
            return -1
        left, self._left[side] = self._left[side], 0
        return left

    def gap(self, side: int) -> bool:
        self._inboxes[side].take()
        self._left[side] = 0
        self._lost[side] = True
        self.forget()
        return self.resumable

    def rest(self, side: int) -> bytes:
        return self._inboxes[side].take()

    def _feed(self, side: int, data: bytes, found: list[Message]) -> None:
        if left := self._left[side]:
            self._left[side] = max(0, left - len(data))
            data = data[left:]
        if self.done or not data:
            return
        if self._lost[side]:
            if not self.resumes(side, data):
                return
            self._lost[side] = False
        inbox = self._inboxes[side]
        if not (data := inbox.add(data)):
            return
        at, end, need = 0, len(data), 1
        measure = self.measure
        while at < end and not self.over and not self.done:
            whole, wanted = measure(side, data, at)
            if end - at < wanted or not whole:
                need = wanted or end - at + 1
                break
            if wanted:
                self.read(side, data[at : at + wanted], found)
            at += whole
        if at > end:
            self._left[side] = at - end
        inbox.keep(data[at:], need)


def line_end(data: bytes, at: int, limit: int) -> int:
    """Give where the line that begins at `at` ends, after its feed; 0: not yet."""
    end = data.find(b"\n", at, at + limit) + 1
    if not end and len(data) - at >= limit:
        raise ParseError("long")
    return end
