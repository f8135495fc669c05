"""The packet path: a packet of a known connection costs one header read, one look-up, and a few additions.

`ethernet` gives the function that a capture handle calls for each frame. It takes IPv4 without options and IPv6
without extension headers, TCP and UDP, of a direction that its port knows, where nothing but counting is to be done:
UDP that nobody inspects, and TCP's next segment in order whose payload may pass unread. Everything else goes to the
slow path, which is right for every frame; this one is only quick.
"""

from collections.abc import Callable
from struct import Struct, error

from exporter.engine.port import Port
from exporter.flow.connection import EVERYTHING, ONE, Half
from exporter.model import FIN, RST, SYN, Packet

__all__ = ["Frame", "ethernet", "raw"]

Frame = Callable[[float, bytes], None]

# Type, version and header length, TOS | total length | fragment, TTL, protocol | addresses and ports | sequence |
# offset and flags: few fields, each tested for several things at once.
HEAD4 = Struct(">12xIH2xI2x12sI4xH").unpack_from
# type | payload length | next header | addresses and ports | sequence | offset and flags
HEAD6 = Struct(">12xH4xHBx36sI4xH").unpack_from

IPV4, IPV6 = 0x080045, 0x86DD
"""IPv4 without options, TOS cut off; IPv6."""
WHOLE = 0x3FFF00FF
"""The bits of a fragment (more, offset) and of the protocol."""
TCP, UDP = 6, 17
MASK = 0xFFFFFFFF
ETHERNET = 14
SMALLEST = 46  # an Ethernet frame's smallest payload: what is shorter may be padded
LARGE = 1500  # what is longer may be several segments on the wire
ODD = FIN | SYN | RST

HEADER4 = bytes(12) + b"\x08\x00"
HEADER6 = bytes(12) + b"\x86\xdd"


def ethernet(  # noqa: C901, PLR0915 - one function: each call more would cost a tenth of a packet
    port: Port, segment: Callable[[Half, float, Packet], None], slow: Frame
) -> Frame:
    """Give the function for each frame of an Ethernet port: `segment` takes TCP, `slow` whatever is not plain."""
    tcp, udp = port.tcp.get, port.udp.get
    plain = _segment(port, segment)

    def frame(now: float, data: bytes) -> None:  # noqa: C901, PLR0912, PLR0915
        try:
            head, size, kind, key, seq, flags = HEAD4(data)
            if head >> 8 == IPV4:
                kind &= WHOLE
                start = 34
            elif head >> 16 == IPV6:
                _, size, kind, key, seq, flags = HEAD6(data)
                size += 40
                start = 54
            else:
                slow(now, data)
                return
        except error:
            slow(now, data)
            return
        half: Half | None
        if kind == TCP:
            half = tcp(key)
            if half is not None:
                length = size + 14 - start - (flags >> 10 & 60)
                if seq == half.next and not flags & ODD and (size <= LARGE or size <= half.big):
                    if not length:
                        half.count += size + 0x10000000000
                        half.last = now
                        if size < SMALLEST:
                            _pad(port, data, size)
                        return
                    skip = half.skip
                    if 0 < length <= skip:
                        half.count += size + 0x10000000000
                        half.last = now
                        half.next = seq + length & MASK
                        if skip != EVERYTHING:
                            half.skip = skip - length
                        return
                if not flags & SYN and length >= 0:
                    plain(half, now, data, (start, size, length, seq, flags & 0xFF))
                    return
        elif kind == UDP:
            half = udp(key)
            if half is not None and half.skip > 0 and size > 40:  # noqa: PLR2004 - IPv6's header: no jumbogram
                half.count += size + 0x10000000000
                half.last = now
                if size < SMALLEST:
                    _pad(port, data, size)
                return
        slow(now, data)

    return frame


def raw(frame: Frame) -> Frame:
    """Give the function for each packet of a port without link header: what `frame` takes, below a header of ours."""

    def packet(now: float, data: bytes) -> None:
        frame(now, (HEADER6 if data[:1] > b"\x5f" else HEADER4) + data)

    return packet


def _segment(
    port: Port, segment: Callable[[Half, float, Packet], None]
) -> Callable[[Half, float, bytes, tuple[int, int, int, int, int]], None]:
    """Give the function for a known TCP direction's segment that needs more than counting."""
    packet = Packet("tcp", b"", b"", 0)  # one for all: nobody keeps it

    def plain(half: Half, now: float, data: bytes, head: tuple[int, int, int, int, int]) -> None:
        start, size, length, packet.seq, packet.flags = head
        half.count += size + ONE
        half.last = now
        packet.size = size
        packet.length = length
        packet.ack = int.from_bytes(data[start + 8 : start + 12], "big")
        end = size + ETHERNET
        packet.payload = data[end - length : end]
        if size < SMALLEST:
            _pad(port, data, size)
        segment(half, now, packet)

    return plain


def _pad(port: Port, data: bytes, size: int) -> None:
    """Count what an Ethernet driver appended to a short packet."""
    more = len(data) - size - ETHERNET
    if more > 0:
        port.ignore("padding", 0, more)
