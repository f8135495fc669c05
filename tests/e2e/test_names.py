"""Real look-ups name the peers of what tells no name of its own; `--labels server_address` shows them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.netns import Pair, wait_for
from tests.e2e.scrape import Scrape
from tests.e2e.servers import Servers, renamed

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw]

HTTP, TLS, DNS = 8081, 8444, 5300
ASKED, ALIAS, TOLD = "db.example.test", "www.db.example.test", "told.example.test"
CURL = ("-sf", "--noproxy", "*", "-o", "/dev/null")
PEERS = ("netproc_peer_transmit_bytes_total", "netproc_peer_receive_bytes_total")


def complete(scrape: Scrape, process: str) -> bool:
    """Tell whether all that curl sent and received is under the names of its peers."""
    whole = [(family, family.replace("peer_", "")) for family in PEERS]
    return all(
        scrape.sum(peer, process=process) == scrape.sum(total, process=process) > 0 for peer, total in whole
    )


@pytest.mark.bpf
@pytest.mark.parametrize("source", ["pcap", "ebpf"])
def test_curl_by_address_has_the_name_that_dig_asked_for(
    pair: Pair, public: Path, tool: Callable[[str], str], start: Start, source: str
) -> None:
    """curl is given the address, so that no protocol tells a name; where it is given one, that goes before it."""
    tool("dig")
    curl = renamed(tool, public)("curl")  # nobody else on this machine runs it
    process = Path(curl).name
    servers = Servers(pair.there, public, tool)
    servers.nginx(HTTP, TLS)
    pair.there.start(
        *(tool("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"),
        *("--user=root", "--pid-file=", f"--port={DNS}", "--cache-size=0"),
        *(f"--host-record={ASKED},{pair.there4}", f"--cname={ALIAS},{ASKED}"),
    )
    wait_for("dnsmasq listens", lambda: pair.there.connects("127.0.0.1", DNS), 20)
    flags = ("--web.listen-address", "127.0.0.1:10187", "--capture.source", source)
    exporter = start(pair.here, *flags, "--labels", "server_address:top=5")
    page = f"http://{pair.there4}:{HTTP}/slow"

    def shown(names: set[str]) -> Scrape:
        def there() -> Scrape | None:
            scrape = exporter.scrape()
            have = [
                {key[0] for key in scrape.by(family, "server_address", process=process)} for family in PEERS
            ]
            return scrape if have == [names, names] else None

        return wait_for(f"curl's peers are {names}", there, 10, every=0.5)

    pair.here.run(curl, *CURL, page)
    shown({""})
    pair.here.run("dig", f"@{pair.there4}", "-p", str(DNS), "+tries=1", "+time=3", ALIAS)
    pair.here.run(curl, *CURL, page)
    shown({"", ALIAS})
    pair.here.run(curl, *CURL, "--resolve", f"{TOLD}:{HTTP}:{pair.there4}", f"http://{TOLD}:{HTTP}/slow")
    assert complete(shown({"", ALIAS, TOLD}), process)
