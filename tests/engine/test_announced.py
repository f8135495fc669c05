"""An end may send what the other one announced: large sites' servers send more than they announce themselves."""

import pytest

from exporter import metrics as m
from tests.engine import frames as f
from tests.engine.frames import Talk
from tests.engine.rig import ETH, Rig

HEAD = 40
LARGER, TWICE = b"x" * 1430, b"x" * 2860


def met(announced=(1460, 1380), fast=True, on=ETH):
    """A conversation whose client, which is ours, and whose server announced these; and its beginning's bytes."""
    one = Talk()
    rig = Rig(fast=fast, metrics={"packets": True})
    first, second = (f.mss(size) for size in announced)
    rig.put(one.c("S", options=first), one.s("SA", options=second), one.c("A"), on=on)
    return one, rig


def received(rig):
    """Packets and bytes behind the handshake."""
    rig.settle()
    return rig.sum(m.RECEIVE_PACKETS) - 1, rig.sum(m.RECEIVE_BYTES) - HEAD - 4


@pytest.mark.parametrize("fast", [True, False])
def test_a_server_that_sends_more_than_it_announced(fast):
    """As in zeek's tls1_1 capture: 1380 announced, 1430 sent."""
    one, rig = met(fast=fast)
    rig.put(one.s("A", LARGER), one.s("A", LARGER), one.s("PA", LARGER))
    assert received(rig) == (3, 3 * (1430 + HEAD))
    assert rig.sum(m.ESTIMATED_SEGMENTS) == 0


def test_what_was_seen_of_one_is_known_of_what_is_merged():
    one, rig = met()
    rig.put(one.s("A", LARGER), one.s("A", TWICE))
    assert received(rig) == (3, 3 * (1430 + HEAD))
    assert rig.sum(m.ESTIMATED_SEGMENTS) == 1


@pytest.mark.parametrize(
    ("announced", "flags", "size", "segments"),
    [
        ((1460, 1380), "PA", 1430, 2),  # a full one and the last one, merged
        ((1460, 1380), "A", 2760, 2),  # two full ones
        ((1460, 1380), "A", 1461, 2),  # more than the client takes
        ((1380, 1380), "A", 1430, 2),  # nobody may send that
        ((1380, 1460), "A", 1430, 2),  # the server may not
        ((8960, 1460), "A", 2 * 1348, 2),  # two of a path that is narrower than both ends know
    ],
)
def test_what_offload_merged_is_several(announced, flags, size, segments):
    one, rig = met(announced, on=ETH._replace(mtu=9000))
    rig.put(one.s(flags, b"x" * size))
    assert received(rig) == (segments, size + segments * HEAD)
    assert rig.sum(m.ESTIMATED_SEGMENTS) == segments - 1


@pytest.mark.parametrize("times", [1, 2])
def test_a_client_that_sends_more_than_it_announced(times):
    """The other way round, and with the SYN-ACK sent again."""
    one = Talk(client=f.End("192.0.2.1", 40_000), server=f.End("10.0.0.1", 80))
    rig = Rig(metrics={"packets": True})
    rig.put(one.c("S", options=f.mss(1380)))
    answer = one.s("SA", options=f.mss(1460))
    rig.put(*[answer] * times, one.c("A"), one.c("A", LARGER)).settle()
    assert rig.sum(m.RECEIVE_BYTES) == HEAD + 4 + HEAD + 1430 + HEAD
    assert rig.sum(m.ESTIMATED_SEGMENTS) == 0


def test_our_own_end_sends_what_it_announced():
    """A piece of it that was not pushed is the end of what offload will cut."""
    one, rig = met((1380, 1460))
    rig.put(one.c("A", LARGER)).settle()
    assert rig.sum(m.ESTIMATED_SEGMENTS) == 1
