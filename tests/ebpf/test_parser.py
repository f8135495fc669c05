"""BPF_PROG_TEST_RUN: packets through the parser, and through the programs as they are attached."""

import ipaddress
import struct
from typing import NamedTuple

import pytest

from exporter.ebpf import libbpf, maps

pytestmark = [pytest.mark.bpf, pytest.mark.root]

PACKET = struct.Struct("=IIHHBBBB16s16s")
ETHER = bytes(12)
V4, V6 = b"\x08\x00", b"\x86\xdd"
OTHER = b"\x88\xb5"  # the test run itself refuses IP that is shorter than its header
A4, B4 = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2])
A6, B6 = ipaddress.ip_address("2001:db8::1").packed, ipaddress.ip_address("2001:db8::2").packed
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


class Parsed(NamedTuple):
    size: int
    header: int
    sport: int = 0
    dport: int = 0
    family: int = 0
    transport: int = 0
    flags: int = 0
    fragment: int = 0


def tcp(flags=0x18, options=b"", payload=b""):
    offset = (20 + len(options)) // 4 << 4
    return struct.pack(">HHIIBBHHH", 4660, 443, 1, 2, offset, flags, 1, 0, 0) + options + payload


def udp(payload=b""):
    return struct.pack(">HHHH", 53, 5353, 8 + len(payload), 0) + payload


def v4(proto, body, options=b"", fragment=0):
    length = 20 + len(options)
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | length // 4, 0, length + len(body), 1, fragment, 64, proto, 0, A4, B4
    )
    return V4 + head + options + body


def v6(proto, body):
    return V6 + struct.pack(">IHBB16s16s", 6 << 28, len(body), proto, 64, A6, B6) + body


def ext(following, length=0):
    return bytes([following, length]) + bytes(6 + 8 * length)


def frag(following, offset, more=1):
    return struct.pack(">BBHI", following, 0, offset << 3 | more, 7)


CASES = {
    "IPv4 TCP": (v4(TCP, tcp(payload=b"x" * 10)), Parsed(50, 40, 4660, 443, 4, TCP, 0x18)),
    "IPv4 TCP SYN with options": (v4(TCP, tcp(2, bytes(20))), Parsed(60, 60, 4660, 443, 4, TCP, 2)),
    "IPv4 with options": (v4(TCP, tcp(payload=b"xy"), bytes(12)), Parsed(54, 52, 4660, 443, 4, TCP, 0x18)),
    "IPv4 with 20 bytes of options": (v4(UDP, udp(b"xy"), bytes(20)), Parsed(50, 48, 53, 5353, 4, UDP)),
    "IPv4 with 40 bytes of options": (
        v4(TCP, tcp(1, bytes(40)), bytes(40)),
        Parsed(120, 120, 4660, 443, 4, TCP, 1),
    ),
    "IPv4 UDP": (v4(UDP, udp(b"abc")), Parsed(31, 28, 53, 5353, 4, UDP)),
    "IPv4 UDP without payload": (v4(UDP, udp()), Parsed(28, 28, 53, 5353, 4, UDP)),
    "IPv4 ICMP": (v4(ICMP, bytes([8, 0, 0, 0, 0, 1, 0, 2]) + b"ping"), Parsed(32, 28, 0, 0, 4, ICMP)),
    "IPv4 first fragment": (
        v4(UDP, udp(b"x" * 16), fragment=0x2000),
        Parsed(44, 28, 53, 5353, 4, UDP),
    ),
    "IPv4 later fragment": (v4(UDP, b"y" * 24, fragment=0x2003), Parsed(44, 20, 0, 0, 4, UDP, 0, 1)),
    "IPv4 unknown transport": (v4(253, b"z" * 30), Parsed(50, 20, 0, 0, 4, 253)),
    "IPv6 TCP": (v6(TCP, tcp(0x12, bytes(12))), Parsed(72, 72, 4660, 443, 6, TCP, 0x12)),
    "IPv6 UDP": (v6(UDP, udp(b"abc")), Parsed(51, 48, 53, 5353, 6, UDP)),
    "IPv6 ICMP": (v6(ICMP6, bytes([128, 0]) + bytes(6)), Parsed(48, 48, 0, 0, 6, ICMP6)),
    "IPv6 hop-by-hop": (v6(0, ext(UDP) + udp(b"q")), Parsed(57, 56, 53, 5353, 6, UDP)),
    "IPv6 hop-by-hop, routing, destination": (
        v6(0, ext(43) + ext(60, 1) + ext(TCP) + tcp(payload=b"1234")),
        Parsed(40 + 8 + 16 + 8 + 24, 92, 4660, 443, 6, TCP, 0x18),
    ),
    "IPv6 authentication": (
        v6(51, bytes([TCP, 4]) + bytes(22) + tcp()),
        Parsed(40 + 24 + 20, 84, 4660, 443, 6, TCP, 0x18),
    ),
    "IPv6 first fragment": (v6(44, frag(UDP, 0) + udp(b"x" * 8)), Parsed(64, 56, 53, 5353, 6, UDP)),
    "IPv6 later fragment": (v6(44, frag(UDP, 5) + b"y" * 16), Parsed(64, 48, 0, 0, 6, UDP, 0, 1)),
    "IPv6 later fragment behind options": (
        v6(60, ext(44) + frag(TCP, 5, 0) + b"y" * 16),
        Parsed(72, 56, 0, 0, 6, TCP, 0, 1),
    ),
    "IPv4 cut in the ports": (v4(TCP, tcp()[:3]), Parsed(23, 20, 0, 0, 4, TCP)),
    "IPv4 cut in the TCP header": (v4(TCP, tcp()[:13]), Parsed(33, 20, 4660, 443, 4, TCP)),
    "IPv4 TCP header longer than the packet": (
        v4(TCP, tcp(options=bytes(40))[:30]),
        Parsed(50, 50, 4660, 443, 4, TCP, 0x18),
    ),
    "IPv4 without anything behind": (v4(TCP, b""), Parsed(20, 20, 0, 0, 4, TCP)),
    "IPv6 cut in an extension": (v6(0, ext(TCP)[:5]), Parsed(45, 40, 0, 0, 6, 0)),
    "IPv6 extension longer than the packet": (
        v6(0, ext(TCP)[:1] + b"\xff" + bytes(8)),
        Parsed(50, 50, 0, 0, 6, TCP),
    ),
    "IPv6 cut in its header": (OTHER + b"\x60" + bytes(30), Parsed(31, 0)),
    "neither": (b"\x08\x06" + bytes(28), Parsed(28, 0)),
}


@pytest.fixture(scope="module")
def parser(parser_object):
    loaded = libbpf.Object(str(parser_object))
    loaded.load()
    yield loaded
    loaded.close()


@pytest.mark.parametrize("name", CASES)
def test_a_packet_is_parsed(parser, name):
    packet, wanted = CASES[name]
    run = parser.run("parse_only", ETHER + packet)
    assert run.value == 1
    *found, src, dst = PACKET.unpack(maps.lookup(parser.map_fd("result"), bytes(4), PACKET.size))
    assert Parsed(*found) == wanted
    if wanted.family:
        ends = (A4 + bytes(12), B4 + bytes(12)) if wanted.family == 4 else (A6, B6)
        assert (src, dst) == ends


def test_no_cut_is_fatal(parser):
    for packet, _ in CASES.values():
        for length in range(1, len(packet) - 2, 3):
            parser.run("parse_only", ETHER + OTHER + packet[2 : 2 + length])


@pytest.mark.parametrize("way", [0, 1])
@pytest.mark.parametrize("name", [name for name in CASES if "UDP" in name or "ICMP" in name])
def test_the_attached_program_counts_it(watching, name, way):
    packet, parsed = CASES[name]
    loaded, program = watching.kernel.program(("receive", "transmit")[way])
    assert loaded.run(program, ETHER + packet).value == 1
    src, dst = (A4, B4) if parsed.family == 4 else (A6, B6)
    local, remote = ((dst, parsed.dport), (src, parsed.sport))[:: -1 if way else 1]
    rows = [
        (key, flow)
        for key, flow in watching.flows()
        if key.transport == parsed.transport
        and (key.local, key.lport, key.remote, key.rport) == (*local, *remote)
    ]
    assert len(rows) == 1
    key, flow = rows[0]
    counts = ((flow.received, flow.received_bytes), (flow.sent, flow.sent_bytes))
    assert counts[way] == (1, parsed.size)
    assert counts[1 - way] == (0, 0)
    assert key.transport == parsed.transport
