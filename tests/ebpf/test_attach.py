"""Loaded, attached, shared with who has no privilege, and gone without a trace; and what is missing is named."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.ebpf import libbpf, support
from exporter.ebpf.kernel import Kernel, Sizes
from exporter.ebpf.layout import Settings
from exporter.ebpf.shard import Shard
from exporter.ebpf.support import COMPONENTS, Place, examine, find_cgroup

pytestmark = [pytest.mark.bpf, pytest.mark.root, pytest.mark.netns]

HERE = Path(__file__).parent
PROGRAMS = {program for component in COMPONENTS.values() for program in component.programs}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}


@pytest.fixture
def bpftool(tool):
    def show(what):
        done = subprocess.run([tool("bpftool"), "-j", what, "show"], capture_output=True, check=True)
        return json.loads(done.stdout)

    return show


def start(objects, *more, prefix=()):
    command = [*prefix, sys.executable, HERE / "holder.py", objects, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def ours(bpftool, what):
    rows = bpftool(what)
    return {
        row["id"] for row in rows if row.get("name") in PROGRAMS or row.get("name", "").startswith("netproc_")
    }


def test_every_program_is_loaded_and_attached(watching, bpftool):
    assert watching.kernel.degraded == {}
    loaded = {row["id"]: row["name"] for row in bpftool("prog") if row.get("name") in PROGRAMS}
    attached = {row["prog_id"] for row in bpftool("link")}
    assert {loaded[number] for number in attached if number in loaded} == PROGRAMS


def test_each_object_holds_these_programs_and_no_others(objects):
    for name in ("flow", "socket"):
        loaded = libbpf.Object(str(objects / f"{name}.bpf.o"))
        wanted = {program for one in COMPONENTS.values() if one.object == name for program in one.programs}
        assert loaded.programs.keys() - {"parse"} == wanted
        loaded.close()


def test_a_kill_leaves_nothing(objects, bpftool, wait):
    before = {what: ours(bpftool, what) for what in ("prog", "map")}
    holder = start(objects)
    assert json.loads(holder.stdout.readline()) == {}
    during = {what: ours(bpftool, what) - before[what] for what in before}
    assert len(during["prog"]) == len(PROGRAMS)
    assert len(during["map"]) >= 6
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    left = lambda: {what: ours(bpftool, what) & during[what] for what in during}  # noqa: E731
    wait("all of it is unloaded", lambda: left() == {"prog": set(), "map": set()}, 1)


def test_two_side_by_side_count_the_same(watch, space):
    pair = [watch(), watch()]
    with space.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(100):
        client.sendto(b"hello", ("127.0.0.1", 9))
    cookie = space.cookie()
    for watching in pair:
        rows = [flow for key, flow in watching.flows() if flow.netns == cookie and key.rport == 9]
        assert [(flow.sent, flow.sent_bytes, flow.tgid) for flow in rows] == [(100, 3300, os.getpid())]
    client.close()


def read(watching, *more):
    """Run a reader as nobody, without any capability."""
    handles = watching.kernel.handles[0]
    drop = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]
    command = [*drop, sys.executable, HERE / "reader.py", repr(tuple(handles)), *map(str, more)]
    done = subprocess.run(
        command,
        pass_fds=handles.descriptors(),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_reader_needs_no_privilege(watching, space):
    watching.flows()
    watching.frames()
    with space.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.sendto(b"for nobody", ("127.0.0.1", 9999))
    said = read(watching)
    port = client.getsockname()[1]
    assert (said["capabilities"], said["uid"]) == (0, 65534)
    assert [port, 9999, 1, 38] in said["flows"]
    assert [9999, "for nobody"] in said["frames"]
    assert [one for one in watching.flows() if one[0].lport == port] == []  # it has emptied what it read
    client.close()


def test_a_reader_that_dies_costs_no_count(watching, space):
    """It dies after reading and before its numbers are safe: its successor reads the same turn again; and if they
    were safe, does not."""
    watching.flows()
    with space.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.sendto(b"x", ("127.0.0.1", 9999))
    row = [client.getsockname()[1], 9999, 1, 29]
    safe = watching.shards[0].turned
    assert row in read(watching, safe)["flows"]
    client.sendto(b"y", ("127.0.0.1", 9999))
    assert row in read(watching, safe)["flows"]  # the same again
    now = watching.shards[0].turned
    assert row in read(watching, now)["flows"]  # the second datagram, once
    assert row not in read(watching, watching.shards[0].turned)["flows"]
    Shard(watching.kernel.handles[0], watching.shards[0].turned).close()
    client.close()


# -- what is missing ---------------------------------------------------------------------------------------------------

ALL = dict.fromkeys(COMPONENTS, "no_cap_bpf")
CGROUP = {name for name, component in COMPONENTS.items() if component.cgroup}
WITHOUT = {
    "-bpf,-sys_admin": ALL,
    "-net_admin": dict.fromkeys(CGROUP, "no_cap_net_admin"),
    "-perfmon,-sys_admin": dict.fromkeys(COMPONENTS.keys() - CGROUP, "no_cap_perfmon"),
}


@pytest.mark.parametrize("dropped", WITHOUT)
def test_a_missing_capability_is_named_and_the_rest_works(objects, dropped):
    holder = start(objects, "end", prefix=("setpriv", f"--bounding-set={dropped}"))
    assert json.loads(holder.communicate(timeout=30)[0]) == WITHOUT[dropped]
    assert holder.returncode == 0


def test_only_three_capabilities_are_needed(objects):
    kept = "--bounding-set=-all,+bpf,+perfmon,+net_admin"
    holder = start(objects, "end", prefix=("setpriv", kept))
    assert json.loads(holder.communicate(timeout=30)[0]) == {}


def test_a_missing_file_is_named(objects, tmp_path):
    assert set(examine(Place(objects=tmp_path)).reasons.values()) == {"not_built"}
    assert set(examine(Place(objects=objects, btf=tmp_path / "none")).reasons.values()) == {"no_btf"}
    shutil.copy(objects / "flow.bpf.o", tmp_path)
    (tmp_path / "socket.bpf.o").write_bytes(b"no object")
    holder = start(tmp_path, "end")
    said = json.loads(holder.communicate(timeout=30)[0])
    assert said.keys() == {name for name, one in COMPONENTS.items() if one.object == "socket"}


def test_what_the_kernel_refuses_is_named_and_nothing_stays(objects, bpftool):
    before = ours(bpftool, "prog")
    place = Place(objects=objects)
    kernel = Kernel(examine(place), Settings(), Sizes(ring=12345))  # no power of two
    kernel.open(place)
    assert kernel.degraded == dict.fromkeys(COMPONENTS, "kernel")
    assert (kernel.handles, kernel.events) == ([], -1)
    assert ours(bpftool, "prog") <= before
    kernel.close()


def test_an_absent_library_is_named(objects, monkeypatch):
    monkeypatch.setattr(libbpf, "NAMES", ("libnone.so.1",))
    libbpf.library.cache_clear()
    assert set(examine(Place(objects=objects)).reasons.values()) == {"no_libbpf"}
    libbpf.library.cache_clear()


def test_an_old_kernel_is_named(objects, monkeypatch):
    monkeypatch.setattr(support, "release", lambda: (5, 10))
    assert set(examine(Place(objects=objects)).reasons.values()) == {"old_kernel"}


def test_the_root_of_cgroup2_is_found_wherever_it_is(tmp_path):
    path, why = find_cgroup(Path("/proc/self/mountinfo").read_text())
    assert path.stat().st_ino == 1
    assert not why
    line = "41 31 0:38 {} {} rw,relatime shared:9 - {} cgroup2 rw"
    assert find_cgroup(line.format("/", tmp_path, "cgroup")) == (None, "no_cgroup2")
    assert find_cgroup(line.format("/x", tmp_path, "cgroup2")) == (None, "cgroup2_not_root")
    (tmp_path / "a b").mkdir()
    escaped = str(tmp_path / "a b").replace(" ", "\\040")
    assert find_cgroup(line.format("/x", escaped, "cgroup2")) == (None, "cgroup2_not_root")


def test_another_process_namespace_has_other_numbers(objects: Path) -> None:
    code = (
        "from pathlib import Path; from exporter.ebpf.support import Place, examine;"
        f"print(set(examine(Place(objects=Path({str(objects)!r}))).reasons.values()))"
    )
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "{'pid_namespace'}\n"
