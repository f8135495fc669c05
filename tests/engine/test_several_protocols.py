"""A connection that goes on in another protocol is counted alike, however late its owner's name comes."""

import pytest

from exporter import metrics as m
from exporter.dissector import YES, Dissector, Parser
from exporter.model import Kind, Message
from tests.engine.frames import Talk
from tests.engine.rig import Rig

HEAD = 40


class Turn(Parser):
    """Hands over with its answer, as STARTTLS does."""

    def __init__(self, following):
        self.following = following

    def feed(self, side, data):
        yield Message(kind=Kind.NOTICE, op="say", switch=self.following if side else None)

    def rest(self, side):
        return b""


class Tell(Parser):
    def feed(self, side, data):
        yield Message(kind=Kind.NOTICE, op="say")


def dissector(name, parser, answer):
    sets = (frozenset({"tcp"}), frozenset(), frozenset({"say"}), frozenset())
    return Dissector(name, *sets, lambda *_: answer, parser, "", "")


KNOWN = [
    dissector("a", lambda _: Turn("b"), YES),
    dissector("b", lambda _: Turn("c"), 0),
    dissector("c", lambda _: Tell(), 0),
]


def conversation(named_at, name="p"):
    """An engine after a conversation in three protocols, whose owner's name came before one of its steps."""
    one = Talk()
    steps = [
        one.handshake(),
        [one.c("PA", b"x" * 10)],
        [one.s("PA", b"x" * 20)],
        [one.c("PA", b"x" * 30)],
        [one.s("PA", b"x" * 40)],
        [one.c("PA", b"x" * 50), one.s("PA", b"x" * 60)],
    ]
    rig = Rig(dissectors=KNOWN)
    for number, frames in enumerate(steps):
        if number == named_at:
            rig.answer(name)
        rig.put(*frames)
    if named_at == len(steps):
        rig.answer(name)
    return rig.settle()


WAYS = range(1, 8)
"""As soon as it is asked for, before each step, behind the last, and never."""


@pytest.mark.parametrize("named_at", WAYS)
def test_each_protocol_has_what_it_moved(named_at):
    rig = conversation(named_at)
    name = "p" if named_at < WAYS[-1] else "unknown"
    sent, got = (
        {labels[0]: value for (process, labels), value in rig.moved(family).items() if process == name}
        for family in (m.TRANSMIT_BYTES, m.RECEIVE_BYTES)
    )
    assert sent == {"a": 2 * HEAD + HEAD + 10, "b": HEAD + 30, "c": HEAD + 50}
    assert got == {"a": HEAD + HEAD + 20, "b": HEAD + 40, "c": HEAD + 60}
    assert rig.moved(m.CONNECTIONS_OPENED) == {(name, ("a", "tcp", "local")): 1}
    assert rig.bytes == rig.captured == rig.sum(m.PEER_TRANSMIT_BYTES) + rig.sum(m.PEER_RECEIVE_BYTES)


@pytest.mark.parametrize("named_at", WAYS[:-1])
def test_our_own_is_not_read_and_no_byte_of_it_is_lost(named_at):
    rig = conversation(named_at, "netproc-exporter")
    assert rig.bytes == rig.captured == 9 * HEAD + 210
    assert {process for process, _ in rig.moved(m.TRANSMIT_BYTES)} == {"netproc-exporter"}
    assert rig.sum(m.CONNECTIONS_OPENED) == 1


def test_rows_of_an_earlier_protocol_are_given_back():
    rig = conversation(6)
    held = {row.key[2][0] for row in rig.ledger.rows.values() if row.key[0] is m.TRANSMIT_BYTES and row.held}
    assert held == {"c"}
