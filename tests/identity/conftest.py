"""A resolver on the real machine, whose time is moved by hand."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from exporter.config import Identity
from exporter.identity.resolver import Resolver
from exporter.identity.sources import Sources
from exporter.identity.stats import Stats
from exporter.model import Ask, Watch

LONG = 3600.0


def pack(host):
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


class Rig:
    """One worker, channel 0."""

    def __init__(self, **settings):
        self.stats = Stats()
        self.sources = Sources(Identity(**settings), self.stats)
        self.resolver = Resolver(self.sources, self.stats)
        self.now = time.monotonic()
        self.serial = 0

    def ask(self, local, remote, transport="tcp", scope=0, since=None):
        """Ask, and give the first answer."""
        self.serial += 1
        since = time.time() if since is None else since
        ends = (pack(local[0]), local[1], pack(remote[0]), remote[1])
        self.resolver.ask(0, Ask(self.serial, scope, transport, *ends, since), self.now)
        return self.work()

    def watch(self, local, remote, transport="tcp", scope=0):
        self.resolver.watch(
            0, Watch(1, scope, transport, pack(local[0]), local[1], pack(remote[0]), remote[1]), self.now
        )
        return self.answers()[-1].alive

    def answers(self):
        found = [answer for _, answer in self.resolver.out]
        self.resolver.out.clear()
        return found

    def work(self):
        """Do what is due now, with the sweeps that it needs; give the last answer."""
        self.resolver.work(self.now)
        while self.resolver.deadline() is not None and self.resolver.deadline() <= self.now:
            self.resolver.work(self.now)
        found = self.answers()
        return found[-1] if found else None

    def later(self, seconds):
        self.now += seconds
        return self.work()

    def name(self, local, remote, **more):
        answer = self.ask(local, remote, **more)
        return answer.owner.process if answer.owner else None


@pytest.fixture
def rig():
    made = []

    def make(**settings):
        made.append(Rig(**settings))
        return made[-1]

    yield make
    for one in made:
        one.sources.close()


@pytest.fixture
def run(tmp_path):
    """Start Python programs that print one line when they are ready; give (process, line)."""
    started = []

    def start(code, *arguments, **more):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **more,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def closing():
    """Close sockets at the end of a test."""
    opened = []

    def keep(one):
        opened.append(one)
        return one

    yield keep
    for one in opened:
        one.close()


class Tree:
    """A procfs made of files."""

    def __init__(self, root):
        self.root = root
        self.process("self")

    def process(self, pid, *, exe="/usr/bin/thing", ticks=100, ppid=0, sockets=(), command=()):
        """Make a process, or change it; `sockets` are (descriptor, inode number)."""
        place = self.root / str(pid)
        (place / "fd").mkdir(parents=True, exist_ok=True)
        comm = exe.rpartition("/")[2][:15]
        (place / "stat").write_text(
            f"{pid if pid != 'self' else 1} ({comm}) S {ppid} " + "0 " * 17 + f"{ticks} 0\n"
        )
        (place / "cmdline").write_bytes(b"\0".join(word.encode() for word in command) + b"\0" * bool(command))
        (place / "status").write_text("Name:\tx\nUid:\t0\t7\t0\t0\n")
        (place / "cgroup").write_text("0::/system.slice/thing.service\n")
        (place / "exe").unlink(missing_ok=True)
        (place / "exe").symlink_to(exe)
        for link in (place / "fd").iterdir():
            link.unlink()
        for descriptor, inode in sockets:
            (place / "fd" / str(descriptor)).symlink_to(f"socket:[{inode}]")

    def end(self, pid):
        (self.root / str(pid)).rename(self.root / f"gone-{pid}")


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)
