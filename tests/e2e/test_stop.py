"""It ends when it is told to, whole, and leaves nothing behind."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Start
from tests.e2e.generator import Generator
from tests.e2e.netns import Namespace, Pair
from tests.e2e.running import PROGRAM, Exporter

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw]

PLACES = ("/tmp", "/run", "/dev/shm", "/var/tmp", "/run/netns", "/sys/fs/cgroup", "/sys/fs/bpf")


def litter() -> set[str]:
    """Everything in the places where a daemon might leave something."""
    return {entry.path for place in PLACES if Path(place).is_dir() for entry in os.scandir(place)}


def lives(process: psutil.Process) -> bool:
    """A zombie has ended; that nobody waits for it is its parent's fault."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_two_seconds(
    pair: Pair, on_veth: Callable[..., Exporter], tmp_path: Path, number: signal.Signals
) -> None:
    generator = Generator(pair, tmp_path)
    before = litter()
    exporter = on_veth()
    load = generator.start(tuples=1000, count=600_000, rate=100_000)
    time.sleep(1)
    exporter.scrape()
    assert len(exporter.family()) >= 4  # supervisor, worker, identity, exporter
    took = exporter.stop(number)
    assert load.poll() is None, "there was no load any more"
    print(f"{number.name}: {took:.2f} s")
    assert took < 2
    assert exporter.process.returncode == 0, exporter.said()
    assert pair.here.pids() == []
    assert litter() - before == set()
    load.kill()


def test_it_stops_while_it_starts(alone: Namespace) -> None:
    for delay in (0.1, 0.3, 0.6):
        process = alone.start(PROGRAM, "run")
        time.sleep(delay)
        assert process.poll() is None
        process.terminate()
        assert process.wait(3) in {0, -signal.SIGTERM}
        assert alone.pids() == []


def test_the_death_of_the_supervisor_ends_all(alone: Namespace, start: Start) -> None:
    exporter = start(alone)
    family = exporter.family()
    exporter.process.kill()
    exporter.process.wait(5)
    time.sleep(1)
    assert [process for process in family if lives(process)] == []
    assert alone.pids() == []
