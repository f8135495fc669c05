"""What the exporter process says of itself and of its siblings: not in any ledger, made anew at each scrape."""

import os
import platform
import struct
from collections.abc import Iterable

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

import exporter
from exporter import metrics
from exporter.metrics import Family

__all__ = ["ProcessText", "Status", "own_samples", "read_status"]

LENGTH = struct.Struct("<Q")
TRIES = 5

Samples = dict[Family, list[tuple[tuple[str, ...], float]]]


class Status(msgspec.Struct, frozen=True):
    """What the supervisor writes into its memory file."""

    restarts: dict[str, dict[str, int]] = {}
    """By child (`worker`, `identity`, `exporter`) and reason (`signal`, `exit`)."""
    degraded: tuple[tuple[str, str], ...] = ()
    workers: int = 0


_STATUS = msgspec.json.Decoder(Status)
_RESTARTS = {
    "worker": metrics.WORKER_RESTARTS,
    "identity": metrics.IDENTITY_RESTARTS,
    "exporter": metrics.EXPORTER_RESTARTS,
}


def read_status(descriptor: int, before: Status) -> Status:
    """Read the supervisor's status; what was known before where it is being written just now, or not there."""
    for _ in range(TRIES):
        try:
            (length,) = LENGTH.unpack(os.pread(descriptor, LENGTH.size, 0))
            return _STATUS.decode(os.pread(descriptor, length, LENGTH.size)) if length else before
        except (struct.error, msgspec.DecodeError, OverflowError, MemoryError, OSError):
            continue
    return before


def own_samples(
    status: Status, degraded: Iterable[tuple[str, str]], up: Iterable[bool], duration: float
) -> Samples:
    """Give the families that no ledger holds. `up`: whether each worker publishes."""
    version = (exporter.__version__, platform.python_version())
    samples: Samples = {
        metrics.BUILD: [(version, 1)],
        metrics.SCRAPE_DURATION: [((), duration)],
        metrics.WORKER_UP: [((str(number),), float(one)) for number, one in enumerate(up)],
        metrics.DEGRADED: [(pair, 1) for pair in sorted(set(degraded))],
    }
    for child, family in _RESTARTS.items():
        counts = {labels[0]: 0 for labels in family.closed} | status.restarts.get(child, {})
        samples[family] = [((reason,), count) for reason, count in sorted(counts.items())]
    return samples


class ProcessText:
    """prometheus_client's metrics of this process (`process_...`). Made before the sandbox closes: it reads /proc."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self._registry)

    def render(self, names: frozenset[str], *, openmetrics: bool) -> str:
        """Render those of the names, or all of them."""
        registry = self._registry.restricted_registry(list(names)) if names else self._registry
        if openmetrics:
            text: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]  # it has no annotations
            return text.decode().removesuffix("# EOF\n")
        return generate_latest(registry).decode()
