"""A real QUIC client that goes on from another port twice: one connection, at both of its ends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.containers import Container, contained
from tests.e2e.mover import SIZE
from tests.e2e.netns import Pair, wait_for
from tests.e2e.scrape import Scrape

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.bpf]

MOVER = Path(__file__).with_name("mover.py")
PORT = 4433
TIMES = 2
DRAINED = 25.0
"""Seconds after which what was left behind is over."""


@contextmanager
def speaking(cell: Container, word: str, *arguments: str | Path) -> Iterator[None]:
    """Run an end until the block is left; begin when it has said its word."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None}
    process = cell.start(sys.executable, MOVER, *arguments, **pipes)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().decode().strip() == word
        yield
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    signed, key = folder / "quic.pem", folder / "quic.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=www.example.test"),
            *("-keyout", key, "-out", signed),
        ],
        check=True,
        capture_output=True,
    )
    return signed, key


def gone_on(scrape: Scrape, own: dict[str, str]) -> bool:
    """Tell whether all has moved, and only what goes on is left."""
    states = scrape.by("netproc_connections", "protocol", "state", transport="udp", **own)
    moved = scrape.bytes_by("protocol", transport="udp", **own)
    return states == {("quic", "connected"): 1} and moved["quic",] > 2 * (TIMES + 1) * SIZE


@pytest.mark.parametrize("source", ["pcap", "ebpf"])
@pytest.mark.parametrize("address", [Pair.there4, Pair.there6])
def test_one_connection_goes_on(
    *, pair: Pair, tmp_path: Path, on_veth: Start, of_sockets: Start, source: str, address: str
) -> None:
    """It was opened once, is closed by nobody, and has the protocol from its first byte to its last."""
    with contained(pair.here, pair.there) as cells, ExitStack() as stack:
        stack.enter_context(speaking(cells[1], "ready", "serve", str(PORT), *certificate(tmp_path)))
        start = {"pcap": partial(on_veth, "--capture.source", "pcap"), "ebpf": partial(of_sockets, pair.here)}
        exporter = start[source]("--flow.timeouts.quic-draining", "2")
        stack.enter_context(speaking(cells[0], "done", "move", address, str(PORT), str(TIMES)))
        for cell in cells:
            own = {"container": cell.label}
            done = partial(lambda own: gone_on(exporter.scrape(), own), own)
            wait_for(
                "only what goes on is left", done, DRAINED, every=0.5, says=lambda: exporter.scrape().text
            )
            scrape = exporter.scrape()
            family = "netproc_connections_opened_total"
            assert scrape.by(family, "protocol", transport="udp", **own) == {("quic",): 1}
            assert not scrape.sum("netproc_connections_closed_total", transport="udp", **own)
            assert scrape.bytes_by("protocol", transport="udp", **own).keys() == {("quic",)}
        assert not exporter.scrape().sum("netproc_dissector_faults_total")
