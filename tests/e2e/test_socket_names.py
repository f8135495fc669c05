"""Counted in the kernel: a name that comes seconds after its process has ended costs neither bytes nor time."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import FAR, HERE, NEAR, Start
from tests.e2e.containers import Container, by_process, still
from tests.e2e.netns import Pair, wait_for
from tests.e2e.servers import Servers
from tests.e2e.sockets import Unheld
from tests.e2e.truth import TCP, Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.bpf]

SECONDS = 4
LATE = 5.0
"""A turn each second, one more of waiting for names, and a look at the page."""


def test_a_stopped_identity_process_delays_names_only(
    *,
    pair: Pair,
    cells: list[Container],
    public: Path,
    tool: Callable[[str], str],
    of_sockets: Start,
    tmp_path: Path,
) -> None:
    """The server has its name, each client is another process; the second one's whole life goes by unnamed."""
    here, there = cells
    Servers(here, public, tool).iperf3(HERE["iperf3"])
    exporter = of_sockets(pair.here, "--capture.count-as", "stack")
    ends = [(pair.here, pair.interface), (pair.there, pair.interface)]
    _, base = still(exporter, ends)
    unheld = [Unheld(*end) for end in ends]
    tcpdump = Tcpdump(pair.here, pair.interface, tmp_path / "truth.pcap")
    client = ("iperf3", "-c", Pair.here4, "-p", str(HERE["iperf3"]), "-b", "200M", "-t")
    assert there.start(*client, "1").wait(20) == 0
    _, before = still(exporter, ends, base)
    first = by_process(before, there)["iperf3"]
    identity = exporter.child("identity")
    identity.send_signal(signal.SIGSTOP)
    try:
        wait_for("it stops", lambda: identity.status() == "stopped", 2)
        second = there.start(*client, str(SECONDS))
        began = time.monotonic()
        for _ in range(2):
            known = by_process(exporter.scrape(base), here)["iperf3"]
            wait_for(
                "more bytes of the server",
                lambda known=known: by_process(exporter.scrape(base), here)["iperf3"] > known,
                LATE,
            )
        assert second.wait(20) == 0
        time.sleep(max(0.0, SECONDS + LATE - (time.monotonic() - began)))
        assert by_process(exporter.scrape(base), there) == {"iperf3": first}  # and nothing under another name
    finally:
        identity.send_signal(signal.SIGCONT)
    _, scrape = still(exporter, ends, base)
    tcpdump.stop()
    size = sum(flow.size for flow in tcpdump.flows(pair.addresses()) if flow.transport == TCP)
    assert scrape.sum("netproc_lost_packets_total") == 0
    for at, (cell, ports) in enumerate(zip(cells, (NEAR, FAR), strict=True)):
        have = by_process(scrape, cell)
        print(f"{cell.label}: {have} of {size}, {first} before")
        assert have == {"iperf3": size - unheld[at].owners(ports, far=bool(at)).total()}
