"""A process that reads an interface and is measured from outside: `python -m bench.support.reader bare|ours NAME`.

It says "ready", and answers each line of its standard input with one line: packets counted, packets lost, and its own
processor time in nanoseconds, once all that the kernel holds was read.
"""

import gc
import mmap
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from struct import Struct

import pcap

from bench.support.space import pin
from exporter import metrics
from exporter.app.child import Begun
from exporter.app.pcap_part import PcapPart
from exporter.app.worker import Worker
from exporter.config import Capture, Config
from exporter.identity.channel import Channel
from exporter.identity.stats import Stats
from exporter.ledger import Ledger
from exporter.model import Addresses

RING = 32 << 20
SNAPLEN = 16_384
QUIET = 0.05
"""Seconds without a packet after which there are none."""
LOCAL = "10.9.0.1"
# type, version and header length, length, fragment, protocol, addresses and ports
HEAD = Struct(">12xHBxH2xHxB2x12s").unpack_from


class Bare:
    """What there must be at the least: pypcap, a struct, a dictionary of packets, bytes and times."""

    def __init__(self, interface: str) -> None:
        self.table: dict[bytes, list[float]] = {}
        self.pcap = pcap.pcap(interface, SNAPLEN, promisc=False, timeout_ms=10, buffer_size=RING)
        self.pcap.setnonblock()
        self.fd: int = self.pcap.fileno()
        self.callback = self._callback()

    def _callback(self) -> Callable[[float, bytes], None]:
        table = self.table
        known = table.get

        def frame(now: float, data: bytes) -> None:
            kind, version, size, fragment, protocol, key = HEAD(data)
            if kind == 0x0800 and version == 0x45 and not fragment & 0x3FFF and protocol == 6:
                entry = known(key)
                if entry is None:
                    table[key] = [1, size, now]
                else:
                    entry[0] += 1
                    entry[1] += size
                    entry[2] = now

        return frame

    def read(self) -> int:
        return int(self.pcap.dispatch(-1, self.callback))

    def totals(self) -> tuple[int, int]:
        return int(sum(entry[0] for entry in self.table.values())), self.pcap.stats()[1]


class Ours:
    """The worker's own parts, without the other processes."""

    def __init__(self, interface: str) -> None:
        config = Config(capture=Capture(interface=(interface,), buffer_size=RING, snaplen=SNAPLEN))
        self.ledger = Ledger(config.metrics, now=time.time())
        self.here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = memoryview(mmap.mmap(-1, 64 << 20))
        self.worker = Worker(config, self.ledger, memory, Channel(there, Stats()))
        self.worker.engine.context.places.learn(Addresses(0, (ip_address(LOCAL).packed,)))
        begun = Begun(config, {"index": "0", "count": "1"})
        self.part = PcapPart(begun, self.worker.engine, self.ledger, self.worker.defect)
        self.worker.part = self.part
        self.fd = self.part.fileno()
        gc.collect()  # as the worker does
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    def read(self) -> int:
        return self.worker.turn()

    def totals(self) -> tuple[int, int]:
        self.worker.engine.tick(time.time())
        self.part.meter()
        sums = dict.fromkeys((metrics.CAPTURED_PACKETS, metrics.LOST_PACKETS), 0.0)
        for row in self.ledger.rows.values():
            if row.key[0] in sums:
                sums[row.key[0]] += self.ledger.values[row.slot]
        return int(sums[metrics.CAPTURED_PACKETS]), int(sums[metrics.LOST_PACKETS])


def _report(reader: Bare | Ours) -> str:
    while reader.read() or _more(reader):
        pass
    spent = time.process_time_ns()
    packets, lost = reader.totals()
    return f"{packets} {lost} {spent}"


def _more(reader: Bare | Ours) -> bool:
    return bool(select.select([reader.fd], [], [], QUIET)[0])


def main() -> None:
    kind, interface = sys.argv[1:]
    pin(1)
    reader = Bare(interface) if kind == "bare" else Ours(interface)
    print("ready", flush=True)
    poller = select.epoll()
    poller.register(reader.fd, select.EPOLLIN)
    poller.register(0, select.EPOLLIN)
    while True:
        for fd, _ in poller.poll(0.25):
            if fd == 0:
                if not os.read(0, 100):
                    return
                print(_report(reader), flush=True)
        reader.read()


if __name__ == "__main__":
    main()
