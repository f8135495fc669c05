"""Counted in the kernel: what is left of us when a process of ours is killed, and that no count is lost."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import FAR, HERE, NEAR, Start
from tests.e2e.containers import Container, by_process, still
from tests.e2e.netns import Namespace, Pair, wait_for
from tests.e2e.running import Exporter
from tests.e2e.servers import Servers
from tests.e2e.sockets import Unheld
from tests.e2e.test_stop import lives
from tests.e2e.truth import TCP, Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.bpf]

ROLES = ("worker", "identity", "exporter")
KINDS = ("prog", "map", "link")
PAUSE = 2.0
SECONDS = 3 * PAUSE + 3


def loaded(tool: Callable[[str], str], kind: str) -> set[int]:
    """Ids of all that is in the kernel."""
    said = subprocess.run([tool("bpftool"), "-j", kind, "show"], capture_output=True, text=True, check=True)
    return {one["id"] for one in json.loads(said.stdout)}


def held(exporter: Exporter) -> dict[str, set[int]]:
    """Ids of what our supervisor holds, as its descriptors tell."""
    found: dict[str, set[int]] = {kind: set() for kind in KINDS}
    for info in Path(f"/proc/{exporter.process.pid}/fdinfo").iterdir():
        for kind, number in re.findall(r"^(prog|map|link)_id:\s*(\d+)$", info.read_text(), re.MULTILINE):
            found[kind].add(int(number))
    return found


def test_nothing_is_left_of_a_killed_supervisor(
    alone: Namespace, of_sockets: Start, tool: Callable[[str], str]
) -> None:
    exporter = of_sockets(alone)
    family = exporter.family()
    ours = held(exporter)
    print({kind: len(ids) for kind, ids in ours.items()})
    assert all(ids and ids <= loaded(tool, kind) for kind, ids in ours.items())
    exporter.process.kill()
    exporter.process.wait(5)
    time.sleep(1)
    assert {kind: ids & loaded(tool, kind) for kind, ids in ours.items()} == {kind: set() for kind in KINDS}
    assert [process for process in family if lives(process)] == []


def test_a_killed_child_loses_no_count(
    *,
    pair: Pair,
    cells: list[Container],
    public: Path,
    tool: Callable[[str], str],
    of_sockets: Start,
    tmp_path: Path,
) -> None:
    """Each child is killed while both ends of a stream are counted; programs, names and sums stay."""
    here, there = cells
    Servers(here, public, tool).iperf3(HERE["iperf3"])
    exporter = of_sockets(pair.here, "--capture.count-as", "stack")
    ends = [(pair.here, pair.interface), (pair.there, pair.interface)]
    _, base = still(exporter, ends)
    unheld = [Unheld(*end) for end in ends]
    ours = held(exporter)
    tcpdump = Tcpdump(pair.here, pair.interface, tmp_path / "truth.pcap")
    stream = there.start(
        *("iperf3", "-c", Pair.here4, "-p", str(HERE["iperf3"]), "-t", str(int(SECONDS)), "-b", "300M")
    )
    for role in ROLES:
        time.sleep(PAUSE)
        child = exporter.child(role)
        child.send_signal(signal.SIGKILL)
        child.wait(5)
        wait_for(f"a new {role}", lambda old=child, role=role: exporter.child(role).pid != old.pid, 5)
    assert stream.poll() is None
    assert stream.wait(20) == 0
    _, scrape = still(exporter, ends, base)
    tcpdump.stop()
    assert held(exporter) == ours
    restarts = scrape.by("netproc_worker_restarts_total", "reason")
    assert restarts.total() == 1, restarts
    assert scrape.sum("netproc_lost_packets_total") == 0
    size = sum(flow.size for flow in tcpdump.flows(pair.addresses()) if flow.transport == TCP)
    for at, (cell, ports) in enumerate(zip(cells, (NEAR, FAR), strict=True)):
        have = by_process(scrape, cell)
        assert have == {"iperf3": size - unheld[at].owners(ports, far=bool(at)).total()}
        print(f"{cell.label}: {have}")
