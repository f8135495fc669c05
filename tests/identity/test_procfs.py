import contextlib
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import GroupRule
from exporter.identity.budget import Budget
from exporter.identity.choice import choose
from exporter.identity.groups import Grouping
from exporter.identity.holders import Holders
from exporter.identity.processes import ProcfsProcesses
from exporter.identity.procfs import Procfs, get_name, parse_command, parse_link, parse_stat, parse_uid
from exporter.identity.stats import Stats

STAT = b"4071 (%s) S 12 4071 4071 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 7654 1 1 18446744073709551615\n"


@pytest.mark.parametrize("comm", [b"curl", b"a b", b"a) S 1 (", b"\n", b"(", b")", b"\xff\xfe", b""])
def test_stat(comm):
    assert parse_stat(STAT % comm) == (comm, "S", 12, 7654)


@given(st.binary(max_size=200))
def test_stat_of_nonsense(data):
    with contextlib.suppress(ProcessLookupError):
        parse_stat(data)


NAMES = [
    (b"/usr/bin/curl", b"curl", (), "curl"),
    (b"/usr/bin/python3.11", b"gunicorn", ("gunicorn",), "python3.11"),
    (b"/usr/sbin/nginx (deleted)", b"nginx", (), "nginx"),
    (b"/opt/a very long name of a program", b"a very long nam", (), "a very long name of a program"),
    (b"", b"NetworkManager-", ("/usr/sbin/NetworkManager-dispatcher", "--x"), "NetworkManager-dispatcher"),
    (b"", b"NetworkManager", ("/usr/sbin/NetworkManager",), "NetworkManager"),
    (b"", b"exactly15bytes_", ("other",), "exactly15bytes_"),
    (b"", b"kworker/0:1", (), "kworker/0:1"),
    (b"/memfd:runc_cloned:/proc/self/exe (deleted)", b"runc:[2:INIT]", (), "runc:[2:INIT]"),
    (b"/tmp/\xff\n\x1b[31m", b"x", (), "\ufffd??[31m"),
]


@pytest.mark.parametrize(("exe", "comm", "command", "name"), NAMES)
def test_names(exe, comm, command, name):
    assert get_name(exe, comm, command)[0] == name


def test_small_parsers():
    assert parse_command(b"") == ()
    assert parse_command(b"a\0b\xff\0\0") == ("a", "b\ufffd")
    assert sum(map(len, parse_command(b"x" * 9999))) == 1024
    assert parse_uid(b"Name:\tx\nUid:\t1\t2\t3\t4\n") == 2
    assert parse_uid(b"Uid:\n") == parse_uid(b"") == -1
    assert parse_link("socket:[77]", "socket:[") == 77
    assert parse_link("pipe:[77]", "socket:[") == parse_link("socket:[x]", "socket:[") == 0


def make(tree, rules=()):
    processes = ProcfsProcesses(Procfs(str(tree.root)), Grouping(rules))
    return processes, Holders(processes, Stats())


def test_an_owner_is_all_that_is_told(tree):
    tree.process(5, exe="/sbin/parent")
    tree.process(7, exe="/usr/bin/thing", ppid=5, ticks=300, command=("thing", "-v"))
    owner = make(tree)[0].owner(7, 0.0)
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert (owner.process, owner.pid, owner.ppid, owner.uid) == ("thing", 7, 5, 7)
    assert (owner.executable, owner.command, owner.unit) == (
        "/usr/bin/thing",
        ("thing", "-v"),
        "thing.service",
    )
    assert owner.ancestors == ((5, "parent"),)
    assert owner.start == pytest.approx(boot + 3, abs=0.5)


def test_ancestors_are_at_most_four_and_end_in_a_loop(tree):
    for pid in range(2, 12):
        tree.process(pid, exe=f"/p{pid}", ppid=pid - 1)
    processes = make(tree)[0]
    assert processes.owner(11, 0.0).ancestors == ((10, "p10"), (9, "p9"), (8, "p8"), (7, "p7"))


def test_rules_name_the_owner(tree):
    tree.process(7)
    assert make(tree, [GroupRule("grouped", unit="thing")])[0].owner(7, 0.0).process == "grouped"


def test_a_reused_pid_is_another_process(tree):
    processes, _ = make(tree)
    tree.process(7, exe="/bin/first", ticks=100)
    assert processes.owner(7, 0.0).process == "first"
    tree.process(7, exe="/bin/second", ticks=200)
    assert processes.owner(7, 1.0).process == "second"


def test_exec_gives_a_new_name(tree):
    processes, _ = make(tree)
    tree.process(7, exe="/bin/sh", ticks=100)
    assert processes.owner(7, 0.0).process == "sh"
    tree.process(7, exe="/bin/curl", ticks=100)
    assert processes.owner(7, 1.0).process == "curl"


def test_exec_under_the_same_short_name_gives_a_new_name(tree):
    processes, _ = make(tree)
    tree.process(7, exe="/usr/bin/a-wrapper-with-psql", ticks=100)
    assert processes.owner(7, 0.0).process == "a-wrapper-with-psql"
    tree.process(7, exe="/usr/bin/a-wrapper-with-what-it-runs", ticks=100)  # 15 bytes of it are the same
    assert processes.owner(7, 1.0).process == "a-wrapper-with-what-it-runs"


def test_a_process_that_has_just_ended_keeps_its_name_a_moment(tree):
    processes, _ = make(tree)
    tree.process(7)
    processes.owner(7, 0.0)
    tree.end(7)
    assert processes.owner(7, 0.5).process == "thing"
    assert processes.owner(7, 5.0) is None
    processes.prune(100.0)
    assert not processes.known


def sweep(holders):
    while holders.sweeping():
        holders.step()


def test_holders_are_proved_anew(tree):
    _, holders = make(tree)
    tree.process(7, sockets=[(3, 77), (4, 78)])
    holders.look({77}, 0.0)  # the first look knows no process as new
    holders.begin(0.0)
    sweep(holders)
    assert holders.known(77) == [7]
    tree.process(7, sockets=[(3, 99)])
    assert holders.known(77) == []


def test_new_processes_are_read_without_a_sweep(tree):
    _, holders = make(tree)
    holders.look({1}, 0.0)
    tree.process(8, sockets=[(3, 78)])
    wanted = {78}
    holders.look(wanted, 0.1)
    assert not wanted
    assert holders.known(78) == [8]
    assert holders.busy(0.5)
    assert not holders.busy(1.2)


def test_who_inherited_it_and_from_whom(tree):
    _, holders = make(tree)
    tree.process(4, exe="/bin/shell", sockets=[])
    tree.process(5, exe="/bin/server", ppid=4, sockets=[(3, 77)])
    tree.process(6, exe="/bin/helper", ppid=5, sockets=[(3, 77)])
    holders.begin(0.0)
    sweep(holders)
    assert sorted(holders.known(77)) == [5, 6]


@pytest.mark.parametrize("pids", [(4, 5, 6), (6, 5, 4), (5, 6, 4)])
def test_all_holders_are_seen_whatever_their_numbers(tree, pids):
    """The opener, a child with the socket under the same number, and one that has it as its standard input."""
    processes, holders = make(tree)
    opener, child, other = pids
    tree.process(opener, exe="/bin/server", ticks=100, sockets=[(3, 77)])
    tree.process(child, exe="/bin/helper", ticks=200, ppid=opener, sockets=[(3, 77)])
    tree.process(other, exe="/bin/other", ticks=300, ppid=child, sockets=[(0, 77)])
    holders.begin(0.0)
    sweep(holders)
    held = holders.known(77)
    assert sorted(held) == [4, 5, 6]
    assert choose([processes.owner(pid, 0.0) for pid in held]).pid == opener


def test_nobody_is_certain_before_all_were_read(tree):
    _, holders = make(tree)
    tree.process(7, sockets=[(3, 77)])
    tree.process(8, sockets=[(3, 77)])
    ticks = iter(range(10_000))
    holders.clock = lambda: float(next(ticks))  # a slice is one process
    holders.begin(0.0)
    holders.step()
    assert len(holders.known(77)) == 1
    assert holders.certain(77) == []
    sweep(holders)
    assert sorted(holders.certain(77)) == [7, 8]


@pytest.mark.parametrize("pids", [(8, 9), (9, 8)])
def test_of_new_ones_the_newest_is_asked_first_and_the_others_after_it(tree, pids):
    """A parent that has closed its end: of its children the first has it, and the second too."""
    processes, holders = make(tree)
    holders.look({1}, 0.0)
    for pid, ticks in zip(pids, (100, 200), strict=True):
        tree.process(pid, exe="/bin/helper", ticks=ticks, sockets=[(3, 77)])
    assert holders.candidates(0.1) == list(pids)
    wanted = {77}
    holders.look(wanted, 0.1)
    assert not wanted
    held = holders.known(77)
    assert sorted(held) == [8, 9]
    assert choose([processes.owner(pid, 0.1) for pid in held]).pid == pids[0]


def test_a_sweep_keeps_to_its_budget(tree):
    _, holders = make(tree)
    tree.process(7)
    ticks = iter(range(10_000))
    holders.clock = lambda: float(next(ticks))  # every look at the clock takes a second
    assert holders.begin(0.0)
    sweep(holders)
    assert holders.full.left < 0
    assert not holders.begin(10.0)
    assert holders.begin(10.0 + 10_000)


def test_budget():
    budget = Budget(rate=0.01, burst=1.0)
    assert budget.ready(0.0)
    budget.spend(1.5)
    assert not budget.ready(10.0)
    assert budget.ready(100.0)


def test_caches_are_bounded(tree):
    _, holders = make(tree)
    holders.found = dict.fromkeys(range(100_000), 0)
    holders.prune()
    assert len(holders.found) <= 32_768 // 2
    assert 99_999 in holders.found


def test_the_real_procfs():
    proc = Procfs()
    assert os.getpid() in proc.pids()
    assert proc.stat(os.getpid()).ppid == os.getppid()
