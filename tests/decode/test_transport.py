"""Transports: ports, lengths, and what is left of a header that cannot be trusted."""

import struct

import pytest

from tests.decode.build import A4, A6, B4, B6, ethernet, ipv4, ipv6, only, reason, tcp, udp


def over4(proto: int, body: bytes, tail: bytes = b"") -> bytes:
    return ethernet(0x0800, ipv4(proto, body), tail)


def test_tcp() -> None:
    packet = only(over4(6, tcp(b"data", flags=0x18, options=b"\x01" * 12)))
    assert (packet.transport, packet.sport, packet.dport) == ("tcp", 1024, 443)
    assert (packet.seq, packet.ack, packet.flags, packet.window) == (7, 9, 0x18, 512)
    assert (packet.payload, packet.length, packet.extra) == (b"data", 4, 0)


@pytest.mark.parametrize(
    ("options", "mss"),
    [
        (b"\x02\x04\x05\xb4", 1460),
        (b"\x01\x01\x01\x02\x04\x05\xb4\x00", 1460),
        (b"\x04\x02\x02\x04\xff\xff\x00\x00", 65535),
        (b"\x00\x02\x04\x05\xb4\x00\x00\x00", 0),  # behind the end of the list
        (b"\x03\x00\x02\x04\x05\xb4\x00\x00", 1460),  # a length of 0 does not hold the walk up
        (b"\x02\x03\x05\xb4", 0),
        (b"\x01\x01\x02\x04", 0),
    ],
)
def test_mss(options: bytes, mss: int) -> None:
    """RFC 9293 section 3.2; only a SYN has one."""
    assert only(over4(6, tcp(flags=0x02, options=options))).extra == mss
    assert only(over4(6, tcp(flags=0x10, options=options))).extra == 0


def test_tcp_cut_by_the_capture() -> None:
    frame = over4(6, tcp(b"d" * 100))
    packet = only(frame[:64], wire=len(frame))
    assert (packet.length, packet.payload) == (100, b"d" * 10)
    for size in range(38, 54):  # the ports are there, the header is not
        packet = only(frame[:size], wire=len(frame))
        assert (packet.sport, packet.dport, packet.size) == (1024, 443, 140)
        assert (packet.flags, packet.seq, packet.length, packet.payload) == (0, 0, 0, b"")


@pytest.mark.parametrize("offset", [0x00, 0x40, 0xF0])
def test_tcp_with_an_impossible_offset(offset: int) -> None:
    """Counted, but nothing follows from it: no stack takes it."""
    segment = bytearray(tcp(b"abc", flags=0x02))
    segment[12] = offset
    packet = only(over4(6, bytes(segment)))
    assert (packet.sport, packet.size, packet.flags, packet.payload) == (1024, 43, 0, b"")


@pytest.mark.parametrize(
    ("length", "payload"),
    [(None, b"query"), (0, b"query"), (100, b"query"), (10, b"qu"), (8, b""), (7, b"")],
)
def test_udp_length(length: int | None, payload: bytes) -> None:
    """RFC 768: never more than the IP packet has, and less where the header says so."""
    packet = only(over4(17, udp(b"query", length=length), b"pad"))
    assert (packet.transport, packet.size, packet.payload, packet.length) == (
        "udp",
        33,
        payload,
        len(payload),
    )


def test_ports_do_not_come_from_the_padding() -> None:
    for proto in (6, 17, 132):
        assert reason(over4(proto, b"\x01", b"\x02" * 40)) == "truncated"


def test_sctp() -> None:
    """RFC 9260 section 3.1."""
    packet = only(over4(132, struct.pack(">HHII", 36412, 36413, 1, 0) + b"\x00\x03\x00\x10" + bytes(12)))
    assert (packet.transport, packet.sport, packet.dport, packet.length) == ("sctp", 36412, 36413, 16)


@pytest.mark.parametrize(
    ("proto", "name"),
    [
        (4, "ipip"),
        (41, "ipip"),
        (47, "gre"),
        (50, "esp"),
        (89, "ospf"),
        (103, "pim"),
        (112, "vrrp"),
        (200, "ip-proto-200"),
    ],
)
def test_transports_without_ports(proto: int, name: str) -> None:
    packet = only(over4(proto, b"\0message", b"pad"))
    assert (packet.transport, packet.sport, packet.dport) == (name, 0, 0)
    assert (packet.payload, packet.length) == (b"\0message", 8)


def test_icmp_echo() -> None:
    """A dissector sees the whole message: the id and sequence number are in its header."""
    packet = only(over4(1, b"\x08\x00\0\0\x12\x34\0\1ping"))
    assert (packet.transport, packet.extra, packet.length, packet.quoted) == ("icmp", 0x0800, 12, None)


def test_icmp_error_quotes_a_packet() -> None:
    """RFC 792: the IP header and 8 bytes are enough to know which connection was refused."""
    packet = only(over4(1, b"\x03\x03\0\0\0\0\0\0" + ipv4(17, udp(b"x" * 50))[:28]))
    assert packet.extra == 0x0303
    assert packet.quoted is not None
    quoted = packet.quoted
    assert (quoted.transport, quoted.src, quoted.dst, quoted.sport, quoted.dport) == ("udp", A4, B4, 1024, 53)
    assert quoted.size == 78


def test_icmpv6_error_quotes_a_packet() -> None:
    """RFC 4443 section 3.1, here with a fragment header before the ports."""
    inner = ipv6(44, bytes([6, 0, 0, 1, 0, 0, 0, 5]) + tcp(b"x" * 1000))[:100]
    packet = only(ethernet(0x86DD, ipv6(58, b"\x01\x04\0\0\0\0\0\0" + inner)))
    assert (packet.transport, packet.extra) == ("icmpv6", 0x0104)
    assert packet.quoted is not None
    assert (packet.quoted.src, packet.quoted.dst, packet.quoted.dport) == (A6, B6, 443)


@pytest.mark.parametrize(
    "quoted", [b"", b"\x45" + bytes(10), ipv4(6, tcp(), fragment=3), ipv4(6, b"\0\1"), bytes(40)]
)
def test_icmp_error_that_quotes_nothing_useful(quoted: bytes) -> None:
    assert only(over4(1, b"\x03\x01\0\0\0\0\0\0" + quoted)).quoted is None


def test_igmp() -> None:
    packet = only(over4(2, b"\x16\0\0\0\xe0\0\0\xfb"))
    assert (packet.transport, packet.extra, packet.length) == ("igmp", 0x16, 8)
