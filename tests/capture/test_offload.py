"""Offload: with it and without, the same numbers from the same packets, and fewer packets to read."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from exporter.capture import bpf
from exporter.capture.handle import Deal, Handle, Opening
from exporter.capture.offload import SO_ATTACH_BPF, Table
from exporter.config import Capture
from exporter.ebpf.filters import FilterHandles, Filters, load, refused
from exporter.ebpf.support import Place
from exporter.engine.offloaded import Wanted
from exporter.model import Interface
from tests.capture import packets as p
from tests.capture.test_deal import A4, A6, B4, B6, PLAIN, TUNNELS, Kernel

REPO = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.root, pytest.mark.bpf]
FLOOD = 2_000_000


@pytest.fixture(scope="session")
def objects(tool: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool("clang")
    folder: Path = tmp_path_factory.mktemp("offload")
    subprocess.run([REPO / "tools/build-bpf", folder], check=True)
    return folder


# ---------------------------------------------------------------------------------------------------------- numbers


def run(*arguments: object) -> Any:
    unshare = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
    script = 'mount -t proc proc /proc && mount -t sysfs sysfs /sys && ip link set lo up && exec "$@"'
    command = [*unshare, "sh", "-c", script, "sh", sys.executable, "-m", "tests.capture.twins"]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=REPO, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def twins(scenario: str, objects: Path) -> Any:
    said = run(scenario, objects)
    print(f"\n{scenario}: {said['up']} packets came up, {said['most']} connections below at the most")
    assert not any(said["failed"])
    assert said["most"], "nothing was counted below"
    plain, offloaded = said["up"]
    assert offloaded < plain
    return said


@pytest.mark.netns
@pytest.mark.net_raw
@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "shown"),
    [
        ("streams", "netproc_estimated_segments_total "),
        ("pages", "netproc_requests_total unknown http client GET 2xx"),
        ("questions", "netproc_ignored_bytes_total  v0 encapsulation"),
        ("faults", "netproc_retransmitted_segments_total unknown"),
        ("dealt", "netproc_captured_bytes_total  lo receive"),
        ("patient", "netproc_connections_closed_total unknown unknown udp timeout"),
    ],
)
def test_all_numbers_are_the_same(scenario: str, shown: str, objects: Path) -> None:
    said = twins(scenario, objects)
    assert said["different"] == []
    assert said["same"][shown]


@pytest.mark.netns
@pytest.mark.net_raw
@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["routed", "crowded"])
def test_all_bytes_are_the_same_whatever_becomes_of_their_connections(scenario: str, objects: Path) -> None:
    said = twins(scenario, objects)
    print(*said["different"], sep="\n")
    names = {row[0].split()[0] for row in said["different"]}
    assert not [name for name in names if "_bytes_" in name or "_packets_" in name]


@pytest.mark.netns
@pytest.mark.net_raw
@pytest.mark.bench
@pytest.mark.parametrize("connections", [10, 1000])
def test_what_it_costs(connections: int, objects: Path, tool: Any, tmp_path: Path) -> None:
    flood = tmp_path / "flood"
    subprocess.run([tool("gcc"), "-O2", REPO / "bench/support/flood.c", "-o", flood], check=True)
    said = run("cost", objects, flood, connections, FLOOD)
    print(f"\n{connections} connections: {said}")
    assert said["nanoseconds"] < 300
    plain, offload = said["plain"], said["offload"]
    assert offload["up"] < FLOOD / 2  # of the first turn, chiefly
    assert offload["seconds"] / FLOOD < plain["seconds"] / plain["up"] / 2


# ------------------------------------------------------------------------------------------------------------ shares


class Both:
    """The filters of all workers, ours of classic BPF and the program, for the same packets."""

    def __init__(self, workers: int, objects: Path) -> None:
        self.classic = Kernel(workers)
        self.program = Kernel(workers)
        self.filters = load(workers, 0xFFFF, 16, Place(objects=objects))
        assert self.filters.handles, self.filters.reason
        for handles, (reader, _) in zip(self.filters.handles, self.program.pairs, strict=True):
            bpf.set_option(reader.fileno(), SO_ATTACH_BPF, handles.ethernet.to_bytes(4, "little"))

    def close(self) -> None:
        self.classic.close()
        self.program.close()
        self.filters.close()


@pytest.fixture(params=[2, 3, 7])
def both(request: pytest.FixtureRequest, objects: Path) -> Iterator[Both]:
    made = Both(request.param, objects)
    yield made
    made.close()


def test_the_program_deals_as_the_classic_filter_does(both: Both) -> None:
    random = Random(11)
    around = ((A4, B4), (A6, B6))
    frames = [frame for _, _, frame in PLAIN.values()]
    frames += [
        p.ethernet(p.ip(*ends, carried, protocol))
        for ends in around
        for protocol, carried in TUNNELS.values()
    ]
    frames += [frame[:size] for frame in frames for size in range(0, len(frame), 3)]
    for _ in range(3000):
        frame = bytearray(random.choice(frames[: len(PLAIN)]))
        for _ in range(3):
            frame[random.randrange(len(frame))] = random.randrange(256)
        frames.append(bytes(frame))
    for frame in frames:
        assert both.program.takers(frame) == both.classic.takers(frame), frame


# ------------------------------------------------------------------------------------------------------- falling back


@pytest.fixture
def loaded(objects: Path) -> Iterator[Filters]:
    filters = load(1, 16_384, 64, Place(objects=objects))
    assert filters.handles, filters.reason
    yield filters
    filters.close()


def test_what_the_configuration_refuses() -> None:
    assert refused("", "auto") == refused("", "never") == ""
    assert refused("tcp", "auto") == "capture_filter"
    assert refused("", "always") == "tunnels"


def test_handles_pass_as_a_flag(loaded: Filters) -> None:
    (handles,) = loaded.handles
    assert FilterHandles.parse(handles.flag()) == handles
    with pytest.raises(ValueError, match="invalid literal"):
        FilterHandles.parse("1,2,x,4,5")


@pytest.mark.parametrize(
    ("without", "reason"), [("-bpf,-sys_admin", "no_cap_bpf"), ("-net_admin,-perfmon,-sys_admin", "")]
)
def test_loading_takes_one_capability(without: str, reason: str, objects: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from exporter.ebpf import filters, support;"
        "print(filters.load(1, 96, 16, support.Place(objects=Path(sys.argv[1]))).reason)"
    )
    command = [
        "setpriv",
        "--bounding-set",
        without,
        "--inh-caps",
        without,
        sys.executable,
        "-c",
        code,
        objects,
    ]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout == f"{reason}\n"


def test_what_was_not_built_is_said(tmp_path: Path) -> None:
    assert load(1, 96, place=Place(objects=tmp_path)).reason == "not_built"
    (tmp_path / "offload.bpf.o").write_bytes(b"no object")
    failed = load(1, 96, place=Place(objects=tmp_path))
    assert failed.reason in {"library", "system", "kernel", "missing"}
    assert failed.handles == []


@pytest.mark.net_raw
def test_an_interface_that_cannot_be_is_captured_as_ever(loaded: Filters) -> None:
    """Another link type, a descriptor that is no program, a filter of the user's."""
    table = Table(loaded.handles[0])
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        assert not table.attach(sock.fileno(), "x", 1, 113)
        assert table.failed == {"x": "link_type"}
        assert table.attach(sock.fileno(), "x", 1, 1)
        assert table.failed == {}
    table.close()
    broken = Table(loaded.handles[0]._replace(ethernet=loaded.handles[0].known))
    for settings, failed in ((Capture(), {"lo": "kernel"}), (Capture(filter="udp"), {})):
        handle = Handle(Interface("lo", -1), 1, settings, Opening(1 << 20, Deal(), offload=broken))
        assert broken.failed == failed
        assert bpf.attached(handle.fd)
        handle.close()
    broken.close()


@pytest.mark.net_raw
def test_a_worker_needs_no_capability_for_it(loaded: Filters) -> None:
    """It inherits descriptors: attaches, and chooses, from Linux 5.19 on."""
    code = """
import sys
from exporter.capture.handle import Deal, Handle, Opening
from exporter.capture.offload import Table
from exporter.config import Capture
from exporter.ebpf.filters import FilterHandles
from exporter.engine.offloaded import Wanted
from exporter.model import Interface
table = Table(FilterHandles.parse(sys.argv[1]))
handle = Handle(Interface("lo", -1), 1, Capture(), Opening(1 << 20, Deal(), offload=table))
(row,) = table.take([Wanted("lo", "udp", bytes(12), -1, 1500)])
print(table.failed, table.packets(row), table.read(row).open)
table.open(row)
table.forget(row)
table.free(row)
print(table.read(row).open)
"""
    (handles,) = loaded.handles
    only = ["--bounding-set", "-all,+net_raw", "--inh-caps", "-all,+net_raw"]
    command = ["setpriv", *only, sys.executable, "-c", code, handles.flag()]
    done = subprocess.run(
        command, cwd=REPO, capture_output=True, text=True, check=False, pass_fds=handles.descriptors()
    )
    assert (done.stdout, done.stderr) == ("{} 0 0\n1\n", "")


def test_a_table_that_is_full_takes_no_more(loaded: Filters) -> None:

    table = Table(loaded.handles[0])
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        assert table.attach(one.fileno(), "x", 7, 1)
    wanted = [Wanted("x", "udp", number.to_bytes(12), -1, 1500) for number in range(65)]
    assert table.take(wanted) == []
    rows = [
        table.take([each, other_way])[0]
        for each, other_way in zip(wanted[:64:2], wanted[1:64:2], strict=True)
    ]
    assert sorted(rows) == list(range(0, 64, 2))
    assert table.take(wanted[64:]) == []
    assert table.take([wanted[0]._replace(interface="y")]) == []
    table.forget(rows[0])
    table.free(rows[0])
    assert table.take(wanted[64:]) == [rows[0]]
    table.close()
    assert Table(loaded.handles[0]).take(wanted[:1]) == []  # its interface is not attached yet
