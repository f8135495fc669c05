"""Requests find their responses."""

from exporter.flow.exchange import MAX_PENDING, UNANSWERED, Exchange
from exporter.model import Kind, Message


def request(op="GET", match=None):
    return Message(kind=Kind.REQUEST, op=op, match=match)


def response(status="200", match=None, *, error=False):
    return Message(kind=Kind.RESPONSE, status=status, match=match, error=error)


def brief(outcomes):
    return [(o.side, o.op, o.status, o.duration) for o in outcomes]


def test_first_in_first_out():
    pairs = Exchange()
    pairs.add(1.0, 0, request("GET"))
    pairs.add(2.0, 0, request("PUT"))
    assert brief(pairs.add(3.0, 1, response("200"))) == [(0, "GET", "200", 2.0)]
    assert brief(pairs.add(3.5, 1, response("404"))) == [(0, "PUT", "404", 1.5)]
    assert len(pairs) == 0


def test_matched_by_identifier_in_any_order():
    pairs = Exchange()
    pairs.add(1.0, 0, request("a", match=1))
    pairs.add(1.0, 0, request("b", match=2))
    assert brief(pairs.add(2.0, 1, response(match=2))) == [(0, "b", "200", 1.0)]
    assert brief(pairs.add(4.0, 1, response(match=1))) == [(0, "a", "200", 3.0)]


def test_both_sides_may_ask_with_the_same_identifier():
    pairs = Exchange()
    pairs.add(1.0, 0, request("a", match=1))
    pairs.add(1.0, 1, request("b", match=1))
    assert brief(pairs.add(2.0, 0, response(match=1))) == [(1, "b", "200", 1.0)]
    assert brief(pairs.add(2.0, 1, response(match=1))) == [(0, "a", "200", 1.0)]


def test_nobody_answers_himself():
    pairs = Exchange()
    pairs.add(1.0, 0, request())
    assert pairs.add(2.0, 0, response()) == []
    assert len(pairs) == 1


def test_a_repeated_question_counts_once_from_its_first_time():
    pairs = Exchange()
    pairs.add(1.0, 0, request(match=7))
    pairs.add(3.0, 0, request(match=7))
    assert brief(pairs.add(4.0, 1, response(match=7))) == [(0, "GET", "200", 3.0)]
    assert pairs.add(5.0, 1, response(match=7)) == []


def test_unseen_requests_have_no_outcome():
    assert Exchange().add(1.0, 1, response()) == []


def test_what_waits_is_bounded_and_the_oldest_goes():
    pairs = Exchange()
    for number in range(MAX_PENDING):
        assert pairs.add(float(number), 0, request(match=number)) == []
    assert brief(pairs.add(999.0, 0, request("last", match=-1))) == [(0, "GET", UNANSWERED, None)]
    assert len(pairs) == MAX_PENDING


def test_expiry_is_by_age():
    pairs = Exchange()
    pairs.add(1.0, 0, request("old"))
    pairs.add(5.0, 0, request("young"))
    assert brief(pairs.expire(5.0)) == [(0, "old", UNANSWERED, None)]
    assert brief(pairs.close()) == [(0, "young", UNANSWERED, None)]
    assert pairs.close() == []


def test_time_that_runs_backwards_is_no_negative_duration():
    pairs = Exchange()
    pairs.add(9.0, 0, request())
    assert brief(pairs.add(1.0, 1, response())) == [(0, "GET", "200", 0.0)]


def test_an_error_on_either_side_is_an_error():
    pairs = Exchange()
    pairs.add(1.0, 0, request())
    assert pairs.add(2.0, 1, response(error=True))[0].error
