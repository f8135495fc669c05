"""What is not to be inspected is counted all the same, whether packets are captured or the kernel counts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.netns import Pair, wait_for
from tests.e2e.servers import Servers, renamed

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.bpf]

HTTP, TLS = 8081, 8444
CURL = ("-skf", "--noproxy", "*", "-o", "/dev/null")


@pytest.fixture
def nginx(pair: Pair, public: Path, tool: Callable[[str], str]) -> None:
    Servers(pair.there, public, tool).nginx(HTTP, TLS)


@pytest.fixture
def curl(public: Path, tool: Callable[[str], str]) -> str:
    """One that nobody else on this machine runs: where the kernel counts, it counts for all."""
    return renamed(tool, public)("curl")


@pytest.mark.usefixtures("nginx")
@pytest.mark.parametrize("source", ["pcap", "ebpf"])
@pytest.mark.parametrize(
    "case", [("--no-dpi", {"unknown"}), ("--dpi-protocols=-http,-http2", {"unknown", "tls"})]
)
def test_what_is_inspected(
    pair: Pair, start: Start, curl: str, source: str, case: tuple[str, set[str]]
) -> None:
    flag, found = case
    flags = ("--web.listen-address", "127.0.0.1:10187", "--capture.source", source, flag)
    exporter = start(pair.here, *flags)
    for scheme, port in (("http", HTTP), ("https", TLS)):
        pair.here.run(curl, *CURL, f"{scheme}://{pair.there4}:{port}/slow")

    def protocols() -> bool:
        rows = exporter.scrape().by("netproc_connections_closed_total", "protocol", process=Path(curl).name)
        return sum(rows.values()) == 2 and {key[0] for key in rows} == found

    wait_for(f"curl's connections are {found}", protocols, 10, every=0.5, says=lambda: exporter.scrape().text)
    assert not exporter.scrape().sum("netproc_requests_total", process=Path(curl).name)
