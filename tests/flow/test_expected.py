"""What other connections announced: the table of it, and the inspector that has to be convinced."""

import struct

import pytest

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.flow.connection import Connection
from exporter.flow.expected import KEPT, MAX_EXPECTED, MAX_LIFETIME, SLACK, Expected
from exporter.flow.inspection import Budget, Inspection
from exporter.flow.inspector import MAX_SKIP, Inspector
from exporter.model import Expectation, Kind, Message

A, B, C = b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\0\0\3"
ENDS = Ends(A, 1, B, 2)
BUDGET = Budget(4, 1000)


def conn(source, sport, target, dport, *, transport="tcp", now=10.0, scope=0, tunnel=""):
    made = Connection(scope, transport, source + target + struct.pack(">HH", sport, dport), now)
    made.tunnel = tunnel
    return made


CONTROL = conn(A, 50_000, B, 21)


def data(port=2000, peer=A, address=B, lifetime=60.0, transport="tcp"):
    return (Expectation(transport, address, port, "data", lifetime, peer),)


def told(*announcements, now=10.0, by=CONTROL, **more):
    table = Expected(**more)
    for each in announcements:
        table.announce(by, now, each)
    return table


# -- the table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ends", [(A, 5555, B, 2000), (B, 2000, A, 5555)], ids=["from the peer", "to the peer"]
)
def test_either_direction_once(ends):
    table = told(data())
    assert table.claim(conn(*ends)) == "data"
    assert table.claim(conn(*ends)) == ""
    assert not table


def test_any_peer_again_and_again():
    table = told(data(peer=None))
    assert [table.claim(conn(host, 5555, B, 2000)) for host in (A, C, A)] == ["data"] * 3


@pytest.mark.parametrize(
    "other",
    [
        conn(A, 5555, B, 2001),
        conn(C, 5555, B, 2000),
        conn(A, 2000, B, 5555),
        conn(A, 5555, B, 2000, transport="udp"),
        conn(A, 5555, B, 2000, scope=1),
        conn(A, 5555, B, 2000, tunnel="gre"),
    ],
    ids=["port", "peer", "whose port", "transport", "namespace", "tunnel"],
)
def test_another_one(other):
    assert told(data()).claim(other) == ""


def test_a_namespace_that_was_not_known_then():
    table = told(data(), by=conn(A, 50_000, B, 21, scope=-77))
    table.announce(conn(A, 50_000, B, 21, scope=9), 10.0, data(2001))
    assert table.claim(conn(A, 5555, B, 2001, scope=-78)) == ""
    assert table.claim(conn(A, 5555, B, 2000, scope=9)) == "data"


def test_inside_of_a_tunnel_what_was_announced_there():
    table = told(data(), by=conn(A, 50_000, B, 21, tunnel="gre"))
    assert table.claim(conn(A, 5555, B, 2000)) == ""
    assert table.claim(conn(A, 5555, B, 2000, tunnel="gre")) == "data"


@pytest.mark.parametrize(
    ("begins", "found"),
    [
        (10 - SLACK - 0.1, ""),
        (10 - SLACK, "data"),
        (10.0, "data"),
        (70.0, "data"),
        (70.1, ""),
    ],
)
def test_only_what_begins_in_its_time(begins, found):
    assert told(data()).claim(conn(A, 5555, B, 2000, now=begins)) == found


def test_nobody_names_what_others_say():
    table = told(data(address=C, peer=None), data(address=C, peer=b"\x0a\0\0\4"))
    assert not table
    table.announce(CONTROL, 10.0, data(address=C, peer=A))
    assert table.claim(conn(C, 2000, B, 1)) == ""
    assert table.claim(conn(C, 2000, A, 1)) == "data"


def test_the_oldest_gives_way_and_is_counted():
    table = Expected()
    evicted = [table.announce(CONTROL, 10.0, data(port)) for port in range(1, MAX_EXPECTED + 101)]
    assert len(table) == MAX_EXPECTED
    assert sum(evicted) == 100
    assert table.claim(conn(A, 5555, B, 100)) == ""
    assert table.claim(conn(A, 5555, B, 101)) == "data"


def test_what_is_over_gives_way_uncounted():
    table = told(*(data(port) for port in range(1, 5)), limit=4)
    assert table.announce(CONTROL, 70.1 + KEPT, data(9)) == 0
    assert len(table) == 1


def test_announced_again_is_one_that_lasts_longer():
    table = told(data(1), data(2), limit=2)
    assert table.announce(CONTROL, 50.0, data(1)) == 0
    assert table.claim(conn(A, 5555, B, 1, now=100.0)) == "data"
    assert table.expire(100.0 + KEPT) == 1


def test_what_began_in_time_may_speak_later():
    table = told(data())
    assert table.expire(70.0 + KEPT) == 0
    assert table.claim(conn(A, 5555, B, 2000, now=70.0)) == "data"


def test_no_lifetime_is_longer_than_ours():
    table = told(data(lifetime=1e9))
    assert table.expire(10.1 + MAX_LIFETIME + KEPT) == 1


# -- the inspector -----------------------------------------------------------------------------------------------------


class Even(Parser):
    """Says each byte; an odd one is malformed, 0 says nothing, 98 is a defect."""

    def __init__(self, ends):
        pass

    def feed(self, side, data):
        for byte in data:
            if byte % 2:
                raise ParseError
            if byte == 98:
                raise ZeroDivisionError
            if byte:
                yield Message(kind=Kind.NOTICE, op=str(byte))

    def gap(self, side):
        return True


class All(Even):
    """Says every byte."""

    def feed(self, side, data):
        return [Message(kind=Kind.NOTICE, op=str(byte)) for byte in data]

    def idle(self):
        return True


class First(All):
    """Says the first piece only, and passes over the rest."""

    said = False

    def feed(self, side, data):
        said, self.said = self.said, True
        return [] if said else super().feed(side, data)


class Only(First):
    """Says the first piece; all further ones are malformed."""

    def feed(self, side, data):
        found = super().feed(side, data)
        if not found:
            raise ParseError
        return found


def dissector(name, probe, parser=Even):
    none = frozenset()
    return Dissector(name, frozenset({"tcp", "udp"}), none, none, none, probe, parser, "", "")


class Bench:
    """`even` is announced and never recognised by itself; `high` is what begins with more than 100."""

    def __init__(self, transport, parser=All):
        self.faults = []
        known = (
            dissector("high", lambda _, data, __: YES if data[0] > 100 else NO, parser),
            dissector("even", lambda *_: NO),
        )
        shared = Inspection(known, BUDGET, self.faults.append)
        self.one = Inspector(shared, ENDS._replace(transport=transport), announced="even")

    def feed(self, *values, side=0):
        return [(who.name, message.op) for who, message, _ in self.one.feed(side, bytes(values))]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_read_as_announced_from_the_first_byte(transport):
    bench = Bench(transport)
    assert bench.feed(2) == [("even", "2")]
    assert bench.feed(6, side=1) == [("even", "6")]


def test_a_stream_is_what_was_announced_whatever_it_begins_like():
    """A file may begin like another protocol."""
    bench = Bench("tcp")
    assert bench.feed(102, 2) == [("even", "102"), ("even", "2")]


def test_a_stream_that_it_cannot_be_is_inspected_like_any_other():
    bench = Bench("tcp")
    assert bench.feed(103) == [("high", "103")]
    assert bench.feed(2) == [("high", "2")]
    assert bench.faults == []


def test_a_stream_that_nobody_knows_is_given_up():
    bench = Bench("tcp")
    assert bench.feed(1) == []
    assert bench.feed(1, side=1) == []
    assert not bench.one.active


def test_the_first_bytes_of_a_stream_may_be_lost():
    bench = Bench("tcp")
    bench.one.lost(0)
    assert bench.feed(2) == [("even", "2")]


def test_datagrams_that_another_claims_are_the_others():
    bench = Bench("udp")
    assert bench.feed(102) == [("high", "102")]
    assert bench.feed(2) == [("high", "2")]


@pytest.mark.parametrize("parser", [First, Only], ids=["passed over", "an error"])
def test_what_says_nothing_to_the_other_may_be_what_was_announced(parser):
    """Media behind what shares its port."""
    bench = Bench("udp", parser)
    assert bench.feed(102) == [("high", "102")]
    assert bench.feed(0) == []
    assert bench.feed(2) == [("even", "2")]
    assert bench.feed(102, side=1) == [("even", "102")]
    assert bench.faults == (["high"] if parser is Only else [])


def test_what_the_other_did_not_want_is_wanted_again():
    class Enough(First):
        def skip(self, side):
            return -1

    bench = Bench("udp", Enough)
    bench.feed(102)
    assert bench.one.skip(0) == MAX_SKIP
    assert bench.feed(2) == [("even", "2")]
    assert bench.one.skip(0) == 0


def test_it_is_waited_for_as_long_as_anybody():
    bench = Bench("udp")
    for _ in range(3):
        assert bench.feed(1) == []
    assert bench.feed(2) == [("even", "2")]
    bench = Bench("udp")
    for number in range(4):
        assert bench.one.active
        bench.feed(1, side=number % 2)
    assert not bench.one.active
    assert bench.faults == []


def test_nothing_said_is_no_claim():
    bench = Bench("udp")
    assert bench.feed(0) == []
    assert bench.one.dissector is None


def test_an_inspection_does_not_rest_before_it_came():
    resting = []
    for announced in ("even", ""):
        shared = Inspection(
            (dissector("high", lambda *_: YES, All), dissector("even", lambda *_: NO)), BUDGET, print
        )
        one = Inspector(shared, ENDS._replace(transport="udp"), announced=announced)
        one.feed(0, b"\1")
        one.feed(1, b"\1")
        resting.append(one.resting())
    assert resting == [False, True]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_defect_of_it_is_counted_once(transport):
    bench = Bench(transport)
    assert bench.feed(98) == []
    assert bench.feed(98) == []
    assert bench.faults == ["even"]


def test_what_is_not_inspected_is_not_expected():
    shared = Inspection((dissector("seven", lambda *_: NO),), BUDGET, print)
    one = Inspector(shared, ENDS, announced="even")
    assert one.feed(0, b"\2") == []
    assert one.dissector is None
