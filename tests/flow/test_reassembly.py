"""Payload in order, whatever the network did to it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.flow.reassembly import MAX_HELD, NOTHING, Stream

LETTERS = bytes(range(256)) * 4


def joined(pieces):
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


@given(
    st.binary(min_size=1, max_size=200),
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.tuples(st.integers(0, 199), st.integers(1, 60)), max_size=20),
    st.randoms(use_true_random=False),
)
def test_any_order_of_pieces_gives_the_original(data, base, extra, random):
    """Cut, doubled, overlapping, shuffled: with all bytes present nothing is lost and nothing comes twice."""
    cuts = sorted({0, len(data), *(at for at, _ in extra if at < len(data))})
    pieces = list(pairwise(cuts))
    pieces += [(at, min(len(data), at + size)) for at, size in extra if at < len(data)]
    random.shuffle(pieces)
    stream = Stream(1 << 20)
    stream.pos = base
    out = []
    for start, stop in pieces:
        out += stream.push((base + start) & 0xFFFFFFFF, data[start:stop], stop - start)
    assert all(isinstance(piece, bytes) for piece in out)
    assert joined(out) == data
    assert not stream.held
    assert stream.size == 0
    assert stream.pos == (base + len(data)) & 0xFFFFFFFF


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=25),
    st.sets(st.integers(0, 24)),
    st.integers(0, 400),
    st.randoms(use_true_random=False),
)
def test_every_byte_is_delivered_lost_or_unwanted(sizes, missing, skip, random):
    """Nothing vanishes: what comes out, what is told as lost and what was not wanted are all there is."""
    stream = Stream(1 << 20)
    stream.pos, stream.skip = 0, skip
    at, parts = 0, []
    for number, size in enumerate(sizes):
        if number not in missing:
            parts.append((at, size))
        at += size
    random.shuffle(parts)
    out = []
    for start, size in parts:
        out += stream.push(start, LETTERS[start : start + size], size)
    out += stream.acknowledged(at)
    end = max((start + size for start, size in parts), default=0)
    told = sum(piece if isinstance(piece, int) else len(piece) for piece in out)
    assert stream.pos == end
    assert told + (skip - stream.skip) == end
    place = skip - stream.skip
    for piece in out:  # and what is delivered is what was sent there
        if isinstance(piece, bytes):
            assert LETTERS[place : place + len(piece)] == piece
        place += piece if isinstance(piece, int) else len(piece)


def test_a_hole_is_kept_until_all_of_it_is_acknowledged():
    stream = Stream(100)
    stream.push(0, b"ab", 2)
    assert stream.push(6, b"gh", 2) == []
    assert stream.acknowledged(4) == []
    assert stream.push(4, b"ef", 2) == []
    assert stream.acknowledged(8) == [2, b"ef", b"gh"]


def test_two_acknowledged_holes_are_given_up_at_once():
    stream = Stream(100)
    stream.push(0, b"a", 1)
    stream.push(2, b"c", 1)
    stream.push(5, b"f", 1)
    assert stream.acknowledged(6) == [1, b"c", 2, b"f"]


def test_what_waits_is_bounded_in_bytes():
    stream = Stream(10)
    stream.push(0, b"a", 1)
    assert stream.push(10, b"x" * 10, 10) == []
    assert stream.push(30, b"y", 1) == [9, b"x" * 10]
    assert stream.evicted == 1
    assert stream.size == 1


def test_what_waits_is_bounded_in_pieces():
    stream = Stream(1 << 20)
    stream.push(0, b"a", 1)
    for number in range(MAX_HELD):
        assert stream.push(10 + 2 * number, b"x", 1) == []
    assert stream.push(500, b"y", 1) == [9, b"x"]
    assert stream.evicted == 1


def test_bytes_cut_off_by_the_snap_length_are_lost():
    stream = Stream(100)
    assert stream.push(0, b"abc", 10) == [b"abc", 7]
    assert stream.push(10, b"k", 1) == [b"k"]


def test_unwanted_bytes_cut_off_are_no_loss():
    stream = Stream(100)
    stream.push(0, b"abc", 3)
    stream.skip = 20
    assert stream.push(3, b"def", 20) == []
    assert stream.skip == 0
    assert stream.push(23, b"x", 1) == [b"x"]


def test_a_hole_that_is_not_wanted_is_not_waited_for():
    stream = Stream(100)
    stream.push(0, b"a", 1)
    stream.skip = 9
    assert stream.push(5, b"fghijkl", 7) == [b"kl"]


def test_what_waits_is_freed_when_it_becomes_unwanted():
    stream = Stream(100)
    stream.push(0, b"a", 1)
    stream.push(3, b"d", 1)
    stream.skip = NOTHING
    stream.push(6, b"g", 1)
    assert not stream.held


@pytest.mark.parametrize("old", [(0, b"ab"), (1, b"b"), (0, b"abc")])
def test_old_bytes_come_once(old):
    stream = Stream(100)
    stream.push(0, b"abc", 3)
    assert stream.push(old[0], old[1], len(old[1])) == []


def test_the_first_copy_wins():
    stream = Stream(100)
    stream.push(0, b"abc", 3)
    assert stream.push(1, b"XYZ", 3) == [b"Z"]
