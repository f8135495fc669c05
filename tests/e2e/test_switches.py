"""What is not to be inspected is counted all the same, whether packets are captured or the kernel counts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.netns import Pair, wait_for
from tests.e2e.servers import Servers

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.bpf]

HTTP, TLS = 8081, 8444
CURL = ("curl", "-skf", "--noproxy", "*", "-o", "/dev/null")


@pytest.fixture
def nginx(pair: Pair, public: Path, tool: Callable[[str], str]) -> None:
    Servers(pair.there, public, tool).nginx(HTTP, TLS)


@pytest.mark.usefixtures("nginx")
@pytest.mark.parametrize("source", ["pcap", "ebpf"])
@pytest.mark.parametrize(
    ("flag", "found"), [("--no-dpi", {"unknown"}), ("--dpi-protocols=-http,-http2", {"unknown", "tls"})]
)
def test_what_is_inspected(pair: Pair, start: Start, source: str, flag: str, found: set[str]) -> None:
    flags = ("--web.listen-address", "127.0.0.1:10187", "--capture.source", source, flag)
    exporter = start(pair.here, *flags)
    for scheme, port in (("http", HTTP), ("https", TLS)):
        pair.here.run(*CURL, f"{scheme}://{pair.there4}:{port}/page")

    def protocols() -> bool:
        rows = exporter.scrape().by("netproc_connections_closed_total", "protocol", process="curl")
        return sum(rows.values()) == 2 and {key[0] for key in rows} == found

    wait_for(f"curl's connections are {found}", protocols, 10, every=0.5, says=lambda: exporter.scrape().text)
    assert not exporter.scrape().sum("netproc_requests_total", process="curl")
