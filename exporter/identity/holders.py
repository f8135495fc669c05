"""Who holds a socket: from its inode number to processes, by their descriptors.

What was found before is proved anew by reading one link. Else descriptors are read: of the processes that are new, of
those that were met lately, then of all, newest first, in slices, and as often as a budget of time allows.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from exporter.identity.processes import ProcfsProcesses
from exporter.identity.stats import Stats

__all__ = ["Budget", "Holders"]

YOUNG = 5.0
"""Seconds for which a process counts as new: it may open its sockets later."""
RECENT = 64
"""Processes remembered because they held a socket lately."""
FREE, LARGE = 16, 512
"""So many processes are read at each look; more, and one with so many sockets, only as the budget allows."""
SLICE = 0.01
"""Seconds of a sweep at a time; questions come in between."""
CACHE, MOST = 32_768, 262_144
"""Sockets remembered: while nobody asks, and while somebody does, who would else have them all read again."""
PLACES = 4
"""Descriptors where sockets were found last: a server that closes one gets the same number for the next."""
DEPTH = 8


@dataclass
class Budget:
    """Time that may be spent: so many seconds a second, and so many saved up."""

    rate: float
    burst: float
    left: float = field(init=False)
    last: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Start with all of it."""
        self.left = self.burst

    def ready(self, now: float) -> bool:
        """Tell whether anything may be spent now; what is begun may overdraw it."""
        self.left = min(self.burst, self.left + (now - self.last) * self.rate)
        self.last = now
        return self.left > 0

    def spend(self, seconds: float) -> None:
        self.left -= seconds


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
        self.places: dict[int, None] = {}  # as in found, newest last
        self.young: dict[int, float] = {}
        self.listed: set[int] | None = None  # before the first look all are old
        self.recent: dict[int, None] = {}
        self.sizes: dict[int, int] = {}
        self.denied: set[int] = set()
        self.quick = Budget(rate=0.05, burst=0.25)
        self.full = Budget(rate=0.005, burst=0.5)
        self.queue: list[int] = []
        self.forced = False

    def known(self, inode: int) -> list[int]:
        """Give the holders of an inode found before: the one found, then those it inherited it from; or nothing."""
        place = self.found.get(inode)
        if place is None:
            return []
        pid, fd = place >> 32, place & 0xFFFFFFFF
        if self.proc.inode(pid, str(fd)) != inode:
            del self.found[inode]
            return []
        holders = [pid]
        for _ in range(DEPTH):
            pid = self.processes.parent(pid)
            if not pid or self.proc.inode(pid, str(fd)) != inode:
                break
            holders.append(pid)
        if holders[-1] != 1:
            self.recent.pop(holders[-1], None)
            self.recent[holders[-1]] = None
        return holders

    def look(self, wanted: set[int], now: float) -> None:
        """Look where they most likely are. The set loses what is found."""
        begun = self.clock()
        self.guess(wanted)
        if not wanted:
            return
        self.stats.scans += 1
        for index, pid in enumerate(self.candidates(now)):
            if not wanted:
                break
            if (index < FREE and self.sizes.get(pid, 0) < LARGE) or self.quick.ready(now):
                self.read(pid, wanted)
        while len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]
        self.spend(self.quick, begun)

    def guess(self, wanted: set[int]) -> None:
        """Look at the descriptors where sockets were found last. The set loses what is found."""
        for place in reversed(list(self.places)):
            inode = self.proc.inode(place >> 32, str(place & 0xFFFFFFFF))
            if inode in wanted:
                self.found[inode] = place
                wanted.discard(inode)
                if not wanted:
                    return

    def candidates(self, now: float) -> Iterable[int]:
        """List new processes, newest first, then those met lately."""
        pids = self.proc.pids()
        for pid in () if self.listed is None else sorted(pids - self.listed):
            self.young[pid] = now
        self.listed = pids
        self.denied &= pids
        self.young = {p: t for p, t in self.young.items() if p in pids and now - t < YOUNG}
        young = list(reversed(self.young))
        for pid in young:
            if pid not in self.processes.known:  # its name, while it lives
                self.processes.get(pid, now)
        return young + [pid for pid in reversed(self.recent) if pid not in self.young]

    def begin(self, now: float, *, force: bool = False) -> bool:
        """Begin a sweep over all processes, if the budget allows one now."""
        if self.queue or not (force or self.full.ready(now)):
            return False
        self.forced = force
        self.stats.sweeps += 1
        self.queue = sorted(self.proc.pids())
        return True

    def step(self, wanted: set[int] | None) -> None:
        """Go on with the sweep for one slice; with None, for all there is. The set loses what is found."""
        begun = self.clock()
        while self.queue and (wanted is None or wanted) and self.clock() - begun < SLICE:
            self.read(self.queue.pop(), wanted)
        if wanted is not None and not wanted and not self.forced:
            self.queue.clear()
        self.spend(self.full, begun)

    def finish(self) -> None:
        """End a sweep that was begun by force."""
        self.queue.clear()
        self.forced = False

    def read(self, pid: int, wanted: set[int] | None) -> None:
        """Read a process' descriptors."""
        try:
            sockets = self.proc.sockets(pid)
        except PermissionError:
            self.denied.add(pid)
            return
        except OSError:
            self.sizes.pop(pid, None)
            return
        self.stats.scanned += 1
        self.sizes[pid] = len(sockets)
        for inode, fd in sockets.items():
            self.found[inode] = pid << 32 | int(fd)
        if wanted is not None:
            for inode in wanted.intersection(sockets):
                wanted.discard(inode)
                place = self.found[inode]
                self.places.pop(place, None)
                self.places[place] = None
            while len(self.places) > PLACES:
                del self.places[next(iter(self.places))]

    def holds(self, pid: int, inode: int) -> bool:
        """Tell whether this very process holds a socket."""
        self.read(pid, None)
        return self.found.get(inode, 0) >> 32 == pid

    def spend(self, budget: Budget, begun: float) -> None:
        spent = self.clock() - begun
        budget.spend(spent)
        self.stats.scan_seconds += spent

    def prune(self, *, busy: bool = False) -> None:
        """Forget: half of a full cache, and processes that are gone. `busy`: there are open questions."""
        limit = MOST if busy else CACHE
        if len(self.found) > limit:
            for inode in list(self.found)[: len(self.found) - limit // 2]:
                del self.found[inode]
        pids = self.listed or set()
        self.sizes = {pid: size for pid, size in self.sizes.items() if pid in pids}
