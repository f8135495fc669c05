"""The same traffic, counted in the kernel and captured: each process moved the same. Killed workers lose nothing."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.netns import Namespace, Pair, wait_for
from tests.e2e.running import Asked
from tests.e2e.scrape import BYTES, Scrape

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw, pytest.mark.bpf]

TALKER = Path(__file__).with_name("talker.py")
PORT = 7000
SIZE = 300
HEADERS = 28


class Talkers:
    """Servers and clients, each with an executable of its own name: the kernel counts all of the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, name: str, namespace: Namespace, *arguments: str) -> None:
        program = self.folder / name
        if not program.exists():
            shutil.copy(Path(sys.executable).resolve(), program)
        command = ["env", f"PYTHONHOME={sys.base_prefix}", program, "-S", TALKER, *arguments]
        process = namespace.start(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True
        )
        self.processes.append(process)
        assert process.stdout.readline().strip() in {"ready", "done"}

    def close(self) -> None:
        for process in self.processes:
            process.stdin.close()
            process.wait(10)
            process.stdout.close()


@contextmanager
def talkers(folder: Path) -> Iterator[Talkers]:
    made = Talkers(folder)
    try:
        yield made
    finally:
        made.close()


def moved(scrape: Scrape, names: set[str]) -> dict[tuple[str, str, str], int]:
    """Bytes by family, process and transport."""
    return {
        (family, process, transport): value
        for family in BYTES
        for (process, transport), value in scrape.by(family, "process", "transport").items()
        if process in names
    }


@pytest.mark.parametrize(("count_as", "largest"), [("stack", 20_000), ("wire", 300_000)])
def test_both_sources_count_the_same(
    pair: Pair, start: Start, public: Path, count_as: str, largest: int
) -> None:
    """Over a veth and over loopback, IPv4 and IPv6, offloaded segments and datagrams; nothing ends meanwhile.

    As on the wire everything is the same. As the stack hands it over, a capture sees what was cut up in software below
    the socket because it was too large for the device; so nothing is that large there. On a loopback of 64 KiB segments
    are of half a window at first, and two of them may be merged into what looks like one: only the kernel can tell.
    """
    if count_as == "wire":
        pair.here.run("ip", "link", "set", "lo", "mtu", "1500")
    flags = ("--capture.count-as", count_as)
    one, two = Asked(pair.here), Asked(pair.here, "127.0.0.2")
    captured = start(
        pair.here, "--capture.source", "pcap", "--web.listen-address", "127.0.0.1:10187", *flags, asked=one
    )
    counted = start(
        pair.here, "--capture.source", "ebpf", "--web.listen-address", "127.0.0.2:10187", *flags, asked=two
    )
    names = {
        f"npd-{who}-{place}" for who in ("serve", "talk") for place in ("near4", "near6", "far4", "far6")
    }
    places = []
    with talkers(public) as made:
        for place, address, server in (
            ("near4", "127.0.0.1", pair.here),
            ("near6", "::1", pair.here),
            ("far4", pair.there4, pair.there),
            ("far6", pair.there6, pair.there),
        ):
            made.start(f"npd-serve-{place}", server, "serve", address, str(PORT))
            places.append((place, address))
        time.sleep(3)  # whoever captures has to find who is in the other namespace
        for place, address in places:
            made.start(f"npd-talk-{place}", pair.here, "talk", address, str(PORT), str(largest))
        found = {}

        def same() -> bool:
            found.update(pcap=moved(captured.scrape(), names), ebpf=moved(counted.scrape(), names))
            return bool(found["pcap"]) and found["pcap"] == found["ebpf"]

        def difference() -> str:
            keys = sorted(found["pcap"].keys() | found["ebpf"].keys())
            rows = [(key, found["pcap"].get(key), found["ebpf"].get(key)) for key in keys]
            return "\n".join(f"{key}: pcap {a}, ebpf {b}" for key, a, b in rows if a != b)

        wait_for("both sources count the same", same, 15, every=0.5, says=difference)
        assert {key[1] for key in found["ebpf"]} == names
        assert min(found["ebpf"].values()) > 300
        scrape = counted.scrape()
    by_process = scrape.bytes_by().total()
    assert by_process == scrape.sum("netproc_captured_bytes_total", interface="sockets")
    assert not scrape.sum("netproc_lost_packets_total")


def test_killed_workers_lose_and_double_nothing(pair: Pair, start: Start, public: Path) -> None:
    """SIGKILL at any time, again and again, while datagrams are sent by a process with a name of its own."""
    counted = start(pair.here, "--capture.source", "ebpf", "--web.listen-address", "127.0.0.1:10187")
    with talkers(public) as made:
        name = "npd-killed"
        made.start(name, pair.here, "serve", "127.0.0.1", str(PORT))
        with pair.here.entered():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("127.0.0.1", PORT))
        client.settimeout(1)
        answered = 0
        for number in range(5):
            worker = counted.child("worker")
            until = time.monotonic() + 1.5 + 0.37 * number
            while time.monotonic() < until:
                client.send(bytes(SIZE))
                assert len(client.recv(SIZE)) == SIZE // 2
                answered += 1
                time.sleep(0.001)
            worker.kill()
            worker.wait(5)
        client.close()

        def counts() -> tuple[int, int]:
            scrape = counted.scrape()
            return tuple(scrape.sum(family, process=name) for family in BYTES)

        expected = answered * (SIZE + HEADERS), answered * (SIZE // 2 + HEADERS)
        wait_for(f"{expected} bytes", lambda: counts() == expected, 20, every=0.5, says=lambda: str(counts()))
        time.sleep(2.5)
        assert counts() == expected
        scrape = counted.scrape()
        assert scrape.sum("netproc_worker_restarts_total") == 5
        assert scrape.bytes_by().total() == scrape.sum("netproc_captured_bytes_total", interface="sockets")
