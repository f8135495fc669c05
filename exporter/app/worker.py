"""A worker: one shard's capture, engine and ledger. It reads hostile packets, and keeps NET_RAW alone.

Order: open captures, map the ledger, give up privileges, hear from the identity process which addresses are ours, and
only then read the first packet; what comes meanwhile waits in the rings.
"""

import gc
import mmap
import os
import select
import socket
import time
from collections.abc import Callable

from exporter import dpi, log, metrics
from exporter.app import child, sandbox
from exporter.app.child import Begun
from exporter.capture.deal import shard
from exporter.capture.handle import BATCH, Deal
from exporter.capture.meters import Meters
from exporter.capture.pcap import PcapSource
from exporter.config import Config
from exporter.engine import Engine
from exporter.identity.channel import Channel
from exporter.identity.stats import Stats
from exporter.ledger import Ledger
from exporter.model import Addresses, Answer, Hello, Interface, Listing, Record, Scopes

__all__ = ["run"]

REAP = 0.25
BUSY, PAUSE = 64, 0.004
"""So many packets at once, and reading the next a little later costs nobody anything: a turn itself costs 30 µs."""
PATIENCE = 3.0
"""Seconds to wait for the identity process before packets are read without it."""
EXPIRY = 60.0
"""How often the ledger looks for rows to drop."""
FEW, MANY = 1_000, 10_000
BEHIND = 30.0
"""The longest time without a sweep because packets of the past are still being read."""


class Worker:
    """The loop: packets, the identity process' records, and what is due by the clock."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        buffer: memoryview,
        channel: Channel,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Wire a shard together; `share`: which worker this is, of how many."""
        self.config = config
        self.ledger = ledger
        self.buffer = buffer
        self.channel = channel
        self.engine = Engine(config, dpi.select(config.dpi.protocols), ledger, None, share=share[1])
        self.source: PcapSource
        self.meters: Meters
        self.drained = 0.0
        self.share = share
        self._scopes: dict[str, int] = {}
        self._due = dict.fromkeys(("reap", "tick", "sweep", "expire"), 0.0)
        self._most = 0
        """Connections at most since memory was last given back."""
        self._errors = ledger.slot(metrics.WORKER_ERRORS, None)
        self._lost_events = ledger.slot(metrics.LOST_EVENTS, None, ("identity",))

    def attach(self, interface: Interface) -> Callable[[float, bytes], None]:
        """Give the source the engine's function for an interface, with the namespace behind it."""
        scope = self._scopes.get(interface.name, interface.scope)
        role = "pod" if scope else interface.role
        return self.engine.attach(interface._replace(scope=scope, role=role))

    def loop(self, lifeline: int) -> None:
        """Run until the supervisor is gone."""
        poller = select.epoll()
        poller.register(lifeline, select.EPOLLHUP)
        poller.register(self.channel.socket, select.EPOLLIN)
        self._greet(poller)
        poller.unregister(
            self.channel.socket
        )  # answers can wait for the next turn: it is not worth another one
        poller.register(self.source.fileno(), select.EPOLLIN)
        while True:
            for fd, _ in poller.poll(max(0.0, min(self._due.values()) - time.time())):
                if fd == lifeline:
                    return
            self.turn()

    def turn(self) -> int:
        """Read what is there and do what is due; give how many packets there were."""
        try:
            count = self.source.poll(0)
        except Exception:  # noqa: BLE001 - one packet, and a defect of ours: the next one must still be read
            count = 1
            self._defect()
        if not count:
            self.drained = time.time()
        self._receive()
        self._by_clock(time.time())
        self._send()
        if BUSY <= count < BATCH:
            time.sleep(PAUSE)
        return count

    def _give_back(self) -> None:
        """Free what the interpreter keeps of a flood for later; with many connections that would take long."""
        size = len(self.engine.context.table)
        self._most = max(self._most, size)
        if size < FEW < MANY < self._most:
            self._most = size
            gc.collect()

    def _defect(self) -> None:
        """Count a packet that our own code failed at; the first one is told of."""
        if not self.ledger.values[self._errors]:
            log.get().exception("a packet could not be read; further ones are only counted")
        self.ledger.values[self._errors] += 1

    def _greet(self, poller: select.epoll) -> None:
        """Say hello and wait until we know which addresses are ours."""
        self.channel.put(Hello(os.getpid()), keep=True)
        until = time.monotonic() + PATIENCE
        while not self.engine.context.places.known and time.monotonic() < until:
            self.channel.flush()
            poller.poll(0.05)
            self._receive()

    def _receive(self) -> None:
        now = time.time()
        for record in self.channel.receive():
            self._take(record, now)

    def _take(self, record: Record, now: float) -> None:
        match record:
            case Answer():
                self.engine.answer(record, now)
            case Addresses():
                self.engine.context.places.learn(record)
            case Scopes():
                self._rescope(dict(record.interfaces))
            case Listing():
                self.engine.listing(self._mine(record), now)
            case Hello():
                self.engine.context.owners.repeat()
                self.channel.put(Hello(os.getpid()), keep=True)

    def _mine(self, listing: Listing) -> Listing:
        """Give the sockets whose packets are dealt to this worker."""
        index, count = self.share
        if count == 1:
            return listing
        mine = tuple(row for row in listing.rows if shard(row.local, row.remote, count) == index)
        return Listing(mine, listing.last)

    def _rescope(self, scopes: dict[str, int]) -> None:
        changed = {name for name, scope in (scopes.items() ^ self._scopes.items())}
        self._scopes = scopes
        for name in changed:
            self.source.renew(name)

    def _send(self) -> None:
        owners = self.engine.context.owners
        for record in owners.outbox:
            self.channel.put(record, keep=True)
        owners.outbox.clear()
        self.channel.flush()

    def _by_clock(self, now: float) -> None:
        """Do what is due. Sweeps wait while packets of the past are still to be read: their clock is not ours."""
        due, flow = self._due, self.config.flow
        if now >= due["reap"]:
            due["reap"] = now + REAP
            self.engine.reap(now)
        if now >= due["sweep"] and (now - self.drained < 1 or now - due["sweep"] > BEHIND):
            due["sweep"] = now + flow.sweep_interval
            self.engine.sweep(now)
            self._give_back()
        if now >= due["tick"]:
            due["tick"] = now + flow.publish_interval
            self.source.refresh(time.monotonic())
            self.engine.tick(now)
            self.meters.read()
            self.ledger.values[self._lost_events] = (
                self.channel.stats.errors["full"] + self.engine.context.owners.lost
            )
            if now >= due["expire"]:
                due["expire"] = now + EXPIRY
                self.ledger.expire(now)
            self.ledger.publish(self.buffer)


def run(begun: Begun) -> None:
    """Set a shard up with what privileges there are, give them up, work."""
    config, index, count = begun.config, begun.number("index"), begun.number("count")
    now = time.time()
    ledger = Ledger(config.metrics, share=count, now=now)
    buffer = memoryview(mmap.mmap(begun.number("ledger-fd"), 0))
    refused = ledger.restore(buffer)
    if refused not in ("", "empty"):
        log.get().warning(
            "the ledger of the worker before could not be read: counters begin at 0", reason=refused
        )
    end = socket.socket(fileno=begun.number("channel-fd"))
    worker = Worker(config, ledger, buffer, Channel(end, Stats()), (index, count))
    serial = time.time_ns()
    worker.engine.begin(now, resumed=not refused, first_serial=serial)
    inner = config.decode.tunnels == "always"
    worker.source = PcapSource(
        config.capture, worker.attach, Deal(index, count, inner), detach=worker.engine.detach
    )
    worker.source.glimpse = worker.engine.glimpse
    worker.source.open()
    worker.meters = Meters(ledger, worker.source)
    for component, reason in sandbox.enter("worker", config, begun.number("lifeline-fd")):
        ledger.values[ledger.slot(metrics.DEGRADED, None, (component, reason))] = 1
    os.write(begun.number("ready-fd"), b"1")
    os.close(begun.number("ready-fd"))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # connections break their cycles themselves
    worker.loop(begun.number("lifeline-fd"))


if __name__ == "__main__":
    child.main("worker", run)
