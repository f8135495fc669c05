"""What comes up from the kernel is read: requests, handshakes, gaps. It adds to no count and moves no state."""

import pytest

from exporter import metrics as m
from exporter.engine.kernel_reading import MAX_EARLY, MAX_KNOCKS
from tests.engine import frames as f
from tests.engine.counted import ANY, HERE, THERE, Counted, key, moved
from tests.engine.frames import End, Talk

LO, PORT = End("127.0.0.1", 40_000), End("127.0.0.1", 80)
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def rig():
    return Counted()


def exchange(rig, talk, end, *, client=True, body=b"", seen=None):
    """A request and its response, as one socket has them; `seen`: so much of the response comes up."""
    rig.see(end, talk.c("PA", GET), sent=client)
    answer = talk.s("PA", OK % len(body) + body)
    rig.see(end, answer, sent=not client, cut=seen or 1 << 16)


def requests(rig):
    """By process and (role, status)."""
    return {(process, labels[1], labels[3]): n for (process, labels), n in rig.moved(m.REQUESTS).items()}


def test_requests_and_their_protocol(rig):
    talk = Talk()
    for frame, sent in zip(talk.handshake(), (True, False, True), strict=True):
        rig.see(key(), frame, sent=sent)
    exchange(rig, talk, key())
    assert rig.captured == rig.bytes == 0
    assert rig.states == ("unknown",)
    rig.turn(moved(key(), got=(4, 400), sent=(3, 300), initiator=1)).settle()
    assert requests(rig) == {("curl", "client", "2xx"): 1}
    assert rig.of(m.RECEIVE_BYTES, "curl", "http", "tcp") == 400
    assert rig.by_process() == {"curl": (400, 300)}
    assert rig.count(m.HANDSHAKE_DURATION, "curl") == {("tcp",): 1}
    assert rig.total(m.HANDSHAKE_DURATION, "curl") == pytest.approx(0.001, abs=1e-5)
    assert rig.moved(m.CONNECTIONS_OPENED) == {("curl", ("http", "tcp", "local")): 1}


def test_both_ends_here_are_read_once_and_each_has_its_role(rig):
    """Each packet comes up twice, at the end that sends it and at the one that gets it."""
    talk = Talk(LO, PORT)
    client, server, listener = key(LO, PORT, 1), key(PORT, LO, 2), key(PORT, ANY, 3)
    syn, synack, ack = talk.handshake()
    rig.see(client, syn, sent=True).see(listener, syn, sent=False)
    rig.see(listener, synack, sent=True).see(client, synack, sent=False)
    rig.see(listener, ack, sent=False)
    for frame, own, other in ((talk.c("PA", GET), client, server), (talk.s("PA", OK % 0), server, client)):
        rig.see(own, frame, sent=True).see(other, frame, sent=False)
    rig.turn(
        moved(client, got=(2, 200), sent=(3, 300), initiator=1),
        moved(server, got=(1, 100), sent=(1, 140), pid=11, initiator=0),
        moved(listener, got=(2, 112), sent=(1, 60), pid=11, state="listen"),
    ).settle()
    assert requests(rig) == {("curl", "client", "2xx"): 1, ("nginx", "server", "2xx"): 1}
    assert rig.count(m.HANDSHAKE_DURATION, "curl") == {("tcp",): 1}
    assert rig.count(m.HANDSHAKE_DURATION, "nginx") == {("tcp",): 1}
    assert rig.total(m.HANDSHAKE_DURATION, "curl") == pytest.approx(0.003, abs=1e-5)
    assert rig.total(m.HANDSHAKE_DURATION, "nginx") == pytest.approx(0.002, abs=1e-5)
    assert rig.sum(m.RETRANSMITTED_SEGMENTS) == 0
    assert rig.by_process() == {"curl": (200, 300), "nginx": (212, 200)}


def test_a_server_s_connection_began_elsewhere(rig):
    talk = Talk(THERE, HERE)
    listener, server = key(HERE, ANY, 3), key(HERE, THERE, 4)
    syn, synack, ack = talk.handshake()
    rig.see(listener, syn, sent=False).see(listener, synack, sent=True).see(listener, ack, sent=False)
    exchange(rig, talk, server, client=False)
    assert rig.conn.initiator == 0
    assert rig.conn.end(0) == (THERE.packed, THERE.port)
    rig.turn(moved(server, pid=11, initiator=0)).settle()
    assert requests(rig) == {("nginx", "server", "2xx"): 1}
    assert rig.count(m.HANDSHAKE_DURATION, "nginx") == {("tcp",): 1}


@pytest.mark.parametrize("order", [(0,), (0, 1), (1, 0)], ids=str)
@pytest.mark.parametrize("at_listener", [1, 2])
def test_data_may_end_the_handshake(rig, order, at_listener):
    """The first segments with data are the listener's, the acknowledgement being lost; the next are the socket's."""
    talk = Talk(THERE, HERE)
    listener, server = key(HERE, ANY, 3), key(HERE, THERE, 4)
    syn, synack, _ = talk.handshake()
    rig.see(listener, syn, sent=False).see(listener, synack, sent=True)
    pieces = [GET] if len(order) == 1 else [GET[:20], GET[20:]]
    frames = [talk.c("PA", piece) for piece in pieces]
    for number, place in enumerate(order):
        rig.see(listener if number < at_listener else server, frames[place], sent=False)
    rig.see(server, talk.s("PA", OK % 0), sent=True)
    rig.turn(moved(server, pid=11, initiator=0)).settle()
    assert requests(rig) == {("nginx", "server", "2xx"): 1}
    assert rig.count(m.HANDSHAKE_DURATION, "nginx") == {("tcp",): 1}


def test_data_may_end_a_handshake_of_which_nothing_came_up(rig):
    """A listener brings up so many segments a turn, and no more."""
    talk = Talk(THERE, HERE)
    talk.handshake()
    rig.see(key(HERE, ANY, 3), talk.c("PA", GET), sent=False)
    rig.see(key(HERE, THERE, 4), talk.s("PA", OK % 0), sent=True)
    assert rig.conn.initiator == 0
    rig.turn(moved(key(HERE, THERE, 4), pid=11, initiator=0)).settle()
    assert requests(rig) == {("nginx", "server", "2xx"): 1}


def test_what_waits_at_a_listener_is_bounded(rig):
    listener = key(HERE, ANY, 3)
    for number in range(MAX_KNOCKS + 10):
        talk = Talk(End("192.0.2.9", number + 1), HERE)
        syn, synack, _ = talk.handshake()
        rig.see(listener, syn, sent=False).see(listener, synack, sent=True)
        rig.see(listener, talk.c("PA", GET), sent=False)
    reading = rig.sockets._reading
    assert len(reading._knocks) == MAX_KNOCKS
    assert sum(len(knock.early) for knock in reading._knocks.values()) == reading._early <= MAX_EARLY


def test_a_handshake_segment_sent_again_measures_nothing(rig):
    talk, client = Talk(), key()
    syn = talk.c("S")
    rig.see(client, syn, sent=True).see(client, syn, sent=True).see(client, talk.s("SA"), sent=False)
    listener = key(HERE, ANY, 3)
    other = Talk(THERE, HERE)
    syn, synack, ack = other.handshake()
    rig.see(listener, syn, sent=False).see(listener, synack, sent=True).see(listener, synack, sent=True)
    rig.see(listener, ack, sent=False)
    rig.turn(moved(client, initiator=1), moved(key(cookie=4, local=HERE, remote=THERE), initiator=0)).settle()
    assert rig.count(m.HANDSHAKE_DURATION, "curl") == {}


def test_what_did_not_come_up_is_a_gap(rig):
    """A body of which the kernel brought only the beginning passes; the next exchange is read."""
    talk = Talk()
    for frame, sent in zip(talk.handshake(), (True, False, True), strict=True):
        rig.see(key(), frame, sent=sent)
    exchange(rig, talk, key(), body=bytes(20_000), seen=200)
    exchange(rig, talk, key(), body=b"x")
    rig.turn(moved(key(), initiator=1)).settle()
    assert requests(rig) == {("curl", "client", "2xx"): 2}
    assert rig.sum(m.DISSECTOR_FAULTS) == 0


def test_a_hole_in_what_was_sent_never_fills(rig):
    """Nothing waits for it: the connection is no longer understood, and that is all."""
    talk = Talk()
    rig.see(key(), talk.c("S"), sent=True)
    rig.see(key(), talk.c("PA", GET[:10]), sent=True)
    talk.c("PA", GET[10:30])  # never comes up
    rig.see(key(), talk.c("PA", GET[30:]), sent=True)
    rig.turn(moved(key(), initiator=1)).settle()
    stream = rig.conn.half0.stream
    assert stream is None or not stream.held
    assert requests(rig) == {}


def test_datagrams_are_read(rig):
    here, resolver = End("10.0.0.1", 40_000), End("192.0.2.1", 53)
    query = bytes.fromhex("1234010000010000000000000161076578616d706c650000010001")
    response = bytes.fromhex(
        "1234818000010001000000000161076578616d706c650000010001c00c00010001000000780004cb007107"
    )
    end = key(here, resolver, 5, "udp")
    rig.see(end, f.datagram(here, resolver, query), sent=True)
    rig.see(end, f.datagram(resolver, here, response), sent=False)
    rig.turn(moved(end, got=(1, 70), sent=(1, 55))).settle()
    assert {key[0] for key in requests(rig)} == {"curl"}
    assert rig.of(m.RECEIVE_BYTES, "curl", "dns", "udp") == 70
    assert rig.moved(m.CONNECTIONS_OPENED) == {("curl", ("dns", "udp", "local")): 1}


def test_our_own_traffic_is_not_read(rig):
    rig.names[10] = "netproc-exporter"
    talk = Talk()
    rig.see(key(), talk.c("S"), sent=True)
    exchange(rig, talk, key())
    rig.turn(moved(key(), got=(1, 100), initiator=1)).settle()
    assert requests(rig) == {}
    assert rig.of(m.RECEIVE_BYTES, "netproc-exporter", "unknown", "tcp") == 100


@pytest.mark.parametrize("frame", [b"", b"\x45", bytes(40), b"\x45" + bytes(30), b"\x60" + bytes(60)])
def test_what_cannot_be_read_changes_nothing(rig, frame):
    rig.see(key(), bytes(14) + frame, sent=True)
    assert not rig.defects
    assert not rig.conns


@pytest.mark.parametrize("flags", ["R", "FA", "A", "RA"])
def test_the_last_words_of_a_connection_open_none(rig, flags):
    rig.see(key(), Talk().c(flags), sent=False)
    assert not rig.conns


def test_what_was_only_seen_is_forgotten(rig):
    """Its numbers went to an overflow entry."""
    rig.see(key(), Talk().c("S"), sent=True)
    assert len(rig.conns) == 1
    rig.over()
    assert not rig.conns
    assert not rig.engine.context.sockets


# -- what shall come up ------------------------------------------------------------------------------------------------


def test_more_is_asked_for_while_it_can_be_used(rig):
    talk = Talk()
    rig.see(key(), talk.c("S"), sent=True)
    exchange(rig, talk, key())
    for _ in range(3):
        rig.turn(moved(key(), got=(2, 200), sent=(2, 200), initiator=1))
    assert rig.steered == [(key().key, True)]
    rig.turn(moved(key(), state="closed", ended="fin"))
    assert rig.steered == [(key().key, True)]


def test_nothing_is_asked_for_where_nobody_reads(rig):
    talk = Talk()
    rig.see(key(), talk.c("S"), sent=True)
    for _ in range(40):
        rig.see(key(), talk.c("PA", b"\0\1\2 no protocol" * 20), sent=True)
    for _ in range(3):
        rig.turn(moved(key(), got=(2, 200), sent=(2, 200), initiator=1))
    assert rig.steered == []


def test_a_large_body_stays_below_until_it_is_over(rig):
    talk = Talk()
    rig.see(key(), talk.c("S"), sent=True)
    rig.see(key(), talk.c("PA", GET), sent=True)
    rig.see(key(), talk.s("PA", OK % (1 << 20)), sent=False)
    rig.turn(moved(key(), initiator=1))
    for _ in range(100):
        rig.see(key(), talk.s("A", bytes(1400)), sent=False)
    rig.turn(moved(key(), got=(100, 145_200)))
    assert [on for _, on in rig.steered] == [True, False]
    talk.next[1] += (1 << 20) - 140_000  # passes unseen
    rig.turn(moved(key(), got=(700, 1 << 20)))
    rig.turn(moved(key(), got=(10, 1000)))
    assert [on for _, on in rig.steered] == [True, False, True]
    exchange(rig, talk, key())
    rig.turn(moved(key(), got=(2, 200))).settle()
    assert requests(rig) == {("curl", "client", "2xx"): 2}


def test_after_a_loss_of_more_than_a_number_can_tell_nothing_is_waited_for(rig):
    """A body of 3 GiB: sequence numbers have gone round."""
    talk = Talk()
    rig.see(key(), talk.c("S"), sent=True)
    rig.see(key(), talk.c("PA", GET), sent=True)
    rig.see(key(), talk.s("PA", OK % (3 << 30)), sent=False)
    rig.turn(moved(key(), initiator=1))
    talk.next[1] = talk.next[1] + (3 << 30) & 0xFFFFFFFF
    exchange(rig, talk, key())
    rig.turn(moved(key(), got=(2, 200))).settle()
    assert not rig.defects


def test_what_a_worker_before_asked_for_is_turned_off(rig):
    talk = Talk()
    rig.see(key(), talk.c("PA", b"\0\1\2 no protocol" * 20), sent=True)
    for _ in range(100):
        rig.see(key(), talk.c("PA", b"\0\1\2 no protocol" * 20), sent=True)
    for _ in range(3):
        rig.turn(moved(key(), sent=(100, 20_000)))
    assert rig.steered == [(key().key, False)]
