"""Writes what the identity process counts of itself into its ledger's memory file."""

from collections.abc import Iterator

from exporter import metrics
from exporter.config import Metrics
from exporter.identity.stats import Stats
from exporter.ledger import Ledger
from exporter.metrics import Family, Kind, Origin

__all__ = ["Publisher"]

Sample = tuple[Family, tuple[str, ...], float]


class Publisher:
    """The ledger of this process; it goes on from where a predecessor's ended."""

    def __init__(self, limits: Metrics, buffer: memoryview | None, now: float) -> None:
        """Take the memory file, if there is one; `now` is Unix time."""
        self.ledger = Ledger(limits, 1, Origin.IDENTITY, now)
        self.buffer = buffer
        if buffer is not None:
            self.ledger.restore(buffer)
        self.before: dict[tuple[Family, tuple[str, ...]], float] = {}

    def publish(self, stats: Stats, now: float) -> None:
        """Write all; counters move by what was added since the last time."""
        self.ledger.now = now
        for family, labels, value in read(stats):
            slot = self.ledger.slot(family, None, labels)
            if family.kind is Kind.COUNTER:
                self.ledger.values[slot] += value - self.before.get((family, labels), 0)
                self.before[family, labels] = value
            else:
                self.ledger.values[slot] = value
        if self.buffer is not None:
            self.ledger.publish(self.buffer)


def read(stats: Stats) -> Iterator[Sample]:
    """Say which number is which metric."""
    yield metrics.IDENTITY_QUESTIONS, (), stats.asks + stats.watches
    yield metrics.IDENTITY_PENDING, (), stats.pending
    yield metrics.IDENTITY_SOCKETS, (), stats.sockets
    yield metrics.IDENTITY_SCANS, ("sockets",), stats.dumps
    yield metrics.IDENTITY_SCANS, ("descriptors",), stats.scans + stats.sweeps
    yield metrics.IDENTITY_SCAN_SECONDS, ("sockets",), stats.dump_seconds
    yield metrics.IDENTITY_SCAN_SECONDS, ("descriptors",), stats.scan_seconds
    for reason, count in stats.errors.items():
        yield metrics.IDENTITY_ERRORS, (reason,), count
    for component, reason in stats.degraded.items():
        yield metrics.DEGRADED, (component, reason), 1
