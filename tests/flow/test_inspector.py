"""The inspector, with dissectors made for the purpose."""

import pytest

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.flow.inspection import Budget, Inspection
from exporter.flow.inspector import DATAGRAMS, MAX_SKIP, MAX_SWITCHES, Inspector
from exporter.model import Kind, Message

ENDS = Ends(bytes(4), 40_000, bytes(4), 80)


class Words(Parser):
    """Says each word; `/x` switches to x, `!` is malformed, `?` a defect."""

    def __init__(self, ends):
        self.left = {0: b"", 1: b""}
        self.closed = []

    def feed(self, side, data):
        words = data.split(b" ")
        for at, word in enumerate(words):
            if word == b"!":
                raise ParseError
            if word == b"?":
                raise ZeroDivisionError
            if word[:1] == b"/":
                self.left[side] = b" ".join(words[at + 1 :])
                yield Message(kind=Kind.NOTICE, op="switch", switch=word[1:].decode())
                raise AssertionError("nothing is read after a switch")
            yield Message(kind=Kind.NOTICE, op=word.decode())

    def rest(self, side):
        data, self.left[side] = self.left[side], b""
        return data

    def close(self, side):
        return [Message(kind=Kind.NOTICE, op=f"closed {side}")]


def begins(word):
    """A probe that wants this word."""

    def probe(side, data, ends):
        if data.startswith(word):
            return YES
        return MORE if word.startswith(data) else NO

    return probe


def dissector(name, probe=None, *, parser=Words, ports=(), transports=("tcp",)):
    return Dissector(
        name,
        frozenset(transports),
        frozenset(ports),
        frozenset(),
        frozenset(),
        probe or begins(name.encode()),
        parser,
        "",
        "",
    )


class Bench:
    def __init__(self, *known, packets=4, size=1000, transport="tcp"):
        self.faults = []
        shared = Inspection(known, Budget(packets, size), self.faults.append)
        self.one = Inspector(shared, ENDS._replace(transport=transport))

    def feed(self, side, data):
        return [(who.name, message.op) for who, message, _ in self.one.feed(side, data)]


def test_claimed_at_once():
    bench = Bench(dissector("b"), dissector("a"))
    assert bench.feed(0, b"a b") == [("a", "a"), ("a", "b")]
    assert bench.feed(1, b"c") == [("a", "c")]


def test_claimed_later_with_all_that_was_said_in_its_order():
    bench = Bench(dissector("abc"))
    assert bench.feed(0, b"a") == []
    assert bench.one.dissector is None
    assert bench.feed(0, b"bc") == [("abc", "a"), ("abc", "bc")]


def test_the_other_sides_first_bytes_are_handed_over_too():
    bench = Bench(dissector("abc", lambda side, data, _: YES if side else MORE))
    assert bench.feed(0, b"x") == []
    assert [(message.op, side) for _, message, side in bench.one.feed(1, b"y")] == [("x", 0), ("y", 1)]


def test_nobody_claims():
    bench = Bench(dissector("a"))
    assert bench.feed(0, b"z") == []
    assert bench.one.active  # the other side may still be claimed
    assert bench.feed(1, b"z") == []
    assert not bench.one.active
    assert bench.one.skip(0) == MAX_SKIP


def test_no_dissectors_no_inspection():
    assert not Bench().one.active


@pytest.mark.parametrize(("packets", "size", "feeds"), [(3, 1000, 3), (100, 5, 5), (100, 1 << 20, 100)])
def test_budget(packets, size, feeds):
    bench = Bench(dissector("slow", lambda *_: MORE), packets=packets, size=size)
    for _ in range(feeds - 1):
        bench.feed(0, b"x")
    assert bench.one.active
    bench.feed(0, b"x")
    assert not bench.one.active


def test_a_port_decides_who_is_asked_first_and_proves_nothing():
    asked = []

    def probe(name, answer):
        def ask(*_):
            asked.append(name)
            return answer

        return ask

    bench = Bench(dissector("a", probe("a", YES)), dissector("b", probe("b", NO), ports=(80,)))
    assert bench.feed(0, b"x") == [("a", "x")]
    assert asked == ["b", "a"]


def test_who_said_no_is_not_asked_again():
    asked = []
    bench = Bench(dissector("a", lambda *_: asked.append(1) or NO), dissector("b", lambda *_: MORE))
    bench.feed(0, b"x")
    bench.feed(0, b"x")
    assert len(asked) == 1


def test_datagrams_are_probed_one_by_one():
    seen = []
    bench = Bench(
        dissector("a", lambda _, data, __: seen.append(data) or MORE, transports=("udp",)), transport="udp"
    )
    bench.feed(0, b"one")
    bench.feed(0, b"two")
    assert seen == [b"one", b"two"]


@pytest.mark.parametrize(("damaged", "found"), [(DATAGRAMS - 1, True), (DATAGRAMS, False)])
def test_the_first_datagrams_may_be_damaged(damaged, found):
    bench = Bench(dissector("a", transports=("udp",)), packets=100, transport="udp")
    for _ in range(damaged):
        assert bench.feed(0, b"z") == []
    assert bench.feed(0, b"a") == [("a", "a")] * found


def test_a_flow_of_datagrams_that_nobody_wants_is_given_up_once_both_sides_were_heard():
    asked = []
    known = dissector("a", lambda side, *_: asked.append(side) or NO, transports=("udp",))
    bench = Bench(known, packets=100, transport="udp")
    for _ in range(20):
        bench.feed(0, b"z")
    assert bench.one.active
    bench.feed(1, b"z")
    assert not bench.one.active
    assert asked == [0] * DATAGRAMS + [1]


def test_switch_by_name_gives_the_rest_to_the_next():
    bench = Bench(dissector("a"), dissector("b"))
    assert bench.feed(0, b"a /b x y") == [("a", "a"), ("a", "switch"), ("b", "x"), ("b", "y")]
    assert bench.one.switched
    assert bench.feed(1, b"z") == [("b", "z")]


def test_switch_to_whoever_it_is():
    bench = Bench(dissector("a"), dissector("bc"))
    assert bench.feed(0, b"a / b") == [("a", "a"), ("a", "switch")]
    assert bench.feed(0, b"c") == [("bc", "b"), ("bc", "c")]


def test_switch_to_a_protocol_that_nobody_reads_keeps_the_label():
    bench = Bench(dissector("a"), dissector("b"))
    assert bench.feed(0, b"a /nobody b") == [("a", "a"), ("a", "switch")]
    assert not bench.one.active
    assert bench.one.dissector.name == "a"
    assert bench.feed(0, b"b") == []


def test_switch_while_claiming_hands_the_other_side_over_too():
    bench = Bench(dissector("a", lambda side, data, _: YES if side else MORE), dissector("b"))
    bench.feed(0, b"q /b r")
    assert bench.feed(1, b"s") == [("a", "q"), ("a", "switch"), ("b", "r"), ("b", "s")]


def test_endless_switching_ends():
    bench = Bench(dissector("a"))
    said = bench.feed(0, b"a " + b" ".join([b"/a"] * 5000))
    assert len(said) == MAX_SWITCHES + 2
    assert not bench.one.active


class Broken(Words):
    def __init__(self, ends):
        raise ZeroDivisionError


class BrokenSkip(Words):
    def skip(self, side):
        raise ZeroDivisionError


class BrokenGap(Words):
    def gap(self, side):
        raise ZeroDivisionError


class BrokenClose(Words):
    def close(self, side):
        raise ZeroDivisionError
        yield


class BrokenRest(Words):
    def rest(self, side):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("parser", "act"),
    [
        (Words, lambda one: one.feed(0, b"!")),
        (Words, lambda one: one.feed(0, b"?")),
        (Broken, lambda one: None),
        (BrokenSkip, lambda one: one.skip(0)),
        (BrokenGap, lambda one: one.lost(0)),
        (BrokenClose, lambda one: one.close(0)),
        (BrokenRest, lambda one: one.feed(0, b"/a x")),
    ],
)
def test_a_fault_is_counted_once_and_ends_the_inspection_only(parser, act):
    bench = Bench(dissector("a", parser=parser))
    bench.feed(0, b"a")
    act(bench.one)
    assert bench.faults == ["a"]
    assert not bench.one.active
    assert bench.feed(0, b"more") == []


def test_a_probe_that_fails_is_a_no():
    def probe(*_):
        raise ZeroDivisionError

    bench = Bench(dissector("bad", probe), dissector("a"))
    assert bench.feed(0, b"a") == [("a", "a")]
    assert bench.faults == ["bad"]


def test_what_was_read_before_the_fault_is_said():
    bench = Bench(dissector("a"))
    assert bench.feed(0, b"a b ! c") == [("a", "a"), ("a", "b")]


def test_loss_while_probing_gives_up():
    bench = Bench(dissector("abc"))
    bench.feed(0, b"a")
    bench.one.lost(0)
    assert not bench.one.active
    assert bench.faults == []


@pytest.mark.parametrize("resumes", [True, False])
def test_loss_is_the_parsers_decision(resumes):
    class Gap(Words):
        def gap(self, side):
            return resumes

    bench = Bench(dissector("a", parser=Gap))
    bench.feed(0, b"a")
    bench.one.lost(0)
    assert bench.one.active is resumes


def test_both_sides_silent_is_the_end():
    class Mute(Words):
        def skip(self, side):
            return -1

    bench = Bench(dissector("a", parser=Mute))
    bench.feed(0, b"a")
    assert bench.one.skip(0) == MAX_SKIP
    assert bench.one.active
    assert bench.one.skip(1) == MAX_SKIP
    assert not bench.one.active


def test_close_is_said_in_the_dissectors_name():
    bench = Bench(dissector("a"))
    bench.feed(0, b"a")
    assert [(who.name, message.op) for who, message, _ in bench.one.close(1)] == [("a", "closed 1")]


def test_what_nobody_claims_in_time_is_given_up():
    bench = Bench(dissector("abc"))
    bench.feed(0, b"a")
    bench.one.tire(1000.0)
    bench.one.tire(1059.9)
    assert bench.one.active
    bench.one.tire(1060.0)
    assert not bench.one.active
    assert bench.feed(0, b"bc") == []
    assert bench.faults == []


def test_what_is_claimed_has_all_the_time():
    bench = Bench(dissector("a"))
    for now in (1.0, 1000.0):
        bench.one.tire(now)
        assert bench.feed(0, b"a") == [("a", "a")]


def test_who_is_to_be_recognised_anew_has_its_own_time():
    bench = Bench(dissector("a"), dissector("bc"))
    bench.one.tire(1000.0)
    bench.feed(0, b"a / b")
    bench.one.tire(1059.0)
    bench.one.tire(1118.9)
    assert bench.feed(0, b"c") == [("bc", "b"), ("bc", "c")]
