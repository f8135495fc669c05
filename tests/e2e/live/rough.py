"""A wire that loses frames and lets some overtake others, as `tc netem` would where the kernel has it.

Two TAP devices, whose frames are carried by a thread here. What is lost and late follows from the seed.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import time
from itertools import count
from pathlib import Path
from threading import Event, Thread

from tests.e2e.netns import Namespace, Pair

TUNSETIFF = 0x400454CA
TAP, NO_HEADER = 0x0002, 0x1000
FRAME = 1 << 16
NEVER = 0.1


class Rough:
    """Two namespaces, `here` and `there`, with the names and addresses of a `Pair`."""

    interface = Pair.interface

    def __init__(self, loss: float, late: float, delay: float, seed: int) -> None:
        """Lose a share of frames and let a share come `delay` seconds later."""
        self.loss, self.late, self.delay = loss, late, delay
        self.random = random.Random(seed)
        self.counts = {"carried": 0, "lost": 0, "late": 0}
        self.here, self.there = Namespace("a"), Namespace("b")
        self.ends = [self._tap(self.here, Pair.here4), self._tap(self.there, Pair.there4)]
        self.over = Event()
        self.thread = Thread(target=self._carry)
        self.thread.start()

    def _tap(self, namespace: Namespace, address: str) -> int:
        with namespace.entered():
            end = os.open(Path("/dev/net/tun"), os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", self.interface.encode(), TAP | NO_HEADER))
        namespace.sysctl(self.interface)
        namespace.run("ip", "address", "add", f"{address}/24", "dev", self.interface)
        namespace.run("ip", "link", "set", self.interface, "up")
        return end

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        serial = count()
        while not self.over.is_set():
            pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else NEVER
            for end in select.select(self.ends, [], [], min(pause, NEVER))[0]:
                frame, other = os.read(end, FRAME), self.ends[end == self.ends[0]]
                fate = self.random.random()
                if fate < self.loss:
                    self.counts["lost"] += 1
                    continue
                late = fate < self.loss + self.late
                self.counts["late" if late else "carried"] += 1
                due = time.monotonic() + (self.delay if late else 0)
                heapq.heappush(waiting, (due, next(serial), other, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, other, frame = heapq.heappop(waiting)
                os.write(other, frame)

    def close(self) -> None:
        self.over.set()
        self.thread.join()
        for end in self.ends:
            os.close(end)
        self.there.close()
        self.here.close()
