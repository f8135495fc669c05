"""Namespaces, servers and exporters for the tests here, and their end."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import Clients
from tests.e2e.containers import Container, contained
from tests.e2e.netns import Namespace, Pair
from tests.e2e.running import Exporter
from tests.e2e.servers import Servers

REPO = Path(__file__).resolve().parents[2]
HERE = {"http": 8080, "tls": 8443, "dns": 53, "ssh": 2222, "postgres": 5432, "iperf3": 5201}
THERE = {"http": 8081, "tls": 8444, "dns": 5300, "ssh": 2223, "postgres": 5433, "iperf3": 5202}
SLOW = {"http": 8090, "dns": 5390}
"""The server that takes its time."""
SERVER = {
    "http": "nginx",
    "tls": "nginx",
    "dns": "dnsmasq",
    "ssh": "sshd",
    "postgres": "postgres",
    "iperf3": "iperf3",
}
CLIENT = {"http": "curl", "tls": "curl", "dns": "dig", "ssh": "ssh", "postgres": "psql", "iperf3": "iperf3"}
NEAR = {("local", port): SERVER[what] for what, port in HERE.items()} | {
    ("remote", port): CLIENT[what] for ports in (THERE, SLOW) for what, port in ports.items()
}
"""Who owns the ends in the exporter's namespace: servers on their ports, and clients of the peer's servers."""
FAR = {("local", port): CLIENT[what] for what, port in HERE.items()} | {
    ("remote", port): SERVER[what] for what, port in THERE.items()
}
"""Who owns the other ends, in the namespace behind the veth: to the exporter, a pod."""


@pytest.fixture(scope="session")
def public() -> Iterator[Path]:
    """Make a folder that every user may read, as servers do not run as root."""
    path = Path(tempfile.mkdtemp(prefix="netproc-e2e-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two namespaces joined by a veth pair."""
    pair = Pair()
    yield pair
    pair.close()


@pytest.fixture
def alone() -> Iterator[Namespace]:
    """Make a namespace with nothing but its loopback interface."""
    namespace = Namespace("l")
    yield namespace
    namespace.close()


Start = Callable[..., Exporter]


@pytest.fixture
def start(public: Path) -> Iterator[Start]:
    """Start exporters; at the test's end each must end as it should."""
    with ExitStack() as stack:

        def run(namespace: Namespace, *flags: str, **options: Any) -> Exporter:
            exporter = Exporter(namespace, public, *flags, **options)

            def stop() -> None:
                if exporter.process.poll() is None:
                    exporter.stop()
                assert "Traceback" not in exporter.said(), exporter.said()

            stack.callback(stop)
            return exporter

        yield run


@pytest.fixture
def on_veth(start: Start, pair: Pair) -> Callable[..., Exporter]:
    """Start an exporter on the pair's near end, counting as the stack does."""

    def run(*flags: str) -> Exporter:
        address = ("--web.listen-address", "127.0.0.1:10187")
        capture = ("--capture.interface", pair.interface, "--capture.count-as", "stack")
        return start(pair.here, *address, *capture, *flags)

    return run


@pytest.fixture
def served(pair: Pair, public: Path, tool: Callable[[str], str]) -> dict[str, Path]:
    """Start every server in both namespaces; give the ssh keys."""
    return serve((pair.here, pair.there), public, tool)


def serve(places: Sequence[Namespace], public: Path, tool: Callable[[str], str]) -> dict[str, Path]:
    """Start every server here and there; give the ssh keys."""
    keys = {}
    for name, namespace, ports in zip(("here", "there"), places, (HERE, THERE), strict=True):
        servers = Servers(namespace, public, tool)
        servers.nginx(ports["http"], ports["tls"])
        servers.dnsmasq(ports["dns"])
        servers.postgres(ports["postgres"])
        servers.iperf3(ports["iperf3"])
        keys[name] = servers.sshd(ports["ssh"])
    return keys


@pytest.fixture
def cells(pair: Pair) -> Iterator[list[Container]]:
    """Make a container at each end of the pair: here, there."""
    with contained(pair.here, pair.there) as made:
        yield made


@pytest.fixture
def clients(pair: Pair) -> list[tuple[Clients, dict[str, int], str]]:
    """Clients in both directions and both versions of IP, with the ports and the side of the servers they want."""
    return everyone(pair.here, pair.there)


def everyone(here: Namespace, there: Namespace) -> list[tuple[Clients, dict[str, int], str]]:
    """Clients as above, in namespaces or containers."""
    return [
        (Clients(there, Pair.here4), HERE, "here"),
        (Clients(there, Pair.here6), HERE, "here"),
        (Clients(here, Pair.there4), THERE, "there"),
        (Clients(here, Pair.there6), THERE, "there"),
    ]


@pytest.fixture
def of_sockets(tool: Callable[[str], str], start: Start) -> Start:
    """Start exporters whose kernel counts; `tests/e2e/containers.py` tells what is the test's of it."""
    tool("clang")
    subprocess.run([REPO / "tools/build-bpf"], check=True)

    def run(namespace: Namespace, *flags: str, **options: Any) -> Exporter:
        address = ("--web.listen-address", "127.0.0.1:10187")
        return start(namespace, *address, "--capture.source", "ebpf", *flags, **options)

    return run
