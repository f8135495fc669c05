"""Names that come late, and more new connections than a turn has time for: the sums are right, and nobody waits."""

import pytest

from exporter import metrics as m
from exporter.engine import kernel, kernel_owed, kernel_processes
from tests.engine.counted import ANY, HERE, Counted, key, moved
from tests.engine.frames import End, datagram

PORT = End("127.0.0.1", 80)
OVERFLOW = key(ANY, ANY, 10, "udp", overflow=True)


@pytest.fixture
def rig():
    return Counted()


def flood(number, first=0):
    """Datagrams of one process, each to another end."""
    ends = (key(HERE, End("198.18.0.1", 20_000 + n), 1, "udp") for n in range(first, first + number))
    return [moved(end, sent=(1, 92)) for end in ends]


def overflow(packets):
    return moved(OVERFLOW, sent=(packets, 92 * packets))


def test_a_name_after_several_turns_has_all_of_them(rig):
    """Connections and what found the kernel's table full: both, also of a turn that came before the answer."""
    rig.turn(*flood(3), overflow(7), answer=False).settle()
    rig.turn(*flood(5, 3), overflow(1000), answer=False)
    assert rig.sockets.complete()  # nobody is waited for twice
    rig.settle()
    assert rig.by_process() == {}
    rig.tell().settle()
    assert rig.by_process() == {"curl": (0, 92 * 1015)}
    assert rig.sum(m.CAPTURED_BYTES) == 92 * 1015
    assert len(rig.conns) == 8


def test_who_has_a_name_does_not_wait_for_who_has_none(rig):
    del rig.names[11]
    rig.turn(
        moved(key(), sent=(1, 100)), moved(key(PORT, ANY, 3), got=(1, 60), pid=11, state="listen")
    ).settle()
    assert rig.by_process() == {"curl": (0, 100)}
    rig.call(11, "nginx")
    rig.settle()
    assert rig.by_process() == {"curl": (0, 100), "nginx": (60, 0)}


def test_who_is_asked_about_after_a_late_one_is_not_waited_for(rig):
    """The identity process is behind; its answers come in the order of the questions."""
    rig.turn(*flood(3), answer=False).settle()
    rig.turn(moved(key(), sent=(1, 100), pid=11), answer=False)
    assert rig.sockets.complete()
    rig.tell().settle()
    assert rig.by_process() == {"curl": (0, 276), "nginx": (0, 100)}
    rig.names[12] = "dig"
    rig.turn(moved(key(cookie=9), sent=(1, 7), pid=12), answer=False)
    assert not rig.sockets.complete()


def test_an_end_that_waits_for_its_name_is_not_forgotten(rig):
    """Opened in one turn and closed in the next, both before the name."""
    rig.turn(moved(key(), sent=(1, 100), initiator=1), answer=False).settle()
    rig.turn(moved(key(), got=(1, 40), state="closed", ended="fin"), answer=False).settle()
    rig.tell().settle()
    rig.wait(2)
    assert rig.by_process() == {"curl": (40, 100)}
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("curl", ("unknown", "tcp", "fin")): 1}


def test_what_waits_stands_beside_the_ledger_until_it_is_counted(rig):
    rig.turn(*flood(3), overflow(7), moved(key(), got=(2, 200), cgroup=5), answer=False).settle()
    owed = sorted(kernel_owed.read(rig.sockets.owed()), key=lambda entry: entry.transport)
    assert [(entry.pid, entry.start, entry.transport, entry.moved) for entry in owed] == [
        (10, 7, "tcp", (2, 200, 0, 0)),
        (10, 7, "udp", (0, 0, 10, 920)),
    ]
    rig.tell().settle()
    assert rig.sockets.owed() == b""


def test_another_worker_counts_what_its_predecessor_could_not_name(rig):
    rig.turn(*flood(3), overflow(7), moved(key(), got=(2, 200)), answer=False).settle()
    rig.turn(overflow(1), answer=False).settle()
    after = Counted()
    after.sockets.restore(rig.sockets.owed(), after.now)
    assert not after.sockets.complete()
    after.turn(moved(key(), got=(1, 1))).settle()
    assert after.by_process() == {"curl": (201, 92 * 11)}
    assert after.sum(m.CAPTURED_PACKETS) == 14


@pytest.mark.parametrize("notes", [b"", b"\xc1", b"\x91\x01"])
def test_notes_that_say_nothing(rig, notes):
    rig.sockets.restore(notes, rig.now)
    assert rig.sockets.complete()


def test_a_name_that_never_comes_is_unknown_in_the_end(rig):
    rig.turn(*flood(3), overflow(7), answer=False).settle()
    rig.wait(kernel_processes.PATIENCE - 5, step=1)
    assert rig.by_process() == {}
    rig.wait(15, step=1)
    rig.settle()
    assert rig.by_process() == {"unknown": (0, 920)}
    rig.tell().turn(*flood(1), overflow(1)).settle()
    assert rig.by_process() == {"unknown": (0, 920), "curl": (0, 184)}  # what was entered is never moved
    assert rig.sockets.owed() == b""


def test_a_turn_takes_up_so_many_new_connections(rig):
    """The rest is their process' all the same, and becomes a connection when it moves again."""
    rig.sockets.room = 10
    rig.turn(*flood(25)).settle()
    assert rig.by_process() == {"curl": (0, 92 * 25)}
    assert len(rig.conns) == 10
    assert rig.of(m.EVICTIONS, "", "new_connections") == 15
    rig.turn(*flood(25)).settle()
    assert len(rig.conns) == 20
    rig.turn(*flood(25)).settle()
    assert rig.by_process() == {"curl": (0, 92 * 75)}
    assert len(rig.conns) == 25
    assert rig.of(m.EVICTIONS, "", "new_connections") == 20


def test_so_many_tallies_wait_for_names(rig, monkeypatch):
    monkeypatch.setattr(kernel, "HELD", 10)
    rig.turn(moved(key(), sent=(1, 1))).settle()
    late = [tally._replace(pid=11) for tally in flood(25)]
    rig.turn(*late, moved(key(), sent=(1, 5), pid=11), answer=False)
    (process,) = rig.sockets.processes.awaited
    assert len(process.held) == 11  # one is of a socket that is known
    assert rig.of(m.EVICTIONS, "", "new_connections") == 15
    rig.tell().settle()
    assert rig.by_process() == {"curl": (0, 1), "nginx": (0, 5 + 92 * 25)}
    assert len(rig.conns) == 11
    rig.names[12] = "dig"
    rig.turn(*(tally._replace(pid=12) for tally in flood(10, 100))).settle()  # there is room again
    assert len(rig.conns) == 21


def test_what_comes_up_after_its_turn_was_counted_opens_nothing(rig):
    """A flood's packets, of which not all could be read in time; those of who is known are read all the same."""
    ends = [End("192.0.2.1", port) for port in (80, 81)]
    first, second = (key(HERE, end, 1, "udp") for end in ends)
    one, other = (datagram(HERE, end, b"x" * 8) for end in ends)
    rig.now += 1
    rig.sockets.turned([moved(first, sent=(1, 40), at=rig.now)], rig.now)
    rig.tell()
    rig.now -= 0.5
    rig.see(first, one, sent=True).see(second, other, sent=True)
    assert len(rig.conns) == 1
    assert rig.of(m.LOST_EVENTS, "", "unread") == 1
    rig.now += 1
    rig.see(second, other, sent=True)
    assert len(rig.conns) == 2
