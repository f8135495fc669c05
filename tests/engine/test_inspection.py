"""What is said on a connection, read through the engine: whatever order segments come in, and whatever is missing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import metrics as m
from exporter.dissector import YES, Dissector, Parser
from exporter.model import Kind, Message
from tests.dpi.cases import cases
from tests.engine import frames as f
from tests.engine.frames import End, Talk
from tests.engine.rig import Rig

HERE, RESOLVER = End("10.0.0.1", 40_000), End("192.0.2.1", 53)
GET = b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n"


def response(size, status=200):
    return b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n" % (status, size) + b"z" * size


def requests(rig):
    """Outcomes by status, as the client had them."""
    return {labels[3]: value for (_, labels), value in rig.moved(m.REQUESTS).items()}


def cut(one, side, data, sizes):
    """Say `data` in segments of these sizes, over and over."""
    out, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        out.append(one.say(side, "PA", data[at : at + size]))
        at, turn = at + size, turn + 1
    return out


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 500, 1460, 4000, 70_000]), st.sampled_from([200, 404, 500])),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.sampled_from([1, 7, 100, 536, 1460, 20_000]), min_size=1, max_size=3),
    st.integers(0, 3),
    st.sampled_from([1000, 0xFFFFFFFF, 0xFFFF0000]),
    st.randoms(use_true_random=False),
)
def test_all_bytes_present_in_any_near_order(exchanges, sizes, swaps, start, random):
    """Each request has its response: bodies pass on the fast path, heads do not, and neither loses its place."""
    if min(sizes) < 100:
        exchanges = [(min(size, 4000), status) for size, status in exchanges]
    one = Talk(isn=(start, start))
    rig = Rig().put(*one.handshake())
    for number, (size, status) in enumerate(exchanges):
        for frames in (cut(one, 0, GET % number, sizes), cut(one, 1, response(size, status), sizes)):
            for _ in range(swaps if len(frames) > 1 else 0):
                at = random.randrange(len(frames) - 1)
                frames[at], frames[at + 1] = frames[at + 1], frames[at]
                frames.insert(at, frames[random.randrange(len(frames))])
            rig.put(*frames)
    rig.put(*one.close()).settle()
    expected = {}
    for _, status in exchanges:
        expected[f"{status // 100}xx"] = expected.get(f"{status // 100}xx", 0) + 1
    assert requests(rig) == expected
    assert rig.captured == rig.bytes
    assert rig.moved(m.DISSECTOR_FAULTS) == {}


@settings(max_examples=80, deadline=None)
@given(
    st.integers(2, 40), st.sampled_from([536, 1460, 9000]), st.booleans(), st.randoms(use_true_random=False)
)
def test_a_body_with_holes_costs_nothing(missing, size, acks, random):
    """Bytes of a body that nobody wants may be lost to the capture; the next response is read all the same."""
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1))
    head, *body = cut(one, 1, response(200_000), [size])
    for _ in range(min(missing, len(body) - 1)):
        del body[random.randrange(len(body))]
        if acks:
            body.insert(random.randrange(len(body)), one.c("A"))
    rig.put(head, *body, one.c("PA", GET % 2), one.s("PA", response(10, 404)), *one.close()).settle()
    assert requests(rig) == {"2xx": 1, "4xx": 1}
    assert rig.moved(m.DISSECTOR_FAULTS) == {}


def test_a_hole_in_a_head_is_told_and_reading_resumes():
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1))
    first, lost, *rest = cut(one, 1, response(10), [20])
    del lost
    rig.put(first, *rest, one.c("A"), one.c("PA", GET % 2), one.s("PA", response(10, 404))).settle()
    assert requests(rig).get("4xx") == 1


def test_a_hole_that_only_an_acknowledgement_shows_is_no_place_to_read_on_from():
    """The lost segment is the head; then an empty segment moves the sequence on: what follows is not the head."""
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1))
    one.s("PA", response(3000)[:1000])  # not captured
    rig.put(one.s("A"), one.s("PA", b"HTTP/1.1 500 Fake\r\nContent-Length: 0\r\n\r\n")).put(one.c("A"))
    rig.put(one.c("PA", GET % 2), one.s("PA", response(0, 404))).settle()
    assert rig.moved(m.DISSECTOR_FAULTS) == {}
    assert requests(rig).get("4xx") == 1


def test_a_hole_behind_the_other_sides_fin_is_given_up_too():
    """Who has said all still acknowledges."""
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1), one.c("FA"), one.s("A"))
    first, lost, last = cut(one, 1, response(100), [20, 10, 500])
    del lost
    rig.put(first, last)
    assert rig.conn.half1.stream.held
    rig.put(one.c("A"))
    assert not rig.conn.half1.stream.held


def test_a_body_that_the_close_delimits():
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1))
    rig.put(one.s("PA", b"HTTP/1.0 200 OK\r\n\r\n" + b"z" * 100), *cut(one, 1, b"z" * 50_000, [1460]))
    rig.put(*one.close(1)).settle()
    assert requests(rig) == {"2xx": 1}


def test_payload_in_the_syn():
    one = Talk()
    rig = Rig().put(one.c("S", GET % 1), one.s("SA"), one.s("PA", response(0)), one.c("A")).settle()
    assert requests(rig) == {"2xx": 1}


def test_the_snap_length_may_cut_bodies():
    one = Talk()
    rig = Rig(begin=False)
    rig.read(*one.handshake(), one.c("PA", GET % 1), one.s("PA", response(1200)), snaplen=200)
    rig.read(one.c("PA", GET % 2), one.s("PA", response(0, 404)), snaplen=200).settle()
    assert requests(rig) == {"2xx": 1, "4xx": 1}


def test_what_nobody_claims_costs_no_memory_and_no_time():
    one = Talk(server=End("192.0.2.1", 9999))
    rig = Rig().put(*one.handshake(), *cut(one, 0, b"\x00\x01\x02\x03" * 2000, [100]))
    conn = rig.conn
    assert (conn.inspector, conn.half0.stream, conn.half1.stream) == (None, None, None)
    assert conn.half0.skip > 1 << 50


def test_a_datagram_protocol_that_nobody_claims():
    rig = Rig()
    for _ in range(rig.config.dpi.packets):
        rig.put(f.datagram(HERE, End("192.0.2.1", 9999), b"\xff" * 30))
    assert rig.conn.inspector is None
    assert rig.conn.half0.skip > 1 << 50
    assert rig.conn.half1.skip > 1 << 50


def test_dpi_switched_off():
    one = Talk()
    rig = Rig(dpi={"enabled": False}).put(*one.handshake(), one.c("PA", GET % 1)).settle()
    assert rig.conn.protocol == ""
    assert rig.conn.half0.skip > 1 << 50


def query(number, response=False):
    flags = b"\x81\x80" if response else b"\x01\x00"
    return number.to_bytes(2, "big") + flags + b"\0\1\0\0\0\0\0\0\1a\7example\0\0\1\0\1"


def test_questions_and_answers():
    rig = Rig().put(f.datagram(HERE, RESOLVER, query(1)), f.datagram(HERE, RESOLVER, query(2)))
    rig.put(f.datagram(RESOLVER, HERE, query(2, response=True)), gap=0.05)
    rig.answer("dig").wait(29)
    assert {labels[3] for _, labels in rig.moved(m.REQUESTS)} == {"NOERROR"}
    rig.wait(10, 1.0)  # nothing comes any more: the time alone ends a request
    assert {labels[3]: n for (_, labels), n in rig.moved(m.REQUESTS).items()} == {
        "NOERROR": 1,
        "unanswered": 1,
    }
    assert rig.moved(m.UNANSWERED_REQUESTS) == {("dig", ("dns", "client")): 1}
    assert rig.count(m.REQUEST_DURATION, "dig") == {("dns", "client"): 1}
    assert rig.total(m.REQUEST_DURATION, "dig") == pytest.approx(0.05, abs=1e-4)


def test_a_connections_version_counts_once():
    """However often it is said, and though nothing is kept for reading between two messages."""
    one = Talk()
    rig = Rig().put(*one.handshake())
    for number in range(3):
        rig.put(one.say(0, "PA", GET % number), one.say(1, "PA", response(3)))
    rig.answer("curl").wait(3)
    assert rig.moved(m.PROTOCOL_VERSIONS) == {("curl", ("http", "1.1")): 1}
    assert requests(rig) == {"2xx": 3}


def test_a_silent_connection_gives_its_requests_up():
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1)).answer("curl").wait(40, 1.0)
    assert rig.moved(m.UNANSWERED_REQUESTS) == {("curl", ("http", "client")): 1}
    assert len(rig.conns) == 1


@pytest.mark.parametrize("end", ["FA", "R"])
def test_an_end_gives_requests_up(end):
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1))
    rig.put(one.s(end), one.c("FA"), one.s("A")).settle()
    assert requests(rig) == {"unanswered": 1}


def test_durations_are_of_the_captures_clock():
    one = Talk()
    rig = Rig().put(one.c("S")).put(one.s("SA"), gap=0.02).put(one.c("A"), gap=0.3)
    rig.put(one.c("PA", GET % 1)).put(one.s("PA", response(0)), gap=0.7).answer("curl").settle()
    assert rig.total(m.HANDSHAKE_DURATION, "curl") == pytest.approx(0.02, abs=1e-4)
    assert rig.total(m.REQUEST_DURATION, "curl") == pytest.approx(0.7, abs=1e-4)


def test_the_server_measures_from_its_syn_ack():
    one = Talk(End("192.0.2.1", 50_000), End("10.0.0.1", 80))
    rig = Rig().put(one.c("S")).put(one.s("SA"), gap=0.02).put(one.c("A"), gap=0.3).answer("nginx").settle()
    assert rig.total(m.HANDSHAKE_DURATION, "nginx") == pytest.approx(0.3, abs=1e-4)


def test_a_handshake_over_datagrams_is_measured_from_its_first_hello():
    (case,) = (case for case in cases() if case.name == "DTLS 1.0, resumed")
    ends = HERE, End("192.0.2.1", 4433)
    rig = Rig()
    for side, data in case.data:
        rig.put(f.datagram(ends[side], ends[1 - side], data), gap=0.01)
    rig.answer("openssl").settle()
    assert rig.count(m.HANDSHAKE_DURATION, "openssl") == {("dtls",): 1}
    assert rig.total(m.HANDSHAKE_DURATION, "openssl") == pytest.approx(0.01 * (len(case.data) - 1), abs=0.011)


@pytest.mark.parametrize(("again", "client", "server"), [(0, 0, 0), (1, 1, 0), (2, 1, 1)])
def test_what_was_sent_twice_measures_nothing(again, client, server):
    """Karn: whose answer comes is not known. A SYN-ACK sent again spoils the server's measure alone."""
    for ends, count in (((HERE, RESOLVER), client), ((RESOLVER, HERE), server)):
        frames = Talk(*ends).handshake()
        frames.insert(again, frames[again])
        rig = Rig().put(*frames).answer("x").settle()
        assert sum(rig.count(m.HANDSHAKE_DURATION, "x").values()) == count


@pytest.mark.parametrize(
    ("talk", "counted"), [(Talk(), 1), (Talk(End("192.0.2.1", 5), End("10.0.0.1", 80)), 0)]
)
def test_retransmissions_are_the_senders(talk, counted):
    """What the other end sends again is not this process' doing."""
    rig = (
        Rig()
        .put(*talk.handshake(), talk.c("PA", b"abc"), talk.c("PA", b"abc", seq=1001))
        .answer("x")
        .settle()
    )
    assert rig.sum(m.RETRANSMITTED_SEGMENTS) == counted


def test_what_is_no_retransmission():
    """A keep-alive, what only came late, and what was acknowledged without data."""
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", b"abc"), one.c("A", seq=1003), one.c("A", b"c", seq=1003))
    late = one.c("PA", b"def")
    rig.put(one.c("PA", b"ghi"), late, one.c("A"), one.c("A")).settle()
    assert rig.sum(m.RETRANSMITTED_SEGMENTS) == 0


def test_too_many_events_before_the_name_are_counted_as_given_up():
    one = Talk()
    rig = Rig().put(*one.handshake(), gap=0)
    for number in range(1200):
        rig.put(one.c("PA", GET % number), one.s("PA", response(0)), gap=0)
    assert len(rig.conn.pending) == 1024
    rig.settle()
    assert sum(requests(rig).values()) < 1200
    assert rig.rows(m.EVICTIONS)["", ("requests",)] > 100


class Turn(Parser):
    """Answers its first request and hands over to `b` in the same segment."""

    def feed(self, side, data):
        if side == 0:
            yield Message(kind=Kind.REQUEST, op="ask")
        else:
            yield Message(kind=Kind.RESPONSE, status="fine", switch="b")

    def rest(self, side):
        return b"more" if side else b""


class Tell(Parser):
    def feed(self, side, data):
        yield Message(kind=Kind.REQUEST, op="tell")


def dissector(name, parser, probe, *, op, status):
    return Dissector(
        name,
        frozenset({"tcp"}),
        frozenset(),
        frozenset({op}),
        frozenset({status}),
        probe,
        parser,
        "",
        "",
    )


def test_a_request_that_only_its_answer_tells_is_the_clients():
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", b"delete kept\r\n"), one.s("PA", b"DELETED\r\n"))
    rig.answer("memcrm").settle()
    assert rig.moved(m.REQUESTS) == {("memcrm", ("memcached", "client", "delete", "deleted")): 1}


def test_each_message_bears_the_name_of_who_read_it():
    known = [
        dissector("a", lambda _: Turn(), lambda *_: YES, op="ask", status="fine"),
        dissector("b", lambda _: Tell(), lambda *_: 0, op="tell", status="no"),
    ]
    one = Talk()
    rig = (
        Rig(dissectors=known).put(*one.handshake(), one.c("PA", b"x"), one.s("PA", b"y")).answer("p").settle()
    )
    assert rig.moved(m.REQUESTS) == {("p", ("a", "client", "ask", "fine")): 1}
    rig.put(*one.close()).settle()
    assert rig.moved(m.REQUESTS) == {
        ("p", ("a", "client", "ask", "fine")): 1,
        ("p", ("b", "server", "tell", "unanswered")): 1,
    }
    assert [e.protocol for e in rig.ended] == ["b"]


def test_labels_outside_of_the_declared_sets_are_other():
    class Wild(Parser):
        def feed(self, side, data):
            yield Message(kind=Kind.REQUEST if side == 0 else Kind.RESPONSE, op="evil", status="evil")

    known = [dissector("a", lambda _: Wild(), lambda *_: YES, op="ask", status="fine")]
    one = Talk()
    rig = Rig(dissectors=known).put(*one.handshake(), one.c("PA", b"x"), one.s("PA", b"y")).settle()
    assert rig.moved(m.REQUESTS) == {("unknown", ("a", "client", "other", "other")): 1}


def test_a_dissectors_defect_ends_its_inspection_only():
    class Bad(Parser):
        def feed(self, side, data):
            raise ZeroDivisionError

    known = [dissector("a", lambda _: Bad(), lambda *_: YES, op="ask", status="fine")]
    one = Talk()
    rig = Rig(dissectors=known).put(*one.handshake(), one.c("PA", b"x"), one.s("PA", b"y")).settle()
    assert rig.moved(m.DISSECTOR_FAULTS) == {("", ("a",)): 1}
    assert rig.captured == rig.bytes


def recorded():
    """A dissector that keeps what it is told, and the list that it keeps it in."""
    told = []

    class Recorder(Parser):
        def feed(self, side, data):
            told.append((side, data))
            return ()

        def gap(self, side):
            told.append((side, "gap"))
            return True

        def close(self, side):
            told.append((side, "close"))
            return ()

    return told, [dissector("a", lambda _: Recorder(), lambda *_: YES, op="x", status="y")]


def test_a_loss_that_an_empty_segment_shows_is_told_before_what_follows():
    told, known = recorded()
    one = Talk()
    rig = Rig(dissectors=known).put(*one.handshake(), one.c("PA", b"a"))
    one.c("PA", b"lost")
    rig.put(one.c("A"), one.c("PA", b"b"))
    assert told == [(0, b"a")]
    rig.put(one.s("A"))
    assert told == [(0, b"a"), (0, "gap"), (0, b"b")]


def test_late_bytes_are_no_loss():
    told, known = recorded()
    one = Talk()
    rig = Rig(dissectors=known).put(*one.handshake(), one.c("PA", b"a"))
    late = one.c("PA", b"late")
    rig.put(one.c("A"), late, one.c("PA", b"b"))
    assert told == [(0, b"a"), (0, b"late"), (0, b"b")]


@pytest.mark.parametrize("lost", [False, True])
def test_a_side_that_has_said_all_is_closed_once(lost):
    told, known = recorded()
    one = Talk()
    rig = Rig(dissectors=known).put(*one.handshake(), one.c("PA", b"a"), one.s("PA", b"b"))
    missing = one.s("PA", b"lost")
    rig.put(one.s("PA", b"c"), one.s("FA"))
    assert told == [(0, b"a"), (1, b"b")]
    rig.put(one.c("A") if lost else missing)
    rest = [(1, "gap")] if lost else [(1, b"lost")]
    assert told == [(0, b"a"), (1, b"b"), *rest, (1, b"c"), (1, "close")]
    rig.put(one.c("FA"), one.s("A")).settle()
    assert told[-1] == (0, "close")
    assert told.count((1, "close")) == 1


def test_numbers_that_wrap_stay_on_the_fast_path():
    one = Talk(isn=(1000, 0xFFFFFFFF - 5000))
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1), *cut(one, 1, response(50_000), [1000]))
    one.next[1] &= 0xFFFFFFFF
    rig.put(one.s("A"))
    assert rig.conn.half1.next == one.next[1] < 50_000
    assert rig.conn.half1.skip >= 0


def resting(conn):
    return conn.fresh and (conn.inspector, conn.half0.stream, conn.half1.stream) == (None, None, None)


def test_between_two_requests_nothing_is_kept_for_reading():
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1))
    assert not resting(rig.conn)
    rig.put(one.s("PA", response(10)), one.c("A"))
    assert resting(rig.conn)
    rig.put(one.c("PA", GET % 2))
    assert not resting(rig.conn)
    rig.put(one.s("PA", response(0, 404)))
    assert resting(rig.conn)
    rig.put(*one.close()).settle()
    assert requests(rig) == {"2xx": 1, "4xx": 1}


def test_a_long_body_is_waited_for_and_the_sweep_sees_that_it_is_over():
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1))
    *body, last = cut(one, 1, response(50_000), [1460])
    rig.put(*body).settle()
    rig.engine.sweep(rig.now)
    assert not resting(rig.conn)
    rig.put(last, one.c("A"))
    rig.engine.sweep(rig.now)
    assert resting(rig.conn)
    rig.put(one.c("PA", GET % 2), one.s("PA", response(0, 500)), *one.close()).settle()
    assert requests(rig) == {"2xx": 1, "5xx": 1}


def test_what_is_sent_again_wakes_nobody_for_long():
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1), answer := one.s("PA", response(10)), one.c("A"))
    rig.put(answer)
    assert resting(rig.conn)
    rig.put(one.c("PA", GET % 2), one.s("PA", response(0, 404)), *one.close()).settle()
    assert requests(rig) == {"2xx": 1, "4xx": 1}


def test_a_hole_after_a_rest_is_a_hole():
    """The beginning of the second request is lost: its rest is no request, and the third one is."""
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1), one.s("PA", response(0)), one.c("A"))
    lost, *left = cut(
        one, 0, b"POST /2 HTTP/1.1\r\nContent-Length: 16\r\n\r\nGET / HTTP/1.1\r\n", [30, 9, 16]
    )
    del lost
    rig.put(*left, one.s("PA", response(0, 500)), one.c("PA", GET % 3), one.s("PA", response(0, 404)))
    rig.put(*one.close()).settle()
    assert rig.moved(m.DISSECTOR_FAULTS) == {}
    assert requests(rig).get("4xx") == 1


def test_a_request_without_an_answer_does_not_rest_and_is_given_up():
    one = Talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET % 1), one.s("PA", response(0)), one.c("PA", GET % 2))
    rig.put(one.s("A")).settle()
    assert not resting(rig.conn)
    rig.put(*one.close()).settle()
    assert requests(rig) == {"2xx": 1, "unanswered": 1}


def test_datagrams_rest_too():
    asked, answered = (
        f.datagram(HERE, RESOLVER, query(1)),
        f.datagram(RESOLVER, HERE, query(1, response=True)),
    )
    rig = Rig().put(asked)
    assert not resting(rig.conn)
    rig.put(answered)
    assert resting(rig.conn)
    rig.put(asked, answered).settle()
    assert requests(rig) == {"NOERROR": 2}


@pytest.mark.parametrize("exchanges", [0, 1, 2])
def test_a_fin_that_comes_before_the_last_payload(exchanges):
    """What it overtook is read, also where nothing was read yet, or nothing was under way."""
    one = Talk()
    rig = Rig().put(*one.handshake())
    for number in range(exchanges):
        rig.put(one.c("PA", GET % number), one.s("PA", response(10)))
    last = one.c("PA", GET % exchanges)
    fin = one.c("FA")
    rig.put(fin, last, one.s("PA", response(20)), *one.close(1)[:2]).settle()
    assert requests(rig) == {"2xx": exchanges + 1}
    assert rig.bytes == rig.captured
