"""A worker: one shard's source, engine and ledger. It reads hostile packets, and keeps NET_RAW alone, or nothing.

Order: open the source, map the ledger, give up privileges, hear from the identity process which addresses are ours, and
only then read the first packet; what comes meanwhile waits in the rings and in the kernel's tables.
"""

import gc
import mmap
import os
import select
import socket
import time

from exporter import dpi, log, metrics
from exporter.app import child, kernel, sandbox
from exporter.app.child import Begun
from exporter.app.part import Part
from exporter.config import Config
from exporter.engine import Engine
from exporter.identity.channel import Channel
from exporter.identity.stats import Stats
from exporter.ledger import Ledger
from exporter.model import Addresses, Answer, Hello, Listing, Record, Scopes

__all__ = ["run"]

REAP = 0.25
PATIENCE = 3.0
"""Seconds to wait for the identity process before packets are read without it."""
EXPIRY = 60.0
"""How often the ledger looks for rows to drop."""
FEW, MANY = 1_000, 5_000
RETURNS = 10
"""Sweeps after a flood that give memory back (0.5 ms): questions and their buffers go later than connections."""
BEHIND = 30.0
"""The longest time without a sweep because packets of the past are still being read."""


SOON = 0.05
"""Until a turn that was due is thought of again."""


class Worker:
    """The loop: packets, the identity process' records, and what is due by the clock."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        buffer: memoryview,
        channel: Channel,
        share: int = 1,
    ) -> None:
        """Wire a shard together, but for its source; `share`: of how many workers this is one."""
        self.config = config
        self.ledger = ledger
        self.buffer = buffer
        self.channel = channel
        self.engine = Engine(config, dpi.select(config.dpi.protocols), ledger, None, share=share)
        self.part: Part
        self.drained = 0.0
        self._due = dict.fromkeys(("reap", "tick", "sweep", "expire"), 0.0)
        self._clock = 0.0
        self._unpublished = False
        self._returns = 0
        """How often memory is still to be given back since there were many connections."""
        self._errors = ledger.slot(metrics.WORKER_ERRORS, None)
        self._lost_events = ledger.slot(metrics.LOST_EVENTS, None, ("identity",))

    def loop(self, lifeline: int) -> None:
        """Run until the supervisor is gone."""
        poller = select.epoll()
        poller.register(lifeline, select.EPOLLHUP)
        poller.register(self.channel.socket, select.EPOLLIN)
        self._greet(poller)
        poller.unregister(
            self.channel.socket
        )  # answers can wait for the next turn: it is not worth another one
        poller.register(self.part.fileno(), select.EPOLLIN)
        while True:
            wait = min(self._due.values()) - time.time()
            for fd, _ in poller.poll(min(max(0.0, wait), REAP)):  # the clock may have been set back
                if fd == lifeline:
                    return
            self.turn()

    def turn(self) -> int:
        """Read what is there and do what is due; give how many packets there were."""
        try:
            count = self.part.poll()
        except Exception:  # noqa: BLE001 - one packet, and a defect of ours: the next one must still be read
            count = 1
            self.defect()
        if not count:
            self.drained = time.time()
        self._receive()
        self._by_clock(time.time())
        self._send()
        return count

    def _sweep(self, now: float) -> None:
        """Drop what is over. After a flood, free what the interpreter keeps of it; with many that would take long."""
        table = self.engine.context.table
        if len(table) >= MANY:  # asked before: one sweep may end them all
            self._returns = RETURNS
        self.engine.sweep(now)
        if len(table) < FEW and self._returns:
            self._returns -= 1
            gc.collect()  # which also empties the lists of free objects: each may keep a MiB from going back
            kernel.trim()

    def defect(self) -> None:
        """Count something that our own code failed at, an exception under way; the first one is told of."""
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
                self.part.rescope(dict(record.interfaces))
            case Listing():
                mine = tuple(row for row in record.rows if self.part.mine(row))
                self.engine.listing(Listing(mine, record.last), now)
            case Hello():
                self.engine.repeat()
                self.channel.put(Hello(os.getpid()), keep=True)

    def _send(self) -> None:
        owners = self.engine.context.owners
        for record in owners.outbox:
            self.channel.put(record, keep=True)
        owners.outbox.clear()
        self.channel.flush()

    def _by_clock(self, now: float) -> None:
        """Do what is due. Sweeps wait while packets of the past are still to be read: their clock is not ours."""
        due, flow = self._due, self.config.flow
        if now < self._clock:  # set back: what was due by the other clock is due now
            due.update(dict.fromkeys(due, 0.0))
        self._clock = now
        if now >= due["reap"]:
            due["reap"] = now + REAP
            self.engine.reap(now)
        if now >= due["sweep"] and (now - self.drained < 1 or now - due["sweep"] > BEHIND):
            due["sweep"] = now + flow.sweep_interval
            self._sweep(now)
        if now >= due["tick"]:
            due["tick"] = now + SOON
            if self.part.ready(now):
                if self._unpublished:
                    self._publish(now)
                due["tick"] = now + flow.publish_interval
                self.part.turn(now)
                self._unpublished = True
        if self._unpublished and self.part.complete():
            self._publish(now)

    def _publish(self, now: float) -> None:
        """Bring the ledger up to date and write it into the file."""
        self._unpublished = False
        self.engine.tick(now)
        self.part.meter()
        self.ledger.values[self._lost_events] = (
            self.channel.stats.errors["full"] + self.engine.context.owners.lost
        )
        if now >= self._due["expire"]:
            self._due["expire"] = now + EXPIRY
            self.ledger.expire(now)
        if self.ledger.publish(self.buffer):
            self.part.published()


def open_part(begun: Begun, worker: Worker) -> Part:
    """Open the source that the supervisor chose; the other one's code is not loaded."""
    given = (begun, worker.engine, worker.ledger, worker.defect)
    if begun.flags.get("source") == "ebpf":
        from exporter.app.ebpf_part import EbpfPart

        return EbpfPart(*given)
    from exporter.app.pcap_part import PcapPart

    return PcapPart(*given)


def run(begun: Begun) -> None:
    """Set a shard up with what privileges there are, give them up, work."""
    config = begun.config
    now = time.time()
    ledger = Ledger(config.metrics, share=begun.number("count"), now=now)
    buffer = memoryview(mmap.mmap(begun.number("ledger-fd"), 0))
    refused = ledger.restore(buffer)
    if refused not in ("", "empty"):
        log.get().warning(
            "the ledger of the worker before could not be read: counters begin at 0", reason=refused
        )
    end = socket.socket(fileno=begun.number("channel-fd"))
    worker = Worker(config, ledger, buffer, Channel(end, Stats()), begun.number("count"))
    worker.engine.begin(now, resumed=not refused, first_serial=time.time_ns())
    worker.part = open_part(begun, worker)
    for component, reason in sandbox.enter(worker.part.role, config, begun.number("lifeline-fd")):
        ledger.values[ledger.slot(metrics.DEGRADED, None, (component, reason))] = 1
    os.write(begun.number("ready-fd"), b"1")
    os.close(begun.number("ready-fd"))
    gc.collect()
    kernel.trim()  # what reading the code took
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # connections break their cycles themselves
    worker.loop(begun.number("lifeline-fd"))


if __name__ == "__main__":
    child.main("worker", run)
