"""Whole scrapes of the exporter process, and how late packets are read meanwhile. Prints JSON."""

import gc
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median, quantiles

import msgspec

from bench.support.packets import Packets, interfaces
from bench.support.served import Scraper, filled, move, serve
from exporter.app.child import Begun
from exporter.app.pcap_part import PcapPart
from exporter.app.worker import Worker
from exporter.config import Capture, Config
from exporter.identity.channel import Channel
from exporter.identity.stats import Stats
from exporter.ledger import Ledger
from exporter.model import Addresses, Interface

COUNTS = (10_000, 50_000)
APART = 0.1
"""Seconds between scrapes: an answer holds for half of that."""
RATE = 2_000
"""Packets a second while delays are measured."""


def _times(series: int, rounds: int) -> dict[str, float]:
    config, ledger = filled(series)
    times, publications, there = [], [], 0
    with serve(config, ledger) as (port, buffer):
        scraper = Scraper(port)
        scraper.scrape()
        for _ in range(rounds):
            move(ledger)
            start = time.perf_counter()
            assert ledger.publish(buffer)
            publications.append(1000 * (time.perf_counter() - start))
            took, there = scraper.scrape()
            times.append(took)
            time.sleep(APART)
    return {"ms": median(times), "most": max(times), "publish": median(publications), "series": there}


class Timed(PcapPart):
    """Captures that note how long each packet waited to be read."""

    delays: list[float]

    def _attach(self, interface: Interface) -> Callable[[float, bytes], None]:
        take, note = super()._attach(interface), self.delays.append

        def frame(now: float, data: bytes) -> None:
            note(time.time() - now)
            take(now, data)

        return frame


class Shard:
    """A worker's loop in this process, with the seconds from the kernel's time of each packet until it is read."""

    def __init__(self, config: Config, ledger: Ledger, buffer: memoryview) -> None:
        self.delays = Timed.delays = []
        self._kept, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.worker = Worker(config, ledger, buffer, Channel(there, Stats()))
        self.worker.engine.context.places.learn(Addresses(0, (bytes((10, 9, 0, 1)),)))
        begun = Begun(config, {"index": "0", "count": "1"})
        self.part = self.worker.part = Timed(begun, self.worker.engine, ledger, self.worker.defect)

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.part.source.poll(0.02):
                self.worker.drained = time.time()
            self.worker._by_clock(time.time())


def _delays(series: int, seconds: float) -> dict[str, float]:
    """Read packets without and with scrapes (ten a second) of the same ledger."""
    interface = interfaces()
    config, ledger = filled(series)
    config = msgspec.structs.replace(config, capture=Capture(interface=(interface,)))
    found = {}
    with serve(config, ledger) as (port, buffer), Packets() as packets:
        shard = Shard(config, ledger, buffer)
        packets.begin("flood", int(seconds * RATE), 4 * RATE)  # from now on, these connections are known
        shard.run(seconds / 4 + 2)
        packets.end()
        gc.collect()  # as the worker does
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        for name, command in (("alone", ["sleep", "600"]), ("scraped", None)):
            words = command or [sys.executable, "-m", "bench.support.served", str(port), "0.1"]
            other = subprocess.Popen(words)
            packets.begin("flood", int(seconds * RATE), RATE)
            shard.run(1)
            shard.delays.clear()
            shard.run(seconds - 1)
            found[name] = 1000 * quantiles(shard.delays, n=100)[98]
            other.kill()
            other.wait()
            packets.end()
            shard.run(1)
        shard.part.meter()
    return found


def main() -> None:
    short = sys.argv[1] == "short"
    found = {str(count): _times(count, 20 if short else 60) for count in COUNTS}
    print(json.dumps(found | {"delays": _delays(COUNTS[0], 4 if short else 11)}))


if __name__ == "__main__":
    main()
