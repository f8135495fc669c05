"""The identity process itself, as the supervisor starts it."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from exporter import config, ledgerfile
from exporter.model import Addresses, Answer, Ask, Hello, Listing, Record, Scopes, Watch

LO = socket.inet_aton("127.0.0.1")


class Worker:
    """A worker's end, and the process behind it."""

    def __init__(self, settings):
        self.end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        configuration, self.ledger = os.memfd_create("config"), os.memfd_create("ledger")
        os.write(configuration, config.dump(settings))
        os.ftruncate(self.ledger, ledgerfile.size(settings.metrics))
        read, self.lifeline = os.pipe()
        fds = [configuration, theirs.fileno(), self.ledger, read]
        words = ["--config-fd", "--channels", "--ledger-fd", "--lifeline-fd"]
        flags = [text for pair in zip(words, map(str, fds), strict=True) for text in pair]
        command = [sys.executable, "-P", "-m", "exporter.app.identity", *flags]
        here = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(command, pass_fds=fds, env={**os.environ, "PYTHONPATH": here})
        theirs.close()
        for fd in (configuration, read):
            os.close(fd)

    def send(self, *records):
        self.end.send(msgspec.msgpack.encode(list(records)))

    def until(self, wanted, seconds=10.0):
        """Give all records up to the first that is wanted."""
        got = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.end], [], [], 0.1)[0]:
                got += msgspec.msgpack.decode(self.end.recv(1 << 18), type=list[Record])
                if any(wanted(record) for record in got):
                    return got
        raise AssertionError(f"not among {got}")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.end.close()
        os.close(self.ledger)
        if self.lifeline >= 0:
            os.close(self.lifeline)


@pytest.fixture
def worker():
    made = []

    def make(**identity):
        made.append(Worker(config.Config(identity=config.Identity(**identity))))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask(serial, end):
    return Ask(serial, 0, "tcp", LO, end.getsockname()[1], LO, end.getpeername()[1], time.time())


@pytest.mark.parametrize("method", ["auto", "procfs", "psutil"])
def test_a_worker_is_served(worker, closing, method):
    server = closing(socket.create_server(("127.0.0.1", 0)))
    client = closing(socket.create_connection(server.getsockname()))
    accepted = closing(server.accept()[0])
    worker = worker(method=method)
    worker.send(Hello(1))
    got = worker.until(lambda record: isinstance(record, Listing) and record.last)
    if method != "psutil":  # with psutil the hello may be the first thing that is read
        assert isinstance(got[0], Hello)
    rows = [row for record in got if isinstance(record, Listing) for row in record.rows]
    mine = next(
        row for row in rows if (row.lport, row.rport) == (client.getsockname()[1], server.getsockname()[1])
    )
    assert (mine.state, mine.owner.pid) == ("established", os.getpid())

    for serial, end in ((7, client), (8, accepted)):
        worker.send(ask(serial, end))
        answer = worker.until(lambda r, s=serial: isinstance(r, Answer) and r.serial == s)[-1]
        assert answer.owner.pid == os.getpid()
    worker.send(Watch(9, 0, "tcp", LO, 1, LO, 2))
    assert not worker.until(lambda r: isinstance(r, Answer) and r.serial == 9)[-1].alive


def test_addresses_and_scopes_come_unasked(worker):
    got = worker().until(lambda record: isinstance(record, Scopes))
    own = next(record for record in got if isinstance(record, Addresses) and record.scope == 0)
    assert LO in own.local


def test_nonsense_ends_nothing(worker):
    worker = worker()
    worker.until(lambda record: isinstance(record, Scopes))
    worker.end.send(b"\xc1nonsense")
    worker.send(Hello(2), Answer(1, None))
    worker.until(lambda record: isinstance(record, Listing) and record.last)
    assert worker.process.poll() is None


def test_sigterm_ends_it_well(worker):
    worker = worker()
    worker.until(lambda record: isinstance(record, Scopes))
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(timeout=2) == 0


def test_it_ends_with_the_supervisor(worker):
    worker = worker()
    worker.until(lambda record: isinstance(record, Scopes))
    os.close(worker.lifeline)
    worker.lifeline = -1
    assert worker.process.wait(timeout=2) == 0


def test_it_counts(worker):
    worker = worker()
    worker.send(Watch(9, 0, "tcp", LO, 1, LO, 2))
    worker.until(lambda record: isinstance(record, Answer))
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with os.fdopen(os.dup(worker.ledger), "rb") as file:
            file.seek(0)
            labels = ledgerfile.Labels()
            try:
                snapshot = ledgerfile.read(memoryview(file.read()))
            except ledgerfile.RefusedError:
                time.sleep(0.1)
                continue
        labels.extend(snapshot)
        values = {
            (family.name, key[2]): snapshot.values[slot]
            for family, entries in labels.families.items()
            for slot, (key, _) in entries.items()
        }
        assert ("netproc_identity_scans_total", ("sockets",)) in values
        if values["netproc_identity_questions_total", ()] == 1:
            return
        time.sleep(0.1)
    raise AssertionError("not counted")


def test_a_bad_rule_is_one_line(worker, capfd):
    worker = worker(groups=(config.GroupRule("x", executable="("),))
    assert worker.process.wait(timeout=5) == 3
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "identity.groups[0].executable" in lines[0]
