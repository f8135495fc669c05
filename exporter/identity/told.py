"""What the kernel told of sockets and processes: the owner of each socket from its first packet on, and after its end.

The events come by a ring in memory that the supervisor's programs fill, in their order. A socket is remembered while it
is open and some seconds longer, as far as there is room; what was forgotten or lost is looked up as without eBPF.
"""

import time
from collections import deque
from collections.abc import Iterator

import msgspec

from exporter.ebpf.cgroups import Cgroups
from exporter.ebpf.layout import Origin
from exporter.ebpf.owners import Closed, Ends, Process, read_events, ticks
from exporter.ebpf.ring import Ring
from exporter.identity.budget import Budget
from exporter.identity.cgroup import get_place
from exporter.identity.netlink import End
from exporter.identity.processes import Known, ProcfsProcesses
from exporter.identity.procfs import TICK, get_boot_time
from exporter.identity.records import TRANSPORTS, Bound, Place, Record, Running, Use, end_of, pick
from exporter.identity.stats import Stats
from exporter.model import Owner

__all__ = ["Told"]

SOCKETS, CLOSED, PROCESSES = 32_768, 16_384, 8_192
"""Remembered at most: 1 KiB each."""
KEPT = 15_000_000_000
"""Nanoseconds for which a closed socket is remembered."""
NOW = 1e9
BATCH = 4_000
"""Events read at a time: 30 ms, and more than the ring of 256 KiB holds."""
INIT = 1
"""The service manager opens sockets for others."""
SURE = frozenset({Origin.CREATED, Origin.USED})


class Told:
    """The tables that the events make."""

    def __init__(self, ring: Ring, processes: ProcfsProcesses, cgroups: Cgroups | None, stats: Stats) -> None:
        """Take the ring; `processes` tell more of whom is still there."""
        self.ring = ring
        self.processes = processes
        self.cgroups = cgroups
        self.stats = stats
        self.own = processes.proc.netns("self")
        self.names: dict[Running, Process] = {}
        self.ends: dict[Place, list[Record]] = {}
        self.bound: dict[Bound, list[Record]] = {}
        self.open: dict[int, list[Record]] = {}  # by the socket's cookie
        self.closed: deque[Record] = deque()
        self.budget = Budget(rate=0.05, burst=0.25)
        self.lost = 0
        self.drained = 0.0
        """When the ring was read; `behind`: not to its end."""
        self.behind = False

    # -- events ----------------------------------------------------------------------------------------------------

    def drain(self, now: float) -> Iterator[Place | Running]:
        """Take what came; give the ends that are now known, and who executes another program."""
        self.drained = now
        count = 0
        for event in read_events(self.ring.read(BATCH)):
            count += 1
            match event:
                case Ends():
                    if place := self.note(event):
                        yield place
                case Closed():
                    self.close(event)
                case Process():
                    process = self.meet(event, now)
                    if event.executed:
                        yield process
        self.behind = count == BATCH
        horizon = time.monotonic_ns() - KEPT
        while self.closed and (self.closed[0].closed < horizon or len(self.closed) > CLOSED):
            self.forget(self.closed.popleft())

    def meet(self, process: Process, now: float) -> Running:
        """Remember a process, and read the rest of it while it lives."""
        key = Running(process.tgid, ticks(process.start))
        self.names.pop(key, None)
        if len(self.names) >= PROCESSES:
            del self.names[next(iter(self.names))]
        self.names[key] = process
        if process.executed:
            self.processes.forget(process.tgid)
        if self.budget.ready(now):
            begun = time.perf_counter()
            self.processes.get(process.tgid, now)
            self.budget.spend(time.perf_counter() - begun)
        return key

    def note(self, told: Ends) -> Place | None:
        """Remember a socket; the same one again has got another owner, or other ends."""
        if told.lost > self.lost:
            self.stats.errors["lost"] += told.lost - self.lost
            self.lost = told.lost
        key = told.key
        if key.transport not in TRANSPORTS or not told.space:
            return None
        place = (told.space, end_of(key)) if key.rport else None
        known = self.open.setdefault(key.cookie, [])
        for record in known:
            if record.place == (place or (told.space, key.lport)):
                record.take(told)
                return place
        if not known and len(self.open) > SOCKETS:
            self.evict()
        if place:
            record = Record(told, place)
            self.ends.setdefault(place, []).append(record)
            for other in known:  # what is connected takes no other packets
                other.closed = other.closed or told.time
        else:
            record = Record(told, (told.space, key.lport))
            self.bound.setdefault((told.space, key.lport), []).append(record)
        known.append(record)
        return place

    def close(self, event: Closed) -> None:
        for record in self.open.pop(event.cookie, ()):
            record.closed = record.closed or event.time
            self.closed.append(record)

    def evict(self) -> None:
        """Forget the socket that was told of longest ago; it is looked up as without eBPF."""
        for record in self.open.pop(next(iter(self.open))):
            self.forget(record)

    def forget(self, record: Record) -> None:
        table: dict[Place, list[Record]] | dict[Bound, list[Record]]
        table = self.ends if isinstance(record.place[1], End) else self.bound
        records = table.get(record.place, [])  # type: ignore[arg-type]
        if record in records:
            records.remove(record)
        if not records:
            table.pop(record.place, None)  # type: ignore[arg-type]

    def shrink(self) -> None:
        """Give back what the tables took when they were fuller."""
        self.names, self.open = dict(self.names), dict(self.open)
        self.ends, self.bound = dict(self.ends), dict(self.bound)

    # -- questions -------------------------------------------------------------------------------------------------

    def place(self, scope: int, end: End) -> Place:
        return scope or self.own, end

    def find(self, scope: int, end: End, since: float, now: float) -> Use | None:
        """Find who uses the socket with this end, seen first at `since` (Unix time)."""
        when = int((since - time.time() + time.monotonic()) * NOW)
        record = pick(self.ends.get(self.place(scope, end), ()), when)
        bound = record is None and end.transport == "udp"
        if bound:
            record = self.receiver(scope, end, when)
        if record is None:
            return None
        pid, start = record.process
        owner = self.owner(Running(pid, ticks(start)), now)
        if owner is None:
            return None
        sure = record.origin in SURE and pid != INIT
        return Use(owner, sure, bound, record.origin is Origin.LISTENER, not record.closed)

    def receiver(self, scope: int, end: End, when: int) -> Record | None:
        """Find who has a UDP port; nobody, where several processes have it."""
        records = [one for one in self.bound.get((scope or self.own, end.lport), ()) if one.open_at(when)]
        for fitting in (
            [one for one in records if one.local == end.local],
            [one for one in records if not any(one.local)],
        ):
            if fitting:
                return fitting[-1] if len({one.process for one in fitting}) == 1 else None
        return None

    def owner(self, process: Running, now: float, cgroup: int = 0) -> Owner | None:
        """Describe a process: as procfs shows it or did, else by what the kernel told, else not at all."""
        told = self.names.get(process)
        known = self.processes.exactly(process.pid, process.start, now)
        if known and (known.owner.executable or not told):
            number = (told.cgroup if told else 0) or cgroup
            return known.owner if known.owner.cgroup or not number else self.place_of(known, number, now)
        return self.describe(process, told, told.cgroup or cgroup, now) if told else None

    def place_of(self, known: Known, cgroup: int, now: float) -> Owner:
        """Add to a record from procfs what the process' end kept procfs from telling."""
        owner = known.owner
        path = self.cgroups.path(cgroup, now) if self.cgroups else ""
        place = get_place(path)
        grouping = self.processes.grouping
        return msgspec.structs.replace(
            owner,
            process=grouping.own(owner.pid, owner.ppid)
            or grouping.label(known.name, owner.executable, owner.command, place.unit),
            cgroup=path,
            unit=place.unit,
            container=place.container,
            pod=place.pod,
        )

    def describe(self, process: Running, told: Process, cgroup: int, now: float) -> Owner:
        """Make a process' record of what the kernel told of it."""
        path = self.cgroups.path(cgroup, now) if self.cgroups else ""
        place = get_place(path)
        name = told.comm if told.executable.startswith("memfd:") else told.name
        grouping = self.processes.grouping
        return Owner(
            process=grouping.own(process.pid, told.ppid) or grouping.label(name, "", (), place.unit),
            pid=process.pid,
            start=round(get_boot_time() + process.start * TICK, 2),
            uid=told.uid,
            ppid=told.ppid,
            cgroup=path,
            unit=place.unit,
            container=place.container,
            pod=place.pod,
        )
