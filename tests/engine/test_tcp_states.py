"""Frames in, states out: as client, as server, and with both ends here.

The letters (a) to (f) are the defects of RustNet's machine (shared/PITFALLS.md part 3).
"""

import pytest

from exporter import metrics as m
from tests.engine.frames import End, Talk
from tests.engine.rig import ETH, LO, Rig

AWAY = End("192.0.2.1", 80)
HERE = End("10.0.0.1", 40_000)


def client():
    return Talk(HERE, AWAY)


def server():
    return Talk(AWAY, HERE)


def both():
    return Talk(End("127.0.0.1", 40_000), End("127.0.0.1", 80))


def rig_port(talk):
    return LO if talk.ends[0].address.startswith("127") else ETH


def follow(talk, steps):
    """Play `steps` (side, flags, data or keywords) and give the states after each."""
    rig = Rig()
    seen = []
    for side, flags, *more in steps:
        keywords = more[0] if more else {}
        rig.put(talk.say(side, flags, **keywords), on=rig_port(talk))
        seen.append(rig.states)
    return rig, seen


OPEN = [(0, "S"), (1, "SA"), (0, "A")]
HELLO = {"data": b"hello"}

CASES = {
    # name: (steps after the handshake, the client's states, the server's states)
    "four segments": (
        [(0, "FA"), (1, "A"), (1, "FA"), (0, "A")],
        ["fin_wait_1", "fin_wait_2", "time_wait", "time_wait"],
        ["close_wait", "close_wait", "last_ack", "closed"],
    ),
    "three segments (c)": (
        [(0, "FA"), (1, "FA"), (0, "A")],
        ["fin_wait_1", "time_wait", "time_wait"],
        ["close_wait", "last_ack", "closed"],
    ),
    "closed by the server": (
        [(1, "FA"), (0, "A"), (0, "FA"), (1, "A")],
        ["close_wait", "close_wait", "last_ack", "closed"],
        ["fin_wait_1", "fin_wait_2", "time_wait", "time_wait"],
    ),
    "both close at once": (
        [(0, "FA", {"ack": 9001}), (1, "FA", {"ack": 1001}), (0, "A"), (1, "A")],
        ["fin_wait_1", "closing", "closing", "time_wait"],
        ["close_wait", "last_ack", "closed", "closed"],
    ),
    "an ACK of less than the FIN (d)": (
        [(0, "FA", HELLO), (1, "A", {"ack": 1003}), (1, "A")],
        ["fin_wait_1", "fin_wait_1", "fin_wait_2"],
        ["close_wait", "close_wait", "close_wait"],
    ),
    "half open: the server goes on": (
        [(0, "FA"), (1, "A"), (1, "PA", HELLO), (0, "A"), (1, "PA", HELLO), (1, "FA"), (0, "A")],
        ["fin_wait_1", *["fin_wait_2"] * 4, "time_wait", "time_wait"],
        [*["close_wait"] * 5, "last_ack", "closed"],
    ),
    "FIN sent again": (
        [
            (0, "FA"),
            (0, "FA", {"seq": 1001}),
            (1, "A"),
            (0, "FA", {"seq": 1001}),
            (1, "FA"),
            (1, "FA", {"seq": 9001}),
        ],
        ["fin_wait_1", "fin_wait_1", "fin_wait_2", "fin_wait_2", "time_wait", "time_wait"],
        ["close_wait", "close_wait", "close_wait", "close_wait", "last_ack", "last_ack"],
    ),
    "reset by the server": ([(1, "R")], ["closed"], ["closed"]),
    "reset by the client": ([(0, "RA")], ["closed"], ["closed"]),
    "reset out of the window (d)": (
        [(1, "R", {"seq": 0x80000000}), (1, "R", {"seq": 9001 + (1 << 30) + 1}), (1, "R", {"seq": 9001})],
        ["established", "established", "closed"],
        ["established", "established", "closed"],
    ),
    "reset that answers an old acknowledgement": (
        [(1, "PA", HELLO), (1, "R", {"seq": 9001})],
        ["established", "closed"],
        ["established", "closed"],
    ),
    "reset while closing": (
        [(0, "FA"), (1, "R")],
        ["fin_wait_1", "closed"],
        ["close_wait", "closed"],
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("talk", [client, server, both])
def test_from_the_handshake_on(name, talk):
    steps, as_client, as_server = CASES[name]
    rig, seen = follow(talk(), [*OPEN, *steps])
    expected = {
        client: [(s,) for s in ["syn_sent", "established", "established", *as_client]],
        server: [(s,) for s in ["syn_received", "syn_received", "established", *as_server]],
        both: list(
            zip(
                ["syn_sent", "established", "established", *as_client],
                ["syn_received", "syn_received", "established", *as_server],
                strict=True,
            )
        ),
    }
    assert seen == expected[talk]
    if "out of the window" not in name:
        assert rig.sum(m.UNLISTED_TRANSITIONS) == 0


@pytest.mark.parametrize("talk", [client, server, both])
def test_simultaneous_open(talk):
    one = talk()
    steps = [(0, "S"), (1, "S"), (0, "SA", {"seq": 1000}), (1, "SA", {"seq": 9000}), (0, "PA", HELLO)]
    _, seen = follow(one, steps)
    as_first = ["syn_sent", "syn_received", "syn_received", "established", "established"]
    as_other = ["syn_received", "syn_received", "established", "established", "established"]
    if talk is both:
        assert seen == list(zip(as_first, as_other, strict=True))
    else:
        assert [s for (s,) in seen][-1] == "established"


FIRST = {
    # the first segment we see of a connection, and what its client and server are then
    "SYN": ([(0, "S")], "syn_sent", "syn_received", 0),
    "SYN-ACK": ([(1, "SA")], "established", "syn_received", 0),
    "ACK from the client": ([(0, "A")], "established", "established", -1),
    "data from the server": ([(1, "PA", HELLO)], "established", "established", -1),
    "FIN from the client (f)": ([(0, "FA")], "fin_wait_1", "close_wait", -1),
    "FIN from the server (f)": ([(1, "FA")], "close_wait", "fin_wait_1", -1),
    "the SYN-ACK was lost, client speaks (b)": ([(0, "S"), (0, "A")], "established", "established", 0),
    "the SYN-ACK was lost, server speaks (b)": (
        [(0, "S"), (1, "PA", HELLO)],
        "established",
        "established",
        0,
    ),
    "the last ACK was lost": ([(0, "S"), (1, "SA"), (0, "PA", HELLO)], "established", "established", 0),
}


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("talk", [client, server])
def test_from_what_is_seen_first(name, talk):
    steps, as_client, as_server, initiator = FIRST[name]
    rig, seen = follow(talk(), steps)
    state = as_client if talk is client else as_server
    if "server speaks (b)" in name and talk is server:
        state = "syn_received"  # that it sends proves nothing: data may ride before the last ACK
    assert seen[-1] == (state,)
    conn = rig.conn
    assert conn.initiator == initiator
    if initiator == 0:
        assert conn.end(0) == (talk().ends[0].packed, talk().ends[0].port)


def test_a_bare_reset_opens_nothing():
    rig = Rig()
    rig.now += 100
    rig.put(server().c("R")).settle()
    assert rig.moved(m.CONNECTIONS_OPENED) == {}
    assert [(e.reason, e.failure) for e in rig.ended] == [("reset", "")]


@pytest.mark.parametrize(("talk", "who"), [(client, "unknown"), (server, "kernel")])
def test_refused(talk, who):
    """(e) A closed port's reset is a refusal, and on our side the kernel's own answer."""
    one = talk()
    rig = Rig().put(one.c("S"), one.s("RA", seq=0)).settle()
    assert [(e.reason, e.failure) for e in rig.ended] == [("reset", "refused")]
    assert rig.moved(m.CONNECTIONS_FAILED) == {(who, ("tcp", "refused")): 1}
    assert rig.captured == rig.bytes == 80


def test_a_reset_connection_was_not_refused():
    one = client()
    rig = Rig().put(*one.handshake(), one.s("R")).settle()
    assert [(e.reason, e.failure) for e in rig.ended] == [("reset", "")]


def test_nobody_answers():
    rig = Rig().put(client().c("S")).wait(70, 1.0)
    assert [(e.reason, e.failure) for e in rig.ended] == [("timeout", "timeout")]
    assert rig.moved(m.CONNECTIONS_FAILED) == {("unknown", ("tcp", "timeout")): 1}


@pytest.mark.parametrize("talk", [client, server])
def test_an_end_in_the_closing_states_is_a_fin(talk):
    one = talk()
    rig = Rig().put(*one.handshake(), one.c("FA"), one.s("A")).wait(70, 1.0)
    assert [e.reason for e in rig.ended] == ["fin"]


def test_three_segments_end_at_the_last_packet():
    """RustNet kept 216 of 216 curls of 15 ms for 30 s."""
    one = client()
    rig = Rig().put(*one.handshake(), one.c("FA"), one.s("FA"), one.c("A"))
    last = rig.now
    rig.settle()
    (end,) = rig.ended
    assert end.reason == "fin"
    assert end.last == last
    assert end.now <= last + 1.5
    assert end.totals == (4, 160, 2, 80)


# -- late packets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("talk", [client, server, both])
def test_late_packets_open_nothing_and_are_counted(talk):
    one = talk()
    rig = Rig()
    on = rig_port(one)
    rig.put(*one.handshake(), *one.close(), on=on).settle()
    assert rig.conns == []
    before = rig.captured
    rig.put(one.c("A"), one.s("FA", seq=9001), one.c("R"), on=on).wait(1)
    assert rig.conns == []
    assert rig.captured - before == 120 * (2 if talk is both else 1)
    assert rig.bytes == rig.captured
    assert rig.sum(m.CONNECTIONS_OPENED) == rig.sum(m.CONNECTIONS_CLOSED) == (2 if talk is both else 1)


def test_the_tombstone_weathers():
    one = client()
    rig = Rig().put(*one.handshake(), *one.close()).wait(40, 1.0)
    rig.put(one.s("A"))
    assert len(rig.conns) == 1


def test_a_keepalive_after_expiry_opens_nothing_and_data_does():
    one = client()
    rig = Rig(flow={"timeouts": {"tcp_active": 10, "tcp_idle": 10}}).put(*one.handshake()).wait(20, 1.0)
    assert [e.reason for e in rig.ended] == ["timeout"]
    rig.put(one.c("A", seq=1000))
    assert rig.conns == []
    rig.put(one.c("PA", b"still here"))
    assert rig.states == ("established",)


# -- generations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["closing", "closed", "established"])
def test_a_new_syn_begins_a_new_generation(before):
    one = client()
    rig = Rig().put(*one.handshake(), one.c("PA", b"x" * 10))
    if before == "closing":
        rig.put(one.c("FA"))
    elif before == "closed":
        rig.put(*one.close())
    again = Talk(isn=(500_000, 700_000))
    rig.put(*again.handshake()).settle()
    assert [e.reason for e in rig.ended] == ["fin" if before == "closed" else "replaced"]
    assert rig.states == ("established",)
    assert rig.conn.initiator == 0
    assert rig.conn.totals == (2, 80, 1, 40)
    assert rig.sum(m.CONNECTIONS_OPENED) == 2


def test_a_new_syn_lifts_the_tombstone():
    one = client()
    rig = Rig().put(*one.handshake(), *one.close()).settle()
    rig.put(*Talk(isn=(500_000, 700_000)).handshake())
    assert rig.states == ("established",)
    assert rig.engine.context.table.tombstones == {}


REPEATS = {
    "SYN again": lambda one: [one.c("S"), one.c("S", seq=1000)],
    "SYN again after the SYN-ACK": lambda one: [one.c("S"), one.s("SA"), one.c("S", seq=1000)],
    "SYN again after data": lambda one: [*one.handshake(), one.c("PA", b"x" * 100), one.c("S", seq=1000)],
    "fast open, fallen back": lambda one: [
        one.c("S", b"x" * 100),
        one.c("S", seq=1000),
        one.s("SA", ack=1001),
    ],
    "SYN after its SYN-ACK": lambda one: [one.s("SA"), one.c("S")],
    "crossing SYNs": lambda one: [one.c("S"), one.s("S")],
}


@pytest.mark.parametrize("name", REPEATS)
def test_a_repeated_syn_is_no_new_generation(name):
    rig = Rig().put(*REPEATS[name](client()))
    assert rig.ended == []
    assert len(rig.conns) == 1


def test_a_syn_replaces_what_was_found_in_the_middle():
    rig = Rig().put(client().s("PA", b"old"))
    rig.put(Talk(isn=(5, 6)).c("S"))
    assert [e.reason for e in rig.ended] == ["replaced"]


def test_a_new_generation_inherits_nothing():
    one = client()
    get = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
    rig = Rig().put(*one.handshake(1000), one.c("PA", get), one.c("FA"))
    assert rig.conn.protocol == "http"
    rig.put(Talk(isn=(500_000, 700_000)).c("S"))
    conn = rig.conn
    assert (conn.protocol, conn.attrs, conn.fin, conn.inspector, conn.totals) == (
        "",
        None,
        None,
        None,
        (0,) * 4,
    )
    assert conn.half1.big > 1500


# -- odd ones ------------------------------------------------------------------------------------------------------


def test_a_connection_to_itself():
    """One socket that connected to its own address: every packet goes from it to it."""
    end = End("127.0.0.1", 5000)
    one = Talk(end, end, isn=(1000, 1000))
    rig = (
        Rig().put(one.c("S"), one.s("SA"), one.c("A"), one.c("PA", b"hi"), one.c("FA"), on=LO).settle().over()
    )
    assert rig.conns == []
    assert rig.captured == rig.bytes == 2 * (5 * 40 + 2)


def test_time_may_run_backwards():
    one = client()
    rig = Rig().put(one.c("S"))
    rig.put(one.s("SA"), gap=-5.0).put(one.c("A"), gap=-5.0).put(one.c("PA", b"hi"), gap=-5.0).put(
        *one.close()
    )
    rig.now += 20
    rig.settle()
    assert rig.captured == rig.bytes
    assert [e.reason for e in rig.ended] == ["fin"]
    assert rig.total(m.HANDSHAKE_DURATION, "unknown") == 0


@pytest.mark.parametrize("flags", ["", "P", "FPU", "SF", "SR", "FR", "SFRPAU"])
def test_no_combination_of_flags_does_harm(flags):
    one = client()
    rig = (
        Rig()
        .put(one.c(flags, b"x"), one.s(flags), *one.handshake(), one.c(flags, b"y"), one.s(flags))
        .settle()
    )
    rig.over()
    assert rig.captured == rig.bytes > 0


def test_a_segment_that_cannot_be_read_changes_nothing():
    one = client()
    rig = Rig().put(*one.handshake())
    good = bytearray(one.c("FA"))
    good[46] = 0x10  # a data offset of 4 bytes
    before = rig.conn.half0.next
    rig.put(bytes(good))
    assert rig.states == ("established",)
    assert rig.conn.half0.next == before
    rig.settle()
    assert rig.captured == rig.bytes == 160
    rig = Rig().put(bytes(good))
    assert (rig.states, rig.conn.half0.next) == (("unknown",), -1)


def test_forwarded_connections_have_a_state_too():
    inside = ETH._replace(name="eth1", mac=bytes.fromhex("02000000ff01"))
    one = Talk(End("198.51.100.1", 40_000), End("192.0.2.1", 80))
    frames = [*one.handshake(), one.c("PA", b"hello"), one.s("A"), *one.close()]
    rig = Rig()
    seen = []
    for number, frame in enumerate(frames):
        coming, going = (ETH, inside) if number in (0, 2, 3, 5, 8) else (inside, ETH)
        rig.put(frame, on=coming)
        entered = rig.states
        rig.put(frame[:6] + going.mac + frame[12:], on=going)
        assert rig.states == entered  # the copy on its way out says nothing new
        found = [half for half in rig.conn.halves() if half.table is not None]
        assert [half.table.get(half.key) for half in found] == found
        seen += entered
    assert seen == [
        "syn_sent",
        *["established"] * 4,
        "fin_wait_1",
        "fin_wait_2",
        "time_wait",
        "time_wait",
    ]
    rig.settle()
    (end,) = rig.ended
    assert (end.states, end.reason, end.totals[0] + end.totals[2]) == (("time_wait",), "fin", len(frames))
    assert rig.captured == rig.bytes == rig.of(m.RECEIVE_BYTES, "forwarded", "unknown", "tcp")
    headers = sum(14 for _ in frames)
    assert rig.rows(m.IGNORED_BYTES)["", ("eth1", "forwarded")] + rig.rows(m.IGNORED_BYTES)[
        "", ("eth0", "forwarded")
    ] == (rig.captured + headers)
    assert rig.sum(m.UNLISTED_TRANSITIONS) == 0


def test_late_forwarded_packets_are_counted_once():
    inside = ETH._replace(name="eth1", mac=bytes.fromhex("02000000ff01"))
    one = Talk(End("198.51.100.1", 40_000), End("192.0.2.1", 80))
    rig = Rig()
    for frame in [*one.handshake(), one.c("RA")]:
        rig.put(frame)
    rig.settle()
    late = one.c("R")
    rig.put(late).put(late[:6] + inside.mac + late[12:], on=inside).settle()
    assert rig.captured == rig.bytes == 200
    assert rig.rows(m.IGNORED_BYTES)["", ("eth1", "forwarded")] == 54
