"""Measures readers of an interface: processor time a packet, and packets lost."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from bench.support.generator import Generator
from bench.support.space import pin

__all__ = ["KINDS", "Cost", "measure"]

SETTLE = 0.3
"""Seconds for everything to come to rest."""
DISTURBED, ATTEMPTS = 0.05, 3
"""From this share of waiting on, a run is repeated; so often at most."""
WARM = 6
"""Packets of each connection, both directions, before the clock starts."""


class Cost(NamedTuple):
    """What a reader needed for one run."""

    nanoseconds: float
    """Processor time a packet, of those that it was given."""
    lost: int
    rate: float
    """Packets a second that were really sent."""
    waited: float
    """Share of the time in which the reader could have run and another process had its core."""


class Meter(Protocol):
    """A reader that runs, and its totals."""

    pid: int

    def totals(self) -> tuple[int, int, int]:
        """Give packets read, packets lost and nanoseconds of processor time until now."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Reader:
    """One of ours: it answers."""

    def __init__(self, kind: str, interface: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.support.reader", kind, interface],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self._hear()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the reader ended")
        return line

    def totals(self) -> tuple[int, int, int]:
        assert self._process.stdin is not None
        print("totals", file=self._process.stdin, flush=True)
        packets, lost, spent = map(int, self._hear().split())
        return packets, lost, spent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


class Tcpdump:
    """The floor: it copies packets and does not look at them. SIGUSR1 makes it tell its numbers."""

    def __init__(self, interface: str) -> None:
        self._process = subprocess.Popen(
            ["tcpdump", "-Z", "root", "-n", "-i", interface, "-B", "32768", "-s", "16384", "-w", "/dev/null"],
            stderr=subprocess.PIPE,
            preexec_fn=lambda: pin(1),  # noqa: PLW1509 - no threads here
        )
        self.pid = self._process.pid
        self._until(rb"listening on")

    def _until(self, words: bytes) -> bytes:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if re.search(words, line):
                return bytes(line)
        raise RuntimeError("tcpdump ended")

    def totals(self) -> tuple[int, int, int]:
        time.sleep(SETTLE)
        spent, _ = scheduled(self.pid)
        self._process.send_signal(signal.SIGUSR1)
        captured, _, lost = map(int, re.findall(rb"(\d+) packets", self._until(rb"dropped by kernel"))[:3])
        return captured, lost, spent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


KINDS = ("bare", "ours", "tcpdump")


def _start(kind: str, interface: str) -> Meter:
    return Tcpdump(interface) if kind == "tcpdump" else Reader(kind, interface)


def scheduled(pid: int) -> tuple[int, int]:
    """Give the nanoseconds that a process ran, and that it waited for a core."""
    ran, waited, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
    return ran, waited


def measure(kind: str, interface: str, generator: Generator, rate: int, seconds: float) -> Cost:
    """Measure; again if other processes disturbed it, and then give the least disturbed one."""
    costs: list[Cost] = []
    while len(costs) < ATTEMPTS and not any(cost.waited < DISTURBED for cost in costs):
        costs.append(_measure(kind, interface, generator, (rate, int(rate * seconds))))
    return min(costs, key=lambda cost: cost.waited)


def _measure(kind: str, interface: str, generator: Generator, load: tuple[int, int]) -> Cost:
    """Let a fresh reader learn the connections, then count what known ones cost it."""
    with _start(kind, interface) as meter:
        time.sleep(SETTLE)
        generator.open()
        generator.send(50_000, 2 * WARM * generator.connections)
        time.sleep(SETTLE)
        packets, lost, spent = meter.totals()
        _, waited = scheduled(meter.pid)
        sent, took = generator.send(*load)
        waited = scheduled(meter.pid)[1] - waited
        time.sleep(SETTLE)
        packets2, lost2, spent2 = meter.totals()
    read = packets2 - packets
    if lost == lost2 and read != sent and kind != "tcpdump":
        raise RuntimeError(f"{kind}: {sent} packets sent, {read} counted and none lost")
    return Cost((spent2 - spent) / max(1, read), max(lost2 - lost, 0), sent / took, waited / took / 1e9)
