"""A worker's part: its maps, turned and drained, and its ring. It inherits descriptors and needs no capability.

A turn: the programs are told to write the other pair of maps; what still runs with the old one is waited for; then
nothing writes there, and it is read. It is emptied by `release`, after its numbers are where a crash cannot lose them:
whoever stores `turned` beside them never counts a turn twice and never loses one.
"""

import mmap
import time
from collections.abc import Iterator
from typing import NamedTuple

from exporter.ebpf import maps
from exporter.ebpf.layout import BUDGET, CONTROL, FLOW, FRAME, KEY, UNLIMITED, Handles, Health
from exporter.ebpf.ring import Ring

__all__ = ["Flow", "Seen", "Shard"]

PATIENCE = 0.05
"""Seconds to wait where the kernel cannot tell when the old programs have ended."""


class Flow(NamedTuple):
    """What a connection moved in one turn, in the order of shared.h's struct; `key` is for `Key.read`."""

    key: bytes
    received: int
    received_bytes: int
    received_more: int
    """Packets that segmentation adds on the wire, and their headers' bytes."""
    received_more_bytes: int
    sent: int
    sent_bytes: int
    sent_more: int
    sent_more_bytes: int
    last: int
    netns: int
    start: int
    cgroup: int
    tgid: int
    uid: int
    packets_left_in: int
    packets_left_out: int
    bytes_left_in: int
    bytes_left_out: int
    retransmits: int
    states: int
    state: int
    origin: int
    error: int
    raw: int
    quiet: int
    side: int
    space: int
    """The network namespace's inode; 0: look who else has this cookie."""


class Seen(NamedTuple):
    """A packet that was brought up, from its network header on. It is counted in a `Flow` all the same."""

    time: int
    key: bytes
    netns: int
    tgid: int
    size: int
    segments: int
    way: int
    data: bytes


class Shard:
    """One worker's share."""

    def __init__(self, handles: Handles, turned: int | None = None) -> None:
        """Take over; `turned` is the last turn whose numbers are safe (None: nobody read before)."""
        self._handles = handles
        self._cpus = possible_cpus()
        self._ring = Ring(handles.ring, handles.ring_size)
        self._control = mmap.mmap(handles.control, mmap.PAGESIZE)
        self._unsure = turned is not None and turned != self.generation - 1
        self._drained: list[tuple[int, bytes, int]] = []
        if turned is not None and not self._unsure:
            self._clear(self.generation - 1)

    @property
    def generation(self) -> int:
        """The turn now being written."""
        return int(CONTROL.unpack_from(self._control)[0])

    @property
    def turned(self) -> int:
        """The turn read last; to be stored with its numbers."""
        return self.generation - 1

    def fileno(self) -> int:
        """Give what becomes readable when frames come."""
        return self._ring.fileno()

    def frames(self, limit: int = 4096) -> Iterator[Seen]:
        """Give the packets that were brought up, oldest first; to be read to the end."""
        head = FRAME.size
        for record in self._ring.read(limit):
            stamp, key, netns, tgid, size, captured, segments, way = FRAME.unpack_from(record)
            yield Seen(stamp, key, netns, tgid, size, segments, way, record[head : head + captured])

    def turn(self) -> Iterator[Flow]:
        """Begin a new turn and give what moved in the last: connections, then overflow. Waits 10 to 20 ms."""
        self.release()
        if self._unsure:  # our predecessor turned, and died before its numbers were safe
            self._unsure = False
        else:
            CONTROL.pack_into(self._control, 0, self.generation + 1 & 0xFFFFFFFF)
        if not maps.grace():
            time.sleep(PATIENCE)
        return self._read(self.generation - 1)

    def _read(self, turn: int) -> Iterator[Flow]:
        make, size = Flow._make, KEY.size  # half as dear as calling the class
        for pair in (self._handles.flows, self._handles.overflow):
            fd = pair[turn & 1]
            for keys, values in maps.batches(fd, KEY.size, FLOW.size):
                self._drained.append((fd, keys, len(keys) // KEY.size))
                at = 0
                for value in FLOW.iter_unpack(values):
                    yield make((keys[at : at + size], *value))
                    at += size

    def release(self) -> None:
        """Empty what was read; its numbers are safe now."""
        for fd, keys, count in self._drained:
            maps.remove(fd, keys, count)
        self._drained.clear()

    def _clear(self, turn: int) -> None:
        for _ in self._read(turn):
            pass
        self.release()

    def inspect(self, key: bytes, *, on: bool) -> None:
        """Bring up all of a connection's packets from its next turn on, or none; the budget holds until then."""
        left = UNLIMITED if on else 0
        maps.update(self._handles.budgets, key, BUDGET.pack(left, left, left, left))

    def health(self) -> dict[Health, int]:
        """Give what was lost so far, over all CPUs and workers."""
        size = 8 * self._cpus
        found = {}
        for what in Health:
            row = maps.lookup(self._handles.health, int(what).to_bytes(4, "little"), size) or b""
            found[what] = sum(memoryview(row).cast("Q"))
        return found

    def close(self) -> None:
        self._ring.close()
        self._control.close()


def possible_cpus() -> int:
    """Count the CPUs that the kernel keeps room for: more than are there, often."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:  # noqa: PTH123  (one small file)
        return int(file.read().strip().replace("-", ",").rpartition(",")[2]) + 1
