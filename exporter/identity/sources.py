"""All ways to know sockets and processes, opened once; the best that works is taken, and it is said why none better."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from exporter import config
from exporter.ebpf.cgroups import Cgroups
from exporter.ebpf.ring import Ring
from exporter.ebpf.support import find_cgroup
from exporter.identity.groups import Grouping
from exporter.identity.holders import Holders
from exporter.identity.netlink import CONNECTED, End, SockDiag, Socket
from exporter.identity.processes import Processes, ProcfsProcesses
from exporter.identity.procfs import Procfs
from exporter.identity.rtnetlink import Notices, Route
from exporter.identity.scopes import Addressing, Namespaces
from exporter.identity.stats import Stats
from exporter.identity.tables import Tables
from exporter.identity.told import Told

__all__ = ["Sockets", "Sources"]


class Sockets(Protocol):
    """The sockets of one network namespace, by whatever way."""

    method: str

    def prepare(self, now: float) -> float:
        """Be as fresh as may be before a batch of look-ups; give from when what they see is (monotonic).

        What takes long is only begun; see `Sources.reading`.
        """

    def lookup(self, end: End) -> Socket | None:
        """Find the connection, else the listener or the wildcard socket that its packets go to."""

    def listener(self, end: End) -> Socket | None:
        """Find the listener behind an end."""

    def dump(self, transport: str, states: int = CONNECTED) -> Iterator[Socket]:
        """List all in these states."""


class Sources:
    """What this machine offers. `own` are the sockets of our own namespace."""

    def __init__(self, settings: config.Identity, stats: Stats) -> None:
        """Open; only what was asked for by name and does not work is an error."""
        self.settings = settings
        self.stats = stats
        self.grouping = Grouping(settings.groups)
        self.holders: Holders | None = None
        self.namespaces: Namespaces | None = None
        self.foreign: dict[int, Tables] = {}
        self.route: Route | None = None
        self.notices: Notices | None = None
        self.told: Told | None = None
        self.processes: Processes
        self.own: Sockets
        if settings.method == "psutil" or not self.open_procfs():
            self.open_psutil()

    def open_procfs(self) -> bool:
        """Take procfs for processes, netlink for sockets; false where there is no procfs."""
        proc = Procfs(self.settings.proc)
        try:
            proc.stat(int(proc.link("self")))
        except (OSError, ValueError) as error:
            if self.settings.method != "auto":
                raise
            self.stats.degraded["procfs"] = reason(error)
            return False
        processes = ProcfsProcesses(proc, self.grouping)
        self.processes, self.holders = processes, Holders(processes, self.stats)
        self.open_netlink(proc)
        if self.settings.namespaces:
            try:
                self.namespaces = Namespaces(proc, self.route)
            except OSError as error:
                self.stats.degraded["namespaces"] = reason(error)
        return True

    def open_netlink(self, proc: Procfs) -> None:
        try:
            self.route, self.notices = Route(), Notices()
        except OSError as error:
            self.stats.degraded["rtnetlink"] = reason(error)
        if self.settings.method != "procfs":
            try:
                self.own = SockDiag()
                return
            except OSError as error:
                if self.settings.method == "netlink":
                    raise
                self.stats.degraded["sock_diag"] = reason(error)
        self.own = Tables(proc, lambda: ["self"], self.stats)

    def listen(self, events: int, size: int) -> None:
        """Take the ring of what the kernel tells, by its descriptor and size."""
        if not isinstance(self.processes, ProcfsProcesses):
            return
        try:
            root, _ = find_cgroup(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
            ring = Ring(events, size)
            self.told = Told(ring, self.processes, Cgroups(root) if root else None, self.stats)
        except OSError as error:
            self.stats.degraded["ebpf"] = reason(error)

    def open_psutil(self) -> None:
        from exporter.identity import psutil as portable  # noqa: PLC0415 (elsewhere it is not needed)

        self.own = portable.PsutilSockets(self.stats)
        self.processes = portable.PsutilProcesses(self.grouping)

    def sockets(self, scope: int, now: float) -> Sockets | None:
        """Give the sockets of a scope; None if we know nobody in it."""
        if scope == 0:
            return self.own
        if self.namespaces is None or self.holders is None:
            return None
        if scope not in self.namespaces.members and self.namespaces.walk(now, force=True):
            self.forget()
        if scope not in self.namespaces.members:
            return None
        found = self.foreign.get(scope)
        if found is None:
            spaces = self.namespaces
            found = self.foreign[scope] = Tables(self.holders.proc, lambda: spaces.pids(scope), self.stats)
        return found

    def reading(self) -> Tables | None:
        """Give tables of which a part is not read yet, if there are any."""
        for one in (self.own, *self.foreign.values()):
            if isinstance(one, Tables) and one.reading is not None:
                return one
        return None

    def forget(self) -> None:
        """Drop the tables of namespaces that are gone."""
        members = self.namespaces.members if self.namespaces else {}
        self.foreign = {scope: tables for scope, tables in self.foreign.items() if scope in members}

    def failures(self) -> int:
        """Give how many look-ups have failed since the last time."""
        count = 0
        if isinstance(self.own, SockDiag):
            count, self.own.failures = self.own.failures, 0
        return count

    def close(self) -> None:
        for one in (self.route, self.notices, self.own if isinstance(self.own, SockDiag) else None):
            if one:
                one.close()
        if self.told:
            self.told.ring.close()

    def scopes(self) -> list[int]:
        return [0, *(self.namespaces.members if self.namespaces else ())]

    def addresses(self, scope: int) -> Addressing:
        if scope and self.namespaces:
            return self.namespaces.addresses(scope)
        if self.route:
            found = self.route.addresses()
            if isinstance(self.own, SockDiag):
                self.own.places = self.route.places
            return found
        from exporter.identity.psutil import get_addresses  # noqa: PLC0415 (elsewhere it is not needed)

        return get_addresses()

    def interfaces(self) -> tuple[tuple[str, int], ...]:
        return self.namespaces.interfaces() if self.namespaces else ()


def reason(error: Exception) -> str:
    """Make a label of an error: `permission`, or its kind."""
    return "permission" if isinstance(error, PermissionError) else type(error).__name__
