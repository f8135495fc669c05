"""Builds frames from a few arguments, and whole conversations from fewer. Checksums are left 0: nothing reads them."""

import struct
from ipaddress import ip_address
from typing import NamedTuple

HERE = bytes.fromhex("020000000001")
THERE = bytes.fromhex("020000000002")
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
MASK = 0xFFFFFFFF


class End(NamedTuple):
    """An address and a port."""

    address: str
    port: int

    @property
    def packed(self) -> bytes:
        return ip_address(self.address).packed


def ethernet(body, *, vlans=(), src=THERE, dst=HERE, pad=True, kind=0):
    """An Ethernet frame, padded as a driver would. `vlans`: 802.1Q tags, outermost first."""
    kind = kind or (0x86DD if body[:1] and body[0] >> 4 == 6 else 0x0800)
    tags = b"".join(struct.pack(">HH", 0x8100, vlan) for vlan in vlans)
    frame = dst + src + tags + struct.pack(">H", kind) + body
    return frame.ljust(60, b"\0") if pad else frame


def ip(src, dst, proto, body, *, header=b"", ident=1, fragment=0, total=None):
    """An IP packet; `header`: IPv4's options, or hop-by-hop ones. `total`: the length field, if wrong."""
    a, b = ip_address(src).packed, ip_address(dst).packed
    if len(a) == 16:
        if header:
            body, proto = bytes([proto, len(header) // 8 - 1]) + header[:-2] + body, 0
        length = len(body) if total is None else total
        return struct.pack(">IHBB16s16s", 6 << 28, length, proto, 64, a, b) + body
    length = 20 + len(header) + len(body) if total is None else total
    first = 0x45 + len(header) // 4
    return struct.pack(">BBHHHBBH4s4s", first, 0, length, ident, fragment, 64, proto, 0, a, b) + header + body


def tcp(sport, dport, flags, seq=0, ack=0, *, data=b"", options=b""):
    """A TCP segment; flags by their letters."""
    bits = sum(FLAGS[letter] for letter in flags)
    offset = 0x50 + (len(options) // 4 << 4)
    return (
        struct.pack(">HHIIBBHHH", sport, dport, seq & MASK, ack & MASK, offset, bits, 512, 0, 0)
        + options
        + data
    )


def udp(sport, dport, data=b""):
    return struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data


def mss(size):
    """The maximum segment size option."""
    return struct.pack(">BBH", 2, 4, size)


def segment(source, target, flags, seq=0, ack=0, *, data=b"", options=b"", link=None, **network):
    """A frame with a TCP segment. `link` goes to `ethernet`, the rest to `ip`."""
    body = tcp(source.port, target.port, flags, seq, ack, data=data, options=options)
    return ethernet(ip(source.address, target.address, TCP, body, **network), **(link or {}))


def datagram(source, target, data=b"", *, link=None, **network):
    """A frame with a UDP datagram."""
    return ethernet(
        ip(source.address, target.address, UDP, udp(source.port, target.port, data), **network),
        **(link or {}),
    )


def unreachable(by, to, quoted, code=3):
    """An ICMP error (destination unreachable) about a frame that was built here."""
    six = ":" in by
    body = (bytes([1, code]) if six else bytes([3, code])) + bytes(6) + quoted[14 : 14 + (48 if six else 28)]
    return ethernet(ip(by, to, ICMPV6 if six else ICMP, body))


class Talk:
    """A TCP conversation that keeps its sequence numbers: `c` is what the client says, `s` the server."""

    def __init__(self, client=End("10.0.0.1", 40_000), server=End("192.0.2.1", 80), *, isn=(1000, 9000)):  # noqa: B008
        self.ends = client, server
        self.next = list(isn)

    def say(self, side, flags, data=b"", *, seq=None, ack=None, **more):
        """A segment of `side` at the place that is its turn; `seq`: at another one, which moves nothing."""
        at = self.next[side] if seq is None else seq
        acked = (self.next[1 - side] if ack is None else ack) if "A" in flags else 0
        if seq is None:
            self.next[side] = (at + len(data) + ("S" in flags) + ("F" in flags)) & MASK
        return segment(self.ends[side], self.ends[1 - side], flags, at, acked, data=data, **more)

    def c(self, flags, data=b"", **more):
        return self.say(0, flags, data, **more)

    def s(self, flags, data=b"", **more):
        return self.say(1, flags, data, **more)

    def handshake(self, size=0):
        """SYN, SYN-ACK, ACK; `size` is both ends' MSS option."""
        options = mss(size) if size else b""
        return [self.c("S", options=options), self.s("SA", options=options), self.c("A")]

    def close(self, first=0):
        """The close in four segments, begun by `first`."""
        other = 1 - first
        return [self.say(first, "FA"), self.say(other, "A"), self.say(other, "FA"), self.say(first, "A")]
