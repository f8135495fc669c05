"""Answers which process a pid and a start time stand for: from procfs while it lives, else from what the kernel told.

Answered at once, again when it executes another program, and looked at again seldom: a process may show another command
line, or be moved to another cgroup, and a rule for names may go by either. `now` is monotonic.
"""

from collections import deque

from exporter.identity.processes import ProcfsProcesses
from exporter.identity.records import Running
from exporter.identity.sources import Sources
from exporter.identity.stats import Stats
from exporter.model import Answer, Owner, Whose

__all__ = ["Inquiries"]

LIMIT = 32_768
"""Processes asked about at a time."""
SETTLED = 0.25
"""Seconds until the first look back: between fork and exec without eBPF, and what a starting process sets of itself."""
TURN, TURNS, MOST = 1.0, 30, 10
"""Later each second some are looked at, so that it is each one's turn after 30: but ten at most, 0.1 ms each."""

Key = tuple[int, int]


class Inquiry:
    """A Whose under way."""

    __slots__ = ("key", "owner", "process", "whose")

    def __init__(self, key: Key, whose: Whose) -> None:
        self.key = key
        self.whose = whose
        self.process = Running(whose.pid, whose.start)
        self.owner: Owner | None = None


class Inquiries:
    """All processes asked about; answers go to `out` as (channel, Answer)."""

    def __init__(self, sources: Sources, stats: Stats, out: list[tuple[int, Answer]]) -> None:
        """Take the sources to ask."""
        self.sources = sources
        self.stats = stats
        self.out = out
        self.open: dict[Key, Inquiry] = {}
        self.asked: dict[Running, list[Inquiry]] = {}
        self.new: list[Inquiry] = []
        self.young: deque[tuple[float, Inquiry]] = deque()
        self.old: deque[Inquiry] = deque()
        self.turned = 0.0

    def ask(self, channel: int, whose: Whose) -> None:
        """Take a question; it is answered by the next `work`."""
        self.stats.asks += 1
        inquiry = Inquiry((channel, whose.serial), whose)
        self.drop(inquiry.key)
        if len(self.open) >= LIMIT:
            self.drop(next(iter(self.open)))
            self.stats.errors["evicted"] += 1
        self.open[inquiry.key] = inquiry
        self.asked.setdefault(inquiry.process, []).append(inquiry)
        self.new.append(inquiry)

    def drop(self, key: Key) -> None:
        inquiry = self.open.pop(key, None)
        if inquiry is None:
            return
        others = self.asked[inquiry.process]
        others.remove(inquiry)
        if not others:
            del self.asked[inquiry.process]

    def forget(self, channel: int) -> None:
        """Drop all questions of a worker that has started anew."""
        for key in [key for key in self.open if key[0] == channel]:
            self.drop(key)

    def shrink(self) -> None:
        """Give back what the tables took when they were fuller."""
        self.open, self.asked = dict(self.open), dict(self.asked)

    def executed(self, process: Running, now: float) -> None:
        """Answer again: it runs another program now."""
        for inquiry in tuple(self.asked.get(process, ())):
            self.look(inquiry, now)

    def deadline(self) -> float | None:
        """Say when there is work that should not wait; None: not before something comes."""
        if self.new:
            return 0.0
        return self.young[0][0] if self.young else None

    def work(self, now: float) -> None:
        """Answer what is new, and look back at some of the rest.

        Of whom nobody knows, the kernel may have told what is not read yet: that is waited for.
        """
        new, self.new = self.new, []
        told = self.sources.told
        for inquiry in new:
            if self.open.get(inquiry.key) is not inquiry:
                continue
            if told and told.behind and self.find(inquiry, now)[0] is None:
                self.new.append(inquiry)
                continue
            self.look(inquiry, now)
            self.young.append((now + SETTLED, inquiry))
        while self.young and self.young[0][0] <= now:
            self.again(self.young.popleft()[1], now)
        if now - self.turned >= TURN:
            self.turned = now
            for _ in range(min(MOST, -(-len(self.old) // TURNS))):
                self.again(self.old.popleft(), now)

    def again(self, inquiry: Inquiry, now: float) -> None:
        """Look back at a process, unless nobody waits for it any more."""
        if self.open.get(inquiry.key) is not inquiry:
            return
        if isinstance(self.sources.processes, ProcfsProcesses):
            self.sources.processes.renew(inquiry.process.pid, now)
        self.look(inquiry, now)
        self.old.append(inquiry)

    def look(self, inquiry: Inquiry, now: float) -> None:
        """Answer if it is news; the last answer is about who has ended, or whom nobody knows."""
        owner, lives = self.find(inquiry, now)
        if lives and owner == inquiry.owner:
            return
        inquiry.owner = owner
        method, quality = ("ebpf", "exact") if owner else ("none", "none")
        channel, serial = inquiry.key
        self.out.append((channel, Answer(serial, owner, method, quality, alive=lives, final=not lives)))
        if not lives:
            self.drop(inquiry.key)

    def find(self, inquiry: Inquiry, now: float) -> tuple[Owner | None, bool]:
        """Give the process' record, and whether it still lives."""
        processes, process = self.sources.processes, inquiry.process
        if not isinstance(processes, ProcfsProcesses):
            return None, False
        lives = processes.lives(process.pid, process.start)
        if self.sources.told:
            owner = self.sources.told.owner(process, now, inquiry.whose.cgroup)
        else:
            known = processes.exactly(process.pid, process.start, now)
            owner = known.owner if known else None
        return owner, lives and owner is not None
