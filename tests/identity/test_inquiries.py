"""Which process this is: on a procfs made of files, and of real processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporter.config import GroupRule
from exporter.ebpf.owners import Process
from exporter.identity.groups import Grouping
from exporter.identity.inquiries import Inquiries
from exporter.identity.processes import ProcfsProcesses
from exporter.identity.procfs import Procfs
from exporter.identity.stats import Stats
from exporter.identity.told import Told
from exporter.model import Gone, Whose

ME = Path(sys.executable).resolve().name
SECOND = 1_000_000_000


class Silent:
    """A ring in which nothing comes."""

    def read(self, _limit):
        return iter(())


class Made:
    """Inquiries about a procfs made of files."""

    def __init__(self, tree, *, ebpf=True, rules=()):
        tree.process("self")
        (tree.root / "self/ns").mkdir(exist_ok=True)
        (tree.root / "self/ns/net").symlink_to("net:[1]")
        self.processes = ProcfsProcesses(Procfs(str(tree.root)), Grouping(rules))
        self.stats = Stats()
        self.told = Told(Silent(), self.processes, None, self.stats) if ebpf else None
        self.out = []
        self.inquiries = Inquiries(self, self.stats, self.out)
        self.now = 1000.0

    def ask(self, pid, start=100, serial=1, channel=0):
        self.inquiries.ask(channel, Whose(serial, pid, start))
        return self.later(0)

    def later(self, seconds):
        """Give what is answered until then."""
        until = self.now + seconds
        while (due := self.inquiries.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.inquiries.work(self.now)
        self.now = until
        self.inquiries.work(until)
        found = [answer for _, answer in self.out]
        self.out.clear()
        return found

    def tell(self, pid, comm, ticks=100, *, executed=False):
        process = Process(pid, ticks * SECOND // os.sysconf("SC_CLK_TCK"), 1, 7, 0, comm, comm, executed)
        key = self.told.meet(process, self.now)
        if executed:
            self.inquiries.executed(key, self.now)


@pytest.fixture(params=[True, False], ids=["ebpf", "procfs"])
def ebpf(request):
    return request.param


def test_a_process_that_lives(tree, ebpf):
    tree.process(7, exe="/usr/bin/thing")
    (answer,) = Made(tree, ebpf=ebpf).ask(7)
    assert (answer.serial, answer.owner.process, answer.owner.pid) == (1, "thing", 7)
    assert (answer.owner.unit, answer.method, answer.quality) == ("thing.service", "ebpf", "exact")
    assert (answer.alive, answer.final) == (True, False)


@pytest.mark.parametrize("start", [99, 101])
def test_another_process_with_this_pid_is_not_meant(tree, ebpf, start):
    tree.process(7)
    made = Made(tree, ebpf=ebpf)
    (answer,) = made.ask(7, start)
    assert (answer.owner, answer.method, answer.quality, answer.final) == (None, "none", "none", True)
    assert not made.inquiries.open


def test_nobody_knows(tree, ebpf):
    (answer,) = Made(tree, ebpf=ebpf).ask(8)
    assert (answer.owner, answer.final) == (None, True)


@pytest.mark.parametrize("pid", [0, -1, 1 << 31])
def test_what_is_no_pid_is_nobody(tree, ebpf, pid):
    (answer,) = Made(tree, ebpf=ebpf).ask(pid)
    assert (answer.owner, answer.final) == (None, True)


def test_who_is_gone_is_known_from_what_was_told(tree):
    made = Made(tree)
    made.tell(7, "curl")
    made.tell(7, "other", ticks=200)
    (answer,) = made.ask(7)
    assert (answer.owner.process, answer.owner.uid, answer.quality) == ("curl", 7, "exact")
    assert (answer.alive, answer.final) == (False, True)
    assert made.ask(7, 200, serial=2)[0].owner.process == "other"
    assert made.ask(7, 300, serial=3)[0].owner is None


def test_nobody_is_unknown_while_there_is_more_to_read(tree):
    """On a busy machine the question is here before what the kernel told of a process that is gone already."""
    made = Made(tree)
    made.told.behind = True
    made.inquiries.ask(0, Whose(1, 7, 100))
    made.inquiries.ask(0, Whose(2, 8, 100))
    made.inquiries.work(made.now)
    assert not made.out
    made.tell(7, "curl")
    made.inquiries.work(made.now)
    made.told.behind = False
    answers = {answer.serial: answer.owner and answer.owner.process for answer in made.later(0)}
    assert answers == {1: "curl", 2: None}


def test_an_exec_is_answered_again_until_gone(tree):
    tree.process(7, exe="/bin/sh")
    made = Made(tree)
    assert made.ask(7)[0].owner.process == "sh"
    assert made.ask(7, serial=2, channel=1)[0].owner.process == "sh"
    tree.process(7, exe="/usr/bin/curl")
    made.tell(7, "curl", executed=True)
    assert [(answer.serial, answer.owner.process) for answer in made.later(0)] == [(1, "curl"), (2, "curl")]
    made.tell(7, "curl", executed=True)
    assert made.later(0) == []
    made.inquiries.drop((0, 1))
    tree.process(7, exe="/usr/bin/dig")
    made.tell(7, "dig", executed=True)
    assert [(answer.serial, answer.owner.process) for answer in made.later(0)] == [(2, "dig")]


def test_an_exec_by_one_that_is_gone_before_it_is_read(tree):
    tree.process(7, exe="/bin/sh")
    made = Made(tree)
    made.ask(7)
    tree.end(7)
    made.tell(7, "curl", executed=True)
    (answer,) = made.later(0)
    assert (answer.owner.process, answer.final) == ("curl", True)


def test_an_exec_that_nobody_told_of_is_found_soon(tree):
    tree.process(7, exe="/bin/sh")
    made = Made(tree, ebpf=False)
    made.ask(7)
    tree.process(7, exe="/usr/bin/curl")
    (answer,) = made.later(0.3)
    assert answer.owner.process == "curl"


def test_another_command_line_may_make_another_name(tree, ebpf):
    tree.process(7, command=("thing", "start"))
    made = Made(tree, ebpf=ebpf, rules=[GroupRule("thing-{0}", command=r"thing (\w+)")])
    assert made.ask(7)[0].owner.process == "thing-start"
    assert made.later(1) == []
    tree.process(7, command=("thing", "serve"))
    answers = [answer for _ in range(31) for answer in made.later(1)]
    assert [answer.owner.process for answer in answers] == ["thing-serve"]


def test_its_end_is_the_last_answer(tree, ebpf):
    tree.process(7)
    made = Made(tree, ebpf=ebpf)
    made.ask(7)
    made.later(1)
    tree.end(7)
    answers = [answer for _ in range(31) for answer in made.later(1)]
    assert [(answer.owner.process, answer.alive, answer.final) for answer in answers] == [
        ("thing", False, True)
    ]
    assert not made.inquiries.open
    assert not made.inquiries.asked


def test_thousands_are_looked_at_a_few_at_a_time(tree, monkeypatch):
    for pid in range(100, 1100):
        tree.process(pid)
    made = Made(tree)
    for pid in range(100, 1100):
        made.inquiries.ask(0, Whose(pid, pid, 100))
    assert len(made.later(0)) == 1000
    made.later(1)
    looked = []
    monkeypatch.setattr(made.processes, "renew", lambda pid, _: looked.append(pid))
    for _ in range(100):
        before = len(looked)
        made.later(1)
        assert len(looked) - before <= 10
    assert len(set(looked)) == 1000


def test_too_many(tree, monkeypatch):
    monkeypatch.setattr("exporter.identity.inquiries.LIMIT", 2)
    for pid in (7, 8, 9):
        tree.process(pid)
    made = Made(tree)
    for pid in (7, 8, 9):
        made.ask(pid, serial=pid)
    assert list(made.inquiries.open) == [(0, 8), (0, 9)]
    assert made.stats.errors["evicted"] == 1


def test_a_worker_that_starts_anew_has_asked_nothing(tree):
    tree.process(7)
    made = Made(tree)
    made.ask(7)
    made.inquiries.forget(0)
    assert not made.inquiries.asked
    assert made.later(60) == []


def test_a_real_process_by_the_resolver(rig):
    rig = rig()
    stat = rig.sources.processes.proc.stat(os.getpid())
    rig.resolver.inquiries.ask(0, Whose(5, os.getpid(), stat.ticks))
    answer = rig.work()
    assert (answer.serial, answer.owner.process, answer.owner.pid) == (5, ME, os.getpid())
    child = subprocess.Popen(["sleep", "60"])
    try:
        time.sleep(0.1)
        rig.resolver.inquiries.ask(0, Whose(6, child.pid, rig.sources.processes.proc.stat(child.pid).ticks))
        assert rig.work().owner.process == "sleep"
    finally:
        child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    answer = rig.later(0.3)  # only its parent has not taken note yet
    assert (answer.serial, answer.owner.process, answer.alive, answer.final) == (6, "sleep", False, True)
    child.wait()
    rig.resolver.gone(0, Gone(5))
    assert not rig.resolver.inquiries.open
