"""The workers' open questions, and whose turn it is: new ones at once, others when they are due.

A question is dropped with its final answer, when its connection is gone, or when it is the oldest of too many. `now` is
monotonic.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count

from exporter.identity.netlink import PROTOCOLS, End
from exporter.identity.records import Place
from exporter.model import Answer, Ask, Watch

__all__ = ["Key", "Question", "Questions", "valid"]

LIMIT = 32_768
"""Questions at a time."""
BATCH, AGAIN_TOO = 500, 100
"""New questions, and others, looked at between two looks at the channels: 20 ms."""
PORT = 65_535

Key = tuple[int, int]
"""A channel, and the question's serial there."""


class Question:
    """An Ask under way."""

    __slots__ = ("answer", "ask", "asked", "due", "end", "key", "place", "tries")

    def __init__(self, key: Key, ask: Ask, now: float = 0.0) -> None:
        self.key = key
        self.asked = now
        self.ask = ask
        self.end = End(ask.transport, ask.local, ask.lport, ask.remote, ask.rport)
        self.place: Place | None = None
        """By which the kernel may tell of it yet."""
        self.tries = 0
        self.due = 0.0
        self.answer: Answer | None = None


class Questions:
    """All open questions, by channel and serial."""

    def __init__(self) -> None:
        """Begin without any."""
        self.open: dict[Key, Question] = {}
        self.new: list[Question] = []
        """Nobody has looked at these."""
        self.awaited: dict[Place, Question] = {}
        self._heap: list[tuple[float, int, Question]] = []
        self._order = count()

    def __len__(self) -> int:
        """Give the number of open questions."""
        return len(self.open)

    def add(self, question: Question) -> Question | None:
        """Take a question; give the oldest where there are too many: it is open no longer."""
        self.drop(question.key)
        oldest = next(iter(self.open.values())) if len(self.open) >= LIMIT else None
        if oldest:
            self.drop(oldest.key)
        self.open[question.key] = question
        if question.place:
            self.awaited[question.place] = question
        self.new.append(question)
        return oldest

    def drop(self, key: Key) -> None:
        question = self.open.pop(key, None)
        if question and question.place and self.awaited.get(question.place) is question:
            del self.awaited[question.place]

    def forget(self, channel: int) -> None:
        """Drop all questions of a worker that has started anew."""
        for key in [key for key in self.open if key[0] == channel]:
            self.drop(key)

    def holds(self, question: Question) -> bool:
        """Tell whether anybody still wants to know."""
        return self.open.get(question.key) is question

    def schedule(self, question: Question, due: float) -> None:
        """Let it have its next turn at this time, and at no other."""
        question.due = due
        heappush(self._heap, (due, next(self._order), question))

    def due(self) -> float | None:
        """Give the time of the next turn of those that are not new."""
        while self._heap and not self._stands(self._heap[0]):
            heappop(self._heap)  # nobody is woken for what nobody waits for
        return self._heap[0][0] if self._heap else None

    def take(self, now: float, known: Callable[[Question], object] | None) -> Iterator[Question]:
        """Give what is new, then what is due; questions that were dropped or have another time are passed over.

        Of too many new ones those that are `known` go first, and of the others the newest: a process may be gone in
        milliseconds, and behind those that have waited for longer nobody would be found in time.
        """
        new, self.new = self.new, []
        if len(new) > BATCH:
            if known:
                yield from (question for question in new if self.holds(question) and known(question))
                new = [question for question in new if not (question.tries or question.due)]
            self.new, new = new[:-BATCH], new[-BATCH:]
        yield from filter(self.holds, reversed(new))
        for _ in range(AGAIN_TOO if new else BATCH):
            if not self._heap or self._heap[0][0] > now:
                return
            entry = heappop(self._heap)
            if self._stands(entry):
                yield entry[2]

    def sift(self) -> None:
        """Let go of turns that nobody waits for, where they are most of all."""
        if len(self._heap) > 2 * len(self.open) + BATCH:
            self._heap = list(filter(self._stands, self._heap))
            heapify(self._heap)

    def shrink(self) -> None:
        """Give back what the tables took when they were fuller: a dictionary never does so itself."""
        self.open, self.awaited = dict(self.open), dict(self.awaited)

    def _stands(self, entry: tuple[float, int, Question]) -> bool:
        """Tell whether a question is still due when it once was said to be."""
        return entry[2].due == entry[0] and self.holds(entry[2])


def valid(record: Ask | Watch) -> bool:
    """Tell whether there can be such a socket at all."""
    sizes = {len(record.local), len(record.remote)}
    ports = 0 <= record.lport <= PORT and 0 <= record.rport <= PORT
    return ports and record.transport in PROTOCOLS and sizes in ({4}, {16})
