"""The packet path: a packet of a known connection costs one header read, one look-up, and a few additions.

`ethernet` gives the function that a capture handle calls for each frame. It takes IPv4 without options and IPv6
without extension headers, TCP and UDP, of a direction that its port knows, where nothing but counting is to be done:
UDP that nobody inspects, and TCP's next segment in order whose payload may pass unread. Everything else goes to the
slow path, which is right for every frame; this one is only quick.
"""

# ruff: noqa: PLR2004, PLR0915 - numbers are written out where a packet passes: a global name costs 5 ns
from collections.abc import Callable
from struct import Struct, error

from exporter.engine.port import Port
from exporter.flow.connection import Half
from exporter.model import FIN, RST, SYN, Packet

__all__ = ["Frame", "ethernet", "raw"]

Frame = Callable[[float, bytes], None]

# type, version, header length, TOS | total length | fragment | protocol | addresses, ports | sequence | offset | flags
HEAD4 = Struct(">12xIHxxHxBxx12sI4xBB").unpack_from
# type | payload length | next header | addresses, ports | sequence | offset | flags
HEAD6 = Struct(">12xH4xHBx36sI4xBB").unpack_from

TCP, UDP = 6, 17
ETHERNET = 14
SMALLEST = 46  # an Ethernet frame's smallest payload: what is shorter may be padded
LENGTHS = tuple(offset >> 2 & 60 if offset >= 0x50 else 1 << 30 for offset in range(256))
"""Of TCP's header, by the byte that holds it; what is less than a header is longer than any packet."""
STEADY = tuple(not flags & (FIN | SYN | RST) for flags in range(256))  # flags that begin and end nothing

HEADER4 = bytes(12) + b"\x08\x00"
HEADER6 = bytes(12) + b"\x86\xdd"


def ethernet(  # noqa: C901 - one function: each call more would cost a tenth of a packet
    port: Port, segment: Callable[[Half, float, Packet], None], slow: Frame
) -> Frame:
    """Give the function for each frame of an Ethernet port: `segment` takes TCP, `slow` whatever is not plain.

    Numbers are written out and the commonest values tested first, because that is what it costs: a packet of a known
    connection must not take much more than reading its header and looking it up.
    """
    tcp, udp = port.tcp.get, port.udp.get
    lengths, steady = LENGTHS, STEADY
    pad = _padding(port)
    plain = _segment(pad, segment)

    def frame(now: float, data: bytes) -> None:  # noqa: C901, PLR0912
        try:
            head, size, fragment, protocol, key, seq, offset, flags = HEAD4(data)
            if (head == 0x08004500 or head >> 8 == 0x080045) and (
                fragment == 0x4000
                or not fragment & 0x3FFF  # whole: the first test is for "do not fragment" alone
            ):
                length = size - 20
            elif head >> 16 == 0x86DD:
                _, length, protocol, key, seq, offset, flags = HEAD6(data)
                size = length + 40
            else:
                slow(now, data)
                return
        except error:
            slow(now, data)
            return
        half: Half | None
        if protocol == 6:  # TCP
            half = tcp(key)
            if half is not None:
                length -= lengths[offset]
                if seq == half.next and steady[flags] and size <= half.big:
                    skip = half.skip
                    if 0 <= length <= skip:
                        half.packets += 1
                        half.bytes += size
                        half.last = now
                        if length:
                            half.next = seq + length  # the slow path takes it modulo 2^32
                            if skip != 0x400000000000000:  # everything
                                half.skip = skip - length
                        if size < 46:
                            pad(data, size)
                        return
                if flags & SYN == 0 and length >= 0:
                    plain(half, now, data, (size, length, seq, flags))
                    return
        elif protocol == 17:  # UDP
            half = udp(key)
            if half is not None and half.skip > 0 and size > 40:  # more than IPv6's header: no jumbogram
                half.packets += 1
                half.bytes += size
                half.last = now
                if size < 46:
                    pad(data, size)
                return
        slow(now, data)

    return frame


def raw(frame: Frame) -> Frame:
    """Give the function for each packet of a port without link header: what `frame` takes, below a header of ours."""

    def packet(now: float, data: bytes) -> None:
        frame(now, (HEADER6 if data[:1] > b"\x5f" else HEADER4) + data)

    return packet


def _segment(
    pad: Callable[[bytes, int], None], segment: Callable[[Half, float, Packet], None]
) -> Callable[[Half, float, bytes, tuple[int, int, int, int]], None]:
    """Give the function for a known TCP direction's segment that needs more than counting."""
    packet = Packet("tcp", b"", b"", 0)  # one for all: nobody keeps it

    def plain(half: Half, now: float, data: bytes, head: tuple[int, int, int, int]) -> None:
        size, length, packet.seq, packet.flags = head
        half.packets += 1
        half.bytes += size
        half.last = now
        packet.size = size
        packet.length = length
        end = size + ETHERNET
        start = 34 if data[12] == 0x08 else 54
        packet.ack = int.from_bytes(data[start + 8 : start + 12], "big")
        packet.payload = data[end - length : end]
        if size < SMALLEST:
            pad(data, size)
        segment(half, now, packet)

    return plain


def _padding(port: Port) -> Callable[[bytes, int], None]:
    """Give the function that counts what an Ethernet driver appended to a short packet."""
    values, known = port.values, port.ignored

    def pad(data: bytes, size: int) -> None:
        more = len(data) - size - ETHERNET
        if more > 0:
            slots = known.get("padding") or port.reason("padding")
            values[slots[1]] += more

    return pad
