"""Each packet goes to one worker, both directions to the same. The kernel itself runs the filter, on a socket pair."""

import socket
from collections.abc import Callable, Iterator
from itertools import product
from random import Random
from struct import pack

import pytest

from exporter.capture import bpf
from exporter.capture.deal import dealing, shard
from tests.capture import packets as p

A4, B4, C4, D4 = "10.1.2.3", "192.0.2.77", "198.51.100.9", "10.9.9.14"
A6, B6, C6, D6 = "2001:db8::1:2", "fd00::7", "2001:db8:5::9", "fe80::e"
Takers = Callable[[bytes], list[int]]


class Kernel:
    """Sockets with the filters of all workers."""

    def __init__(self, workers: int, link: int = 1, *, inner: bool = False) -> None:
        self.pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
        for index, (reader, _) in enumerate(self.pairs):
            reader.setblocking(False)
            bpf.attach(
                reader.fileno(), [*dealing(link, index, workers, inner=inner), (bpf.Op.ret, 0, 0, 0xFFFF)]
            )

    def takers(self, packet: bytes) -> list[int]:
        found = []
        for index, (reader, writer) in enumerate(self.pairs):
            writer.send(packet)
            try:
                taken = reader.recv(70000)
            except BlockingIOError:
                continue
            assert taken == packet
            found.append(index)
        return found

    def close(self) -> None:
        for pair in self.pairs:
            for one in pair:
                one.close()


@pytest.fixture(params=[2, 3, 4, 7])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def outer(workers: int) -> Iterator[Takers]:
    kernel = Kernel(workers)
    yield kernel.takers
    kernel.close()


@pytest.fixture
def inner(workers: int) -> Iterator[Takers]:
    kernel = Kernel(workers, inner=True)
    yield kernel.takers
    kernel.close()


TCP = bytes(20)
PLAIN = {
    "ipv4": (A4, B4, p.ethernet(p.ipv4(A4, B4, TCP))),
    "ipv6": (A6, B6, p.ethernet(p.ipv6(A6, B6, TCP))),
    "udp": (A4, C4, p.ethernet(p.ipv4(A4, C4, p.udp(53, b"x" * 20), 17))),
    "options": (A4, C4, p.ethernet(p.ipv4(A4, C4, TCP, options=24))),
    "no_payload": (A4, D4, p.ethernet(p.ipv4(A4, D4))),
    "vlan": (A4, B4, p.ethernet(p.ipv4(A4, B4, TCP), tags=(0x8100,))),
    "qinq": (A6, C6, p.ethernet(p.ipv6(A6, C6, TCP), tags=(0x88A8, 0x8100))),
    "first_fragment": (A4, B4, p.ethernet(p.ipv4(A4, B4, p.udp(4789, bytes(60)), 17, fragment=0x2000))),
    "later_fragment": (A4, B4, p.ethernet(p.ipv4(A4, B4, bytes(99), 17, fragment=0x2007))),
    "last_fragment": (A4, B4, p.ethernet(p.ipv4(A4, B4, bytes(99), 1, fragment=0x0007))),
    "echo": (A4, C4, p.ethernet(p.ipv4(A4, C4, p.icmp(8, bytes(60)), 1))),
    "echo6": (A6, C6, p.ethernet(p.ipv6(A6, C6, p.icmp(128, bytes(60)), 58))),
    "extension6": (A6, B6, p.ethernet(p.ipv6(A6, B6, b"\x3a\0" + bytes(60), 0))),
    "unreachable": (A4, B4, p.ethernet(p.ipv4(D4, A4, p.icmp(3, p.ipv4(A4, B4, bytes(8))), 1))),
    "unreachable6": (A6, B6, p.ethernet(p.ipv6(D6, A6, p.icmp(1, p.ipv6(A6, B6, bytes(8))), 58))),
    "quotes_nothing": (D4, A4, p.ethernet(p.ipv4(D4, A4, p.icmp(11, bytes(40)), 1))),
    "quotes_little": (D4, A4, p.ethernet(p.ipv4(D4, A4, p.icmp(11, p.ipv4(A4, B4)[:16]), 1))),
}
CARRIED4, CARRIED6 = p.ipv4(C4, D4, TCP), p.ipv6(C6, D6, TCP)
TUNNELS = {
    "ipip": (4, CARRIED4),
    "6in4": (41, CARRIED6),
    "gre": (47, p.gre(CARRIED4)),
    "gre_key": (47, p.gre(CARRIED4, 0x2000)),
    "gre_all": (47, p.gre(CARRIED6, 0xB000, 0x86DD)),
    "gretap": (47, p.gre(p.ethernet(CARRIED6), 0x1000, 0x6558)),
    "vxlan": (17, p.vxlan(p.ethernet(CARRIED4))),
    "vxlan6": (17, p.vxlan(p.ethernet(CARRIED6))),
    "geneve": (17, p.geneve(p.ethernet(CARRIED4))),
    "geneve_options": (17, p.geneve(p.ethernet(CARRIED6), 24)),
    "gtp": (17, p.gtp(CARRIED4)),
    "gtp_number": (17, p.gtp(CARRIED6, 2)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_goes_to_the_one_worker_of_its_addresses(
    name: str, outer: Takers, inner: Takers, workers: int
) -> None:
    source, destination, frame = PLAIN[name]
    expected = [shard(p.packed(source), p.packed(destination), workers)]
    assert outer(frame) == inner(frame) == expected


@pytest.mark.parametrize("name", TUNNELS)
@pytest.mark.parametrize("around", [(A4, B4), (A6, B6)])
def test_a_tunnel_goes_by_what_is_inside_if_tunnels_are_followed(
    name: str, around: tuple[str, str], outer: Takers, inner: Takers, workers: int
) -> None:
    protocol, carried = TUNNELS[name]
    frame = p.ethernet(p.ip(*around, carried, protocol))
    ends = (C6, D6) if CARRIED6 in carried else (C4, D4)
    assert inner(frame) == [shard(*map(p.packed, ends), workers)]
    assert outer(frame) == [shard(*map(p.packed, around), workers)]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(p.ethernet(bytes(28), 0x0806), id="arp"),
        pytest.param(p.ethernet(bytes(50), 0x88CC), id="lldp"),
        pytest.param(p.ethernet(p.ipv4(A4, B4, TCP), tags=(0x8100, 0x8100, 0x8100)), id="three tags"),
        pytest.param(p.ethernet(b"\x55" + bytes(60), 0x0800), id="no IP version"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_the_rest_is_worker_0s(frame: bytes, outer: Takers, inner: Takers) -> None:
    assert outer(frame) == inner(frame) == [0]


def test_no_packet_is_lost_wherever_it_is_cut(outer: Takers, inner: Takers) -> None:
    frames = [frame for _, _, frame in PLAIN.values()]
    frames += [p.ethernet(p.ipv4(A4, B4, carried, protocol)) for protocol, carried in TUNNELS.values()]
    for frame, takers in product(frames, (outer, inner)):
        for size in range(len(frame)):
            assert len(takers(frame[:size])) == 1, (frame, size)


def test_no_packet_is_lost_whatever_is_in_it(outer: Takers, inner: Takers) -> None:
    random = Random(7)
    frames = [frame for _, _, frame in PLAIN.values()]
    frames += [p.ethernet(p.ipv4(A4, B4, carried, protocol)) for protocol, carried in TUNNELS.values()]
    for _ in range(2000):
        frame = bytearray(random.choice(frames))
        for _ in range(3):
            frame[random.randrange(len(frame))] = random.randrange(256)
        assert len(outer(bytes(frame))) == len(inner(bytes(frame))) == 1, bytes(frame)


def test_both_directions_meet_and_the_shares_are_even(outer: Takers, workers: int) -> None:
    random = Random(3)
    shares = [0] * workers
    for _ in range(500):
        one, other = (
            f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}" for _ in "ab"
        )
        (taker,) = outer(p.ethernet(p.ipv4(one, other, TCP)))
        assert outer(p.ethernet(p.ipv4(other, one, TCP))) == [taker]
        shares[taker] += 1
    assert max(shares) < 2 * 500 / workers


def test_one_worker_needs_no_filter() -> None:
    assert dealing(1, 0, 1) == []


def test_a_link_type_that_the_filter_cannot_read_is_worker_0s(workers: int) -> None:
    kernel = Kernel(workers, link=105)
    assert kernel.takers(p.ipv4(A4, B4, TCP)) == [0]
    kernel.close()


def test_the_kernel_tells_a_filter_as_it_was_set() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        assert bpf.attached(one.fileno()) == []
        program = [*dealing(1, 2, 5, inner=True), (bpf.Op.ret, 0, 0, 99)]
        bpf.attach(one.fileno(), program)
        assert bpf.attached(one.fileno()) == program


def test_a_filter_without_end_is_refused_by_the_kernel() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other, pytest.raises(OSError, match="Invalid argument"):
        bpf.attach(one.fileno(), dealing(1, 0, 2))


def test_a_filters_yes_becomes_the_bytes_to_keep() -> None:
    program = [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (6, 0, 0, 262144), (6, 0, 0, 0)]
    assert [step[3] for step in bpf.returning(program, 500)] == [12, 0x800, 500, 0]


def test_addresses_of_a_mapped_and_a_plain_packet_are_dealt_alike() -> None:
    assert shard(p.packed("::ffff:10.0.0.1"), p.packed("::ffff:10.0.0.2"), 4) == shard(
        p.packed("10.0.0.1"), p.packed("10.0.0.2"), 4
    )
    assert shard(pack("!I", 5), pack("!I", 5), 3) == 0
