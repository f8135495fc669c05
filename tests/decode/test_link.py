"""Every link layer leads to the same packet; what carries none is named."""

import struct

import pytest

from tests.decode.build import A4, A6, B4, MACS, ethernet, ipv4, ipv6, only, reason, tcp

V4, V6 = ipv4(6, tcp(b"hello")), ipv6(6, tcp(b"hello"))


def label(value: int, *, bottom: bool = True) -> bytes:
    return struct.pack(">I", value << 12 | bottom << 8 | 64)


SLL = bytes.fromhex("0000 0001 0006 020000000001 0000")
SLL2 = bytes.fromhex("0000 00000002 0001 00 06 0200000000010000")
WLAN = bytes.fromhex("0801 2c00 020000000001 020000000002 020000000003 1000")
QOS = bytes.fromhex("8802 2c00 020000000001 020000000002 020000000003 1000 0000")
FOUR = bytes.fromhex("0803 2c00 020000000001 020000000002 020000000003 1000 020000000004")
SNAP4, SNAP6 = bytes.fromhex("aaaa030000000800"), bytes.fromhex("aaaa0300000086dd")
RADIOTAP = bytes.fromhex("0000 0a00 00000000 0000")

# Link type, bytes before the packet, the packet. One row for each way that frames are written.
CASES: dict[str, tuple[int, bytes, bytes]] = {
    "BSD loopback, little-endian": (0, bytes.fromhex("02000000"), V4),
    "BSD loopback, big-endian": (0, bytes.fromhex("00000002"), V4),
    "BSD loopback, IPv6 of Linux": (0, bytes.fromhex("0a000000"), V6),
    "BSD loopback, IPv6 of NetBSD": (0, bytes.fromhex("18000000"), V6),
    "BSD loopback, IPv6 of FreeBSD": (0, bytes.fromhex("1c000000"), V6),
    "BSD loopback, IPv6 of macOS": (0, bytes.fromhex("1e000000"), V6),
    "OpenBSD loopback": (108, bytes.fromhex("00000002"), V4),
    "Ethernet": (1, MACS + b"\x08\x00", V4),
    "Ethernet, IPv6": (1, MACS + b"\x86\xdd", V6),
    "802.1Q": (1, MACS + bytes.fromhex("8100 0005 0800"), V4),
    "802.1ad": (1, MACS + bytes.fromhex("88a8 0005 8100 0006 86dd"), V6),
    "old QinQ": (1, MACS + bytes.fromhex("9100 0005 8100 0006 0800"), V4),
    "MPLS, two labels": (1, MACS + b"\x88\x47" + label(16, bottom=False) + label(17), V4),
    "MPLS multicast, IPv6": (1, MACS + b"\x88\x48" + label(16), V6),
    "MPLS, pseudowire with control word": (
        1,
        MACS + b"\x88\x47" + label(16) + bytes(4) + MACS + b"\x08\x00",
        V4,
    ),
    "PPPoE": (1, MACS + bytes.fromhex("8864 1100 0001 004f 0021"), V4),
    "PPPoE over QinQ": (1, MACS + bytes.fromhex("88a8 0005 8100 0006 8864 1100 0001 004f 0057"), V6),
    "802.3 with SNAP": (1, MACS + b"\x00\x55" + SNAP4, V4),
    "802.3 with IP's access point": (1, MACS + b"\x00\x55\x06\x06\x03", V4),
    "provider backbone bridge": (1, MACS + bytes.fromhex("88e7 00000001") + MACS + b"\x08\x00", V4),
    "VN-Tag": (1, MACS + bytes.fromhex("8926 00000001 0800"), V4),
    "PPP": (9, bytes.fromhex("ff03 0021"), V4),
    "PPP, compressed": (9, b"\x21", V4),
    "PPP, IPv6": (9, bytes.fromhex("0057"), V6),
    "PPP, MPLS": (9, bytes.fromhex("ff03 0281") + label(16), V4),
    "serial PPP as Cisco HDLC": (50, bytes.fromhex("0f00 0800"), V4),
    "PPP over Ethernet": (51, bytes.fromhex("1100 0001 004f 0021"), V4),
    "PPP with direction": (204, bytes.fromhex("00 ff03 0021"), V4),
    "raw, 12": (12, b"", V4),
    "raw, 14": (14, b"", V6),
    "raw, 101": (101, b"", V6),
    "SLIP": (8, bytes(16), V4),
    "enc": (109, bytes(12), V4),
    "RFC 1483": (100, SNAP4, V4),
    "Cisco HDLC": (104, bytes.fromhex("0f00 0800"), V4),
    "Cisco HDLC with direction": (205, bytes.fromhex("00 0f00 86dd"), V6),
    "802.11": (105, WLAN + SNAP4, V4),
    "802.11, QoS": (105, QOS + SNAP6, V6),
    "802.11, four addresses": (105, FOUR + SNAP4, V4),
    "radiotap": (127, RADIOTAP + WLAN + SNAP4, V4),
    "frame relay": (107, bytes.fromhex("1841 03cc"), V4),
    "frame relay, IPv6": (107, bytes.fromhex("1841 038e"), V6),
    "frame relay, SNAP": (107, bytes.fromhex("1841 0300 80 000000 0800"), V4),
    "frame relay, Cisco": (206, bytes.fromhex("00 1841 0800"), V4),
    "Linux cooked": (113, SLL + b"\x08\x00", V4),
    "Linux cooked, VLAN": (113, SLL + bytes.fromhex("8100 0005 86dd"), V6),
    "Linux cooked, 802.2": (113, SLL + b"\x00\x04" + SNAP4, V4),
    "Linux cooked 2": (276, b"\x08\x00" + SLL2, V4),
    "Linux cooked 2, VLAN": (276, b"\x81\x00" + SLL2 + bytes.fromhex("0005 86dd"), V6),
    "pflog": (117, bytes([61, 2]) + bytes(62), V4),
    "IP over IEEE 1394": (138, bytes(16) + b"\x08\x00", V4),
    "PKTAP": (258, struct.pack("<III", 108, 1, 12) + bytes(96), V4),
    "PPI": (192, struct.pack("<BBHI", 0, 0, 8, 1) + MACS + b"\x08\x00", V4),
    "IPv4": (228, b"", V4),
    "IPv6": (229, b"", V6),
    "Broadcom tag": (281, MACS + bytes(4) + b"\x08\x00", V4),
    "DSA": (284, MACS + bytes(4) + b"\x08\x00", V4),
    "EDSA": (285, MACS + bytes.fromhex("dada0000 00000000 0800"), V4),
}


@pytest.mark.parametrize(("link", "head", "body"), CASES.values(), ids=CASES)
def test_link_layers(link: int, head: bytes, body: bytes) -> None:
    packet = only(head + body + b"\0" * 7, link)
    assert (packet.transport, packet.sport, packet.dport, packet.payload) == ("tcp", 1024, 443, b"hello")
    assert packet.src == (A4 if body is V4 else A6)
    assert (packet.link, packet.size, packet.pad) == (len(head), len(body), 7)


@pytest.mark.parametrize(("link", "head", "body"), CASES.values(), ids=CASES)
def test_link_layers_cut_anywhere(link: int, head: bytes, body: bytes) -> None:
    """Whatever is missing, there is one error and a reason from the set; or ports are there and are right."""
    frame = head + body
    for size in range(len(frame)):
        why = reason(frame[:size], link, len(frame))
        assert why in {"", "truncated", "not_ip", "malformed"}
        if not why:
            packet = only(frame[:size], link, len(frame))
            assert (packet.sport, packet.dport, packet.size) == (1024, 443, len(body))
            assert b"hello".startswith(packet.payload)


@pytest.mark.parametrize(
    ("link", "frame", "why"),
    [
        (1, MACS + bytes.fromhex("88cc") + bytes(50), "not_ip"),  # LLDP
        (1, MACS + bytes.fromhex("0026 4242 03") + bytes(50), "not_ip"),  # spanning tree
        (1, MACS + bytes.fromhex("8863 1109 0000 0000") + bytes(50), "not_ip"),  # PPPoE discovery
        (1, MACS + bytes.fromhex("8864 11a7 0001 0000") + bytes(50), "not_ip"),  # PPPoE, not a session's data
        (1, MACS + bytes.fromhex("8864 1100 0001 000a c021") + bytes(50), "not_ip"),  # LCP
        (1, MACS + bytes.fromhex("8100 0005") * 40, "nested"),
        (1, MACS + b"\x88\x47" + label(1, bottom=False) * 40, "nested"),
        (1, MACS, "truncated"),
        (1, b"", "truncated"),
        (12, b"\x50" + bytes(40), "not_ip"),
        (0, bytes.fromhex("07000000") + V4, "not_ip"),
        (105, bytes.fromhex("8000") + bytes(60), "not_ip"),  # beacon
        (105, bytes.fromhex("0841") + WLAN[2:] + SNAP4 + V4, "not_ip"),  # encrypted
        (127, bytes.fromhex("0000 ffff") + bytes(40), "truncated"),
        (127, bytes.fromhex("0000 0200") + bytes(40), "malformed"),
        (258, struct.pack("<III", 12, 1, 258) * 20, "malformed"),
        (107, bytes(40), "malformed"),
        (147, bytes(40), "link_type"),
    ],
)
def test_what_carries_no_packet(link: int, frame: bytes, why: str) -> None:
    assert reason(frame, link) == why


def test_arp() -> None:
    """RFC 826: the addresses are those of the packet, the operation is `extra`, the padding is not counted."""
    body = bytes.fromhex("0001 0800 06 04 0002") + MACS[:6] + A4 + MACS[6:] + B4
    packet = only(ethernet(0x0806, body, bytes(18)))
    assert (packet.transport, packet.src, packet.dst, packet.extra) == ("arp", A4, B4, 2)
    assert (packet.size, packet.link, packet.pad, packet.payload) == (28, 14, 18, body)
