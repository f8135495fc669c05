"""The real programs on this kernel; traffic stays on loopback and in network namespaces that a test makes."""

import ctypes
import json
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.ebpf import libbpf, support
from exporter.ebpf.kernel import Kernel, Sizes
from exporter.ebpf.layout import Key, Settings
from exporter.ebpf.owners import Closed, Process, read_events
from exporter.ebpf.ring import Ring
from exporter.ebpf.shard import Flow, Seen, Shard

HERE = Path(__file__).parent
REPO = HERE.parent.parent
SERIAL = count()
TCP, UDP, ICMP = 6, 17, 1
CLONE_NEWNET = 0x40000000
SO_NETNS_COOKIE = 71
LIBC = ctypes.CDLL(None, use_errno=True)
SMALL = Sizes(flows=8192, overflow=1024, ring=8 << 20, budgets=8192)


def clang_arguments() -> list[str]:
    triplet = subprocess.run(["clang", "-print-target-triple"], capture_output=True, text=True, check=True)
    machine = triplet.stdout.strip().replace("-pc-", "-").replace("-unknown-", "-")
    include = [f"-I/usr/include/{machine}", f"-I{REPO}/exporter/ebpf"]
    return ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v2", "-Wall", "-Werror", *include]


@pytest.fixture(autouse=True)
def closed(monkeypatch) -> Iterator[None]:
    """Close a failed test's sockets: found by the collector during another test, they would fail that one too."""
    made = []
    begin = socket.socket.__init__

    def keep(self: socket.socket, *arguments: object, **named: object) -> None:
        begin(self, *arguments, **named)
        made.append(self)

    monkeypatch.setattr(socket.socket, "__init__", keep)
    yield
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def objects(tool, tmp_path_factory) -> Path:
    """The objects, compiled from what is in the tree now."""
    tool("clang")
    folder = tmp_path_factory.mktemp("objects")
    subprocess.run([REPO / "tools/build-bpf", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def parser_object(tool, tmp_path_factory) -> Path:
    tool("clang")
    made = tmp_path_factory.mktemp("parser") / "parse.bpf.o"
    subprocess.run([*clang_arguments(), "-c", HERE / "parse.bpf.c", "-o", made], check=True)
    return made


@pytest.fixture(scope="session")
def flood(tool, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("flood") / "flood"
    subprocess.run(
        [tool("gcc"), "-O2", "-Wall", "-Werror", REPO / "bench/support/flood.c", "-o", made], check=True
    )
    return made


class Watching:
    """A loaded kernel side and all its readers in one process."""

    def __init__(self, objects: Path, settings: Settings, sizes: Sizes) -> None:
        place = support.Place(objects=objects)
        found = support.examine(place)
        self.kernel = Kernel(found, settings, sizes)
        self.kernel.open(place)
        if self.kernel.degraded != found.reasons:
            self.kernel.close()
            pytest.fail(f"{self.kernel.degraded}: {list(libbpf.log)[-30:]}")
        self.shards = [Shard(handles) for handles in self.kernel.handles]
        self.ring = Ring(self.kernel.events, sizes.events)

    def flows(self) -> list[tuple[Key, Flow]]:
        """What moved since the last call."""
        found = []
        for shard in self.shards:
            found += [(Key.read(flow.key), flow) for flow in shard.turn()]
            shard.release()
        return found

    def frames(self) -> list[tuple[Key, Seen]]:
        return [(Key.read(seen.key), seen) for shard in self.shards for seen in shard.frames(1 << 20)]

    def events(self) -> list[Process | Closed]:
        return list(read_events(self.ring.read()))

    def lost(self) -> dict[str, int]:
        return {what.name: number for what, number in self.shards[0].health().items() if number}

    def close(self) -> None:
        for shard in self.shards:
            shard.close()
        self.ring.close()
        self.kernel.close()


@pytest.fixture
def watch(objects) -> Iterator[Callable[..., Watching]]:
    """Load with the settings given: `watch(workers=2)`."""
    made = []

    def make(sizes: Sizes = SMALL, **settings: object) -> Watching:
        made.append(Watching(objects, Settings(**settings), sizes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def watching(objects) -> Iterator[Watching]:
    """One for all tests of a module, with the settings as they are."""
    made = Watching(objects, Settings(), SMALL)
    yield made
    made.close()


class Space:
    """A network namespace, entered by its processes."""

    def __init__(self) -> None:
        self.name = f"npb{os.getpid()}-{next(SERIAL)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *command: object) -> list[str]:
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def run(self, *command: object) -> str:
        done = subprocess.run(self.command(*command), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside; sockets made there stay there."""
        with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", self.name).open() as there:
            assert LIBC.setns(there.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert LIBC.setns(home.fileno(), CLONE_NEWNET) == 0

    def cookie(self) -> int:
        with self.entered(), socket.socket() as one:
            return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")

    def inode(self) -> int:
        return Path("/run/netns", self.name).stat().st_ino

    def counters(self, interface: str) -> dict[str, int]:
        """What the kernel counted: packets and bytes with their Ethernet headers."""
        stats = json.loads(self.run("ip", "-s", "-j", "link", "show", interface))[0]["stats64"]
        return {
            f"{way}_{what}": stats[way][what]
            for way in ("rx", "tx")
            for what in ("packets", "bytes", "dropped")
        }

    def close(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


@pytest.fixture
def space() -> Iterator[Space]:
    """A network namespace with a loopback interface."""
    made = Space()
    yield made
    made.close()


class Pair(NamedTuple):
    """Two namespaces joined by a veth pair, with no packet but the test's: no IPv6, neighbours known."""

    near: Space
    far: Space
    address: str
    peer: str


@pytest.fixture
def pair(space) -> Iterator[Pair]:
    far = Space()
    try:
        join(space, far)
        yield Pair(space, far, "192.0.2.1", "192.0.2.2")
    finally:
        far.close()


def join(near: Space, far: Space) -> None:
    link = ["ip", "link", "add", "v0", "netns", near.name, "type", "veth"]
    subprocess.run([*link, "peer", "name", "v0", "netns", far.name], check=True)
    for number, one in enumerate((near, far), 1):
        one.run("sysctl", "-qw", "net.ipv6.conf.v0.disable_ipv6=1")
        one.run("ip", "link", "set", "v0", "address", f"02:00:00:00:00:0{number}")
        one.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "v0")
    for number, one in enumerate((near, far), 1):
        one.run("ip", "link", "set", "v0", "up")
        other = 3 - number
        one.run("ip", "neigh", "add", f"192.0.2.{other}", "lladdr", f"02:00:00:00:00:0{other}", "dev", "v0")


def total(rows: list[tuple[Key, Flow]], **wanted: object) -> Counter[str]:
    """Add up what matches (fields of the key or of the flow)."""
    added: Counter[str] = Counter()
    for key, flow in rows:
        if all(getattr(key, name, getattr(flow, name, None)) == value for name, value in wanted.items()):
            added.update({name: getattr(flow, name) for name in Flow._fields[1:9]})
    return added


def wait_for(what: str, condition: Callable[[], object], timeout: float = 5) -> object:
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)
    return found


@pytest.fixture
def wait() -> Callable[..., object]:
    return wait_for
