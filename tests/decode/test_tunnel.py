"""Tunnels: the connection inside is found, and nothing that only looks like a tunnel is believed."""

import struct

import pytest

from exporter.decode.frame import Decoder
from exporter.model import Packet
from tests.decode.build import ETHERNET, MACS, ethernet, every, ipv4, ipv6, only, tcp, udp

IN4, IN6 = ipv4(6, tcp(b"inner")), ipv6(6, tcp(b"inner"))
FRAME = ethernet(0x0800, IN4)
VXLAN = bytes.fromhex("08000000 00002a00")
GENEVE = bytes.fromhex("0200 6558 00002a00") + bytes(8)


def gre(flags: int, kind: int, rest: bytes) -> bytes:
    return ipv4(47, struct.pack(">HH", flags, kind) + rest)


def over_udp(port: int, body: bytes, sport: int = 50000) -> bytes:
    return ipv4(17, udp(body, sport=sport, dport=port))


TEREDO = IN6[:8] + bytes.fromhex("20010000 0a000001 00000000 00000001") + IN6[24:]

# The outer packet, its tunnel's name. The inner one is IN4 or IN6 in all of them.
CASES: dict[str, tuple[bytes, str]] = {
    "IP in IP": (ipv4(4, IN4), "ipip"),
    "6in4": (ipv4(41, IN6), "ipip"),
    "4in6": (ipv6(4, IN4), "ipip"),
    "6in6": (ipv6(41, IN6), "ipip"),
    "GRE": (gre(0, 0x0800, IN4), "gre"),
    "GRE, IPv6": (gre(0, 0x86DD, IN6), "gre"),
    "GRE with checksum, key and sequence number": (gre(0xB000, 0x0800, bytes(12) + IN4), "gre"),
    "GRE with routing (RFC 1701)": (gre(0x4000, 0x0800, bytes(4) + b"\0\2\0\4" + bytes(8) + IN4), "gre"),
    "GRE, transparent Ethernet (NVGRE)": (gre(0x2000, 0x6558, bytes(4) + FRAME), "gre"),
    "GRE, VLAN inside": (gre(0, 0x6558, MACS + bytes.fromhex("8100 0001 0800") + IN4), "gre"),
    "GRE, MPLS inside": (gre(0, 0x8847, struct.pack(">I", 0x10140) + IN4), "gre"),
    "GRE, WCCP version 2": (gre(0, 0x883E, bytes(4) + IN4), "gre"),
    "PPTP": (gre(0x3001, 0x880B, bytes(4) + bytes(4) + bytes.fromhex("ff03 0021") + IN4), "gre"),
    "PPTP with acknowledgement": (gre(0x3081, 0x880B, bytes(12) + b"\x21" + IN4), "gre"),
    "ERSPAN I": (gre(0, 0x88BE, FRAME), "erspan"),
    "ERSPAN II": (gre(0x1000, 0x88BE, bytes(4) + bytes.fromhex("1001000a 00000000") + FRAME), "erspan"),
    "ERSPAN III": (gre(0x1000, 0x22EB, bytes(4) + b"\x20" + bytes(11) + FRAME), "erspan"),
    "ERSPAN III with subheader": (
        gre(0x1000, 0x22EB, bytes(4) + b"\x20" + bytes(10) + b"\1" + bytes(8) + FRAME),
        "erspan",
    ),
    "ERSPAN III, IP": (gre(0x1000, 0x22EB, bytes(4) + b"\x20" + bytes(9) + b"\x08\0" + IN4), "erspan"),
    "EtherIP": (ipv4(97, b"\x30\0" + FRAME), "etherip"),
    "MPLS in IP": (ipv4(137, struct.pack(">I", 0x10140) + IN4), "mpls"),
    "MPLS over UDP": (over_udp(6635, struct.pack(">I", 0x10140) + IN4), "mpls"),
    "VXLAN": (over_udp(4789, VXLAN + FRAME), "vxlan"),
    "VXLAN, Linux' port": (over_udp(8472, VXLAN + FRAME), "vxlan"),
    "VXLAN with group policy": (over_udp(4789, bytes.fromhex("88000007 00002a00") + FRAME), "vxlan"),
    "VXLAN-GPE": (over_udp(4790, bytes.fromhex("0c000001 00002a00") + IN4), "vxlan"),
    "GENEVE with options": (over_udp(6081, GENEVE + FRAME), "geneve"),
    "GENEVE, IP": (over_udp(6081, bytes.fromhex("0000 86dd 00002a00") + IN6), "geneve"),
    "GTP-U": (over_udp(2152, struct.pack(">BBHI", 0x30, 255, len(IN4), 1) + IN4), "gtp"),
    "GTP-U from its port": (
        over_udp(50000, struct.pack(">BBHI", 0x30, 255, len(IN6), 1) + IN6, sport=2152),
        "gtp",
    ),
    "GTP-U with sequence number": (
        over_udp(2152, struct.pack(">BBHII", 0x32, 255, 0, 1, 0x10000) + IN4),
        "gtp",
    ),
    "GTP-U with extensions": (
        over_udp(2152, struct.pack(">BBHII", 0x34, 255, 0, 1, 0x85) + b"\1\0\x09\x85\1\0\x09\0" + IN4),
        "gtp",
    ),
    "Teredo": (over_udp(3544, TEREDO), "teredo"),
    "Teredo on another port": (over_udp(40000, TEREDO), "teredo"),
    "Teredo with indications": (
        over_udp(3544, b"\0\1\0\0" + bytes(9) + b"\0\0" + bytes(6) + TEREDO),
        "teredo",
    ),
    "L2TP": (over_udp(1701, struct.pack(">HHH", 0x0002, 1, 2) + bytes.fromhex("ff03 0021") + IN4), "l2tp"),
    "L2TP with all fields": (
        over_udp(1701, struct.pack(">H", 0x4A02) + bytes(10) + b"\0\2\0\0\x21" + IN4),
        "l2tp",
    ),
    "GRE in UDP": (over_udp(4754, struct.pack(">HH", 0, 0x0800) + IN4), "gre"),
}


def inside_of(packet: bytes) -> Packet | None:
    return only(ethernet(0x86DD if packet[0] >> 4 == 6 else 0x0800, packet)).inner


@pytest.mark.parametrize(("outer", "name"), CASES.values(), ids=CASES)
def test_tunnels(outer: bytes, name: str) -> None:
    frame = ethernet(0x86DD if outer[0] >> 4 == 6 else 0x0800, outer)
    packet = only(frame)
    assert (packet.size, packet.tunnel) == (len(outer), "")
    assert packet.inner is not None
    inner = packet.inner
    assert (inner.tunnel, inner.transport, inner.sport, inner.dport) == (name, "tcp", 1024, 443)
    assert (inner.payload, inner.size) == (b"inner", len(IN4) if len(inner.src) == 4 else len(IN6))
    (plain,) = Decoder(tunnels=False, fragments=1).decode(0.0, ETHERNET, frame, len(frame))
    assert plain.inner is None


@pytest.mark.parametrize(("outer", "name"), CASES.values(), ids=CASES)
def test_tunnels_cut_anywhere(outer: bytes, name: str) -> None:
    """The outer packet is counted all the same; the one inside is right or not there."""
    frame = ethernet(0x86DD if outer[0] >> 4 == 6 else 0x0800, outer)
    for size in range(14 + 40 + 8, len(frame)):
        packet = only(frame[:size], wire=len(frame))
        assert packet.size == len(outer)
        if packet.inner is not None:
            assert (packet.inner.tunnel, packet.inner.sport, packet.inner.dport) == (name, 1024, 443)


@pytest.mark.parametrize(
    "outer",
    [
        over_udp(4789, b"\x00" + VXLAN[1:] + FRAME),  # no network identifier
        over_udp(4789, VXLAN[:7] + b"\x01" + FRAME),  # reserved bits
        over_udp(4789, b"\x08\x01" + VXLAN[2:] + FRAME),
        over_udp(50000, VXLAN + FRAME, sport=4789),  # the source port is a hash, not the protocol
        over_udp(4789, VXLAN + ethernet(0x88CC, bytes(60))),
        over_udp(4789, VXLAN + FRAME[:-3]),  # the packet inside does not fit
        over_udp(4790, bytes.fromhex("0c000009 00002a00") + IN4),
        over_udp(6081, b"\x40" + GENEVE[1:] + FRAME),  # version 1
        over_udp(6081, GENEVE[:2] + b"\x88\xcc" + GENEVE[4:] + FRAME),
        over_udp(2152, struct.pack(">BBHI", 0x30, 1, len(IN4), 1) + IN4),  # echo
        over_udp(2152, struct.pack(">BBHI", 0x50, 255, len(IN4), 1) + IN4),  # version 2
        over_udp(
            2152, struct.pack(">BBHII", 0x34, 255, 0, 1, 0x85) + b"\0\0\0\0" + IN4
        ),  # an extension of no length
        over_udp(3544, IN6),  # no Teredo address
        over_udp(3544, TEREDO + b"\0"),  # not the datagram's length
        over_udp(1701, struct.pack(">HHH", 0xC802, 1, 2) + bytes(6) + IN4),  # control
        over_udp(53, VXLAN + FRAME),
        gre(0x0002, 0x0800, IN4),  # no such version
        gre(0x0001, 0x0800, IN4),  # version 1 carries PPP only
        gre(0, 0x0806, bytes(40)),
        gre(0x1000, 0x88BE, bytes(4) + bytes(8) + FRAME),  # ERSPAN of no version
        ipv4(4, b"\x50" + bytes(40)),
        ipv4(97, b"\x40\0" + FRAME),
    ],
)
def test_what_is_no_tunnel(outer: bytes) -> None:
    assert inside_of(outer) is None


def test_depth_is_bounded() -> None:
    packet = IN4
    for _ in range(9):
        packet = ipv4(4, packet)
    found = only(ethernet(0x0800, packet))
    depth = 0
    while found.inner is not None:
        depth, found = depth + 1, found.inner
    assert depth == 4
    assert found.transport == "ipip"


def test_tunnel_in_tunnel() -> None:
    outer = only(ethernet(0x0800, over_udp(4789, VXLAN + ethernet(0x0800, gre(0, 0x0800, IN4)))))
    assert outer.inner is not None
    assert outer.inner.inner is not None
    assert (outer.inner.tunnel, outer.inner.inner.tunnel) == ("vxlan", "gre")


def test_fragments_inside_of_a_tunnel() -> None:
    """They share their ports as others do; what comes before its first is not waited for."""
    decoder, body = Decoder(tunnels=True, fragments=8), udp(b"k" * 32)
    found = []
    for at, end, more in ((0, 24, 0x2000), (24, 40, 0)):
        frame = ethernet(0x0800, ipv4(4, ipv4(17, body[at:end], fragment=more | at // 8)))
        (packet,) = decoder.decode(0.0, ETHERNET, frame, len(frame))
        assert packet.inner is not None
        found.append((packet.inner.dport, packet.inner.fragment, packet.inner.payload))
    assert found == [(53, True, b""), (53, False, b"k" * 32)]
    early = ethernet(0x0800, ipv4(4, ipv4(17, body[24:], ident=9, fragment=3)))
    assert every(early)[0].inner is None
    assert decoder.expire(float("inf")) == (0, 0)


def test_a_fragmented_tunnel_packet() -> None:
    """What is inside is known when the outer datagram is complete."""
    decoder, body = Decoder(tunnels=True, fragments=8), udp(VXLAN + FRAME, sport=50000, dport=4789)
    inner = []
    for at, end, more in ((0, 32, 0x2000), (32, len(body), 0)):
        frame = ethernet(0x0800, ipv4(17, body[at:end], fragment=more | at // 8))
        (packet,) = decoder.decode(0.0, ETHERNET, frame, len(frame))
        inner.append(packet.inner)
    assert inner[0] is None
    assert inner[1] is not None
    assert inner[1].payload == b"inner"
