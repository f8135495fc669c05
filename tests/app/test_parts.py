"""The supervisor's parts without processes: back-off, memory files, settings."""

import fcntl
import json
import mmap
import os
import signal
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from exporter import metrics
from exporter.app import channels, children, landlock, supervisor
from exporter.app.child import Begun
from exporter.app.pcap_part import PcapPart
from exporter.config import Capture, Config, dump
from exporter.ebpf.filters import FilterHandles
from exporter.engine import Engine
from exporter.ledger import Ledger


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_back_off_doubles_up_to_half_a_minute_and_is_forgotten_after_a_minute() -> None:
    clock = Clock()
    child = children.Child("worker", 3, ["true"], clock)
    assert child.name == "worker-3"
    delays = []
    for _ in range(12):
        child._started = clock.now
        clock.now += 1
        child.ended(1)
        delays.append(round(child.due - clock.now, 1))
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30]
    child._started = clock.now
    clock.now += 60
    child.ended(1)
    assert round(child.due - clock.now, 1) == 0.1


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (-9, "signal", "was killed by SIGKILL"),
        (-11, "signal", "was killed by SIGSEGV"),
        (-40, "signal", "was killed by signal 40"),
        (0, "exit", "ended with status 0"),
        (7, "exit", "ended with status 7"),
    ],
)
def test_how_it_ended(code: int, reason: str, words: str) -> None:
    assert children.Child("identity", 0, []).ended(code) == (code, reason, words)


def close(held: channels.Held) -> None:
    for end in (*held.worker_ends, *held.identity_ends):
        end.close()
    for fd in (*held.ledgers, held.identity_ledger, held.status, held.lifeline, held.lifeline_write):
        os.close(fd)


def test_memory_files_cannot_be_cut_and_take_no_memory() -> None:
    held = channels.hold(2, size=80 << 20)
    for fd in (*held.ledgers, held.identity_ledger):
        assert os.fstat(fd).st_size == 80 << 20
        assert os.fstat(fd).st_blocks == 0
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        assert not os.get_inheritable(fd)
    assert fcntl.fcntl(held.status, fcntl.F_GET_SEALS) == channels.SEALS
    close(held)


def fill(end: socket.socket) -> None:
    for _ in range(1_000_000):
        end.send(b"x" * 1000)


def test_channels_keep_messages_apart_and_never_block() -> None:
    held = channels.hold(1)
    (ours,), (theirs,) = held.worker_ends, held.identity_ends
    ours.send(b"one")
    ours.send(b"two")
    assert [theirs.recv(100), theirs.recv(100)] == [b"one", b"two"]
    with pytest.raises(BlockingIOError):
        fill(ours)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_SEQPACKET
    close(held)


def test_a_reader_gets_a_descriptor_that_cannot_write() -> None:
    held = channels.hold(1)
    os.pwrite(held.ledgers[0], b"abc", 0)
    fd = channels.read_only(held.ledgers[0])
    assert os.pread(fd, 3, 0) == b"abc"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(fd, b"x", 0)
    os.close(fd)
    close(held)


def test_status_is_read_as_written_and_empty_before() -> None:
    held = channels.hold(1)
    assert channels.read_status(held.status) == {}
    channels.write_status(held.status, {"restarts": {"worker": {"signal": 12}}})
    channels.write_status(held.status, {"restarts": {}})
    assert channels.read_status(held.status) == {"restarts": {}}
    os.pwrite(held.status, b"{{{", 8)
    assert channels.read_status(held.status) == {}
    close(held)


def test_the_exporter_reads_the_status() -> None:
    from exporter.export.own import Status, read_status

    held = channels.hold(1)
    channels.write_status(held.status, {"restarts": {"worker": {"signal": 2}}, "workers": 1, "degraded": []})
    assert read_status(held.status, Status()) == Status({"worker": {"signal": 2}}, (), 1)
    close(held)


def test_a_configuration_file_is_read_from_its_beginning() -> None:
    fd = channels.config_file(b"abc")
    assert os.read(fd, 10) == b"abc"
    os.close(fd)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "http"), ("tls_server_config:\n  cert_file: x", "https"),
     ("basic_auth_users: {}", "http"), ("# tls_server_config:", "http")],
)  # fmt: skip
def test_the_scheme_that_is_shown(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "web.yml"
    path.write_text(text)
    assert supervisor.scheme(str(path)) == expected
    assert supervisor.scheme(str(tmp_path / "none")) == "http"


def test_settings_are_those_of_the_configuration() -> None:
    found = supervisor.read_settings(dump(Config(workers="auto")))
    assert found["workers"] == min(4, len(os.sched_getaffinity(0)))
    assert found["listen"] == [":10187"]
    assert (found["level"], found["format"], found["sandbox"]) == ("info", "auto", "auto")


def test_the_supervisor_says_what_is_important_enough(capfd: pytest.CaptureFixture[str]) -> None:
    say = supervisor.speaker({"format": "json", "level": "warning"})
    say("info", "quiet")
    say("warning", "loud", child="worker-0")
    (line,) = capfd.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["event"], found["child"], found["component"]) == ("loud", "worker-0", "supervisor")


def test_landlock_has_a_version_or_none() -> None:
    assert landlock.abi() in range(20)
    assert signal.SIGTERM


@pytest.mark.root
def test_a_worker_that_may_not_use_the_filters_tables_reads_all_packets() -> None:
    rows, known = os.memfd_create("rows"), os.memfd_create("no table")
    try:
        os.ftruncate(rows, mmap.PAGESIZE)
        handles = FilterHandles(known, known, known, rows, 1)
        ledger = Ledger(Config().metrics, share=1, now=0.0)
        config = replace(Config(), capture=Capture(interface=("none*",)))
        begun = Begun(config, {"index": "0", "count": "1", "offload": handles.flag()})
        part = PcapPart(begun, Engine(config, (), ledger, None), ledger, lambda: None)
        part.source.close()
        assert (part.role, part.source.offload) == ("worker", None)
        assert ledger.values[ledger.slot(metrics.DEGRADED, None, ("offload", "kernel"))] == 1
    finally:
        os.close(rows)
        os.close(known)
