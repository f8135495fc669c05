"""What a worker does when our own code fails at a packet."""

import socket

import pytest

from exporter import metrics
from exporter.app.worker import Worker
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
