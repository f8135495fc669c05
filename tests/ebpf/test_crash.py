"""A worker is killed at every step between the kernel's tables and the ledger's file: nothing is lost or counted twice.

What outlives a worker are those tables and that file; so a life here ends by an exception, and the next one begins with
them alone. The last test kills real workers.
"""

import itertools
import os
import socket
import time
from pathlib import Path

import pytest

from exporter import ledgerfile
from exporter import metrics as m
from exporter.app.child import Begun
from exporter.app.ebpf_part import EbpfPart
from exporter.app.worker import Worker
from exporter.config import Config
from exporter.ebpf import maps
from exporter.identity.channel import Channel
from exporter.identity.stats import Stats
from exporter.ledger import Ledger
from exporter.model import Answer, Owner, Whose

pytestmark = [pytest.mark.bpf, pytest.mark.root, pytest.mark.netns]

SIZE = 100


class KilledError(Exception):
    """SIGKILL."""


class Life:
    """A worker from its start to its end."""

    def __init__(self, handles, buffer):
        config = Config()
        flags = {"index": "0", "count": "1", "handles": handles.flag()}
        flags["netns"] = str(Path("/proc/self/ns/net").stat().st_ino)
        self.ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ledger = Ledger(config.metrics, now=time.time())
        refused = self.ledger.restore(buffer)
        assert refused in {"", "empty"}
        self.worker = Worker(config, self.ledger, buffer, Channel(self.ends[0], Stats()))
        self.worker.engine.begin(time.time(), resumed=not refused, first_serial=0)
        self.part = self.worker.part = EbpfPart(
            Begun(config, flags), self.worker.engine, self.ledger, self.worker.defect
        )
        self.answers = True
        self.clock = time.time()

    def second(self):
        """What is due each second: the last turn is published, the next one is taken, names come."""
        self.clock += 1.1
        now = self.clock
        self.worker._due["tick"] = 0
        self.worker._by_clock(now)
        outbox = self.worker.engine.context.owners.outbox
        for whose in [record for record in outbox if isinstance(record, Whose)]:
            name = "mine" if whose.pid == os.getpid() else "other"
            if self.answers or name != "mine":
                owner = Owner(name, pid=whose.pid, start=float(whose.start))
                self.worker.engine.answer(Answer(whose.serial, owner, "ebpf", "exact"), now)
        outbox.clear()
        self.worker._due["reap"] = 0
        self.worker._by_clock(now + 0.01)

    def sent(self):
        """Packets and bytes that this process sent over UDP, as the ledger has them."""
        rows = {row.key: row.slot for row in self.ledger.rows.values()}
        values = [
            self.ledger.values[slot]
            for (family, identity, labels), slot in rows.items()
            if family is m.TRANSMIT_BYTES and identity.process in {"mine", "unknown"} and labels[1] == "udp"
        ]
        return sum(values)

    def close(self):
        self.part.source.close()
        for end in self.ends:
            end.close()


@pytest.fixture
def talk(space):
    """Send so many datagrams from as many sockets, in a namespace of its own."""
    made = []
    with space.entered():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
    made.append(server)

    def send(number):
        for _ in range(number):
            with space.entered():
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.sendto(bytes(SIZE), server.getsockname())
            made.append(client)
        return number

    yield send
    for one in made:
        one.close()


@pytest.fixture
def begin(watching):
    """Start a worker's life on what the one before left."""
    buffer = memoryview(bytearray(ledgerfile.size(Config().metrics)))
    lives = []
    for shard in watching.shards:  # what other tests moved
        for _ in range(2):
            list(shard.turn())
            shard.release()

    def make():
        lives.append(Life(watching.kernel.handles[0], buffer))
        return lives[-1]

    yield make
    for life in lives:
        life.close()


def raising(*_arguments, **_more):
    raise KilledError


def die_while_reading(life, patch):
    real = life.part.source._shard._read

    def read(turn):
        yield from itertools.islice(real(turn), 1)
        raise KilledError

    patch.setattr(life.part.source._shard, "_read", read)


def die_while_publishing(what):
    """A write into the file that does not come to be; those before it were done."""

    def die(_life, patch):
        class Dying:
            def __getattr__(self, name):
                return getattr(real, name)

            pack_into = raising

        real = getattr(ledgerfile, what)
        patch.setattr(ledgerfile, what, Dying())

    return die


def die_while_releasing(_life, patch):
    real = maps.remove

    def remove(fd, keys, count):
        real(fd, keys[:48], 1)
        raise KilledError

    patch.setattr(maps, "remove", remove)


STEPS = {
    "before the turn": lambda life, patch: patch.setattr(life.part, "turn", raising),
    "after the kernel was told": lambda _, patch: patch.setattr(maps, "grace", raising),
    "while reading": die_while_reading,
    "before publishing": lambda life, patch: patch.setattr(life.worker, "_publish", raising),
    "while the half is marked": die_while_publishing("SEQUENCE"),
    "while the half is described": die_while_publishing("HALF"),
    "before the half is named": die_while_publishing("HEADER"),
    "before releasing": lambda life, patch: patch.setattr(life.part, "published", raising),
    "while releasing": die_while_releasing,
}


@pytest.mark.parametrize("again", [0, 1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step(begin, talk, monkeypatch, step, again):
    """Killed at its first turn, or after some; the next worker too, as often as `again` says."""
    sent, life = 0, begin()
    for number in range(again + 1):
        for _ in range(2 * number):  # whole seconds
            sent += talk(5)
            life.second()
        sent += talk(5)
        with monkeypatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012 - it dies in one of these
            STEPS[step](life, patch)
            life.second()
            life.second()
        sent += talk(5)
        life = begin()
    for _ in range(3):
        life.second()
    assert life.sent() == sent * (SIZE + 28)
    again = begin()  # what is in the file is the same
    assert again.sent() == life.sent()


def test_killed_while_a_name_is_waited_for(begin, talk):
    """The turn was read, and is not published: the next worker reads it again."""
    life = begin()
    life.second()
    life.second()
    sent = talk(5)
    life.answers = False
    life.second()
    assert not life.part.complete()
    assert not life.sent()
    life = begin()
    life.second()
    life.second()
    assert life.sent() == sent * (SIZE + 28)
    rows = {row.key[1].process for row in life.ledger.rows.values() if row.key[0] is m.TRANSMIT_BYTES}
    assert "mine" in rows


@pytest.mark.parametrize("again", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_while_a_name_is_late(begin, talk, monkeypatch, step, again):
    """Turns are published without the numbers that wait for it: they come back with the ledger, again and again."""
    life = begin()
    life.second()
    sent = 0
    for _ in range(again):
        life.answers = False
        for _ in range(3):
            sent += talk(5)
            life.second()
        assert not life.sent()
        assert life.ledger.notes
        sent += talk(5)
        with monkeypatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012 - it dies in one of these
            STEPS[step](life, patch)
            life.second()
            life.second()
        life = begin()
    sent += talk(5)
    for _ in range(3):
        life.second()
    assert life.sent() == sent * (SIZE + 28)
    assert not life.ledger.notes
    rows = {row.key[1].process for row in life.ledger.rows.values() if row.key[0] is m.TRANSMIT_BYTES}
    assert "unknown" not in rows
