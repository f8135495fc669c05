"""What the kernel counts: whose it is, in which connection, and how that ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import metrics as m
from exporter.engine import kernel_owed, kernel_processes
from exporter.model import Gone, Listing, SocketRow, Watch, Whose
from tests.engine.counted import ANY, HERE, THERE, Counted, key, moved
from tests.engine.frames import End, Talk

LO, PORT = End("127.0.0.1", 40_000), End("127.0.0.1", 80)
CLIENT, SERVER = key(LO, PORT, 1), key(PORT, LO, 2)
OPEN = {"initiator": 1}


@pytest.fixture
def rig():
    return Counted()


def gauges(rig):
    """Connections that are shown, by process and state."""
    return {(process, labels[2]): value for (process, labels), value in rig.moved(m.CONNECTIONS).items()}


# -- whose numbers -----------------------------------------------------------------------------------------------------


def test_each_end_counts_its_own(rig):
    """Both ends in one namespace: what one counts is never added to the other; a packet may be lost between them."""
    rig.turn(
        moved(CLIENT, got=(4, 400), sent=(3, 300), initiator=1),
        moved(SERVER, got=(2, 200), sent=(4, 400), pid=11, initiator=0),
    ).settle()
    assert rig.by_process() == {"curl": (400, 300), "nginx": (200, 400)}
    assert rig.conn.totals == (3, 300, 4, 400)
    assert rig.sum(m.CAPTURED_BYTES) == 1300
    assert rig.sum(m.CAPTURED_PACKETS) == 13
    assert {labels for _, labels in rig.moved(m.CAPTURED_BYTES)} == {
        ("sockets", "receive"),
        ("sockets", "transmit"),
    }
    assert rig.rows(m.PEER_RECEIVE_BYTES)["curl", ("loopback", "")] == 400


def test_the_other_end_elsewhere_is_what_was_received_of_it(rig):
    for _ in range(3):
        rig.turn(moved(key(), got=(1, 1000), sent=(1, 60)))
    rig.settle()
    assert rig.conn.totals == (3, 180, 3, 3000)
    assert rig.conn.end(0) == (HERE.packed, HERE.port)
    assert rig.by_process() == {"curl": (3000, 180)}
    assert rig.rows(m.PEER_RECEIVE_BYTES)["curl", ("public", "")] == 3000


def test_the_initiator_is_side_0(rig):
    rig.turn(moved(SERVER, pid=11, initiator=0)).settle()
    assert rig.conn.end(0) == (LO.packed, LO.port)
    assert rig.moved(m.CONNECTIONS_OPENED) == {("nginx", ("unknown", "tcp", "remote")): 1}


def test_packets_are_exported_where_asked():
    rig = Counted(metrics={"packets": True})
    rig.turn(moved(key(), got=(2, 100), sent=(3, 200))).settle()
    assert rig.of(m.RECEIVE_PACKETS, "curl", "unknown", "tcp") == 2
    assert rig.of(m.TRANSMIT_PACKETS, "curl", "unknown", "tcp") == 3


def test_namespaces_are_apart_also_unknown_ones(rig):
    scopes = (0, 4026532000, -5, -6)
    rig.turn(*(moved(key(cookie=n), sent=(1, 100), scope=s) for n, s in enumerate(scopes))).settle()
    assert sorted(conn.scope for conn in rig.conns) == sorted(scopes)


def test_a_listener_and_an_overflow_are_their_owners_without_a_connection(rig):
    rig.turn(
        moved(key(PORT, ANY, 3), got=(2, 112), sent=(1, 60), pid=11, state="listen", established=False),
        moved(key(ANY, ANY, 10, overflow=True), sent=(1000, 50_000), state="", established=False),
        moved(key(ANY, ANY, 10, "udp", overflow=True), sent=(1, 50)),
    ).settle()
    assert not rig.conns
    assert rig.by_process() == {"nginx": (112, 60), "curl": (0, 50_050)}
    assert rig.of(m.TRANSMIT_BYTES, "curl", "unknown", "udp") == 50
    assert rig.of(m.PEER_TRANSMIT_BYTES, "curl", "unknown", "") == 50_050


def test_what_a_raw_socket_got_of_udp_was_counted_by_another(rig):
    raw = key(cookie=9, transport="udp")
    rig.turn(
        moved(key(transport="udp"), got=(5, 500)),
        moved(raw, got=(5, 500), sent=(1, 70), pid=11, copy=True),
        moved(
            key(End("10.0.0.1", 0), End("192.0.2.1", 0), 8, "icmp"), got=(1, 84), quality="kernel", copy=True
        ),
    ).settle()
    assert rig.by_process() == {"curl": (500, 0), "nginx": (0, 70), "kernel": (84, 0)}


# -- who ---------------------------------------------------------------------------------------------------------------


def test_a_process_is_asked_about_once(rig):
    rig.turn(*(moved(key(End("10.0.0.1", 1000 + n), THERE, n)) for n in range(50)), answer=False)
    (whose,) = rig.outbox(Whose)
    assert (whose.pid, whose.start) == (10, 7)
    assert not rig.conns  # it waits for its name
    rig.serials[10] = whose.serial
    rig.call(10, "curl")
    assert len(rig.conns) == 50
    rig.turn(moved(key(End("10.0.0.1", 999), THERE, 999)), answer=False).settle()
    assert not rig.outbox(Whose)
    assert gauges(rig) == {("curl", "established"): 51}


def test_nothing_is_counted_before_the_name(rig):
    rig.turn(moved(key(), sent=(1, 100)), answer=False)
    rig.engine.reap(rig.now)
    rig.engine.tick(rig.now)
    assert not rig.sockets.complete()
    assert rig.captured == rig.bytes == 0
    rig.sockets.press(rig.now)
    rig.engine.reap(rig.now)
    assert rig.sockets.complete()  # the next turn is due: the ledger may go without it
    assert rig.by_process() == {}
    assert rig.captured == 0
    rig.tell().turn(moved(key(), sent=(1, 50))).settle()
    assert rig.by_process() == {"curl": (0, 150)}
    assert rig.captured == 150
    assert gauges(rig) == {("curl", "established"): 1}


def test_after_an_exec_later_bytes_are_the_new_name_s(rig):
    other = key(PORT, ANY, 3)
    rig.turn(moved(key(), sent=(1, 100)), moved(other, got=(1, 60), state="listen")).settle()
    rig.call(10, "wget")
    rig.turn(moved(key(), sent=(1, 40)), moved(other, got=(1, 52), state="listen")).settle()
    assert rig.by_process() == {"curl": (60, 100), "wget": (52, 40)}
    assert gauges(rig) == {("wget", "established"): 1}


def test_a_socket_that_another_process_uses_is_that_one_s(rig):
    rig.turn(moved(key(), sent=(1, 100))).settle()
    rig.turn(moved(key(), sent=(1, 40), pid=11), answer=False)
    assert rig.by_process() == {"curl": (0, 100)}
    rig.tell().turn(moved(key(), sent=(1, 1))).settle()
    assert rig.by_process() == {"curl": (0, 101), "nginx": (0, 40)}


def test_a_pid_that_began_anew_is_another_process(rig):
    rig.turn(moved(key(), sent=(1, 100)))
    rig.names[10] = "bash"
    rig.turn(moved(key(cookie=2, local=End("10.0.0.1", 5)), sent=(1, 40), start=8)).settle()
    assert rig.by_process() == {"curl": (0, 100), "bash": (0, 40)}


def test_a_process_that_nobody_knows_is_unknown_at_once(rig):
    rig.turn(moved(key(), sent=(1, 100)), answer=False)
    (whose,) = rig.outbox(Whose)
    rig.serials[10] = whose.serial
    rig.call(10, "", final=True)
    assert not rig.sockets.processes.awaited
    rig.settle()
    assert rig.by_process() == {"unknown": (0, 100)}
    assert rig.rows(m.ATTRIBUTIONS)["", ("none", "none")] == 1


@pytest.mark.parametrize(
    ("quality", "pid", "name"), [("kernel", 0, "kernel"), ("kernel", 10, "kernel"), ("none", 0, "unknown")]
)
def test_who_has_no_process(rig, quality, pid, name):
    end = key(transport="udp")
    rig.turn(moved(end, got=(1, 100), quality=quality, pid=pid, start=0), answer=False).settle()
    assert not rig.outbox(Whose)
    assert rig.by_process() == {name: (100, 0)}


def test_icmp_is_the_kernels_whoever_sent_it(rig):
    rig.turn(moved(key(End("10.0.0.1", 0), End("192.0.2.1", 0), 8, "icmp"), sent=(1, 84))).settle()
    assert rig.by_process() == {"kernel": (0, 84)}
    assert gauges(rig) == {("kernel", "active"): 1}


def test_quality_is_told(rig):
    rig.turn(moved(SERVER, pid=11, quality="listener")).settle()
    assert rig.rows(m.ATTRIBUTIONS)["", ("ebpf", "listener")] == 1


def test_processes_are_forgotten(rig):
    rig.turn(moved(key(PORT, ANY, 3), got=(1, 60), state="listen")).settle()
    rig.wait(70, step=5)
    (gone,) = rig.outbox(Gone)
    assert gone.serial == rig.serials[10]
    rig.turn(moved(key(PORT, ANY, 3), got=(1, 60), state="listen"), answer=False)
    assert len(rig.outbox(Whose)) == 1


def test_processes_that_ended_make_room(rig, monkeypatch):
    """More processes than are remembered, each for a moment; and one with a socket, which stays."""
    monkeypatch.setattr(kernel_processes, "MAX_PROCESSES", 20)
    rig.names |= {pid: f"p{pid}" for pid in range(1000, 1100)}
    rig.turn(moved(key(), sent=(1, 1)))
    for pid in range(1000, 1100):
        end = key(End("10.0.0.1", pid), THERE, pid)
        rig.turn(
            moved(end, sent=(1, 100), pid=pid, state="closed", ended="fin", initiator=1), gap=0.01
        ).settle()
    assert {name: sent for name, (_, sent) in rig.by_process().items()} == {"curl": 1} | {
        f"p{pid}": 100 for pid in range(1000, 1100)
    }
    assert len(rig.sockets.processes._known) == 20


def test_more_processes_with_sockets_than_are_remembered(rig, monkeypatch):
    monkeypatch.setattr(kernel_processes, "MAX_PROCESSES", 1)
    rig.turn(moved(key()), moved(key(PORT, THERE, 2), sent=(1, 100), pid=11)).settle()
    assert rig.by_process() == {"unknown": (0, 100)}
    assert rig.of(m.EVICTIONS, "", "processes") == 1


def test_a_process_that_opens_the_same_socket_again_and_again(rig):
    here, there = End("10.0.0.1", 123), End("192.0.2.1", 123)
    for cookie in range(100):
        rig.turn(moved(key(here, there, cookie, "udp"), sent=(1, 76)))
    rig.settle()
    assert rig.by_process() == {"curl": (0, 7600)}
    assert len(rig.engine.context.sockets) <= 32
    rig.over()
    assert not rig.engine.context.sockets


def test_a_new_identity_process_is_asked_anew(rig):
    rig.turn(moved(key()), moved(SERVER, pid=11, initiator=0))
    rig.call(11, "nginx", final=True)  # it has ended: nothing more can be said
    rig.engine.repeat()
    assert [whose.pid for whose in rig.outbox(Whose)] == [10]


def test_two_processes_with_the_same_ends(rig):
    """Multicast: two sockets on one port that speak to one group."""
    group = End("224.0.0.251", 5353)
    here = End("10.0.0.1", 5353)
    for _ in range(2):
        rig.turn(
            moved(key(here, group, 1, "udp"), sent=(1, 100)),
            moved(key(here, group, 2, "udp"), sent=(1, 30), pid=11),
            moved(key(here, group, 3, "udp"), sent=(1, 7)),
        )
    rig.settle()
    assert rig.by_process() == {"curl": (0, 214), "nginx": (0, 60)}
    assert gauges(rig) == {("curl", "active"): 1, ("nginx", "active"): 1}
    rig.over()
    assert not rig.conns
    assert not rig.engine.context.sockets


# -- states and ends ---------------------------------------------------------------------------------------------------


def test_states_are_told(rig):
    rig.turn(moved(key(), state="syn_sent", established=False, initiator=1)).settle()
    assert gauges(rig) == {("curl", "syn_sent"): 1}
    rig.turn(moved(key(), state="close_wait")).settle()
    assert gauges(rig) == {("curl", "close_wait"): 1}
    assert rig.sum(m.CONNECTIONS_OPENED) == 1
    assert rig.sum(m.UNLISTED_TRANSITIONS) == 0


@pytest.mark.parametrize(
    ("ended", "state", "reason", "shown"),
    [
        ("fin", "time_wait", "fin", {("curl", "time_wait"): 1}),
        ("fin", "closed", "fin", {}),
        ("reset", "closed", "reset", {}),
        ("timeout", "closed", "timeout", {}),
        ("unreachable", "closed", "timeout", {}),
    ],
)
def test_the_end_of_an_established_connection(rig, ended, state, reason, shown):
    rig.turn(moved(key(), initiator=1)).settle()
    rig.turn(moved(key(), sent=(1, 52), state=state, ended=ended)).settle()
    assert not rig.conns
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("curl", ("unknown", "tcp", reason)): 1}
    assert rig.sum(m.CONNECTIONS_FAILED) == 0
    (over,) = rig.ended
    assert over.failure == ""
    assert over.totals == (1, 52, 0, 0)
    assert gauges(rig) == shown
    rig.wait(40)
    assert gauges(rig) == {}
    assert not rig.engine.context.sockets


@pytest.mark.parametrize(
    ("ended", "reason", "failure"),
    [
        ("refused", "reset", "refused"),
        ("timeout", "timeout", "timeout"),
        ("unreachable", "timeout", "unreachable"),
        ("reset", "timeout", "timeout"),  # its process gave up
    ],
)
@pytest.mark.parametrize("turns", [1, 2])
def test_what_never_became_a_connection(rig, ended, reason, failure, turns):
    if turns == 2:
        rig.turn(moved(key(), sent=(1, 60), state="syn_sent", established=False, initiator=1)).settle()
    last = moved(key(), sent=(1, 60), state="closed", established=False, ended=ended, initiator=1)
    rig.turn(last._replace(initiator=1 if turns == 1 else -1)).settle()
    assert rig.moved(m.CONNECTIONS_FAILED) == {("curl", ("tcp", failure)): 1}
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("curl", ("unknown", "tcp", reason)): 1}
    assert rig.moved(m.CONNECTIONS_OPENED) == {("curl", ("unknown", "tcp", "local")): 1}
    assert rig.by_process() == {"curl": (0, 60 * turns)}


@pytest.mark.parametrize("order", [1, -1])
def test_an_end_waits_for_the_name_of_the_other(rig, order):
    """Both were seen, the connection is old enough to be entered, and one process is known already."""
    rig.turn(moved(key(End("10.0.0.1", 1), THERE, 9)))
    talk = Talk(LO, PORT)
    rig.see(CLIENT, talk.c("S"), sent=True).see(SERVER, talk.c("PA", b"?"), sent=False)
    ends = [
        moved(CLIENT, sent=(1, 100), initiator=1, at=rig.now),
        moved(SERVER, pid=11, initiator=0, at=rig.now),
    ]
    rig.turn(*ends[::order], answer=False, gap=5)
    rig.engine.reap(rig.now)
    rig.tell().settle()
    opened = {(process, labels[2]): n for (process, labels), n in rig.moved(m.CONNECTIONS_OPENED).items()}
    assert opened == {("curl", "local"): 1, ("nginx", "remote"): 1}


@pytest.mark.parametrize("order", [1, -1])
def test_a_whole_life_in_one_turn(rig, order):
    """Both ends; whichever is told first, and its process' name comes first."""
    lives = [
        moved(
            CLIENT, got=(3, 300), sent=(2, 200), initiator=1, state="time_wait", ended="fin", established=True
        ),
        moved(
            SERVER,
            got=(2, 200),
            sent=(3, 300),
            pid=11,
            initiator=0,
            state="closed",
            ended="fin",
            established=True,
        ),
    ]
    rig.turn(*lives[::order], answer=False)
    for whose in rig.outbox(Whose)[::order]:
        rig.serials[whose.pid] = whose.serial
        rig.call(whose.pid, rig.names[whose.pid])
        rig.engine.reap(rig.now)
    rig.settle()
    assert rig.sum(m.CONNECTIONS_OPENED) == rig.sum(m.CONNECTIONS_CLOSED) == 2
    (over,) = rig.ended
    assert (over.totals, over.reason) == ((2, 200, 3, 300), "fin")
    assert rig.by_process() == {"curl": (300, 200), "nginx": (200, 300)}
    assert gauges(rig) == {("curl", "time_wait"): 1}


def test_a_reset_of_one_end_is_the_connections_reason(rig):
    rig.turn(moved(CLIENT, initiator=1), moved(SERVER, pid=11, initiator=0)).settle()
    rig.turn(moved(CLIENT, state="time_wait", ended="fin")).settle()
    assert len(rig.conns) == 1  # the other end is still open
    assert gauges(rig) == {("curl", "time_wait"): 1, ("nginx", "established"): 1}
    rig.turn(moved(SERVER, pid=11, state="closed", ended="reset")).settle()
    assert {labels[2] for _, labels in rig.moved(m.CONNECTIONS_CLOSED)} == {"reset"}


def test_what_comes_after_the_end_is_still_that_end_s(rig):
    rig.turn(moved(key(), initiator=1, state="closed", ended="fin")).settle()
    rig.turn(moved(key(), got=(1, 40), state="closed", ended="reset", established=False)).settle()
    assert rig.by_process() == {"curl": (40, 0)}
    assert not rig.conns
    rig.wait(120)
    rig.turn(moved(key(), got=(1, 40), state="closed", ended="reset", established=False)).settle()
    assert rig.by_process() == {"curl": (80, 0)}
    assert rig.sum(m.CONNECTIONS_OPENED) == rig.sum(m.CONNECTIONS_CLOSED) == 1


def test_a_tuple_used_again_in_one_turn(rig):
    """Told in any order; the older one's ends are its own."""
    rig.turn(
        moved(key(cookie=2), sent=(1, 7), initiator=1, at=rig.now + 0.9),
        moved(
            key(cookie=1),
            sent=(1, 100),
            initiator=1,
            established=True,
            state="closed",
            ended="reset",
            at=rig.now + 0.5,
        ),
    ).settle()
    assert rig.sum(m.CONNECTIONS_OPENED) == 2
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("curl", ("unknown", "tcp", "reset")): 1}
    assert rig.conn.totals[1] == 7


def test_a_socket_that_takes_another_s_place(rig):
    rig.turn(moved(key(cookie=1), sent=(1, 100), initiator=1)).settle()
    rig.turn(moved(key(cookie=2), sent=(1, 7), initiator=1)).settle()
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("curl", ("unknown", "tcp", "replaced")): 1}
    assert rig.conn.totals[1] == 7


def test_retransmissions_are_the_senders(rig):
    rig.turn(moved(CLIENT, initiator=1, retransmits=3), moved(SERVER, pid=11, initiator=0)).settle()
    assert rig.moved(m.RETRANSMITTED_SEGMENTS) == {("curl", ()): 3}


def test_an_open_tcp_connection_never_expires_but_goes_stale(rig):
    rig.turn(moved(key(), initiator=1)).settle().wait(4000, step=5)
    assert len(rig.conns) == 1
    assert not rig.outbox(Watch)
    assert rig.moved(m.CONNECTIONS_BY_STALENESS) == {("curl", ("tcp", "critical")): 1}


def test_after_a_loss_idle_connections_are_asked_about(rig):
    rig.turn(moved(key(), initiator=1)).settle()
    rig.sockets.doubt()
    rig.wait(700, step=5)
    (watch,) = rig.outbox(Watch)
    assert (watch.local, watch.lport) == (HERE.packed, HERE.port)
    rig.say(watch.serial, "")
    assert not rig.conns


def test_udp_ends_by_its_timeout(rig):
    rig.turn(moved(key(transport="udp"), sent=(1, 50))).settle().over()
    assert not rig.conns
    assert not rig.engine.context.sockets
    assert {labels[2] for _, labels in rig.moved(m.CONNECTIONS_CLOSED)} == {"timeout"}
    assert rig.moved(m.CONNECTIONS_OPENED) == {("curl", ("unknown", "udp", "local")): 1}


def test_only_a_beginning_that_was_told_is_one(rig):
    """A connection that is older than we are moves for the first time."""
    rig.now += 1000
    rig.turn(moved(key())).settle()
    assert rig.sum(m.CONNECTIONS_OPENED) == 0
    assert gauges(rig) == {("curl", "established"): 1}


def test_a_listed_socket_becomes_a_counted_one(rig):
    row = SocketRow(
        0, "tcp", HERE.packed, HERE.port, THERE.packed, THERE.port, "established", None, "none", "none"
    )
    rig.engine.listing(Listing((row,), last=True), rig.now)
    rig.wait(2)
    assert gauges(rig) == {("unknown", "established"): 1}
    rig.turn(moved(key(), sent=(1, 100))).settle()
    assert gauges(rig) == {("curl", "established"): 1}
    assert rig.by_process() == {"curl": (0, 100)}
    assert rig.sum(m.CONNECTIONS_OPENED) == 0
    rig.turn(moved(key(), state="closed", ended="fin")).settle()
    assert not rig.conns


def test_a_full_table_evicts_and_counts_on():
    rig = Counted(flow={"limit": 100})
    for n in range(300):
        rig.turn(moved(key(End("10.0.0.1", 1000 + n), THERE, n), sent=(1, 10), initiator=1), gap=0.01)
    rig.settle()
    assert len(rig.conns) == 100
    assert rig.by_process() == {"curl": (0, 3000)}
    rig.turn(moved(key(End("10.0.0.1", 1000), THERE, 0), sent=(1, 10))).settle()
    assert rig.by_process() == {"curl": (0, 3010)}
    assert len(rig.engine.context.sockets) <= 101


def test_a_defect_costs_one_tally(rig, monkeypatch):
    rig.sockets._defect = lambda: setattr(rig, "defects", rig.defects + 1)
    find = rig.sockets._lives.find

    def broken(end, *more):
        if end.cookie == 1:
            raise RuntimeError("a defect")
        return find(end, *more)

    monkeypatch.setattr(rig.sockets._lives, "find", broken)
    rig.turn(moved(key(cookie=1), sent=(1, 5)), moved(key(cookie=2, local=PORT), sent=(1, 6))).settle()
    assert rig.defects == 1
    assert rig.by_process() == {"curl": (0, 6)}


# -- sums --------------------------------------------------------------------------------------------------------------

ONE = st.tuples(
    st.integers(0, 5),  # cookie
    st.sampled_from(["tcp", "udp", "icmp"]),
    st.integers(0, 3),  # which ends
    st.integers(9, 12),  # pid; 9 and 12 have no name
    st.sampled_from(["exact", "listener", "kernel", "none"]),
    st.sampled_from(["", "", "fin", "reset", "refused", "timeout", "unreachable"]),
    st.integers(-1, 1),
    st.booleans(),
)
ENDS = [(HERE, THERE), (LO, PORT), (PORT, LO), (PORT, ANY)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(ONE, max_size=6), st.sampled_from([0.1, 1, 40, 4000]), st.booleans()), max_size=8
    )
)
def test_whatever_is_told_the_sums_are_right(turns):
    rig = Counted()
    total = [0, 0]
    for tallies, wait, answered in turns:
        taken = []
        for cookie, transport, which, pid, quality, ended, initiator, established in tallies:
            end = key(*ENDS[which], cookie=cookie, transport=transport)
            tcp = transport == "tcp"
            why = ended if tcp and which != 3 else ""
            state = {"": "established", "fin": "time_wait"}.get(why, "closed") if tcp else ""
            more = {
                "ended": why,
                "state": state,
                "initiator": initiator if tcp else -1,
                "established": established,
            }
            taken.append(moved(end, got=(1, 11), sent=(2, 101), pid=pid, quality=quality, **more))
            total = [total[0] + 11, total[1] + 101]
        rig.turn(*taken, answer=answered).settle()
        pairs = rig.by_process().values()
        owed = [entry.moved for entry in kernel_owed.read(rig.sockets.owed())]
        got, sent = sum(moved[1] for moved in owed), sum(moved[3] for moved in owed)
        assert [sum(got for got, _ in pairs) + got, sum(sent for _, sent in pairs) + sent] == total
        assert rig.captured + got + sent == sum(total)
        assert rig.sum(m.PEER_RECEIVE_BYTES) + got == total[0]
        assert min(rig.rows(m.CONNECTIONS).values(), default=0) >= 0
        rig.wait(wait, step=max(1, wait / 8))
    rig.sockets.doubt()  # else open connections stay
    rig.over()
    assert not rig.defects
    assert rig.captured == sum(total)
    assert not rig.moved(m.CONNECTIONS)
    assert not rig.engine.context.sockets
