"""The identity process: answers the workers' questions over their channels, in one thread, until it is told to end.

python -m exporter.app.identity --config-fd N --channels 5,6,7 --ledger-fd M --lifeline-fd K [--events 8,1048576]

`--events` are the descriptor and the size of the ring by which the kernel tells of sockets and processes.
"""

import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import NoReturn

from exporter import config, log
from exporter.app import child, kernel, sandbox
from exporter.errors import UserError
from exporter.identity.channel import Channel
from exporter.identity.listing import list_sockets
from exporter.identity.publisher import Publisher
from exporter.identity.resolver import Resolver
from exporter.identity.sources import Sources
from exporter.identity.stats import Stats
from exporter.model import Addresses, Ask, Gone, Hello, Listing, Record, Scopes, Watch, Whose

__all__ = ["Identity", "main"]

PUBLISH = 1.0
WHOLE = 30.0
"""Seconds between readings of all addresses; ours and new ones are read at each notice of a change."""
SOON = 2.0
"""Seconds until we look again for who lives behind an interface: it is made before its first process."""
PAUSE, LONG_PAUSE = 0.001, 0.004
"""Seconds from one turn with something to do to the next: a turn costs as much as a question. The longer one where
nobody can be missed: the kernel tells of new processes, or there have been none in the last second."""
OFTEN = 1.25
"""It pauses where turns follow each other within so many pauses: who gathers questions himself is not kept waiting."""
GAP = 0.1
"""Seconds between two readings at least."""
FEW, MANY = 100, 2_000
"""Questions begun and ended: so few in a second are quiet, and after so many it is worth to give memory back (5 ms)."""
RELIST = 600.0
"""Seconds between listings: of 100,000 sockets (about 1 s) they take 0.2 % of a core."""


class Identity:
    """The loop and what it drives. Times are monotonic."""

    def __init__(self, sources: Sources, stats: Stats, channels: list[Channel]) -> None:
        """Take what was opened before privileges were dropped."""
        self.sources = sources
        self.stats = stats
        self.channels = channels
        self.resolver = Resolver(sources, stats)
        self.poller = select.epoll()
        self.lifeline = -1
        self.places = {channel.socket.fileno(): index for index, channel in enumerate(channels)}
        for fd in self.places:
            self.poller.register(fd, select.EPOLLIN)
        if sources.notices:
            self.poller.register(sources.notices, select.EPOLLIN)
        if sources.told:  # by edge: most of what is told does not wake us
            self.poller.register(sources.told.ring, select.EPOLLIN | select.EPOLLET)
        self.asked = False
        """A worker has sent something in the last turn, or the kernel told of a process."""
        self.turned = 0.0
        """When that was the time before."""
        self.listings: list[tuple[int, Iterator[Listing | None]]] = []
        self.told: dict[int, Addresses] = {}
        self.interfaces: Scopes | None = None
        self.tell_at = self.tell_due = self.whole_due = 0.0
        self.list_due = time.monotonic() + RELIST
        self.moved = self.returned = 0
        """Questions begun and ended until the last look, and until memory was last given back."""
        self.running = True

    def run(self, publisher: Publisher) -> None:
        """Serve until told to end."""
        now = time.monotonic()
        published = now
        for channel in self.channels:
            channel.put(Hello(os.getpid()), keep=True)
            channel.flush()
        while self.running:
            self.wait(now, published + PUBLISH)
            now = time.monotonic()
            self.serve(now)
            if now - published >= PUBLISH:
                published = now
                self.clean()
                publisher.publish(self.stats, time.time())

    def follow(self, lifeline: int) -> None:
        """End when the other end of this pipe does."""
        self.lifeline = lifeline
        self.poller.register(lifeline, select.EPOLLHUP)

    def wait(self, now: float, until: float) -> None:
        """Sleep until there is something to do, and read what came."""
        until = min(until, self.tell_due)
        if (due := self.resolver.deadline()) is not None:
            until = min(until, due)
        if self.listings:
            until = now
        if self.asked:
            self.asked = False
            hurry = not self.sources.told and (holders := self.sources.holders) and holders.busy(now)
            pause = PAUSE if hurry else LONG_PAUSE
            if now - self.turned < pause * OFTEN and until > now:
                time.sleep(min(pause, until - now))
            self.turned, now = now, time.monotonic()
        for fd, _ in self.poller.poll(max(0.0, until - now)):
            if fd in self.places:
                self.receive(self.places[fd])
            elif fd == self.lifeline:
                self.running = False
            elif self.sources.told and fd == self.sources.told.ring.fileno():
                self.asked = True
            elif (notices := self.sources.notices) and fd == notices.fileno() and notices.drain():
                self.tell_due = min(self.tell_due, self.tell_at + GAP)

    def receive(self, index: int) -> None:
        """Take what a worker sent."""
        channel = self.channels[index]
        self.asked = True
        now = time.monotonic()
        for record in channel.receive():
            self.take(index, record, now)
        if channel.closed:
            self.poller.unregister(channel.socket)

    def take(self, index: int, record: Record, now: float) -> None:
        match record:
            case Ask():
                self.resolver.ask(index, record, now)
            case Gone():
                self.resolver.gone(index, record)
            case Watch():
                self.resolver.watch(index, record, now)
            case Whose():
                self.resolver.inquiries.ask(index, record)
            case Hello():
                self.welcome(index)
            case _:
                self.stats.errors["malformed"] += 1

    def welcome(self, index: int) -> None:
        """A worker has started: forget its predecessor, tell it all."""
        self.resolver.forget(index)
        self.channels[index].clear()
        for record in (*self.told.values(), *([self.interfaces] if self.interfaces else ())):
            self.channels[index].put(record, keep=True)
        self.listings = [entry for entry in self.listings if entry[0] != index]
        self.listings.append((index, list_sockets(self.resolver, time.monotonic())))

    def serve(self, now: float) -> None:
        """Do what is due; first what a worker's numbers wait for: whose they are."""
        self.resolver.hear(now)
        self.answer()
        if now >= self.tell_due:
            try:
                self.tell(now)
            except OSError:
                self.stats.errors["failed"] += 1
                self.tell_due = now + SOON
        self.resolver.work(now)
        self.list(now)
        self.answer()

    def answer(self) -> None:
        """Send what was found out. An owner is told once: it waits for a worker that is behind."""
        for index, answer in self.resolver.out:
            self.channels[index].put(answer, keep=answer.final or answer.owner is not None)
        self.resolver.out.clear()
        for channel in self.channels:
            channel.flush()

    def tell(self, now: float) -> None:
        """Send addresses and what interfaces lead to, as far as it is new."""
        whole = now >= self.whole_due
        if whole:
            self.whole_due = now + WHOLE
            kernel.trim()
        spaces = self.sources.namespaces
        if spaces and spaces.walk(now, force=True):
            self.sources.forget()
        told = {}
        for scope in self.sources.scopes():
            known = self.told.get(scope)
            if whole or known is None or scope == 0:
                told[scope] = Addresses(scope, *self.sources.addresses(scope))
            else:
                told[scope] = known
        news: list[Record] = [record for scope, record in told.items() if self.told.get(scope) != record]
        self.told = told
        if (scopes := Scopes(self.sources.interfaces())) != self.interfaces:
            self.interfaces = scopes
            news.append(scopes)
        for record in news:
            for channel in self.channels:
                channel.put(record, keep=True)
        strange = spaces is not None and spaces.strange > 0
        self.tell_at, self.tell_due = now, min(self.whole_due, now + SOON) if strange else self.whole_due

    def clean(self) -> None:
        """Forget what is old, and note what may not be seen."""
        self.give_back()
        self.stats.errors["failed"] += self.sources.failures()
        self.sources.processes.prune(time.monotonic())
        if holders := self.sources.holders:
            holders.prune(busy=bool(self.resolver.questions))
            if holders.denied - {1}:
                self.stats.degraded["descriptors"] = "permission"

    def give_back(self) -> None:
        """Free what many questions have left, once there are few: the C library keeps it, all over its heap."""
        before, self.moved = self.moved, 2 * self.stats.asks - len(self.resolver.questions)
        if self.moved - before < FEW and self.moved - self.returned >= MANY:
            self.returned = self.moved
            self.resolver.shrink()
            kernel.trim()

    def list(self, now: float) -> None:
        """Go on with listings; begin one for everybody when it is time."""
        if now >= self.list_due and not self.listings:
            self.listings = [(i, list_sockets(self.resolver, now)) for i in range(len(self.channels))]
        if not self.listings:
            return
        index, listing = self.listings[0]
        if self.channels[index].busy():
            return
        record = next(listing, None)
        if isinstance(record, Listing):
            self.channels[index].put(record, keep=True)
        if isinstance(record, Listing) and record.last:
            self.listings.pop(0)
            kernel.trim()
        self.list_due = now + RELIST


def open_ledger(settings: config.Config, descriptor: int) -> Publisher:
    buffer = memoryview(mmap.mmap(descriptor, 0)) if descriptor >= 0 else None
    return Publisher(settings.metrics, buffer, time.time())


def end(_number: int, _frame: object) -> None:
    """Leave the loop wherever it is: nothing here needs an orderly end."""
    sys.exit(0)


def run(begun: child.Begun) -> None:
    """Open what needs privileges, give them up, then read the first record."""
    signal.signal(signal.SIGTERM, end)
    stats = Stats()
    ends = [socket.socket(fileno=fd) for fd in begun.numbers("channels")]
    publisher = open_ledger(begun.config, int(begun.flags.get("ledger-fd", -1)))
    lifeline = int(begun.flags.get("lifeline-fd", -1))
    try:
        sources = Sources(begun.config.identity, stats)
        sources.grouping.supervisor = os.getppid()
        if "events" in begun.flags:
            sources.listen(*begun.numbers("events"))
    except OSError as error:
        method = begun.config.identity.method
        raise UserError(
            f"identity.method {method} does not work here: {error}; `auto` takes what does"
        ) from None
    stats.degraded.update(sandbox.enter("identity", begun.config, lifeline))
    for component, reason in stats.degraded.items():
        log.get().warning("less is known of owners", component_=component, reason=reason)
    identity = Identity(sources, stats, [Channel(one, stats) for one in ends])
    if lifeline >= 0:
        identity.follow(lifeline)
    identity.run(publisher)


def main() -> NoReturn:
    child.main("identity", run)


if __name__ == "__main__":
    main()
