"""Offload: a capture's descriptor counts in the kernel what the engine would only count, and hands over the rest.

The wiring (all of it):

- supervisor: `loaded = exporter.ebpf.filters.load(workers, snaplen)`, once, before capabilities are dropped, if
  `filters.refused(capture.filter, decode.tunnels)` is "" and pcap is the source. `loaded.handles[index]` has a
  worker's `descriptors()` to inherit and its `flag()`; no handles: `loaded.reason`, of the words of `ebpf/support.py`.
  It keeps `loaded` for life; nothing is pinned.
- worker: `table = Table(FilterHandles.parse(flag))`, then `engine.offload(table)` and `source.offload = table`, both
  before `source.open()`; a `BpfError` of `Table` (its `reason`) means to do without. Nothing else: each handle gets the
  filter when it is opened, and `engine.tick` chooses what is counted below, reads it and forgets it. `table.failed` has
  interfaces that do without, and why (`link_type`, or a word of `libbpf.REASONS`); to be exported like other
  degradations, component `offload`.
- sandbox: the worker needs no capability for it from Linux 5.19 on, as for `worker_ebpf` (`policy.MAPS`), and the
  bpf() call. SO_ATTACH_BPF with an inherited program never needs one.

What a user may notice: libpcap's `received` has the packets that came up only; drops are of those too. Retransmissions
are all seen: of TCP only what is next in order is counted below.
"""

import mmap
import time
from collections.abc import Sequence
from contextlib import suppress

from exporter.capture import bpf
from exporter.ebpf import maps
from exporter.ebpf.filters import DIRECTION, PLACE, ROW, FilterHandles
from exporter.ebpf.libbpf import REASONS, BpfError
from exporter.engine.offloaded import TRANSPORTS, Count, Wanted

__all__ = ["Table"]

SO_ATTACH_BPF = 50
ETHERNET = 1
BARE = frozenset((12, 101))
"""Raw IP, as libpcap and the registry number it; in the kernel these frames begin with the network header."""
ROOM = 0xFFFFFFFF
WORDS = ROW.size // 8
OPEN = ROW.size - 6
"""Where a row has its `open`."""


class Table:
    """A worker's rows, and the filters that count into them."""

    def __init__(self, handles: FilterHandles) -> None:
        """Take over, and forget what a worker before us had counted here: its captures are closed."""
        self._handles = handles
        self._rows = mmap.mmap(handles.rows, -(-handles.entries * ROW.size // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._words = memoryview(self._rows).cast("Q")
        self._free = list(range(handles.entries - 1, -1, -1))
        self._keys: dict[int, bytes] = {}
        self._interfaces: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        """Interfaces whose packets all come up, and why."""
        self.offset = 0.0
        self.look()
        for keys, _ in list(maps.batches(handles.known, DIRECTION.size, PLACE.size)):
            maps.remove(handles.known, keys, len(keys) // DIRECTION.size)

    # -- captures --------------------------------------------------------------------------------------------------

    def attach(self, fd: int, name: str, number: int, link: int) -> bool:
        """Give a capture's descriptor the filter in place of its own, if it can be: it lets the same packets pass.

        `link`: its link type, of which two are known. Nothing is counted before it is chosen, so no packet that waits
        in the ring can be counted twice.
        """
        self.failed.pop(name, None)
        self._interfaces.pop(name, None)
        if link != ETHERNET and link not in BARE:
            self.failed[name] = "link_type"
            return False
        program = self._handles.ethernet if link == ETHERNET else self._handles.bare
        try:
            bpf.set_option(fd, SO_ATTACH_BPF, program.to_bytes(4, "little"))
        except OSError as error:
            self.failed[name] = REASONS.get(error.errno or 0, "system")
            return False
        self._interfaces[name] = number
        return True

    def detach(self, name: str) -> None:
        """Forget an interface that is captured no longer."""
        self.failed.pop(name, None)
        self._interfaces.pop(name, None)

    # -- rows: engine.offloaded.Kernel -----------------------------------------------------------------------------

    def look(self) -> None:
        self.offset = time.time() - time.monotonic()

    def take(self, wanted: Sequence[Wanted]) -> list[int]:
        if len(wanted) > len(self._free) or any(one.interface not in self._interfaces for one in wanted):
            return []
        rows = [self._free.pop() for _ in wanted]
        for row, one in zip(rows, wanted, strict=True):
            limited = one.limit >= 0
            fields = (0, 0, max(0, one.limit), min(one.big, ROOM), 0, limited, 0)
            ROW.pack_into(self._rows, row * ROW.size, *(0,) * 6, *fields)
        try:
            for row, one in zip(rows, wanted, strict=True):
                key = self._keys[row] = self._key(one)
                maps.update(self._handles.known, key, PLACE.pack(row, rows[0]))
        except BpfError:  # no memory in the kernel: it is given up as any other
            self.open(rows[0])
        return rows

    def packets(self, row: int) -> int:
        return self._words[row * WORDS]

    def opened(self, row: int) -> bool:
        return self._rows[row * ROW.size + OPEN] != 0

    def read(self, row: int) -> Count:
        return Count(*ROW.unpack_from(self._rows, row * ROW.size))

    def open(self, row: int) -> None:
        self._rows[row * ROW.size + OPEN] = 1

    def forget(self, row: int) -> None:
        if key := self._keys.pop(row, None):
            with suppress(BpfError):  # it is not there: it could not be entered either
                maps.discard(self._handles.known, key)

    def free(self, row: int) -> None:
        self._free.append(row)

    def _key(self, wanted: Wanted) -> bytes:
        family = 0 if wanted.transport == "arp" else 4 if len(wanted.key) < 36 else 6
        number = self._interfaces[wanted.interface]
        return DIRECTION.pack(number, TRANSPORTS[wanted.transport], family, wanted.key)

    def close(self) -> None:
        self._words.release()
        self._rows.close()
