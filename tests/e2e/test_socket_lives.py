"""Counted in the kernel: sockets older than the exporter, processes of milliseconds, servers that fork before."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.conftest import FAR, HERE, NEAR, THERE, Start
from tests.e2e.containers import Container, by_process, still
from tests.e2e.netns import Namespace, Pair, wait_for
from tests.e2e.servers import Servers
from tests.e2e.sockets import Unheld
from tests.e2e.truth import TCP, UDP, Flow, Ports, Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.bpf]

NC = "nc.openbsd"
SINK = {"tcp": 9000, "udp": 9001}
NEAR_TOO = NEAR | {(side, port): NC for side in ("local", "remote") for port in SINK.values()}
FAR_TOO = FAR | {(side, port): NC for side in ("local", "remote") for port in SINK.values()}
STACK = ("--capture.count-as", "stack")
FULL, SHORT = 2000, 150
CURL = "curl -sf --noproxy '*' -o /dev/null"
LOOPS = {
    "curl": f"{CURL} http://{Pair.there4}:{THERE['http']}/small",
    "dig": f"dig +tries=1 @{Pair.there6} -p {THERE['dns']} www.example.test",
    "nc": f"echo something | nc -N {Pair.there4} {SINK['tcp']}",
}
OVERFLOWS = {
    "netproc_evictions_total": ("kernel_table", "table_full", "processes"),
    "netproc_identity_errors_total": ("lost", "evicted"),
}
"""Said where something is wrong: every socket of the machine is counted, and somebody else's may fill the tables.

What finds no place there keeps its bytes, but is no connection, and may have no name.
"""
BRIEF = 0.01
"""Seconds that a short life lasts at most, at its median."""


def bytes_of(flows: list[Flow], ports: Ports) -> Counter[str]:
    """Bytes by process, as the wire saw them."""
    found: Counter[str] = Counter()
    for flow in flows:
        if flow.transport in {TCP, UDP}:
            found[flow.owner(ports)] += flow.size
    return found


def openings(flows: list[Flow], ports: Ports) -> Counter[str]:
    """Count connections by process."""
    return Counter(flow.owner(ports) for flow in flows if flow.transport in {TCP, UDP})


@pytest.fixture
def ends(pair: Pair) -> list[tuple[Namespace, str]]:
    """Both ends of the wire."""
    return [(pair.here, pair.interface), (pair.there, pair.interface)]


def test_connections_older_than_the_exporter(
    *,
    pair: Pair,
    cells: list[Container],
    ends: list[tuple[Namespace, str]],
    public: Path,
    tool: Callable[[str], str],
    of_sockets: Start,
    tmp_path: Path,
) -> None:
    """SSH, PostgreSQL, TCP and UDP that rest open; what they move later has its owner, and opens nothing."""
    here, there = cells
    servers = Servers(here, public, tool)
    servers.postgres(HERE["postgres"])
    key = servers.sshd(HERE["ssh"])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    sinks = [
        here.start("nc", "-l", str(SINK["tcp"]), stdin=subprocess.PIPE),
        here.start("nc", "-u", "-l", str(SINK["udp"]), stdin=subprocess.PIPE),
    ]
    time.sleep(0.5)
    talkers = [
        there.start("nc", "-N", Pair.here4, str(SINK["tcp"]), **pipes),
        there.start("nc", "-u", Pair.here4, str(SINK["udp"]), **pipes),
        there.start(*ssh(HERE["ssh"], key), f"root@{Pair.here6}", "cat", **pipes),
        there.start("psql", "-h", Pair.here6, "-p", str(HERE["postgres"]), "-U", "postgres", "-At", **pipes),
    ]
    for talker, words in zip(talkers, (b"a\n", b"a\n", b"a\n", b"select 1;\n"), strict=True):
        say(talker, words)
    assert [talker.stdout.readline() for talker in talkers[2:]] == [b"a\n", b"1\n"]
    exporter = of_sockets(pair.here, *STACK)
    _, base = still(exporter, ends)
    unheld = [Unheld(*end) for end in ends]
    tcpdump = Tcpdump(pair.here, pair.interface, tmp_path / "truth.pcap")
    for talker in [*sinks, *talkers[:3]]:
        say(talker, b"x" * 1000 + b"\n")
    say(talkers[3], b"select repeat('x', 30000);\n")
    assert len(talkers[2].stdout.readline()) == 1001
    assert len(talkers[3].stdout.readline()) == 30001
    for talker in talkers:
        talker.stdin.close()
    talkers[2].wait(10)
    talkers[3].wait(10)
    _, scrape = still(exporter, ends, base)
    tcpdump.stop()
    flows = tcpdump.flows(pair.addresses())
    for at, (cell, ports) in enumerate(zip(cells, (NEAR_TOO, FAR_TOO), strict=True)):
        want = bytes_of(flows, ports)
        want.subtract(unheld[at].owners(ports, far=bool(at)))
        assert by_process(scrape, cell) == want
        assert len(want) >= 3
        assert scrape.sum("netproc_connections_opened_total", container=cell.label, transport="tcp") == 0
        closed = scrape.by(
            "netproc_connections_closed_total", "process", container=cell.label, transport="tcp"
        )
        assert closed == dict.fromkeys(
            [("sshd",), ("postgres",), (NC,)] if cell is here else [("ssh",), ("psql",), (NC,)], 1
        )


def ssh(port: int, key: Path) -> tuple[str, ...]:
    quiet = (
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "IdentityAgent=none",
    )
    options = [flag for option in quiet for flag in ("-o", option)]
    return ("ssh", "-F", "none", "-i", str(key), "-p", str(port), *options)


def say(process: subprocess.Popen[bytes], words: bytes) -> None:
    process.stdin.write(words)
    process.stdin.flush()


def test_processes_of_milliseconds(
    *,
    pair: Pair,
    cells: list[Container],
    ends: list[tuple[Namespace, str]],
    public: Path,
    tool: Callable[[str], str],
    of_sockets: Start,
    tmp_path: Path,
    short: bool,
) -> None:
    """Thousands of curl, dig and nc: no byte of them is anybody else's or nobody's."""
    here, there = cells
    servers = Servers(there, public, tool)
    servers.nginx(THERE["http"], THERE["tls"])
    servers.dnsmasq(THERE["dns"])
    there.start("nc", "-dlk", str(SINK["tcp"]))
    wait_for("nc listens", lambda: there.connects(Pair.there4, SINK["tcp"]))
    times = SHORT if short else FULL
    exporter = of_sockets(pair.here, *STACK)
    _, base = still(exporter, ends)
    unheld = [Unheld(*end) for end in ends]
    tcpdump = Tcpdump(pair.here, pair.interface, tmp_path / "truth.pcap")
    for command in LOOPS.values():
        here.run("sh", "-c", f"for i in $(seq {times}); do {command} >/dev/null || exit 1; done")
    _, scrape = still(exporter, ends, base)
    tcpdump.stop()
    flows = tcpdump.flows(pair.addresses())
    assert scrape.sum("netproc_lost_packets_total") == 0
    full = {why: scrape.sum(name, reason=why) for name, reasons in OVERFLOWS.items() for why in reasons}
    for at, (cell, ports) in enumerate(zip(cells, (NEAR_TOO, FAR_TOO), strict=True)):
        want = bytes_of(flows, ports)
        want.subtract(unheld[at].owners(ports, far=bool(at)))
        assert by_process(scrape, cell) == want, (full, scrape.bytes_by("container", "process"))
        opened = scrape.by("netproc_connections_opened_total", "process", container=cell.label)
        # To a server's datagram socket a client's port that comes again soon is the same connection.
        at_least = dict.fromkeys(want, times) if cell is here else openings(flows, ports)
        assert opened.keys() == {(process,) for process in at_least}
        wrong = {
            process: (opened[process,], count)
            for process, count in at_least.items()
            if not count <= opened[process,] <= times
        }
        assert wrong == {}, full
    lives = {
        what: median(flow.life for flow in flows if flow.owner(NEAR_TOO).startswith(what)) for what in LOOPS
    }
    print({what: f"{1000 * life:.1f} ms" for what, life in lives.items()})
    assert max(lives.values()) < BRIEF
