"""IPv4 and IPv6: whose bytes, where the transport begins."""

import struct

import pytest

from tests.decode.build import A4, A6, B4, B6, ethernet, ipv4, ipv6, only, reason, tcp, udp


def header(following: int, size: int = 8) -> bytes:
    return bytes([following, size // 8 - 1]) + b"\x01" + bytes([size - 4]) + bytes(size - 4)


def test_ipv4_options() -> None:
    packet = only(ethernet(0x0800, ipv4(6, tcp(b"x"), options=b"\x94\x04\0\0" + b"\x01" * 36)))
    assert (packet.src, packet.dst, packet.size, packet.payload) == (A4, B4, 81, b"x")


def test_ethernet_padding_is_no_payload() -> None:
    """A minimal frame's tail once made phantom payloads (PITFALLS 2)."""
    packet = only(ethernet(0x0800, ipv4(6, tcp()), b"\xaa" * 6))
    assert (packet.size, packet.length, packet.payload, packet.pad) == (40, 0, b"", 6)


def test_ipv4_length_zero_is_offload() -> None:
    """The wire's length less the link header, also where less was captured (PITFALLS 3)."""
    frame = ethernet(0x0800, ipv4(6, tcp(b"y" * 3000)))
    frame = frame[:16] + b"\0\0" + frame[18:]
    packet = only(frame[:100], wire=len(frame))
    assert (packet.size, packet.length, len(packet.payload), packet.pad) == (3040, 3000, 46, 0)


def test_ipv6_length_zero_is_offload() -> None:
    packet = only(ethernet(0x86DD, ipv6(6, tcp(b"y" * 100_000), length=0)))
    assert (packet.size, packet.length) == (100_060, 100_000)


def test_ipv6_jumbogram() -> None:
    """RFC 2675: the length stands in a hop-by-hop option."""
    jumbo = bytes([6, 0, 0xC2, 4]) + struct.pack(">I", 8 + 20 + 70_000)
    packet = only(ethernet(0x86DD, ipv6(0, jumbo + tcp(b"j" * 70_000), length=0), b"pad"))
    assert (packet.transport, packet.size, packet.length, packet.pad) == (
        "tcp",
        40 + 8 + 20 + 70_000,
        70_000,
        3,
    )


def test_ipv6_no_next_header() -> None:
    """RFC 8200 section 4.7: nothing follows, and the padding is not it."""
    packet = only(ethernet(0x86DD, ipv6(59, b""), bytes(6)))
    assert (packet.transport, packet.size, packet.pad, packet.length) == ("ip-proto-59", 40, 6, 0)


CHAINS = {
    "hop-by-hop": (0, header(6)),
    "routing": (43, header(6, 24)),
    "destination options": (60, header(6, 16)),
    "all in a row": (0, header(60) + header(43) + header(60) + header(6)),
    "authentication": (51, bytes([6, 4]) + bytes(22)),
    "mobility before a payload": (135, header(6)),
    "shim6": (140, header(6)),
    "atomic fragment (RFC 6946)": (44, bytes([6, 0, 0, 0]) + bytes(4)),
    "fifteen": (60, header(60) * 14 + header(6)),
}


@pytest.mark.parametrize(("first", "chain"), CHAINS.values(), ids=CHAINS)
def test_ipv6_extension_headers(first: int, chain: bytes) -> None:
    packet = only(ethernet(0x86DD, ipv6(first, chain + tcp(b"z"))))
    assert (packet.transport, packet.src, packet.dst, packet.dport) == ("tcp", A6, B6, 443)
    assert (packet.size, packet.payload, packet.fragment) == (40 + len(chain) + 21, b"z", False)


def test_ipv4_authentication_header() -> None:
    packet = only(ethernet(0x0800, ipv4(51, bytes([17, 4]) + bytes(22) + udp(b"q"))))
    assert (packet.transport, packet.dport, packet.payload) == ("udp", 53, b"q")


def test_mobility_message() -> None:
    """RFC 6275 section 6.1: nothing follows, so the header is the message."""
    assert only(ethernet(0x86DD, ipv6(135, header(59, 16)))).transport == "ip-proto-135"


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (ethernet(0x0800, b"\x44" + ipv4(6, tcp())[1:]), "malformed"),  # a header of 16 bytes
        (ethernet(0x0800, b"\x65" + ipv4(6, tcp())[1:]), "malformed"),  # version 6
        (
            ethernet(0x0800, ipv4(6, tcp())[:2] + b"\0\x13" + ipv4(6, tcp())[4:]),
            "malformed",
        ),  # shorter than itself
        (ethernet(0x0800, ipv4(6, tcp())[:19]), "truncated"),
        (ethernet(0x86DD, b"\x40" + ipv6(6, tcp())[1:]), "malformed"),
        (ethernet(0x86DD, ipv6(6, tcp())[:39]), "truncated"),
        (ethernet(0x86DD, ipv6(60, header(60) * 40 + header(6) + tcp())), "malformed"),  # too many
        (ethernet(0x86DD, ipv6(60, b"\x06\xff" + bytes(20))), "malformed"),  # reaches behind the packet
        (ethernet(0x86DD, ipv6(60, b"", length=60)), "truncated"),
        (ethernet(0x86DD, ipv6(44, b"\x06\0", length=60)), "truncated"),
        (ethernet(0x86DD, ipv6(0, b"\x06\0\xc2\x04\xff\xff\xff\xff" + tcp(), length=0)), "malformed"),  # 4 GB
        (ethernet(0x86DD, ipv6(0, b"", length=0)), "malformed"),  # the wire had no more
        (ethernet(0x0806, bytes.fromhex("0001 86dd 06 10 0001") + bytes(60)), "not_ip"),
        (ethernet(0x0806, bytes.fromhex("0001 0800 ff 04 0001") + bytes(60)), "truncated"),
    ],
)
def test_what_cannot_be_counted(frame: bytes, why: str) -> None:
    assert reason(frame) == why
