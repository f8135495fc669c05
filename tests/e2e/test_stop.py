"""It ends when it is told to, whole, and leaves nothing behind."""

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

PLACES = [place for place in ("/dev/shm", "/run", "/var/tmp") if not PROGRAM.is_relative_to(place)]
ALONE_WITH_FILES = (
    *("unshare", "--mount", "sh", "-ec"),
    f'for place in {" ".join(PLACES)}; do mount -n -t tmpfs tmpfs $place; done; TMPDIR=/var/tmp exec "$@"',
    "sh",
)
"""Gives a program empty places of its own, where whatever it leaves is its own."""


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
    load.kill()


def test_it_makes_no_file(alone: Namespace, start: Start) -> None:
    """So it can leave none behind."""
    exporter = start(alone, before=ALONE_WITH_FILES)
    exporter.scrape()
    for process in exporter.family():
        roots = [Path(f"/proc/{process.pid}/root{place}") for place in PLACES]
        assert all(root.is_mount() for root in roots)
        assert [path for root in roots for path in root.rglob("*")] == []


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
