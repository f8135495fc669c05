"""Live capture on loopback, and what is said when it cannot be."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.capture import bpf
from exporter.capture.handle import GoneError, Handle, Stats
from exporter.capture.pcap import LEAST, PcapSource, ring_size
from exporter.config import Capture
from exporter.errors import CaptureError
from exporter.model import Interface

REPO = Path(__file__).resolve().parents[2]
Open = Callable[..., "Seen"]


class Seen:
    """A source on loopback, and the UDP payloads that it saw."""

    def __init__(self, port: int, **settings: object) -> None:
        self.packets: list[tuple[float, bytes]] = []
        self.attached: list[Interface] = []
        self.detached: list[str] = []
        given = {"interface": ("lo",), "filter": f"udp port {port}", "buffer_size": LEAST, **settings}
        self.source = PcapSource(Capture(**given), self.attach, detach=self.detached.append)

    def attach(self, interface: Interface) -> Callable[[float, bytes], None]:
        self.attached.append(interface)
        return lambda stamp, data: self.packets.append((stamp, data))

    def payloads(self, expected: int, seconds: float = 2.0) -> list[bytes]:
        end = time.monotonic() + seconds
        while len(self.packets) < expected and time.monotonic() < end:
            self.source.poll(0.02)
        return [data[42:] for _, data in self.packets]


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        yield sock


@pytest.fixture
def seen(sender: socket.socket) -> Iterator[Open]:
    made = []

    def make(**settings: object) -> Seen:
        made.append(Seen(sender.getsockname()[1], **settings))
        made[-1].source.open()
        return made[-1]

    yield make
    for one in made:
        one.source.close()


@pytest.mark.net_raw
def test_sees_each_packet_on_loopback_once(seen: Open, sender: socket.socket) -> None:
    one = seen()
    before = time.time()
    for number in range(50):
        sender.send(b"%d" % number)
    assert one.payloads(50) == [b"%d" % number for number in range(50)]
    assert one.payloads(51, 0.1) == one.payloads(50)
    assert all(before <= stamp <= time.time() for stamp, _ in one.packets)
    assert one.source.stats() == {"lo": Stats(50, 0, 0)}
    assert one.source.up() == {"lo": True}
    assert one.attached == [Interface("lo", 1, mac=bytes(6), mtu=65536)]


@pytest.mark.net_raw
def test_keeps_no_more_of_a_packet_than_asked_for(seen: Open, sender: socket.socket) -> None:
    one, other = seen(snaplen=200), seen(snaplen=200, filter="")
    sender.send(b"x" * 1000)
    assert len(one.payloads(1)[0]) == 200 - 42
    other.payloads(1)
    assert max(len(data) for _, data in other.packets) == 200


@pytest.mark.net_raw
def test_packets_from_before_the_filter_are_dropped(
    sender: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Seen(sender.getsockname()[1])
    attach = bpf.attach

    def slowly(fd: int, program: list[bpf.Instruction]) -> None:
        for _ in range(20):
            sender.send(b"early")
        attach(fd, program)
        time.sleep(0.01)

    monkeypatch.setattr(bpf, "attach", slowly)
    one.source.open()
    sender.send(b"late")
    assert one.payloads(1) == [b"late"]
    time.sleep(1.1)
    one.source.refresh(time.monotonic())
    sender.send(b"later")
    assert one.payloads(2) == [b"late", b"later"]
    one.source.close()


@pytest.mark.net_raw
def test_a_burst_is_read_in_parts_so_that_others_get_their_turn(seen: Open, sender: socket.socket) -> None:
    one = seen(buffer_size=16 << 20)
    for _ in range(3000):
        sender.send(b"x")
    time.sleep(0.05)
    counts = [one.source.poll(0.1), one.source.poll(0.1), one.source.poll(0.1), one.source.poll(0)]
    assert counts == [1024, 1024, 952, 0]


@pytest.mark.net_raw
def test_a_worker_can_wait_for_the_source_and_renew_an_interface(seen: Open, sender: socket.socket) -> None:
    one = seen()
    (fd,) = one.source.filenos()
    assert one.source.fileno() != fd
    one.source.renew("lo")
    one.source.renew("nowhere")
    assert len(one.attached) == 2
    sender.send(b"x")
    time.sleep(0.05)
    assert one.source.dispatch(fd) == 1
    one.source.close()
    assert one.detached == ["lo"]
    assert one.source.filenos() == []
    assert one.source.stats() == {"lo": Stats(1, 0, 0)}


@pytest.mark.net_raw
def test_totals_go_on_where_the_kernels_numbers_wrap(seen: Open) -> None:
    one = seen()
    handle = one.source._handles["lo"]
    handle._raw = (2**32 - 5, 2**32 - 1)
    assert one.source.stats() == {"lo": Stats(5, 1, 0)}


@pytest.mark.net_raw
def test_an_interface_that_fails_is_closed_and_opened_again(
    seen: Open, sender: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = seen()
    one.source.refresh(0)
    with monkeypatch.context() as patch:
        patch.setattr(Handle, "dispatch", fails)
        sender.send(b"lost")
        one.source.poll(1)
    assert one.source.up() == {"lo": False}
    assert one.source.failed == {"lo": "lo: gone"}
    one.source.refresh(1)
    assert one.source.up() == {"lo": True}
    sender.send(b"seen")
    assert one.payloads(1) == [b"seen"]
    assert (len(one.attached), one.detached) == (2, ["lo"])


def fails(_handle: Handle) -> int:
    raise GoneError("lo: gone")


@pytest.mark.net_raw
def test_the_totals_of_a_vanished_interface_are_kept_for_an_hour(seen: Open) -> None:
    one = seen()
    one.source._totals["veth1"] = Stats(3, 0, 0)
    for now in (0, 3590):
        one.source.refresh(now)
        assert one.source.stats()["veth1"] == Stats(3, 0, 0)
    one.source.refresh(3700)
    assert set(one.source.stats()) == {"lo"}


@pytest.mark.net_raw
def test_a_bad_filter_is_one_line_that_quotes_it(seen: Open) -> None:
    with pytest.raises(CaptureError, match=r"^capture.filter 'tcp prt 80': .*syntax error$") as error:
        seen(filter="tcp prt 80")
    assert "\n" not in str(error.value)


@pytest.mark.net_raw
def test_a_missing_interface_is_named_with_those_there_are(seen: Open) -> None:
    with pytest.raises(CaptureError, match="there is no interface 'eth99'; there are: lo"):
        seen(interface=("lo", "eth99"))


@pytest.mark.net_raw
def test_a_file_with_the_interfaces_name_is_not_read(
    seen: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lo").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptureError, match=r"a file of that name in .* hides the interface"):
        seen()


@pytest.mark.root
@pytest.mark.parametrize(
    "without", ["--reuid 65534 --clear-groups", "--bounding-set -net_raw --inh-caps -net_raw"]
)
def test_without_privilege_one_line_says_what_to_do(without: str) -> None:
    code = """
from exporter.capture.pcap import PcapSource
from exporter.config import Capture
from exporter.errors import CaptureError
try:
    PcapSource(Capture(), print).open()
except CaptureError as error:
    print(error)
"""
    command = ["setpriv", *without.split(), sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    expected = "no privilege to capture packets: run as root, or grant the capability NET_RAW\n"
    assert (done.stdout, done.stderr) == (expected, "")


def test_ring_memory_is_divided_by_what_an_interface_carries() -> None:
    host, pod = Interface("eth0", 1), Interface("veth1", 1, role="pod")
    assert ring_size(32 << 20, host, [host]) == 32 << 20
    assert ring_size(32 << 20, host, [host, host]) == 16 << 20
    chosen = [host, host, *[pod] * 8]
    assert (ring_size(32 << 20, host, chosen), ring_size(32 << 20, pod, chosen)) == (8 << 20, 2 << 20)
    assert ring_size(1 << 20, pod, [pod] * 100) == LEAST
    assert ring_size(33_000_000, host, [host]) % (256 << 10) == 0
