"""Counted in the kernel: servers that listen before they fork, and which of their processes has which connection."""

from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.containers import Container, by_process, still
from tests.e2e.netns import Pair
from tests.e2e.servers import Servers
from tests.e2e.sockets import Unheld
from tests.e2e.truth import TCP, Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.bpf]

PORTS = {"nginx": 8080, "gunicorn": 8200}
RULES = """
identity:
  groups:
    - {name: "nginx-{0}", executable: "^nginx$", command: "nginx: (master|worker) process"}
    - {name: "gunicorn-{0}", command: "gunicorn: (master|worker)"}
"""
"""Both say in their command line which of their processes they are."""
CLIENTS = 20
TALK = """for i in $(seq {clients}); do
    (for pause in 0.3 0.3 0.1; do printf 'GET {path} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; sleep $pause; done) |
        nc -N {address} {port} > /dev/null &
done; wait"""
"""Three requests on a connection, the second after the 250 ms that the first pass over all sockets may take."""
REFINED = 0.25


@pytest.mark.parametrize("server", PORTS)
def test_the_worker_has_its_connections(
    *,
    pair: Pair,
    cells: list[Container],
    public: Path,
    tool: Callable[[str], str],
    of_sockets: Start,
    tmp_path: Path,
    server: str,
) -> None:
    here, there = cells
    servers = Servers(here, public, tool)
    port = PORTS[server]
    if server == "nginx":
        servers.nginx(port, port + 1, workers=4)
    else:
        servers.gunicorn(port, workers=4)
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    exporter = of_sockets(pair.here, "--capture.count-as", "stack", "--config.file", str(rules))
    ends = [(pair.here, pair.interface), (pair.there, pair.interface)]
    _, base = still(exporter, ends)
    unheld = Unheld(*ends[0])
    tcpdump = Tcpdump(pair.here, pair.interface, tmp_path / "truth.pcap")
    for address in (Pair.here4, Pair.here6):
        there.run("sh", "-c", TALK.format(clients=CLIENTS, path="/small", address=address, port=port))
    _, scrape = still(exporter, ends, base)
    tcpdump.stop()
    flows, early = (
        [flow for flow in tcpdump.flows(pair.addresses(), head) if flow.transport == TCP]
        for head in (inf, REFINED)
    )
    assert len(flows) == 2 * CLIENTS
    have = by_process(scrape, here)
    assert have.keys() <= {f"{server}-master", f"{server}-worker"}
    assert sum(have.values()) == sum(flow.size for flow in flows) - unheld.ports("tcp").total()
    masters = have.get(f"{server}-master", 0)
    print(f"{server}: {masters} bytes at the listener's owner, handshakes included; of {sum(have.values())}")
    assert masters <= sum(flow.size for flow in early)
    opened = scrape.by("netproc_connections_opened_total", "process", container=here.label)
    # A turn may end between the handshake and the worker's first read: then the listener's owner has opened it.
    assert opened.total() == 2 * CLIENTS
    assert opened[f"{server}-worker",] >= CLIENTS
