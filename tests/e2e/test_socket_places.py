"""Counted in the kernel: pods behind a bridge and translation, and tunnels between two namespaces."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.containers import Container, by_process, contained, still
from tests.e2e.netns import Namespace, Pair
from tests.e2e.scrape import ETHERNET
from tests.e2e.servers import Servers
from tests.e2e.sockets import Unheld
from tests.e2e.truth import ARP, TCP, Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.bpf]

PODS = 3
BRIDGE, LINK = "br0", "eth0"
GATEWAY = "10.99.0.1"
PORT, TLS, DNS, INSIDE = 8081, 8444, 5300, 8085
MASQUERADE = f"""
table ip nat {{
    chain out {{ type nat hook postrouting priority 100; oifname "{Pair.interface}" masquerade; }}
}}
"""
VXLAN, OUTER = "vx0", 4789
AROUND = 20 + 8 + 8
"""Bytes of IPv4, UDP and VXLAN headers."""
PAGE = ("curl", "-sf", "--noproxy", "*", "-o", "/dev/null")


@pytest.fixture
def pods(pair: Pair) -> Iterator[list[Namespace]]:
    """Make namespaces on a bridge of the near end, which translates what leaves it."""
    with ExitStack() as stack:
        made = []
        pair.here.run("ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0")
        pair.here.run("ip", "address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        pair.here.run("ip", "link", "set", BRIDGE, "up")
        pair.here.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        pair.here.run("nft", "-f", "-", input=MASQUERADE)
        for number in range(PODS):
            pod = Namespace(f"p{number}")
            stack.callback(pod.close)
            made.append(pod)
            join(pair.here, pod, number)
        yield made


def join(host: Namespace, pod: Namespace, number: int) -> None:
    """Put a pod on the bridge."""
    end = f"pod{number}"
    host.run("ip", "link", "add", end, "type", "veth", "peer", "name", LINK, "netns", pod.name)
    host.run("ip", "link", "set", end, "master", BRIDGE, "up")
    pod.run("ip", "address", "add", f"{address(number)}/24", "dev", LINK)
    pod.run("ip", "link", "set", LINK, "up")
    pod.run("ip", "route", "add", "default", "via", GATEWAY)


def address(number: int) -> str:
    return f"10.99.0.{10 + number}"


def test_each_byte_of_pods_behind_translation_is_counted_once(
    *,
    pair: Pair,
    pods: list[Namespace],
    public: Path,
    tool: Callable[[str], str],
    of_sockets: Start,
    tmp_path: Path,
) -> None:
    """Pods ask a server beyond the translation, and each other over the bridge."""
    with contained(pair.there, *pods) as cells:
        there, *inside = cells
        outer = Servers(there, public, tool)
        outer.nginx(PORT, TLS)
        outer.dnsmasq(DNS)
        for cell in inside:
            Servers(cell, public, tool).nginx(INSIDE, INSIDE + 1)
        exporter = of_sockets(pair.here, "--capture.count-as", "stack")
        ends = [(pair.there, pair.interface), *((pod, LINK) for pod in pods)]
        before, base = still(exporter, ends)
        unheld = [Unheld(*end) for end in ends]
        dumps = [
            Tcpdump(namespace, interface, tmp_path / f"{number}.pcap")
            for number, (namespace, interface) in enumerate(ends)
        ]
        for number, cell in enumerate(inside):
            for _ in range(5):
                cell.run(*PAGE, f"http://{Pair.there4}:{PORT}/page")
                cell.run("dig", "+tries=1", f"@{Pair.there4}", "-p", str(DNS), "www.example.test")
                cell.run(*PAGE, f"http://{address((number + 1) % PODS)}:{INSIDE}/page")
        after, scrape = still(exporter, ends, base)
        for dump in dumps:
            dump.stop()
        for at, cell in enumerate(cells):
            have = by_process(scrape, cell)
            assert have.keys() == ({"nginx", "dnsmasq"} if cell is there else {"nginx", "curl", "dig"})
            moved = {key: value - before[at][key] for key, value in after[at].items()}
            beside = unheld[at].total() + dumps[at].link(ARP) + ETHERNET * moved["packets"]
            assert moved["bytes"] == sum(have.values()) + beside
            print(f"{cell.label}: {have}, {unheld[at].total()} bytes at no socket or of ICMP")
        assert scrape.sum("netproc_receive_bytes_total", process="forwarded") == 0
        sums = [scrape.bytes_by("container", process=name).total() for name in ("curl", "dig")]
        assert min(sums) > 0


@pytest.fixture
def tunnel(pair: Pair) -> str:
    """Join both ends by VXLAN over the wire; gives its interface."""
    for namespace, own, other, inner in (
        (pair.here, Pair.here4, Pair.there4, "10.77.0.1"),
        (pair.there, Pair.there4, Pair.here4, "10.77.0.2"),
    ):
        namespace.run(
            *("ip", "link", "add", VXLAN, "type", "vxlan", "id", "42", "local", own, "remote", other),
            *("dstport", str(OUTER), "dev", pair.interface),
        )
        namespace.sysctl(VXLAN)
        namespace.run("ip", "address", "add", f"{inner}/24", "dev", VXLAN)
        namespace.run("ip", "link", "set", VXLAN, "up")
    return VXLAN


def test_in_a_tunnel_the_inner_bytes_are_the_process_s(
    *,
    pair: Pair,
    cells: list[Container],
    tunnel: str,
    public: Path,
    tool: Callable[[str], str],
    of_sockets: Start,
    tmp_path: Path,
) -> None:
    """The outer packets are the kernel's, if they are anybody's, and never a process'."""
    here, there = cells
    Servers(there, public, tool).nginx(PORT, TLS)
    exporter = of_sockets(pair.here, "--capture.count-as", "stack")
    ends = [(pair.here, tunnel), (pair.there, tunnel)]
    _, base = still(exporter, [*ends, (pair.here, pair.interface)])
    unheld = [Unheld(*end) for end in ends]
    inner = Tcpdump(pair.here, tunnel, tmp_path / "inner.pcap")
    outer = Tcpdump(pair.here, pair.interface, tmp_path / "outer.pcap")
    for _ in range(5):
        here.run(*PAGE, f"http://10.77.0.2:{PORT}/page")
    _, scrape = still(exporter, [*ends, (pair.here, pair.interface)], base)
    inner.stop()
    outer.stop()
    size = sum(flow.size for flow in inner.flows({"10.77.0.1"}) if flow.transport == TCP)
    for at, (cell, process) in enumerate(zip(cells, ("curl", "nginx"), strict=True)):
        assert by_process(scrape, cell) == {process: size - unheld[at].ports("tcp").total()}
    families = [f"netproc_peer_{way}_bytes_total" for way in ("receive", "transmit")]
    kernel = sum(scrape.sum(family, process="kernel", remote_scope="public") for family in families)
    carried, _ = outer.by_port(OUTER)
    print(f"inner: {size} bytes; outer: {carried}, of which {kernel} are counted as the kernel's")
    assert carried >= size + AROUND * len(list(inner.packets()))
    assert kernel in {0, carried}  # the kernel gives them to no socket's filter: then they are in no sum
