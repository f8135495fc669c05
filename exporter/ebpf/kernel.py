"""The supervisor's part: loads the programs, makes the maps, attaches, and keeps the descriptors that hold it all.

Nothing is pinned: when the last descriptor of a link is closed, its program is gone. So links stay in one process.
What cannot be loaded or attached is left out and stands in `degraded` with its reason.
"""

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from exporter.ebpf import maps
from exporter.ebpf.layout import CONTROL, FLOW, KEY, MAX_WORKERS, SLOTS, Handles, Settings
from exporter.ebpf.libbpf import BpfError, Link, Object
from exporter.ebpf.support import COMPONENTS, Place, Support, examine

__all__ = ["NEEDED", "OWNERS", "OWNER_EVENTS", "Kernel", "Sizes", "open_owners"]

HASH, ARRAY, RINGBUF, MMAPABLE = 1, 2, 27, 1 << 10
EVENTS = 1 << 18
OWNER_EVENTS = 1 << 20
"""About 10,000: what comes while the identity process starts anew."""
SHARED = ("flows", "controls", "rings", "budgets", "owners", "quiet", "health")
"""Maps that both objects use."""
OWNERS = ("creation", "addresses", "ends", "usage", "exec", "inventory")
"""Components that tell who owns a socket, and count nothing."""
NEEDED = frozenset({"creation", "ends", "inventory"})
"""Of these all must be there."""


class Sizes(NamedTuple):
    """How much memory the maps take; for each worker: 464 bytes a flow, and the ring."""

    flows: int = 32_768
    overflow: int = 4_096
    ring: int = 8 << 20
    """A power of two."""
    budgets: int = 65_536
    events: int = EVENTS


class Kernel:
    """All that is loaded."""

    def __init__(
        self,
        support: Support,
        settings: Settings,
        sizes: Sizes | None = None,
        only: Collection[str] = tuple(COMPONENTS),
    ) -> None:
        """Load nothing yet. `settings` gives the number of workers; what the kernel has is filled in here.

        `only` names the components that are wanted.
        """
        if not 0 < settings.workers <= MAX_WORKERS:
            raise ValueError(f"from 1 to {MAX_WORKERS} workers")
        self.degraded = {name: why for name, why in support.reasons.items() if name in only}
        """Components that are not there, and why."""
        self.handles: list[Handles] = []
        self.events = -1
        """The ring of what processes do; its reader is the identity process."""
        self._support = support
        self._only = only
        self._settings = settings._replace(netns_helper=True, task_helpers=support.task_helpers)
        self.sizes = sizes or Sizes()
        self.names = False
        """Whether processes have names and start times: what loaded may read the task that calls it."""
        self._objects: dict[str, Object] = {}
        self._links: dict[str, Link] = {}
        self._made: list[int] = []

    def open(self, place: Place | None = None) -> None:
        """Load, give owners to the sockets that exist, then count. Counting begins last: so all have owners."""
        try:
            self._open(place or Place())
        except (BpfError, OSError) as error:
            self.close()
            reason = error.reason if isinstance(error, BpfError) else "system"
            self.degraded = dict.fromkeys(self._only, reason) | self.degraded

    def _open(self, place: Place) -> None:
        for name in ("socket", "flow"):
            self._load(name, place)
        if not self._objects:
            return
        if any(COMPONENTS[name].object == "flow" for name in self._only):
            self._make()
        if "socket" in self._objects:
            self.events = self._objects["socket"].map_fd("events")
        with contextlib.ExitStack() as stack:
            cgroup = None
            if self._support.cgroup is not None:
                cgroup = os.open(self._support.cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, cgroup)
            for component in (name for name in COMPONENTS if name not in {"flows", "inventory"}):
                self._attach(component, cgroup)
            self._attach("inventory", None)
            self.inventory()
            self._attach("flows", cgroup)

    def _load(self, name: str, place: Place) -> None:
        wanted = {one for one in self._only if COMPONENTS[one].object == name and one not in self.degraded}
        if not wanted:
            return
        # Which helpers a kernel offers to which programs can only be tried: libbpf's own probe (1.1) misreads what
        # kernels from 6.11 on answer.
        plain = self._settings._replace(netns_helper=False, task_helpers=False)
        failure = ""
        for settings in (self._settings, plain):
            try:
                self._objects[name] = self._try(place.objects / f"{name}.bpf.o", settings, wanted)
                self.names = self.names or (name == "socket" and settings.task_helpers)
                return
            except BpfError as error:
                failure = error.reason
        self.degraded.update(dict.fromkeys(wanted, failure))

    def _try(self, path: Path, settings: Settings, wanted: Iterable[str]) -> Object:
        loading = Object(str(path))
        try:
            self._prepare(loading, settings, wanted)
            loading.load()
        except BpfError:
            loading.close()
            raise
        return loading

    def _prepare(self, loading: Object, settings: Settings, wanted: Iterable[str]) -> None:
        loading.set_constants(settings.pack())
        programs = {program for one in wanted for program in COMPONENTS[one].programs}
        for program in loading.programs.keys() - programs:
            loading.leave_out(program)
        first = next(iter(self._objects.values()), None)
        for shared in SHARED if first else ():
            loading.share(shared, first.map_fd(shared))  # type: ignore[union-attr]  # the loop is empty without it
        if not first:
            loading.resize("flows", self._settings.workers * SLOTS)
            loading.resize("controls", self._settings.workers)
            loading.resize("rings", self._settings.workers)
            loading.resize("budgets", self.sizes.budgets)
        if "events" in loading.maps:
            loading.resize("events", self.sizes.events)

    def _make(self) -> None:
        """Make each worker's maps and put them where the programs look."""
        one = next(iter(self._objects.values()))
        outer = {name: one.map_fd(name) for name in SHARED}
        for worker in range(self._settings.workers):
            sizes = (self.sizes.flows, self.sizes.flows, self.sizes.overflow, self.sizes.overflow)
            made = [self._own(HASH, "netproc_flows", (KEY.size, FLOW.size, entries)) for entries in sizes]
            control = self._own(ARRAY, "netproc_turn", (4, CONTROL.size, 1), MMAPABLE)
            ring = self._own(RINGBUF, "netproc_frames", (0, 0, self.sizes.ring))
            for slot, fd in enumerate(made):
                put(outer["flows"], worker * SLOTS + slot, fd)
            put(outer["controls"], worker, control)
            put(outer["rings"], worker, ring)
            self.handles.append(
                Handles(
                    (made[0], made[1]),
                    (made[2], made[3]),
                    control,
                    ring,
                    outer["budgets"],
                    outer["health"],
                    self.sizes.ring,
                )
            )

    def _own(self, kind: int, name: str, sizes: tuple[int, int, int], flags: int = 0) -> int:
        fd = maps.create(kind, name, sizes, flags)
        self._made.append(fd)
        return fd

    def _attach(self, component: str, cgroup: int | None) -> None:
        """Attach a component's programs, all or none."""
        if component in self.degraded or component not in self._only:
            return
        what = COMPONENTS[component]
        source = self._objects[what.object]
        made: dict[str, Link] = {}
        try:
            for program in what.programs:
                if component == "inventory":
                    made[program] = source.iterate(program)
                else:
                    made[program] = source.attach(program, cgroup if what.cgroup else None)
        except BpfError as error:
            self.degraded[component] = error.reason
            for link in made.values():
                link.close()
            return
        self._links.update(made)

    def inventory(self) -> dict[str, bytes]:
        """Run the iterators: rows of `holder` by iterator; `owners.read_holders` reads them."""
        return {
            name: self._links[name].read() for name in COMPONENTS["inventory"].programs if name in self._links
        }

    def iterators(self) -> dict[str, int]:
        """Give the iterators' descriptors, for who shall run them himself (`owners.run`)."""
        return {name: link.fd for name, link in self._links.items() if name.startswith("list_")}

    def hush(self, pid: int) -> None:
        """Bring nothing up of a process' connections, only count them: our own children."""
        one = next(iter(self._objects.values()))
        maps.update(one.map_fd("quiet"), pid.to_bytes(4, "little"), b"\1")

    def unhush(self, pid: int) -> None:
        """Take that back: the process is gone, and its number free."""
        one = next(iter(self._objects.values()))
        maps.remove(one.map_fd("quiet"), pid.to_bytes(4, "little"), 1)

    def program(self, name: str) -> tuple[Object, str]:
        """Give what `Object.run` and statistics want."""
        return self._objects[COMPONENTS[component_of(name)].object], name

    def close(self) -> None:
        for link in self._links.values():
            link.close()
        for fd in self._made:
            os.close(fd)
        for loaded in self._objects.values():
            loaded.close()
        self._links, self.handles, self._objects, self._made, self.events = {}, [], {}, [], -1


def open_owners(place: Place | None = None) -> Kernel:
    """Load and attach what tells owners; where a needed part is missing `events` is -1, and nothing is loaded."""
    place = place or Place()
    kernel = Kernel(examine(place), Settings(), Sizes(budgets=1024, events=OWNER_EVENTS), OWNERS)
    kernel.open(place)
    lacking = [kernel.degraded[name] for name in OWNERS if name in NEEDED and name in kernel.degraded]
    if not lacking and not kernel.names:
        lacking = ["kernel"]
    if lacking:
        kernel.close()
        kernel.degraded = {"ebpf": lacking[0]}
    else:
        kernel.degraded = {f"ebpf_{name}": reason for name, reason in kernel.degraded.items()}
    return kernel


def component_of(program: str) -> str:
    return next(name for name, component in COMPONENTS.items() if program in component.programs)


def put(outer: int, index: int, fd: int) -> None:
    maps.update(outer, index.to_bytes(4, "little"), fd.to_bytes(4, "little"))
