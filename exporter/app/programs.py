"""The kernel's side as the supervisor holds it: loaded where the machine allows it, and told why not where it does not.

Nothing but this process has descriptors of programs and links, so that all is unloaded when it ends. What counts is
tried first, then what tells owners and counts nothing.
"""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from exporter.app.policy import Degraded, explain
from exporter.ebpf.filters import Filters
from exporter.ebpf.filters import load as load_filters
from exporter.ebpf.kernel import NEEDED, OWNER_EVENTS, Kernel, Sizes, open_owners
from exporter.ebpf.layout import MAX_WORKERS, Handles, Settings
from exporter.ebpf.support import Place, examine
from exporter.errors import NetprocError, UserError

__all__ = ["COUNTING", "METHODS", "Loaded", "Programs", "Wish", "load", "sizes_of"]

METHODS = frozenset({"auto", "ebpf"})
"""Of `identity.method`: those that want it."""
COUNTING = NEEDED | {"flows", "states"}
"""Components without which the kernel does not count for us."""
INSTEAD = "`auto` takes what does"


class Wish(NamedTuple):
    """What the configuration wants of the kernel's side."""

    source: str = "auto"
    """ebpf: it must count; auto: it may; pcap: it must not."""
    method: str = "auto"
    """`identity.method`."""
    workers: int = 1
    inspect: bool = True
    """Whether packets are to be brought up."""
    hush: bool = True
    """Whether none of our own are."""
    sizes: Sizes = Sizes(events=OWNER_EVENTS)
    offload: bool = False
    """Whether captured packets that need not be read are to stay in the kernel."""
    snaplen: int = 0
    """Bytes that are kept of the others."""
    budget: tuple[int, int] = (Settings().packets, Settings().size)
    """Packets and bytes of a connection that are brought up, each way."""


class Programs:
    """All that is loaded, and the ring by which it tells."""

    def __init__(self, kernel: Kernel, *, hush: bool = True) -> None:
        """Keep it for life."""
        self._kernel = kernel
        self._hush = hush and bool(kernel.handles)
        self.events = kernel.events
        self.size = kernel.sizes.events
        self.netns = own_namespace()
        """The inode of our network namespace."""
        self.started(os.getpid())  # the listening sockets are ours

    @property
    def handles(self) -> list[Handles]:
        """What each worker reads; empty where the kernel does not count."""
        return self._kernel.handles

    def tell_again(self) -> None:
        with contextlib.suppress(NetprocError, OSError):  # who asks then is told by other ways
            self._kernel.inventory()

    def started(self, pid: int) -> None:
        """Bring up nothing of what this process of ours says."""
        if self._hush:
            with contextlib.suppress(NetprocError):  # then it is inspected as any other's
                self._kernel.hush(pid)

    def ended(self, pid: int) -> None:
        """Forget it: the number will be another's."""
        if self._hush:
            with contextlib.suppress(NetprocError):
                self._kernel.unhush(pid)

    def close(self) -> None:
        self._kernel.close()


def own_namespace() -> int:
    try:
        return Path("/proc/self/ns/net").stat().st_ino
    except OSError:  # no procfs: then no other namespace is told from ours
        return 0


def sizes_of(section: dict[str, Any]) -> Sizes:
    """Take the sizes from the configuration's section `ebpf`; a ring's must be a power of two."""
    ring = 1 << (section["ring_size"] - 1).bit_length()
    return Sizes(section["flows"], section["overflow"], ring, section["budgets"], OWNER_EVENTS)


class Loaded(NamedTuple):
    """What there is of the kernel's side. Held for life."""

    programs: Programs | None
    lacking: list[Degraded]
    """What is not there though it is wanted, and why."""
    filters: Filters | None = None
    """Of captured packets: those that need not come up."""

    @property
    def counts(self) -> bool:
        return self.programs is not None and bool(self.programs.handles)

    @property
    def role(self) -> str:
        """What workers are under it, in `policy.ROLES`."""
        if self.counts:
            return "worker_ebpf"
        return "worker_offload" if self.filters else "worker"

    def close(self) -> None:
        for one in (self.programs, self.filters):
            if one:
                one.close()


def load(wish: Wish) -> Loaded:
    """Load what counts, else what tells owners and what filters, as far as it is wanted.

    Only who says `ebpf` insists: UserError.
    """
    programs, lacking = _load(wish)
    if (programs and programs.handles) or not wish.offload:
        return Loaded(programs, lacking)
    filters = load_filters(wish.workers, wish.snaplen)
    if filters.handles:
        return Loaded(programs, lacking, filters)
    return Loaded(programs, [*lacking, ("offload", filters.reason)])


def _load(wish: Wish) -> tuple[Programs | None, list[Degraded]]:
    if wish.method not in METHODS:
        return None, []
    uncounted: list[Degraded] = []
    if wish.source != "pcap":
        programs, lacking = _count(wish)
        if programs:
            return programs, lacking
        if wish.source == "ebpf":
            raise UserError(f"capture.source ebpf does not work here: {explain(lacking)}; {INSTEAD}")
        uncounted = [("ebpf_flows", reason) for _, reason in lacking[:1]]
    programs, lacking = _tell()
    if programs is None and wish.method == "ebpf":
        raise UserError(f"identity.method ebpf does not work here: {explain(lacking)}; {INSTEAD}")
    return programs, uncounted + lacking if programs else lacking


def _count(wish: Wish) -> tuple[Programs | None, list[Degraded]]:
    if wish.workers > MAX_WORKERS:
        return None, [("ebpf", "too_many_workers")]
    settings = Settings(wish.workers, *wish.budget)
    if not wish.inspect:
        settings = settings._replace(packets=0, size=0, ports=())
    place = Place()
    try:
        kernel = Kernel(examine(place), settings, wish.sizes)
        kernel.open(place)
    except OSError:  # no procfs
        return None, [("ebpf", "system")]
    if reason := _needs(kernel, COUNTING):
        kernel.close()
        return None, [("ebpf", reason)]
    return Programs(kernel, hush=wish.hush), _parts(kernel)


def _needs(kernel: Kernel, needed: Collection[str]) -> str:
    """Say why what is loaded does not do; "" if it does."""
    lacking = [kernel.degraded[name] for name in sorted(needed) if name in kernel.degraded]
    return lacking[0] if lacking else "" if kernel.names else "kernel"


def _parts(kernel: Kernel) -> list[Degraded]:
    return sorted((f"ebpf_{name}", reason) for name, reason in kernel.degraded.items())


def _tell() -> tuple[Programs | None, list[Degraded]]:
    try:
        kernel = open_owners()
    except OSError:  # no procfs
        return None, [("ebpf", "system")]
    return Programs(kernel) if kernel.events >= 0 else None, sorted(kernel.degraded.items())
