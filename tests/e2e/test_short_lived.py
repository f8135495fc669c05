"""Connections that live for milliseconds: what share of them is known by name is printed; none may have a wrong one."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.conftest import CLIENT, NEAR, SLOW, THERE
from tests.e2e.netns import Pair
from tests.e2e.running import Exporter
from tests.e2e.scrape import Scrape
from tests.e2e.servers import Servers
from tests.e2e.truth import Flow, Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw]

CURL = "curl -sf --noproxy '*' -o /dev/null"
LOOPS = {
    "curl": f"{CURL} http://{Pair.there4}:{THERE['http']}/small",
    "curl of 20 ms": f"{CURL} http://[{Pair.there6}]:{SLOW['http']}/20",
    "curl of 45 ms": f"{CURL} http://{Pair.there4}:{SLOW['http']}/45",
    "dig": f"dig +tries=1 @{Pair.there4} -p {THERE['dns']} www.example.test",
    "dig of 20 ms": f"dig +tries=1 @{Pair.there6} -p {SLOW['dns']} 20.example.test",
    "dig of 45 ms": f"dig +tries=1 @{Pair.there4} -p {SLOW['dns']} 45.example.test",
    "dig over TCP": f"dig +tries=1 +tcp @{Pair.there6} -p {THERE['dns']} www.example.test",
}
FULL, SHORT = 500, 60


def known(scrape: Scrape, what: str, flows: list[Flow]) -> float:
    """Give the share of connections whose owner is named; nothing may belong to anybody else."""
    process = CLIENT["http" if what.startswith("curl") else "dns"]
    assert {flow.owner(NEAR) for flow in flows if flow.transport in {6, 17}} == {process}
    assert scrape.processes().keys() <= {process, "unknown", "kernel"}
    assert scrape.processes().get(process, 0) <= sum(flow.size for flow in flows)
    opened = scrape.by("netproc_connections_opened_total", "process")
    return opened[process,] / (opened[process,] + opened["unknown",])


def test_none_of_the_short_lived_is_wrong(
    *,
    pair: Pair,
    public: Path,
    tool: Callable[[str], str],
    on_veth: Callable[..., Exporter],
    tmp_path: Path,
    short: bool,
) -> None:
    servers = Servers(pair.there, public, tool)
    servers.nginx(THERE["http"], THERE["tls"])
    servers.dnsmasq(THERE["dns"])
    servers.slow(SLOW["http"], SLOW["dns"])
    exporter = on_veth("--no-identity.namespaces")  # the near ends alone
    times = SHORT if short else FULL
    _, scrape = exporter.settled(pair.interface)
    for number, (what, command) in enumerate(LOOPS.items()):
        base = Scrape(scrape.text)
        tcpdump = Tcpdump(pair.here, pair.interface, tmp_path / f"{number}.pcap")
        pair.here.run("sh", "-c", f"for i in $(seq {times}); do {command} >/dev/null || exit 1; done")
        _, scrape = exporter.settled(pair.interface, base)
        tcpdump.stop()
        flows = [flow for flow in tcpdump.flows(pair.addresses()) if flow.transport in {6, 17}]
        assert 0.9 * times <= len(flows) <= times  # a port may come twice
        assert scrape.losses() == {}
        share = known(scrape, what, flows)
        lives = sorted(1000 * flow.life for flow in flows)
        print(
            f"{times} {what}: {100 * share:.1f} % known by name; the connections lived {lives[0]:.1f} to"
            f" {lives[-1]:.1f} ms, half of them under {median(lives):.1f}"
        )
