"""The real supervisor, with children that do nothing (`fake_child.py`)."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.app.user import choose
from exporter.config import Capture, Config, Identity, Process, Web, dump
from tests.app.conftest import Run, alive, eventually

HERE = Path(__file__).parent
pytestmark = [pytest.mark.root, pytest.mark.net_raw]


def settings(workers: int = 1, sandbox: str = "auto", address: str = "127.0.0.1:0") -> Config:
    """Without the kernel's side, which test_kernel_side.py is about."""
    return Config(
        workers=workers,
        capture=Capture(offload="off"),
        identity=Identity(method="netlink"),
        web=Web(listen_address=(address,)),
        process=Process(sandbox=sandbox),
    )


@pytest.fixture
def start(start: Callable[..., Run]) -> Callable[..., Run]:
    """Start with the settings above, unless a test has its own."""
    return lambda plan=None, config=None: start(plan, config=config or settings())


def test_it_says_where_it_listens_when_all_are_up(start) -> None:
    run = start(config=settings(workers=2))
    line = json.loads(run.wait_for("listening"))
    assert time.monotonic() - run.begun < 5
    port = int(line["event"].removeprefix("listening on http://127.0.0.1:").removesuffix("/metrics"))
    socket.create_connection(("127.0.0.1", port)).close()
    assert len(run.pids()) == 4
    assert run.end() == 0


def test_each_child_has_its_descriptors_and_no_other(start) -> None:
    run = start(config=settings(workers=2))
    run.wait_for("listening")
    channels: dict[str, set[int]] = {}
    for name in ("identity", "exporter", "worker0", "worker1"):
        (found,) = eventually(lambda name=name: run.starts(name))
        named = {
            key: value for key, value in found["flags"].items() if key not in {"index", "count", "source"}
        }
        given = {int(fd) for value in named.values() for fd in value.split(",")}
        others = set(found["fds"]) - given - {0, 1, 2}
        assert len(others) <= 2, f"{name} inherited {others}"  # its own: the file, and the listing
        assert given <= set(found["fds"])
        assert found["uid"] == (65534 if isinstance(choose("nobody"), tuple) else 0)
        channels[name] = set(named)
    assert channels["identity"] == {"config-fd", "channels", "ledger-fd", "lifeline-fd"}
    assert channels["exporter"] == {"config-fd", "listen-fds", "ledger-fds", "status-fd", "lifeline-fd"}
    assert channels["worker1"] == {"config-fd", "channel-fd", "ledger-fd", "lifeline-fd", "ready-fd"}
    (worker,) = run.starts("worker1")
    assert [worker["flags"][key] for key in ("index", "count", "source")] == ["1", "2", "pcap"]
    (exporter,) = run.starts("exporter")
    assert len(exporter["flags"]["ledger-fds"].split(",")) == 3
    assert exporter["status"] == {"restarts": {}, "workers": 2, "degraded": []}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_within_two_seconds(start, number: int) -> None:
    run = start(config=settings(workers=2))
    run.wait_for("listening")
    pids = run.pids()
    assert run.end(number) == 0
    assert not any(map(alive, pids))


def test_a_child_that_does_not_listen_is_killed_within_two_seconds(start) -> None:
    run = start({"worker": "stubborn", "identity": "stubborn"})
    run.wait_for("listening")
    pids = run.pids()
    begun = time.monotonic()
    assert run.end() == 0
    assert 1.4 < time.monotonic() - begun < 2
    assert not any(map(alive, pids))


def test_a_second_signal_waits_for_nobody(start) -> None:
    run = start({"worker": "stubborn"})
    run.wait_for("listening")
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    begun = time.monotonic()
    assert run.end(signal.SIGINT) == 0
    assert time.monotonic() - begun < 1


def test_a_signal_during_the_start_is_not_lost(start) -> None:
    run = start({"worker": "crash"})
    eventually(lambda: run.starts("identity"))
    assert run.end() == 0


@pytest.mark.parametrize("plan", [{}, {"worker": "deaf", "identity": "deaf", "exporter": "deaf"}])
def test_nothing_outlives_the_supervisor(start, plan: dict[str, str]) -> None:
    run = start(plan, settings(workers=2))
    run.wait_for("listening")
    pids = run.pids()
    assert len(pids) == 4
    run.process.kill()
    run.process.wait()
    eventually(lambda: not any(map(alive, pids)), 1)


@pytest.mark.parametrize(
    ("name", "role"), [("worker0", "worker"), ("identity", "identity"), ("exporter", "exporter")]
)
def test_a_killed_child_is_started_again_and_counted(start, name: str, role: str) -> None:
    run = start()
    run.wait_for("listening")
    (first,) = eventually(lambda: run.starts(name))
    eventually(lambda: run.starts("exporter"))
    os.kill(first["pid"], signal.SIGKILL)
    again = eventually(lambda: run.starts(name)[1:])[0]
    same = {"channel-fd", "channels", "ledger-fd", "listen-fds", "lifeline-fd"} & set(again["flags"])
    assert {key: again["flags"][key] for key in same} == {key: first["flags"][key] for key in same}
    assert f"{role}{'-0' if role == 'worker' else ''} was killed by SIGKILL" in run.wait_for("was killed")
    if role != "exporter":  # a new exporter tells what is in the status file
        os.kill(run.starts("exporter")[0]["pid"], signal.SIGKILL)
    status = eventually(lambda: run.starts("exporter")[1:])[0]["status"]
    assert status["restarts"][role] == {"signal": 1}
    assert run.end() == 0


def test_a_child_that_always_fails_waits_longer_each_time(start) -> None:
    run = start({"identity": "crash"})
    run.wait_for("starts again in 0.4 s")
    waits = [json.loads(line)["event"] for line in run.said.splitlines() if "identity ended" in line]
    assert waits[:3] == [f"identity ended with status 7; it starts again in {s} s" for s in (0.1, 0.2, 0.4)]
    assert run.end() == 0


@pytest.mark.parametrize(("plan", "status"), [("refuse", 1), ("misuse", 2)])
@pytest.mark.parametrize("role", ["worker", "identity", "exporter"])
def test_a_child_that_refuses_ends_all_and_says_it_once(start, role: str, plan: str, status: int) -> None:
    run = start({role: plan}, settings(workers=3))
    assert run.process.wait(3) == status
    said = [line for line in run.process.stderr if "sandbox is weaker" not in line]
    assert said == [f"netproc-exporter: {role} cannot start\n"]


def test_a_child_that_refuses_later_is_tried_again(start) -> None:
    run = start({"worker": "refuse later"})
    run.wait_for("listening")
    os.kill(eventually(lambda: run.starts("worker0"))[0]["pid"], signal.SIGKILL)
    run.wait_for("worker-0 ended with status 3; it starts again in 0.4 s")
    assert run.end() == 0


def test_a_port_in_use_is_one_line(start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        run = start(config=settings(address=address))
        assert run.process.wait(3) == 1
    (said,) = [line for line in run.process.stderr if "sandbox is weaker" not in line]
    assert said.startswith(f"netproc-exporter: cannot listen on {address}: address already in use; ")


def test_hang_up_is_survived_and_answered(start) -> None:
    run = start()
    run.wait_for("listening")
    run.process.send_signal(signal.SIGHUP)
    run.wait_for("SIGHUP is ignored")
    assert run.end() == 0


def test_the_supervisor_keeps_what_children_need_and_no_more(start) -> None:
    run = start()
    run.wait_for("listening")
    status = Path(f"/proc/{run.process.pid}/status").read_text()
    values = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    names = {2, 5, 6, 7, 8, 13, 19}  # DAC_READ_SEARCH KILL SETGID SETUID SETPCAP NET_RAW SYS_PTRACE
    expected = f"{sum(1 << n for n in names):016x}"
    assert [values[k] for k in ("CapPrm", "CapEff", "CapBnd")] == [expected] * 3
    assert values["NoNewPrivs"] == "1"


def test_the_supervisor_sleeps(start) -> None:
    run = start()
    run.wait_for("listening")
    stat = Path(f"/proc/{run.process.pid}/status")

    def switches() -> int:
        return sum(int(line.split()[1]) for line in stat.read_text().splitlines() if "ctxt_switches" in line)

    time.sleep(0.2)
    before = switches()
    time.sleep(1)
    assert switches() == before


def test_descriptors_do_not_grow_over_restarts(start) -> None:
    run = start()
    run.wait_for("listening")
    folder = Path(f"/proc/{run.process.pid}/fd")
    eventually(lambda: len(run.pids()) == 3)
    before = len(list(folder.iterdir()))
    for number in range(1, 4):
        for name in ("worker0", "exporter"):
            os.kill(eventually(lambda name=name: run.starts(name))[-1]["pid"], signal.SIGKILL)
        eventually(lambda n=number: len(run.starts("worker0")) > n and len(run.starts("exporter")) > n)
    eventually(lambda: len(run.pids()) == 3)
    eventually(lambda: len(list(folder.iterdir())) == before)


def test_without_sandbox_nothing_is_dropped_but_nothing_outlives(start) -> None:
    run = start({"worker": "deaf"}, settings(sandbox="off"))
    run.wait_for("listening")
    (worker,) = eventually(lambda: run.starts("worker0"))
    assert (worker["uid"], worker["degraded"]) == (0, [])
    run.process.kill()
    run.process.wait()
    eventually(lambda: not alive(worker["pid"]), 1)


def test_strict_starts_where_all_works_and_only_there(start) -> None:
    run = start(config=settings(sandbox="strict"))
    if choose("nobody") == "unreadable_installation":
        assert run.process.wait(3) == 1
        assert run.process.stderr.read().count("\n") == 1
        return
    run.wait_for("listening")
    assert run.starts("worker0")[0]["degraded"] == []
    assert run.end() == 0


def test_systemd_is_told(start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        run = start()
        assert end.recv(100) == b"READY=1"
        assert run.end() == 0
        assert end.recv(100) == b"STOPPING=1"


def test_only_the_standard_library_is_loaded() -> None:
    root = str(HERE.parents[1])
    code = f"import sys; sys.path.insert(0, {root!r}); import exporter.app.supervisor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-ISc", code], capture_output=True, text=True, check=True)
    ours = {name.partition(".")[0] for name in done.stdout.split()}
    assert ours - sys.stdlib_module_names - {"__main__"} == {"exporter"}


def test_without_the_capability_kill_all_ends_by_the_lifeline(tmp_path: Path) -> None:
    """Nor does the kernel send the parent-death signal for a parent that may not send signals itself."""
    (tmp_path / "config.json").write_bytes(dump(settings()))
    without = ["setpriv", "--bounding-set=-kill", "--inh-caps=-all"]
    process = subprocess.Popen(
        [*without, sys.executable, "-P", str(HERE / "fake_supervisor.py"), str(tmp_path / "config.json")],
        env={**os.environ, "OUT": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while "listening" not in (line := process.stderr.readline()):
        assert line
    pids = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(pids) == 3
    process.terminate()
    assert process.wait(2) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    assert not any(map(alive, pids))
