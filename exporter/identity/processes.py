"""Which process this is: its owner record, cached while the pid is the same process, and kept a while after its end."""

import contextlib
from typing import NamedTuple, Protocol

from exporter.identity.cgroup import get_place, parse_cgroups
from exporter.identity.groups import Grouping
from exporter.identity.procfs import TICK, Procfs, Stat, get_boot_time, get_name, parse_command, parse_uid
from exporter.model import Owner

__all__ = ["Processes", "ProcfsProcesses"]

DEPTH = 4
"""Ancestors told of."""
KEPT = 60.0
"""Seconds for which an ended process is remembered."""
SETTLED, TRUSTED = 1.0, 0.02
"""Who has been the same for so long is not looked at again for so long."""
JUST = 1.0
"""Seconds after which a pid that cannot be read any more proves nothing."""
ENDED = frozenset({"Z", "X"})
"""States of one that only waits for its parent to take note."""


class Processes(Protocol):
    """Any way to read processes."""

    def owner(self, pid: int, now: float) -> Owner | None:
        """Give a process' record; None if there is no such process, or it may not be read. `now` is monotonic."""

    def prune(self, now: float) -> None:
        """Forget what ended long ago."""


class Known(NamedTuple):
    """A process read before. Its name may change by exec: then `comm` changes too."""

    stat: Stat
    name: str
    owner: Owner
    exe: bytes
    built: float
    """When all of it was read; monotonic."""


class ProcfsProcesses:
    """Processes as procfs shows them."""

    def __init__(self, proc: Procfs, grouping: Grouping) -> None:
        """Take the procfs and the rules for names."""
        self.proc = proc
        self.grouping = grouping
        self.known: dict[int, Known] = {}
        self.seen: dict[int, float] = {}

    def owner(self, pid: int, now: float) -> Owner | None:
        known = self.get(pid, now)
        return known.owner if known else None

    def get(self, pid: int, now: float) -> Known | None:
        """Read a process, or what is known of it, if it is still the same and has the same name."""
        known = self.known.get(pid)
        if known and now - self.seen[pid] <= (TRUSTED if now - known.built > SETTLED else 0.0):
            return known
        try:
            stat = self.proc.stat(pid)
        except OSError:
            return known if known and now - self.seen[pid] < JUST else None
        same = known is not None and known.stat.ticks == stat.ticks and known.stat.comm == stat.comm
        if known is None or not same or self.executable(pid) not in (known.exe, b""):
            known = self.known[pid] = self.build(pid, stat, now)
        self.seen[pid] = now
        return known

    def exactly(self, pid: int, start: int, now: float) -> Known | None:
        """Give what is known of this very process, which may be gone; `start` as in `Stat.ticks`."""
        before = self.known.get(pid)
        for known in (self.get(pid, now), before):
            if known and known.stat.ticks == start:
                return known
        return None

    def lives(self, pid: int, start: int) -> bool:
        """Tell whether this very process has not ended yet."""
        try:
            stat = self.proc.stat(pid)
        except OSError:
            return False
        return stat.ticks == start and stat.state not in ENDED

    def renew(self, pid: int, now: float) -> None:
        """Read a process wholly anew, if it lives: it may show another command line, or be moved to another cgroup."""
        with contextlib.suppress(OSError):
            self.known[pid] = self.build(pid, self.proc.stat(pid), now)
            self.seen[pid] = now

    def forget(self, pid: int) -> None:
        """Forget what a process was before it executed another program."""
        self.known.pop(pid, None)
        self.seen.pop(pid, None)

    def build(self, pid: int, stat: Stat, now: float) -> Known:
        """Read all that is told of a process; what may not be read stays empty."""
        exe = self.executable(pid)
        status = cgroups = b""
        command: tuple[str, ...] = ()
        with contextlib.suppress(OSError):
            command = parse_command(self.proc.read(pid, "cmdline", 4096))
        with contextlib.suppress(OSError):
            status = self.proc.read(pid, "status", 4096)
        with contextlib.suppress(OSError):
            cgroups = self.proc.read(pid, "cgroup")
        name, path = get_name(exe, stat.comm, command)
        cgroup = parse_cgroups(cgroups) if cgroups else ""
        place = get_place(cgroup)
        owner = Owner(
            process=self.grouping.own(pid, stat.ppid) or self.grouping.label(name, path, command, place.unit),
            pid=pid,
            start=round(get_boot_time() + stat.ticks * TICK, 2),
            executable=path,
            command=command,
            uid=parse_uid(status),
            ppid=stat.ppid,
            cgroup=cgroup,
            unit=place.unit,
            container=place.container,
            pod=place.pod,
            ancestors=self.ancestors(stat.ppid, now),
        )
        return Known(stat, name, owner, exe, now)

    def executable(self, pid: int) -> bytes:
        """Read the executable's path; empty where that may not be. A wrapper and what it runs may share a `comm`."""
        with contextlib.suppress(OSError):
            return self.proc.exe(pid)
        return b""

    def ancestors(self, ppid: int, now: float) -> tuple[tuple[int, str], ...]:
        """Give (pid, name) of the parents, nearest first; a parent's own record tells the rest."""
        parent = self.get(ppid, now) if ppid else None
        if parent is None:
            return ()
        return ((ppid, parent.name), *parent.owner.ancestors)[:DEPTH]

    def parent(self, pid: int) -> int:
        """Give a process' parent, as far as known; 0 if there is none."""
        if known := self.known.get(pid):
            return known.stat.ppid
        try:
            return self.proc.stat(pid).ppid
        except OSError:
            return 0

    def prune(self, now: float) -> None:
        for pid in [pid for pid, seen in self.seen.items() if now - seen > KEPT]:
            del self.seen[pid], self.known[pid]
