"""The supervisor's part of offload: loads a filter for each worker's captures, with its table, and keeps them.

What the filter counts and what it hands over stands in offload.bpf.c; `capture/offload.py` is the worker's part and
says how all is wired. Loading takes CAP_BPF, and neither BTF of the kernel nor a cgroup.
"""

from pathlib import Path
from struct import Struct
from typing import NamedTuple

from exporter.ebpf import support
from exporter.ebpf.libbpf import BpfError, Object, library

__all__ = ["DIRECTION", "FIELDS", "PLACE", "ROW", "ROWS", "FilterHandles", "Filters", "load", "refused"]

DIRECTION = Struct("=IBB2x36s")
PLACE = Struct("=II")
ROW = Struct("=6Q4IBBB5x")
SHARE = Struct("=III4x")
FIELDS: dict[str, tuple[Struct, tuple[str, ...]]] = {
    "direction": (DIRECTION, ("interface", "transport", "family", "pad", "ends")),
    "place": (PLACE, ("row", "gate")),
    "row": (
        ROW,
        (
            *("packets", "bytes", "estimated", "padding", "tags", "last", "next", "first", "limit", "big"),
            *("began", "limited", "open", "pad"),
        ),
    ),
    "share": (SHARE, ("workers", "index", "snaplen", "pad")),
}
"""offload.h in Python, in its order; a test compares both with the compiled object's BTF."""

ROWS = 32_768
"""Directions that a worker's filter counts at most: 72 bytes each from the start, 100 more while in use."""
OBJECT = "offload.bpf.o"


class FilterHandles(NamedTuple):
    """What a worker inherits: descriptors of two programs and two maps, and the number of rows."""

    ethernet: int
    bare: int
    """The program for interfaces without a link header."""
    known: int
    rows: int
    entries: int

    def descriptors(self) -> tuple[int, ...]:
        return self[:4]

    def flag(self) -> str:
        """Write them as a child's flag: numbers with commas."""
        return ",".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "FilterHandles":
        """Read what `flag` wrote; ValueError else."""
        ethernet, bare, known, rows, entries = map(int, text.split(","))
        return cls(ethernet, bare, known, rows, entries)


class Filters:
    """All that is loaded: `handles` by worker, empty where it is not, and then `reason` says why."""

    def __init__(self, reason: str = "") -> None:
        """Hold nothing yet."""
        self.handles: list[FilterHandles] = []
        self.reason = reason
        self._objects: list[Object] = []

    def add(self, path: Path, share: tuple[int, int, int], entries: int) -> None:
        """Load one worker's (workers, index, bytes kept of a packet)."""
        loading = Object(str(path))
        self._objects.append(loading)
        loading.set_constants(SHARE.pack(*share))
        for name in ("known", "rows"):
            loading.resize(name, entries)
        loading.load()
        ethernet, bare = (loading.program_fd(name) for name in ("ethernet", "bare"))
        known, rows = (loading.map_fd(name) for name in ("known", "rows"))
        self.handles.append(FilterHandles(ethernet, bare, known, rows, entries))

    def close(self) -> None:
        """Let go; a descriptor that has a filter keeps it until it is closed or gets another."""
        for one in self._objects:
            one.close()
        self._objects, self.handles = [], []


def load(workers: int, snaplen: int, entries: int = ROWS, place: support.Place | None = None) -> Filters:
    """Load a filter for each worker, or none: then the reason is one of `support`'s or `BpfError`'s words."""
    place = place or support.Place()
    try:
        reason = lacking(place)
    except OSError:  # no procfs
        reason = "system"
    if reason:
        return Filters(reason)
    filters = Filters()
    try:
        for index in range(workers):
            filters.add(place.objects / OBJECT, (workers, index, snaplen), entries)
    except BpfError as error:
        filters.close()
        return Filters(error.reason)
    return filters


def refused(user_filter: str, tunnels: str) -> str:
    """Say why a configuration does without (`capture.filter`, `decode.tunnels`); "" if it may be offloaded.

    A descriptor has one filter, and the user's comes first; what is inside of tunnels is read above.
    """
    if user_filter:
        return "capture_filter"
    return "tunnels" if tunnels == "always" else ""


def lacking(place: support.Place) -> str:
    held = support.capabilities((place.proc / "self/status").read_text())
    if support.release() < support.OLDEST:
        return "old_kernel"
    try:
        library()
    except BpfError:
        return "no_libbpf"
    if not (place.objects / OBJECT).is_file():
        return "not_built"
    return "" if held & (support.BPF | support.SYS_ADMIN) else "no_cap_bpf"
