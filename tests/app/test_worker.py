"""A worker's loop: what it does when our own code fails, and when it publishes."""

import socket

import pytest

from exporter import metrics
from exporter.app import kernel
from exporter.app.worker import MANY, RETURNS, Worker
from exporter.config import Config
from exporter.identity.channel import Channel
from exporter.identity.stats import Stats
from exporter.ledger import Ledger


class Broken:
    """A source whose packets cannot be read."""

    def poll(self):
        raise RuntimeError("a defect")

    def ready(self, _now):
        return True

    def turn(self, _now):
        """Nothing has changed."""

    def complete(self):
        return True

    def meter(self):
        """Nothing is told."""

    published = meter


@pytest.fixture
def worker():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = Config()
    ledger = Ledger(config.metrics)
    made = Worker(config, ledger, memoryview(bytearray(64 << 20)), Channel(ours, Stats()))
    made.part = Broken()
    yield made
    ours.close()
    theirs.close()


def test_a_defect_is_counted_and_told_of_once(worker, capsys):
    for _ in range(3):
        worker.turn()
    assert worker.ledger.values[worker.ledger.slot(metrics.WORKER_ERRORS, None)] == 3
    said = capsys.readouterr().err
    assert said.count("a packet could not be read") == 1
    assert "RuntimeError: a defect" in said


class Counting(Broken):
    """A source whose turns are whole when the test says so."""

    def __init__(self):
        self.said = []
        self.may, self.whole = True, False

    def poll(self):
        return 0

    def ready(self, _now):
        return self.may

    def turn(self, _now):
        self.said.append("turn")

    def complete(self):
        return self.whole

    def published(self):
        self.said.append("published")


@pytest.fixture
def counting(worker):
    worker.part = Counting()
    return worker.part


def test_a_turn_is_published_when_it_is_whole_and_once(worker, counting):
    worker._by_clock(1000.0)
    worker._by_clock(1000.5)
    assert counting.said == ["turn"]
    counting.whole = True
    worker._by_clock(1000.6)
    worker._by_clock(1000.7)
    assert counting.said == ["turn", "published"]


def test_the_last_turn_is_published_before_the_next_one(worker, counting):
    worker._by_clock(1000.0)
    worker._by_clock(1001.0)
    assert counting.said == ["turn", "published", "turn"]


def test_a_turn_that_must_wait_is_tried_again_soon(worker, counting):
    worker._by_clock(1000.0)
    counting.may = False
    worker._by_clock(1001.0)
    assert counting.said == ["turn"]
    assert 1001 < worker._due["tick"] < 1001.1  # not at once: it would spin
    counting.may = True
    worker._by_clock(1001.1)
    assert counting.said == ["turn", "published", "turn"]


def test_what_does_not_fit_into_the_file_stays_in_the_kernel(worker, counting, monkeypatch):
    monkeypatch.setattr(worker.ledger, "publish", lambda _buffer: False)
    counting.whole = True
    worker._by_clock(1000.0)
    assert counting.said == ["turn"]


def test_a_clock_that_is_set_back_stops_nothing(worker, counting):
    for now in (10_000.0, 10_001.5, 5_000.0, 5_001.5):
        worker._by_clock(now)
    assert counting.said.count("turn") == 4


def test_memory_is_given_back_although_one_sweep_ended_the_whole_flood(worker, counting, monkeypatch):
    given_back = []
    monkeypatch.setattr(kernel, "trim", lambda: given_back.append(1))
    table = worker.engine.context.table
    monkeypatch.setattr(worker.engine, "sweep", lambda _now: setattr(table, "size", 0))
    table.size = MANY
    for _ in range(RETURNS + 3):
        worker._due["sweep"] = 0.0
        worker.turn()
    assert len(given_back) == RETURNS
