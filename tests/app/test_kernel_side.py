"""The real supervisor and the real programs, with children that only read what the kernel counted."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.app.user import choose
from exporter.config import Capture, Config, Ebpf, Web
from exporter.ebpf.filters import FilterHandles
from exporter.ebpf.layout import Handles
from tests.app.conftest import Run, eventually
from tests.conftest import cannot

pytestmark = [pytest.mark.root, pytest.mark.bpf]

REPO = Path(__file__).resolve().parents[2]
KINDS = ("map_id", "prog_id", "link_id")


@pytest.fixture(scope="module", autouse=True)
def built(tool: Callable[[str], str]) -> None:
    tool("clang")
    subprocess.run([REPO / "tools/build-bpf"], check=True)


def settings(workers: int = 1, source: str = "ebpf", flows: int = 1024) -> Config:
    return Config(
        workers=workers,
        capture=Capture(source=source),
        ebpf=Ebpf(flows=flows, overflow=64, ring_size=65_536, budgets=1024),
        web=Web(listen_address=("127.0.0.1:0",)),
    )


@pytest.fixture
def small() -> Iterator[tuple[str, ...]]:
    """Run what follows in a cgroup that may have 150 MiB, maps of the kernel's side included."""
    first = Path("/sys/fs/cgroup/memory")  # cgroup v1, as hybrid machines have it
    folder = (first if first.is_dir() else first.parent) / f"netproc-{os.getpid()}"
    folder.mkdir()
    limit = folder / ("memory.limit_in_bytes" if first.is_dir() else "memory.max")
    if not limit.exists():
        folder.rmdir()
        cannot("no cgroup here limits memory")
    limit.write_text("150M")
    yield "sh", "-c", f'echo $$ >{folder}/cgroup.procs; exec "$@"', "sh"
    eventually(lambda: not (folder / "cgroup.procs").read_text())
    folder.rmdir()


def ids(pid: int) -> set[tuple[str, int]]:
    """What a process holds of the kernel's side, by the kernel's own numbers."""
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        text = path.read_text()
        found |= {
            (kind, int(n)) for kind in KINDS for n in re.findall(rf"^{kind}:\s*(\d+)", text, re.MULTILINE)
        }
    return found


def left(bpftool: str, wanted: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Which of these the kernel still has."""
    found = set()
    for kind in KINDS:
        what = [bpftool, "-j", kind.removesuffix("_id"), "show"]
        rows = json.loads(subprocess.run(what, capture_output=True, check=True).stdout)
        found |= {(kind, row["id"]) for row in rows} & wanted
    return found


def quiet(bpftool: str, pid: int) -> set[int]:
    """The processes of which nothing is brought up."""
    maps = json.loads(subprocess.run([bpftool, "-j", "map", "show"], capture_output=True, check=True).stdout)
    ours = {number for kind, number in ids(pid) if kind == "map_id"}
    (one,) = {row["id"] for row in maps if row["id"] in ours and row.get("name") == "quiet"}
    dump = [bpftool, "-j", "map", "dump", "id", str(one)]
    rows = json.loads(subprocess.run(dump, capture_output=True, check=True).stdout)
    return {int.from_bytes(bytes(int(byte, 16) for byte in row["key"]), "little") for row in rows}


@contextmanager
def talk() -> Iterator[int]:
    """Datagrams over loopback, all the time, to a port."""
    over = threading.Event()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end,
    ):
        server.bind(("127.0.0.1", 0))
        end.connect(server.getsockname())

        def send() -> None:
            while not over.wait(0.002):
                end.send(b"x")

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


def test_each_worker_reads_its_own_maps_and_nobody_holds_a_program(start) -> None:
    with talk() as port:
        run = start(config=settings(workers=2))
        run.wait_for("listening")
        children = {
            name: eventually(lambda name=name: run.starts(name))[0]
            for name in ("worker0", "worker1", "identity", "exporter")
        }
    held = {name: {kind for kind, _ in ids(child["pid"])} for name, child in children.items()}
    assert held == {"worker0": {"map_id"}, "worker1": {"map_id"}, "identity": {"map_id"}, "exporter": set()}
    own = [Handles.parse(children[f"worker{n}"]["flags"]["handles"]) for n in (0, 1)]
    assert not {*own[0].flows, *own[0].overflow, own[0].ring} & {*own[1].flows, *own[1].overflow, own[1].ring}
    assert port in children["worker0"]["ports"] + children["worker1"]["ports"]
    for name in ("worker0", "worker1"):
        flags = children[name]["flags"]
        assert flags["source"] == "ebpf"
        assert int(flags["netns"]) == Path("/proc/self/ns/net").stat().st_ino
        given = {int(fd) for key in flags for fd in flags[key].split(",") if key not in {"source", "netns"}}
        assert (
            len(set(children[name]["fds"]) - given - {0, 1, 2}) <= 5
        )  # the file, the listing; mmap's copies
    assert "events" in children["identity"]["flags"]
    assert run.end() == 0


def test_the_supervisor_keeps_no_right_to_packets_nor_to_load(start) -> None:
    run = start(config=settings())
    run.wait_for("listening")
    status = Path(f"/proc/{run.process.pid}/status").read_text()
    values = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    names = (2, 5, 6, 7, 8, 19)  # DAC_READ_SEARCH KILL SETGID SETUID SETPCAP SYS_PTRACE
    expected = f"{sum(1 << n for n in names):016x}"
    assert [values[k] for k in ("CapPrm", "CapEff", "CapBnd")] == [expected] * 3
    (worker,) = run.starts("worker0")
    assert "CapPrm:\t0000000000000000\n" in Path(f"/proc/{worker['pid']}/status").read_text()


def test_each_worker_that_captures_has_its_own_filter(start, tool) -> None:
    run = start(config=settings(workers=2, source="pcap"))
    run.wait_for("listening")
    workers = [eventually(lambda name=name: run.starts(name))[0] for name in ("worker0", "worker1")]
    own = [FilterHandles.parse(worker["flags"]["offload"]) for worker in workers]
    assert not set(own[0].descriptors()) & set(own[1].descriptors())
    assert all(worker["flags"]["source"] == "pcap" for worker in workers)
    held = [{kind for kind, _ in ids(worker["pid"])} for worker in workers]
    assert held == [{"map_id", "prog_id"}] * 2
    loaded = ids(run.process.pid)
    assert {kind for kind, _ in loaded} == set(KINDS)  # with what tells owners
    run.process.kill()
    run.process.wait()
    eventually(lambda: not left(tool("bpftool"), loaded), 1)


def test_without_net_raw_it_counts_all_the_same(start) -> None:
    with talk() as port:
        run = start(config=settings(), prefix=("setpriv", "--bounding-set=-net_raw", "--inh-caps=-all"))
        run.wait_for("listening")
        assert port in eventually(lambda: run.starts("worker0"))[0]["ports"]


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """Make a folder that every user may write into."""
    with tempfile.TemporaryDirectory(prefix="netproc-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_a_user_with_the_capabilities_needs_no_root(anybodys: Path, start) -> None:
    if choose("nobody") == "unreadable_installation":
        cannot("no other user can read this checkout")
    granted = "-all,+bpf,+perfmon,+net_admin"
    become = ("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups")
    with talk() as port:
        prefix = (*become, f"--inh-caps={granted}", f"--ambient-caps={granted}")
        run = start(config=settings(), folder=anybodys, prefix=prefix)
        run.wait_for("listening")
        assert port in eventually(lambda: run.starts("worker0"))[0]["ports"]
    for pid in (run.process.pid, *run.pids()):
        assert "CapPrm:\t0000000000000000\n" in Path(f"/proc/{pid}/status").read_text()


def test_a_kill_of_the_supervisor_unloads_all_within_a_second(start, tool) -> None:
    run = start(config=settings(workers=2))
    run.wait_for("listening")
    loaded = ids(run.process.pid)
    assert {kind for kind, _ in loaded} == set(KINDS)
    assert left(tool("bpftool"), loaded) == loaded
    run.process.kill()
    run.process.wait()
    eventually(lambda: not left(tool("bpftool"), loaded), 1)


def test_a_killed_worker_finds_the_same_programs_and_maps(start, tool) -> None:
    run = start(config=settings())
    run.wait_for("listening")
    loaded = ids(run.process.pid)
    (first,) = eventually(lambda: run.starts("worker0"))
    os.kill(first["pid"], signal.SIGKILL)
    with talk() as port:
        again = eventually(lambda: run.starts("worker0")[1:])[0]
    assert again["flags"]["handles"] == first["flags"]["handles"]
    assert port in again["ports"]
    assert ids(run.process.pid) == loaded == left(tool("bpftool"), loaded)
    assert run.end() == 0


def test_our_own_processes_are_quiet_and_no_longer_than_they_live(start, tool) -> None:
    run = start(config=settings())
    run.wait_for("listening")
    (first,) = eventually(lambda: run.starts("identity"))
    assert quiet(tool("bpftool"), run.process.pid) == {run.process.pid, *run.pids()}
    os.kill(first["pid"], signal.SIGKILL)
    eventually(lambda: run.starts("identity")[1:])
    assert quiet(tool("bpftool"), run.process.pid) == {run.process.pid, *run.pids()}
    assert first["pid"] not in run.pids()
    assert run.end() == 0


def test_maps_that_find_no_memory_lead_to_captures_with_owners_from_the_kernel(small, start) -> None:
    run = start(config=settings(source="auto", flows=1_000_000), prefix=small)
    said = run.wait_for(
        "packets are captured; the kernel tells their owners; ebpf_flows: the kernel has no memory"
    )
    assert said.count("ebpf_flows") == 1
    run.wait_for("listening")
    assert eventually(lambda: run.starts("worker0"))[0]["flags"]["source"] == "pcap"
    assert "events" in eventually(lambda: run.starts("identity"))[0]["flags"]
    status = eventually(lambda: run.starts("exporter"))[0]["status"]
    assert ["ebpf_flows", "memory"] in status["degraded"]
    assert run.end() == 0


def test_maps_that_find_no_memory_are_one_line_where_it_insists(small, start) -> None:
    run = start(config=settings(flows=1_000_000), prefix=small)
    assert run.process.wait(10) == 1
    (said,) = run.process.stderr
    assert said.startswith(
        "netproc-exporter: capture.source ebpf does not work here: ebpf: the kernel has no memory"
    )


def test_two_run_side_by_side(start, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    runs: list[Run] = []
    with talk() as port:
        for folder in (first, second):
            folder.mkdir()
            runs.append(start(config=settings(), folder=folder))
            runs[-1].wait_for("listening")
        for run in runs:
            assert port in eventually(lambda run=run: run.starts("worker0"))[0]["ports"]
    assert not ids(runs[0].process.pid) & ids(runs[1].process.pid)
    assert [run.end() for run in runs] == [0, 0]
