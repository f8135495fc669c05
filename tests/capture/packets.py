"""Packets by hand: just enough of each header for a filter to read."""

from ipaddress import ip_address
from struct import pack


def packed(address: str) -> bytes:
    return ip_address(address).packed


def ipv4(
    source: str,
    destination: str,
    payload: bytes = b"",
    protocol: int = 6,
    *,
    fragment: int = 0,
    options: int = 0,
) -> bytes:
    size = 20 + options + len(payload)
    first = pack("!BBHHHBBH", 0x45 + options // 4, 0, size, 1, fragment, 64, protocol, 0)
    return first + packed(source) + packed(destination) + bytes(options) + payload


def ipv6(source: str, destination: str, payload: bytes = b"", protocol: int = 6) -> bytes:
    return pack("!IHBB", 6 << 28, len(payload), protocol, 64) + packed(source) + packed(destination) + payload


def ip(source: str, destination: str, payload: bytes = b"", protocol: int = 6) -> bytes:
    return (ipv6 if ":" in source else ipv4)(source, destination, payload, protocol)


def ethernet(packet: bytes, kind: int | None = None, tags: tuple[int, ...] = ()) -> bytes:
    if kind is None:
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    return bytes(12) + b"".join(pack("!HH", tag, 5) for tag in tags) + pack("!H", kind) + packet


def udp(port: int, payload: bytes) -> bytes:
    return pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload


def icmp(kind: int, quoted: bytes) -> bytes:
    return pack("!BBHI", kind, 1, 0, 0) + quoted


def vxlan(frame: bytes) -> bytes:
    return udp(4789, pack("!II", 0x08000000, 7 << 8) + frame)


def geneve(frame: bytes, options: int = 0) -> bytes:
    return udp(6081, pack("!BBHI", options // 4, 0, 0x6558, 7 << 8) + bytes(options) + frame)


def gtp(packet: bytes, flags: int = 0) -> bytes:
    return udp(2152, pack("!BBHI", 0x30 | flags, 255, len(packet), 1) + bytes(4 if flags else 0) + packet)


def gre(packet: bytes, flags: int = 0, kind: int = 0x0800) -> bytes:
    words = (flags & 0xB000).bit_count()
    return pack("!HH", flags, kind) + bytes(4 * words) + packet
