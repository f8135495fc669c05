"""A real QUIC client that goes on from another port twice: one connection, at both of its ends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.containers import Container, contained
from tests.e2e.mover import SIZE
from tests.e2e.netns import Pair, wait_for

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


@pytest.mark.parametrize("source", ["pcap", "ebpf"])
@pytest.mark.parametrize("address", [Pair.there4, Pair.there6])
def test_one_connection_goes_on(
    *, pair: Pair, tmp_path: Path, on_veth: Start, of_sockets: Start, source: str, address: str
) -> None:
    with contained(pair.here, pair.there) as cells, ExitStack() as stack:
        stack.enter_context(speaking(cells[1], "ready", "serve", str(PORT), *certificate(tmp_path)))
        exporter = on_veth("--capture.source", "pcap") if source == "pcap" else of_sockets(pair.here)
        with speaking(cells[0], "done", "move", address, str(PORT), str(TIMES)):
            for cell in cells:
                one = {"container": cell.label}

                def states(chosen: dict[str, str] = one) -> dict[tuple[str, ...], int]:
                    return exporter.scrape().by(
                        "netproc_connections", "protocol", "state", transport="udp", **chosen
                    )

                wait_for(
                    "only what goes on is left",
                    lambda states=states: states() == {("quic", "connected"): 1},
                    DRAINED,
                    every=0.5,
                    says=lambda states=states: repr(states()),
                )
                scrape = exporter.scrape()
                opened = scrape.by("netproc_connections_opened_total", "protocol", "transport", **one)
                assert {key: count for key, count in opened.items() if key[1] == "udp"} == {
                    ("quic", "udp"): 1
                }
                assert not scrape.sum("netproc_connections_closed_total", transport="udp", **one)
                moved = scrape.bytes_by("protocol", "transport", **one)
                assert moved.keys() & {("unknown", "udp")} == set()
                assert moved["quic", "udp"] > 2 * (TIMES + 1) * SIZE
        assert not exporter.scrape().sum("netproc_dissector_faults_total")
