"""Fragments: all bytes under the connection's ports, the contents once, memory bounded."""

import struct
from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.decode import fragments
from exporter.decode.frame import Decoder
from exporter.errors import UndecodableError
from exporter.model import Packet
from tests.decode.build import ETHERNET, ethernet, ipv4, ipv6, tcp, udp

MORE = 0x2000
BODY = udp(bytes(range(92)))  # 100 bytes


def piece(at: int, end: int, *, body: bytes = BODY, ident: int = 7, proto: int = 17) -> bytes:
    more = MORE if end < len(body) else 0
    return ethernet(0x0800, ipv4(proto, body[at:end], ident=ident, fragment=more | at // 8))


def piece6(at: int, end: int, *, body: bytes = BODY, proto: int = 17, ident: int = 7) -> bytes:
    header = struct.pack(">BBHI", proto, 0, at | (end < len(body)), ident)
    return ethernet(0x86DD, ipv6(44, header + body[at:end]))


def feed(decoder: Decoder, *frames: bytes, now: float = 0.0) -> list[list[Packet]]:
    return [decoder.decode(now, ETHERNET, frame, len(frame)) for frame in frames]


def decoder(limit: int = 16) -> Decoder:
    return Decoder(tunnels=False, fragments=limit)


@pytest.mark.parametrize("make", [piece, piece6])
@pytest.mark.parametrize("order", list(permutations(((0, 40), (40, 80), (80, 100)))))
def test_any_order(make: Callable[[int, int], bytes], order: tuple[tuple[int, int], ...]) -> None:
    """Each fragment is counted once, under the ports; the payload comes with the last to arrive."""
    frames = [make(at, end) for at, end in order]
    steps = feed(decoder(), *frames)
    every = [packet for step in steps for packet in step]
    assert sum(packet.size for packet in every) == sum(len(frame) - 14 for frame in frames)
    assert [(packet.transport, packet.sport, packet.dport) for packet in every] == [("udp", 1024, 53)] * 3
    complete = [packet for packet in every if not packet.fragment]
    assert [packet.payload for packet in complete] == [BODY[8:]]
    assert complete[0] is steps[-1][0]
    assert [packet.payload for packet in every if packet.fragment] == [b"", b""]
    first = order.index((0, 40))
    assert [len(step) for step in steps] == [first + 1 if at == first else int(at > first) for at in range(3)]


def test_tcp_is_acted_upon_once() -> None:
    """Flags and numbers come with the whole segment: an incomplete one never reached a socket."""
    segment = tcp(b"s" * 60, flags=0x02, options=b"\x02\x04\x05\xb4")
    first, second = feed(
        decoder(), piece(0, 8, body=segment, proto=6), piece(8, len(segment), body=segment, proto=6)
    )
    assert (first[0].fragment, first[0].dport, first[0].flags, first[0].seq) == (True, 443, 0, 0)
    assert (second[0].fragment, second[0].flags, second[0].seq, second[0].extra) == (False, 0x02, 7, 1460)
    assert (second[0].payload, second[0].size) == (b"s" * 60, 20 + len(segment) - 8)


def test_icmp_and_extension_headers() -> None:
    """RFC 8200 section 4.5: only the first fragment's next header counts; destination options may follow it."""
    body = bytes([58, 0, 1, 4, 0, 0, 0, 0]) + b"\x80\0\0\0\0\1\0\2" + b"p" * 40
    one, two = feed(decoder(), piece6(0, 24, body=body, proto=60), piece6(24, 56, body=body, proto=17))
    assert [packet.transport for packet in one + two] == ["icmpv6", "icmpv6"]
    assert (two[0].extra, two[0].length) == (0x8000, 48)


def test_first_without_ports() -> None:
    with pytest.raises(UndecodableError, match="truncated"):
        feed(decoder(), ethernet(0x0800, ipv4(17, b"\0", fragment=MORE)))


def test_a_fragment_of_a_fragment() -> None:
    """A second fragment header inside would give ports from the middle of a segment."""
    inner = bytes([17, 0, 0, 9, 0, 0, 0, 1]) + BODY
    with pytest.raises(UndecodableError, match="malformed"):
        feed(decoder(), piece6(0, 40, body=inner, proto=44))


def test_those_without_a_first_are_given_up() -> None:
    found = decoder()
    late = [piece(40, 80), piece(80, 100)]
    assert feed(found, *late, now=5.0) == [[], []]
    assert found.expire(5.0 + fragments.HOLD - 0.1) == (0, 0)
    assert found.expire(5.0 + fragments.HOLD) == (2, sum(map(len, late)))
    assert found.expire(float("inf")) == (0, 0)
    assert len(feed(found, piece(0, 40), now=40.0)[0]) == 1


def test_the_cache_is_bounded() -> None:
    """The oldest goes; what waited in it is counted. So many wait, and no more."""
    found = decoder(2)
    feed(found, piece(40, 80, ident=1), piece(0, 40, ident=2), piece(0, 40, ident=3))
    assert found.expire(0.0) == (1, len(piece(40, 80)))
    assert feed(found, piece(80, 100, ident=8), piece(80, 100, ident=9)) == [[], []]
    with pytest.raises(UndecodableError, match="fragment"):
        feed(found, piece(40, 80, ident=9))


def test_memory_is_bounded() -> None:
    body = udp(bytes(60_000))
    found = decoder(1_000_000)
    for ident in range(1000):
        feed(found, piece(0, 48_000, body=body, ident=ident))
    cache = found._outer
    assert 0 < cache._cost <= fragments.BUFFER
    assert cache._cost == sum(known.cost for known in cache._datagrams.values())
    assert len(cache._datagrams) <= fragments.BUFFER // 48_000


@pytest.mark.parametrize(
    "frames",
    [
        [piece(0, 40), piece(32, 80), piece(80, 100)],  # overlap
        [piece(0, 40), piece(80, 100), piece(40, 88)],
        [piece(40, 80), piece(0, 48), piece(80, 100)],
        [
            piece(0, 40),
            ethernet(0x0800, ipv4(17, b"x" * 13, ident=7, fragment=MORE | 5)),
            piece(80, 100),
        ],  # not 8 n
        [
            piece(0, 40),
            piece(80, 100),
            ethernet(0x0800, ipv4(17, b"x" * 8, ident=7, fragment=5)),
            piece(40, 80),
        ],
        [
            piece(0, 40),
            ethernet(0x0800, ipv4(17, b"x" * 60, ident=7, fragment=0x1FFF)),
            piece(40, 80),
        ],  # over 64 KiB
    ],
)
def test_contradictions_end_the_inspection_only(frames: list[bytes]) -> None:
    """As Linux does (RFC 5722): no order of pieces may say two things. All bytes are counted."""
    every = [packet for step in feed(decoder(), *frames) for packet in step]
    assert sum(packet.size for packet in every) == sum(len(frame) - 14 for frame in frames)
    assert all(packet.fragment and packet.payload == b"" and packet.dport == 53 for packet in every)


def test_duplicates_are_counted_and_passed_over() -> None:
    steps = feed(decoder(), piece(0, 40), piece(0, 40), piece(40, 100), piece(40, 100))
    assert [(step[0].dport, step[0].payload) for step in steps] == [
        (53, b""),
        (53, b""),
        (53, BODY[8:]),
        (53, b""),
    ]


def test_an_identification_comes_back() -> None:
    other = udp(b"other" * 20, dport=99)
    steps = feed(
        decoder(), piece(0, 40), piece(40, 100), piece(0, 40, body=other), piece(40, 108, body=other)
    )
    assert [step[0].dport for step in steps] == [53, 53, 99, 99]
    assert steps[3][0].payload == other[8:]


def test_after_its_time_a_datagram_is_a_new_one() -> None:
    found = decoder()
    feed(found, piece(0, 40))
    assert feed(found, piece(40, 100), now=100.0) == [[]]


def test_cut_by_the_capture() -> None:
    """What was captured up to the first hole is read; the length is the true one."""
    found = decoder()
    frames = [piece(0, 40), piece(40, 100)]
    found.decode(0.0, ETHERNET, frames[0][:54], len(frames[0]))
    (packet,) = found.decode(0.0, ETHERNET, frames[1], len(frames[1]))
    assert (packet.payload, packet.length) == (BODY[8:20], 92)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 13), st.integers(0, 2)), max_size=24),
    st.integers(1, 4),
)
def test_books_balance(parts: list[tuple[int, int, int]], limit: int) -> None:
    """Whatever arrives: counted, refused or given up, and each once; nothing but UndecodableError."""
    found, sent, counted, refused = decoder(limit), 0, 0, 0
    for step, (at, size, ident) in enumerate(parts):
        frame = piece(8 * at, 8 * (at + size), ident=ident)
        sent += 1
        try:
            counted += len(found.decode(step * 3.0, ETHERNET, frame, len(frame)))
        except UndecodableError:
            refused += 1
    assert counted + refused + found.expire(float("inf"))[0] == sent
    assert found._outer._cost == found._outer._held == 0
