"""Counted in the kernel: every byte has its process and its container, and the books balance with the interface."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import FAR, HERE, NEAR, THERE, Start, everyone, serve
from tests.e2e.containers import Container, by_process, still
from tests.e2e.netns import Pair
from tests.e2e.scrape import ETHERNET, Scrape
from tests.e2e.sockets import Unheld
from tests.e2e.test_bytes import talk
from tests.e2e.truth import ARP, TCP, UDP, Flow, Ports, Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.bpf]

HANDSHAKE = (60 + 60 + 52, 80 + 80 + 72)
"""IP bytes of SYN, SYN-ACK and ACK, with IPv4 and IPv6."""
TRANSPORTS = {TCP: "tcp", UDP: "udp"}


def of_transports(flows: list[Flow]) -> list[Flow]:
    return [flow for flow in flows if flow.transport in TRANSPORTS]


def owners_are_right(
    scrape: Scrape, cell: Container, flows: list[Flow], ports: Ports, unheld: Counter[str]
) -> int:
    """Bytes and connections of each process and container; give the sum of the bytes."""
    bytes_true, opened_true = Counter(), Counter()
    for flow in of_transports(flows):
        bytes_true[flow.owner(ports)] += flow.size
        opened_true[flow.owner(ports), TRANSPORTS[flow.transport]] += 1
    bytes_true.subtract(unheld)
    have = by_process(scrape, cell)
    assert have == bytes_true, (
        scrape.losses(),
        scrape.by("netproc_attributions_total", "method", "quality"),
        scrape.bytes_by("container", "process"),
    )
    opened = scrape.by("netproc_connections_opened_total", "process", "transport", container=cell.label)
    assert opened == opened_true
    print(
        f"100 % of {sum(have.values())} bytes and {opened.total()} connections; {unheld.total()} bytes at no socket"
    )
    return sum(have.values())


def protocols_are_right(
    scrape: Scrape, cell: Container, flows: list[Flow], ports: Ports, unheld: Counter[int]
) -> None:
    """Bytes by protocol, from a connection's first packet to its last; a server's handshakes are its listener's."""
    names = {ends[what]: what for ends in (HERE, THERE) for what in ("http", "tls", "dns")}
    want = dict.fromkeys(names.values(), 0)
    for flow in of_transports(flows):
        for port in {flow.local[1], flow.remote[1]} & names.keys():
            serves = flow.owner(ports) in {"nginx", "dnsmasq"} and flow.transport == TCP
            want[names[port]] += flow.size - serves * HANDSHAKE[":" in flow.local[0]]
    for port in unheld.keys() & names.keys():
        want[names[port]] -= unheld[port]
    have = scrape.bytes_by("protocol", container=cell.label)
    assert {name: have[name,] for name in want} == want


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_byte_has_its_process_and_container(
    *,
    pair: Pair,
    cells: list[Container],
    public: Path,
    tool: Callable[[str], str],
    of_sockets: Start,
    tmp_path: Path,
    workers: str,
) -> None:
    keys = serve(cells, public, tool)
    exporter = of_sockets(pair.here, "--capture.count-as", "stack", "--workers", workers)
    ends = [(pair.here, pair.interface), (pair.there, pair.interface)]
    before, base = still(exporter, ends)
    unheld = [Unheld(*end) for end in ends]
    tcpdump = Tcpdump(pair.here, pair.interface, tmp_path / "truth.pcap")
    talk(pair, everyone(*cells), keys, ("56",))
    after, scrape = still(exporter, ends, base)
    tcpdump.stop()
    flows = tcpdump.flows(pair.addresses())
    assert scrape.sum("netproc_lost_packets_total") == 0
    for at, (cell, ports, missing) in enumerate(zip(cells, (NEAR, FAR), unheld, strict=True)):
        moved = {key: value - before[at][key] for key, value in after[at].items()}
        nobodys = missing.owners(ports, far=bool(at))
        counted = owners_are_right(scrape, cell, flows, ports, nobodys)
        protocols_are_right(scrape, cell, flows, ports, missing.by_server({*HERE.values(), *THERE.values()}))
        echoes = [missing.icmp(way, kind) for way in ("in", "out") for kind in ("icmp", "icmpv6")]
        beside = nobodys.total() + sum(echoes) + tcpdump.link(ARP)
        assert moved["bytes"] == counted + beside + ETHERNET * moved["packets"]
        assert moved["dropped"] == 0
    the_kernel_has_its_own(scrape, unheld)


def the_kernel_has_its_own(scrape: Scrape, unheld: list[Unheld]) -> None:
    """Echoes: requests and replies, but not what came to the kernel itself, which has no socket for it.

    Only of addresses such as this test has: others on this machine make the kernel speak too.
    """
    here, there = unheld
    want = sum(
        here.icmp("out", kind) + there.icmp("out", kind) + there.icmp("in", kind)
        for kind in ("icmp", "icmpv6")
    )
    families = [f"netproc_peer_{way}_bytes_total" for way in ("receive", "transmit")]
    have = sum(scrape.sum(family, process="kernel", remote_scope="public") for family in families)
    assert have == want > 0
