"""What the kernel says of processes and sockets, decoded: events of the ring, rows of the iterators."""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from exporter.ebpf.layout import ENDS, EVENT_CLOSE, EVENT_ENDS, EVENT_EXEC, HOLDER, PROCESS, Key, Origin

__all__ = ["Closed", "Ends", "Holder", "Process", "read_events", "read_holders", "ticks"]

TICK = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A process that made its first socket, or one known that executes another program (`executed`)."""

    tgid: int
    start: int
    """Nanoseconds from boot to its beginning."""
    ppid: int
    uid: int
    cgroup: int
    """Its id in cgroup v2: the inode number of its folder."""
    comm: str
    """What the process calls itself, fifteen bytes at most."""
    executable: str
    """The file's name; "" for a thread of the kernel."""
    executed: bool

    @property
    def name(self) -> str:
        return self.executable or self.comm


class Closed(NamedTuple):
    """A socket that was closed for good: each UDP one, and each TCP one whose ends were told."""

    cookie: int
    tgid: int
    time: int


class Ends(NamedTuple):
    """A socket has these ends now, or this owner. Without a remote end (port 0): UDP, bound and not connected."""

    tgid: int
    start: int
    time: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    key: Key
    space: int
    """The network namespace's inode."""
    origin: Origin
    lost: int
    """Events so far that found the ring full."""


class Holder(NamedTuple):
    """A socket; from task_file also who holds it, once for each descriptor. From tcp and udp: tgid 0."""

    key: Key
    netns: int
    """The namespace's cookie, and its inode."""
    space: int
    start: int
    inode: int
    tgid: int
    ppid: int
    uid: int
    fd: int
    state: int
    """TCP_; of a UDP socket 1: connected, 7: not."""
    kind: int
    """SOCK_."""
    kernel: bool
    comm: str


def ticks(start: int) -> int:
    """Give a start as `/proc/<pid>/stat` has it."""
    return start * TICK // 1_000_000_000


def text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="replace")


def read_events(records: Iterable[bytes]) -> Iterator[Process | Ends | Closed]:
    for record in records:
        if record[0] == EVENT_ENDS:
            _, tgid, time, start, lost, key, space, origin = ENDS.unpack(record)
            yield Ends(tgid, start, time, Key.read(key), space, Origin(origin), lost)
            continue
        kind, tgid, time, start, cgroup, cookie, ppid, uid, comm, executable = PROCESS.unpack(record)
        if kind == EVENT_CLOSE:
            yield Closed(cookie, tgid, time)
        else:
            names = text(comm), text(executable)
            yield Process(tgid, start, ppid, uid, cgroup, *names, executed=kind == EVENT_EXEC)


def read_holders(rows: bytes) -> Iterator[Holder]:
    whole = len(rows) // HOLDER.size * HOLDER.size
    for row in HOLDER.iter_unpack(rows[:whole]):
        key, netns, start, inode, space, tgid, ppid, uid, fd, state, kind, kernel, comm = row
        yield Holder(
            Key.read(key),
            netns,
            space,
            start,
            inode,
            tgid,
            ppid,
            uid,
            fd,
            state,
            kind,
            bool(kernel),
            text(comm),
        )
