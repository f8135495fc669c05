"""Who holds a socket: from its inode number to processes, by their descriptors.

What was found before is proved anew by reading one link. Else descriptors are read: of the processes that are new, of
those that were met lately, then of all, in slices, and as often as a budget of time allows. Nothing goes by process
numbers, which come again: a sweep is over when all were read, and start times say who had the socket first.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice, repeat

from exporter.identity.budget import Budget
from exporter.identity.processes import ProcfsProcesses
from exporter.identity.stats import Stats

__all__ = ["Holders"]

YOUNG = 5.0
"""Seconds for which a process counts as new: it may open its sockets later."""
JUST = 1.0
RECENT = 64
"""Processes remembered because they held a socket lately."""
FREE, FEW = 16, 2
"""So many processes, and of each so many pieces of descriptors, are read at each look; more as the budget allows."""
PIECE = 256
"""Descriptors that are read between two looks at the clock: 0.5 ms."""
LONG, SLICE = 0.02, 0.005
"""Seconds of a look, and of a sweep at a time; other questions come in between."""
CACHE, MOST = 32_768, 262_144
"""Sockets remembered: while nobody asks, and while somebody does, who would else have them all read again."""
PLACES = 4
"""Descriptors where sockets were found last: a server that closes one gets the same number for the next."""
DEPTH = 8
MANY = 8
"""Processes remembered of a socket that several hold, besides the first that was found."""
INIT = 1


class Holders:
    """Finds the processes that hold sockets."""

    def __init__(
        self, processes: ProcfsProcesses, stats: Stats, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Take the processes to look through; the clock measures cost only."""
        self.processes = processes
        self.proc = processes.proc
        self.stats = stats
        self.clock = clock
        self.found: dict[int, int] = {}  # inode: pid << 32 | descriptor
        self.others: dict[int, list[int]] = {}  # who holds it too, likewise
        self.places: dict[int, None] = {}  # as in found, newest last
        self.young: dict[int, float] = {}
        self.listed: set[int] | None = None  # before the first look all are old
        self.recent: dict[int, None] = {}
        self.denied: set[int] = set()
        self.quick = Budget(rate=0.05, burst=0.25)
        self.full = Budget(rate=0.005, burst=0.5)
        self.partial: set[int] = set()
        """Sockets that the sweep under way has found: it may find more holders."""
        self.queue: list[int] = []
        self.reading: Iterator[int] | None = None

    # -- what is known -------------------------------------------------------------------------------------------------

    def known(self, inode: int) -> list[int]:
        """Give the holders of an inode found before, and who of their parents hold it under the same number."""
        places = [self.found[inode], *self.others.get(inode, ())] if inode in self.found else []
        holders: list[int] = []
        for place in places:
            pid, fd = place >> 32, place & 0xFFFFFFFF
            for _ in range(DEPTH):
                if pid in holders or not pid or self.proc.inode(pid, fd) != inode:
                    break
                holders.append(pid)
                pid = self.processes.parent(pid)
        if not holders:
            self.lose(inode)
        elif holders[-1] != INIT:
            self.recent.pop(holders[-1], None)
            self.recent[holders[-1]] = None
        return holders

    def certain(self, inode: int) -> list[int]:
        """Give the holders of an inode, unless a sweep under way may find more of them."""
        return [] if inode in self.partial else self.known(inode)

    def holds(self, pid: int, inode: int) -> bool:
        """Tell whether this very process holds a socket."""
        for place in (self.found.get(inode, 0), *self.others.get(inode, ())):
            if place >> 32 == pid and self.proc.inode(pid, place & 0xFFFFFFFF) == inode:
                return True
        wanted = {inode}
        self.go_on(self.read(pid, wanted), self.clock() + LONG)
        return not wanted

    def add(self, inode: int, place: int) -> None:
        """Remember a holder."""
        if self.reading is not None and inode not in self.found:
            self.partial.add(inode)
        first = self.found.setdefault(inode, place)
        if first >> 32 == place >> 32:
            self.found[inode] = place
            return
        others = self.others.setdefault(inode, [])
        others[:] = [other for other in others if other >> 32 != place >> 32][: MANY - 1]
        others.append(place)

    def lose(self, inode: int) -> None:
        self.found.pop(inode, None)
        self.others.pop(inode, None)

    def keep(self, place: int) -> None:
        """Remember where a socket was found that was asked about."""
        self.places.pop(place, None)
        self.places[place] = None
        while len(self.places) > PLACES:
            del self.places[next(iter(self.places))]

    def prune(self, *, busy: bool = False) -> None:
        """Forget half of a full cache. `busy`: there are open questions."""
        limit = MOST if busy else CACHE
        if len(self.found) > limit:
            for inode in list(self.found)[: len(self.found) - limit // 2]:
                self.lose(inode)

    # -- a look where they most likely are -----------------------------------------------------------------------------

    def look(self, wanted: set[int], now: float) -> None:
        """Look where they most likely are. The set loses what is found."""
        begun = self.clock()
        self.guess(wanted)
        if not wanted:
            return
        self.stats.scans += 1
        left, missing = self.candidates(now), set(wanted)
        rich, count = self.quick.ready(now), 0
        while left and wanted and (rich or count < FREE) and self.clock() - begun < LONG:
            count += 1
            self.go_on(self.read(left.pop(), wanted), begun + LONG, None if rich else FEW)
        for inode in missing - wanted:
            self.share(inode, left)
        while len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]
        self.spend(self.quick, begun)

    def guess(self, wanted: set[int]) -> None:
        """Look at the descriptors where sockets were found last. The set loses what is found."""
        for place in reversed(list(self.places)):
            inode = self.proc.inode(place >> 32, place & 0xFFFFFFFF)
            if inode in wanted:
                self.add(inode, place)
                wanted.discard(inode)
                if not wanted:
                    return

    def candidates(self, now: float) -> list[int]:
        """List those met lately, then new processes in the order of their starts: the likeliest come last."""
        pids = self.proc.pids()
        new = set() if self.listed is None else pids - self.listed
        begun = {pid: known.stat.ticks for pid in new if (known := self.processes.get(pid, now))}
        self.young.update(dict.fromkeys(sorted(begun, key=begun.__getitem__), now))
        self.listed = pids
        self.denied &= pids
        self.young = {p: t for p, t in self.young.items() if p in pids and now - t < YOUNG}
        return [pid for pid in self.recent if pid not in self.young] + list(self.young)

    def share(self, inode: int, pids: list[int]) -> None:
        """See who of the next candidates holds a socket under the same number: these have it of one parent."""
        fd = self.found[inode] & 0xFFFFFFFF
        for pid in pids[-FREE:]:
            if self.proc.inode(pid, fd) == inode:
                self.add(inode, pid << 32 | fd)

    def busy(self, now: float) -> bool:
        """Tell whether processes were begun in the last second: such may end at any moment."""
        return bool(self.young) and now - next(reversed(self.young.values())) < JUST

    # -- a sweep over all ----------------------------------------------------------------------------------------------

    def sweeping(self) -> bool:
        """There is more of a sweep to do."""
        return bool(self.queue) or self.reading is not None

    def begin(self, now: float, *, force: bool = False) -> bool:
        """Begin a sweep over all processes, if the budget allows one now and none is under way."""
        if self.sweeping() or not (force or self.full.ready(now)):
            return False
        self.stats.sweeps += 1
        self.queue = list(self.proc.pids())
        return True

    def step(self) -> None:
        """Go on with the sweep for one slice; all that there is to find is found when it is over."""
        begun = self.clock()
        while self.sweeping():
            if self.reading is None:
                self.reading = self.read(self.queue.pop(), set())
            if self.go_on(self.reading, begun + SLICE):
                self.reading = None
            if self.clock() - begun >= SLICE:
                break
        if not self.sweeping():
            self.partial.clear()
        self.spend(self.full, begun)

    # -- reading -------------------------------------------------------------------------------------------------------

    def go_on(self, reading: Iterator[int], until: float, pieces: int | None = None) -> bool:
        """Go on with one process' descriptors, for a time and so many pieces; tell whether these were the last."""
        for _ in repeat(None) if pieces is None else repeat(None, pieces):
            if sum(1 for _ in islice(reading, PIECE)) < PIECE:
                return True
            if self.clock() >= until:
                break
        return False

    def read(self, pid: int, wanted: set[int]) -> Iterator[int]:
        """Read a process' descriptors as far as somebody goes on, and give them. The set loses what is found."""
        self.stats.scanned += 1
        try:
            for fd, inode in self.proc.descriptors(pid):
                if inode:
                    place = pid << 32 | fd
                    self.add(inode, place)
                    if inode in wanted:
                        wanted.discard(inode)
                        self.keep(place)
                yield fd
        except PermissionError:
            self.denied.add(pid)
        except OSError:
            return

    def spend(self, budget: Budget, begun: float) -> None:
        spent = self.clock() - begun
        budget.spend(spent)
        self.stats.scan_seconds += spent
