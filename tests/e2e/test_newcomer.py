"""What the README promises a newcomer: start it, ask a local server something, and see it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import SLOW, Start
from tests.e2e.netns import Namespace, Pair, wait_for
from tests.e2e.running import Asked, Exporter
from tests.e2e.scrape import Scrape
from tests.e2e.servers import Servers, renamed
from tests.e2e.truth import Tcpdump

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw]

HTTP, TLS = 8080, 8443
CURL = ("curl", "-sf", "--noproxy", "*", "-o", "/dev/null")
SENT_AND_RECEIVED = ("netproc_transmit_bytes_total", "netproc_receive_bytes_total")
ANSWERS_WITHIN = 5.0
SHOWS_WITHIN = 2.0


def moved(scrape: Scrape, process: str, protocol: str = "") -> tuple[int, int]:
    """Bytes that a process sent and received, in one protocol or in all."""
    chosen = {"protocol": protocol} if protocol else {}
    sent, received = (scrape.sum(name, process=process, **chosen) for name in SENT_AND_RECEIVED)
    return sent, received


def shown(exporter: Exporter, want: dict[tuple[str, ...], tuple[int, int]]) -> float:
    """Scrape until these are the bytes; give how long that took."""
    began = time.monotonic()
    while True:
        scrape = exporter.scrape()
        have = {key: moved(scrape, *key) for key in want}
        took = time.monotonic() - began
        if have == want:
            return took
        assert took < SHOWS_WITHIN, (
            f"{have}, and not {want}; all there is: {scrape.bytes_by('process', 'protocol')}"
        )
        time.sleep(0.1)


def test_curl_and_dig_appear(
    alone: Namespace, public: Path, tool: Callable[[str], str], start: Start, tmp_path: Path
) -> None:
    """With no flag at all, as `make run` starts it: the kernel counts.

    A server's handshakes are its listener's, which speaks no protocol; so nginx' bytes are those of all protocols. The
    answers take a moment, as answers over a network do, which shows on machines that cannot count in the kernel too.
    """
    own = renamed(tool, public)
    servers = Servers(alone, public, own)
    servers.nginx(HTTP, TLS)
    servers.slow(SLOW["http"], SLOW["dns"])
    exporter = start(alone)
    print(f"ready after {exporter.ready_after:.2f} s")
    assert exporter.ready_after < ANSWERS_WITHIN
    tcpdump = Tcpdump(alone, "lo", tmp_path / "truth.pcap")
    alone.run(own("curl"), *CURL[1:], f"http://127.0.0.1:{HTTP}/slow")
    alone.run(own("dig"), "@127.0.0.1", "-p", str(SLOW["dns"]), "30.example.test")
    ended = time.monotonic()
    wait_for("tcpdump has both", lambda: all(all(tcpdump.by_port(port)) for port in (HTTP, SLOW["dns"])), 1)
    time.sleep(0.1)
    asked, answered = tcpdump.by_port(HTTP)
    query, response = tcpdump.by_port(SLOW["dns"])
    want = {
        (Path(own("curl")).name, "http"): (asked, answered),
        (Path(own("nginx")).name,): (answered, asked),
        (Path(own("dig")).name, "dns"): (query, response),
    }
    shown(exporter, want)
    tcpdump.stop()
    assert tcpdump.by_port(HTTP) == (asked, answered)
    print(f"all shown after {time.monotonic() - ended:.2f} s")


def test_its_own_traffic_stands_apart(alone: Namespace, start: Start) -> None:
    """Our end of a scrape is ours by name, and is not inspected; the scraper's end is anybody's."""
    exporter = start(alone)
    time.sleep(SHOWS_WITHIN)
    base = exporter.scrape()
    answered = sum(len(exporter.scrape().text) for _ in range(20))
    time.sleep(SHOWS_WITHIN)
    scrape = exporter.scrape(base)
    sent = scrape.by("netproc_transmit_bytes_total", "process", "protocol")
    assert sent["netproc-exporter", "unknown"] > answered, sent
    assert {key for key in sent if key[0] == "netproc-exporter"} == {("netproc-exporter", "unknown")}
    assert scrape.sum("netproc_requests_total", process="netproc-exporter") == 0


def test_loopback_is_seen_from_both_ends(
    pair: Pair, public: Path, tool: Callable[[str], str], start: Start, tmp_path: Path
) -> None:
    """Each byte on loopback is one process's transmit and one's receive. Asked over the veth, lo is silent."""
    asked = Asked(pair.there, pair.here4)
    listen = ("--web.listen-address", f"{pair.here4}:10187")
    exporter = start(
        pair.here, "--capture.interface", "lo", "--capture.count-as", "stack", *listen, asked=asked
    )
    Servers(pair.here, public, tool).nginx(HTTP, TLS)
    before, base = exporter.settled("lo")
    tcpdump = Tcpdump(pair.here, "lo", tmp_path / "truth.pcap")
    for address in ("127.0.0.1", "[::1]", pair.here4):
        pair.here.run(*CURL, f"http://{address}:{HTTP}/slow")
        pair.here.run(*CURL, "-k", f"https://{address}:{TLS}/slow")
    after, scrape = exporter.settled("lo", base)
    tcpdump.stop()
    assert scrape.losses() == {}
    http, tls = tcpdump.by_port(HTTP), tcpdump.by_port(TLS)
    assert moved(scrape, "curl", "http") == http
    assert moved(scrape, "nginx", "http") == http[::-1]
    assert moved(scrape, "curl", "tls") == tls
    assert moved(scrape, "nginx", "tls") == tls[::-1]
    on_wire = after["rx_bytes"] - before["rx_bytes"]
    assert sum(http + tls) == on_wire
    assert scrape.sum("netproc_receive_bytes_total") == scrape.sum("netproc_transmit_bytes_total") == on_wire
    assert scrape.sum("netproc_captured_bytes_total", interface="lo") == 2 * on_wire
    assert (
        scrape.interface_bytes("lo", link_header=0) == after["bytes"] - before["bytes"]
    )  # lo counts no header
