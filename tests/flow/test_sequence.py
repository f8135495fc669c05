"""Sequence numbers: order, holes, what was sent again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.flow import sequence as s
from exporter.flow.connection import Connection, Half
from exporter.model import FIN, SYN, Packet

TOP = 1 << 32


def half(after=100):
    new = Half(Connection(0, "tcp", bytes(12), 0.0), 0, 0.0)
    new.next = after % TOP if after >= 0 else -1
    return new


def packet(seq, length=0, flags=16):
    new = Packet("tcp", b"", b"", 0)
    new.seq, new.length, new.flags = seq % TOP, length, flags
    return new


@pytest.mark.parametrize("base", [100, TOP - 5, 5])
@pytest.mark.parametrize(
    ("offset", "length", "flags", "expected"),
    [
        (0, 10, 16, (s.IN_ORDER, 10)),
        (0, 0, 16, (s.IN_ORDER, 0)),
        (0, 0, SYN, (s.IN_ORDER, 1)),
        (0, 3, FIN, (s.IN_ORDER, 4)),
        (5, 10, 16, (s.GAP, 15)),
        (5, 0, 16, (s.GAP, 5)),
        (-10, 10, 16, (s.OLD, 0)),
        (-10, 20, 16, (s.PARTLY_OLD, 10)),
        (-10, 10, FIN, (s.PARTLY_OLD, 1)),
        (-1, 0, 16, (s.KEEPALIVE, 0)),
        (-1, 1, 16, (s.KEEPALIVE, 0)),
        (-1, 0, SYN, (s.OLD, 0)),
        (-1, 0, FIN, (s.OLD, 0)),
        (s.WINDOW + 1, 10, 16, (s.IN_ORDER, s.WINDOW + 11)),  # from nowhere: the order starts anew
        (-s.WINDOW - 1, 10, 16, (s.IN_ORDER, -s.WINDOW + 9)),
    ],
)
def test_kind(base, offset, length, flags, expected):
    kind, moved = expected
    direction = half(base)
    assert s.classify(direction, packet(base + offset, length, flags)) == kind
    assert direction.next == (base + moved) % TOP


def test_first_segment_sets_the_order():
    direction = half(-1)
    assert s.classify(direction, packet(77, 3)) == s.IN_ORDER
    assert direction.next == 80


@given(st.integers(0, TOP - 1), st.integers(-(1 << 31), (1 << 31) - 1))
def test_distance_wraps(start, by):
    assert s.distance((start + by) % TOP, start) == by


def test_what_fills_a_hole_was_not_sent_again():
    direction = half(100)
    s.classify(direction, packet(120, 10))
    assert s.fills_hole(direction, 100, 5)
    assert s.fills_hole(direction, 110, 10)
    assert not s.fills_hole(direction, 100, 5)
    assert s.fills_hole(direction, 105, 5)
    assert direction.holes is None


def test_holes_are_bounded():
    direction = half(0)
    for number in range(20):
        s.classify(direction, packet(10 + 20 * number, 10))
    assert len(direction.holes) == s.MAX_HOLES
    assert s.fills_hole(direction, 10 + 20 * 18 + 10, 10)
    assert not s.fills_hole(direction, 0, 10)


@pytest.mark.parametrize(
    ("offset", "genuine"),
    [
        (0, True),
        (s.WINDOW, True),
        (s.WINDOW + 1, False),
        (-s.BEHIND, True),
        (-s.BEHIND - 1, False),
        (1 << 31, False),
    ],
)
def test_reset_window(offset, genuine):
    assert s.in_window(half(1000), (1000 + offset) % TOP) is genuine


def test_any_reset_fits_an_unknown_direction():
    assert s.in_window(half(-1), 12345)
