"""Every byte is accounted for and has the right owner: real servers and clients on a veth pair, IPv4 and IPv6."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import Clients
from tests.e2e.conftest import FAR, HERE, NEAR, THERE
from tests.e2e.netns import Pair
from tests.e2e.running import Exporter
from tests.e2e.scrape import Scrape
from tests.e2e.truth import TCP, UDP, Flow, Ports, Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw]

TRANSPORTS = {"tcp": TCP, "udp": UDP}
LONG = 0.3
IPERF3 = (
    # The books are what is tested, not speed: a busy machine too must lose nothing here.
    ("-t", "1", "-b", "500M"),
    ("-t", "1", "-b", "400M", "-R"),
    ("-u", "-t", "1", "-b", "40M", "-l", "1200"),
)
PINGS = (("-4", Pair.here4), ("-6", Pair.here6))

Many = list[tuple[Clients, dict[str, int], str]]
Ends = tuple[Ports, ...]
ONE_END: Ends = (NEAR,)
BOTH_ENDS: Ends = (NEAR, FAR)
WAYS = {
    "near": (("--no-identity.namespaces",), ONE_END),
    "near and far": ((), BOTH_ENDS),
    "two workers": (("--no-identity.namespaces", "--workers", "2"), ONE_END),
    "psutil": (("--identity.method", "psutil"), ONE_END),
}
"""Flags, and whose connections are counted: a veth leads to a pod, whose end is ours too where we can see into it."""


def talk(pair: Pair, clients: Many, keys: dict[str, Path], pings: tuple[str, ...] = ("56", "4000")) -> None:
    """Let every client talk to every server, and the kernels with each other."""
    for client, ports, side in clients:
        for _ in range(3):
            client.curl("http", ports["http"])
            client.curl("https", ports["tls"])
        client.ssh(ports["ssh"], keys[side])
        client.psql(ports["postgres"])
        client.dig(ports["dns"])
        client.dig(ports["dns"], "+tcp")
    wait(clients)
    for flags in IPERF3:  # a server serves one client at a time
        for version in range(2):
            at_once = clients[version::2]
            for client, ports, _ in at_once:
                client.iperf3(ports["iperf3"], *flags)
            wait(at_once)
    for version, address in PINGS:
        for size in pings:
            pair.there.run("ping", version, "-c", "2", "-i", "0.2", "-s", size, address)


def wait(clients: Many) -> None:
    for client, _, _ in clients:
        client.wait()


def total(flows: list[Flow]) -> int:
    return sum(flow.size for flow in flows)


def the_books_balance(
    pair: Pair, seen: dict[str, int], scrape: Scrape, flows: list[Flow], ends: Ends
) -> None:
    """DESIGN's equation, the sum over processes, and tcpdump, all to the byte."""
    assert scrape.losses() == {}
    assert seen["dropped"] == 0
    assert scrape.interface_bytes(pair.interface, ends=len(ends)) == seen["bytes"]
    captured = scrape.sum("netproc_captured_bytes_total", interface=pair.interface)
    assert captured == total(flows) * len(ends)
    assert scrape.sum("netproc_ignored_bytes_total") > 0  # ARP at least
    moved = {way: scrape.sum(f"netproc_{way}_bytes_total") for way in ("receive", "transmit")}
    near = {way: sum(getattr(flow, way) for flow in flows) for way in moved}
    assert moved == near if ends == ONE_END else dict.fromkeys(moved, total(flows))


def nobody_has_what_is_not_theirs(scrape: Scrape, flows: list[Flow], ends: Ends) -> None:
    """Bytes and connections of a process are its own; 99 % of bytes and all of the long connections are known."""
    bytes_true, opened_true, opened_long = Counter(), Counter(), Counter()
    for flow, ports in [(flow, ports) for flow in flows for ports in ends]:
        owner = flow.owner(ports)
        bytes_true[owner] += flow.size
        if flow.transport in {TCP, UDP}:
            opened_true[owner, flow.transport] += 1
            opened_long[owner, flow.transport] += flow.life > LONG
    have = scrape.processes()
    unknown = have.pop("unknown", 0)
    assert {name: size for name, size in have.items() if size > bytes_true[name]} == {}
    assert unknown <= 0.01 * bytes_true.total(), have
    opened = Counter()
    for (name, transport), value in scrape.by(
        "netproc_connections_opened_total", "process", "transport"
    ).items():
        if transport in TRANSPORTS and name != "unknown":
            opened[name, TRANSPORTS[transport]] = value
    print(f"{100 - 100 * unknown / bytes_true.total():.3f} % of {bytes_true.total()} bytes and")
    print(
        f"{opened.total()} of {opened_true.total()} connections known by name, {opened_long.total()} of them long"
    )
    assert {key: value for key, value in opened.items() if value > opened_true[key]} == {}
    assert {key: (opened[key], value) for key, value in opened_long.items() if opened[key] < value} == {}


def protocols_are_right(scrape: Scrape, flows: list[Flow], ends: Ends) -> None:
    """Bytes by protocol, from the first packet of a connection to its last."""
    names = {
        port: what
        for ports in (HERE, THERE)
        for what, port in ports.items()
        if what in {"http", "tls", "dns"}
    }
    want = dict.fromkeys(("http", "tls", "dns"), 0)
    for flow in flows:
        if (name := names.get(flow.local[1]) or names.get(flow.remote[1])) and flow.transport in {TCP, UDP}:
            want[name] += flow.size * len(ends)
    have = scrape.bytes_by("protocol")
    assert {name: have[name,] for name in want} == want


def connections_ended(scrape: Scrape, flows: list[Flow], ends: Ends) -> None:
    closed = scrape.by("netproc_connections_closed_total", "reason", transport="tcp")
    count = len(ends) * sum(flow.transport == TCP for flow in flows)
    assert closed["fin",] + closed["reset",] == count, closed
    assert closed["fin",] >= 0.9 * count, closed


@pytest.mark.parametrize("way", WAYS)
def test_every_byte_has_its_owner(
    *,
    pair: Pair,
    served: dict[str, Path],
    clients: Many,
    on_veth: Callable[..., Exporter],
    tmp_path: Path,
    way: str,
) -> None:
    flags, ends = WAYS[way]
    exporter = on_veth(*flags)
    before, base = exporter.settled(pair.interface)
    tcpdump = Tcpdump(pair.here, pair.interface, tmp_path / "truth.pcap")
    talk(pair, clients, served)
    after, scrape = exporter.settled(pair.interface, base)
    tcpdump.stop()
    seen = {key: after[key] - before[key] for key in after}
    flows = tcpdump.flows(pair.addresses())
    the_books_balance(pair, seen, scrape, flows, ends)
    nobody_has_what_is_not_theirs(scrape, flows, ends)
    protocols_are_right(scrape, flows, ends)
    connections_ended(scrape, flows, ends)
