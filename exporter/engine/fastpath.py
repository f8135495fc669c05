"""The packet path: a packet of a known connection costs one header read, one look-up, and a few additions.

`ethernet` gives the function that a capture handle calls for each frame. It takes IPv4 without options and IPv6
without extension headers, TCP and UDP, of a direction that its port knows, where nothing but counting is to be done:
UDP that nobody inspects, and TCP's next segment in order whose payload may pass unread. Everything else goes to the
slow path, which is right for every frame; this one is only quick. What it knows already of a TCP segment goes along:
to the connection's machine, or, where the direction is new, to where connections are opened.
"""

# ruff: noqa: PLR2004, PLR0915 - numbers are written out where a packet passes: a global name costs 5 ns
from collections.abc import Callable
from struct import Struct, error

from exporter.decode.transport import mss
from exporter.engine.port import Port
from exporter.flow.connection import Half
from exporter.model import FIN, RST, SYN, Packet

__all__ = ["Frame", "ethernet", "raw"]

Frame = Callable[[float, bytes], None]
Segment = Callable[[Half, float, Packet], None]
Count = Callable[[Port, bytes, float, Packet], None]
Head = tuple[int, int, int, int, int]
"""IP bytes, payload bytes, sequence number, the byte of TCP's header length, flags."""

# All of TCP's header must be there: what the capture cut off in it is for the slow path.
# type, version, header length, TOS | total length | fragment | protocol | addresses, ports | sequence | offset | flags
HEAD4 = Struct(">12xIHxxHxBxx12sI4xBB6x").unpack_from
# type | payload length | next header | addresses, ports | sequence | offset | flags
HEAD6 = Struct(">12xH4xHBx36sI4xBB6x").unpack_from

ENDS4, ENDS6 = Struct(">4s4sHH").unpack, Struct(">16s16sHH").unpack
ACK4, ACK6 = Struct(">42xI").unpack_from, Struct(">62xI").unpack_from

TCP, UDP = 6, 17
ETHERNET = 14
SHORTEST = 60  # an Ethernet frame: what is shorter may be padded
LENGTHS = tuple(offset >> 2 & 60 if offset >= 0x50 else 1 << 30 for offset in range(256))
"""Of TCP's header, by the byte that holds it; what is less than a header is longer than any packet."""
STEADY = tuple(not flags & (FIN | SYN | RST) for flags in range(256))  # flags that begin and end nothing

HEADER4 = bytes(12) + b"\x08\x00"
HEADER6 = bytes(12) + b"\x86\xdd"


def ethernet(  # noqa: C901 - one function: each call more would cost a tenth of a packet
    port: Port, behind: tuple[Segment, Count, Frame]
) -> Frame:
    """Give the function for each frame of an Ethernet port.

    Behind it are the functions for a known TCP direction's segment, for a packet of any connection by its key, and for
    frames of any kind.

    Numbers are written out and the commonest values tested first, because that is what it costs: a packet of a known
    connection must not take much more than reading its header and looking it up.
    """
    tcp, udp = port.tcp.get, port.udp.get
    lengths, steady = LENGTHS, STEADY
    pad = _padding(port)
    segment, count, slow = behind
    plain, new = _segment(port, segment), _new(port, count, slow)

    def frame(now: float, data: bytes) -> None:  # noqa: C901, PLR0912
        try:
            head, size, fragment, protocol, key, seq, offset, flags = HEAD4(data)
            if (head == 0x08004500 or head >> 8 == 0x080045) and (
                fragment == 0x4000
                or not fragment & 0x3FFF  # whole: the first test is for "do not fragment" alone
            ):
                length = size - 20
            elif head >> 12 == 0x86DD6:
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
            length -= lengths[offset]
            if half is not None:
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
                    plain(half, now, data, (size, length, seq, offset, flags))
                    return
            if length >= 0:
                new(now, data, key, (size, length, seq, offset, flags))
                return
        elif protocol == 17:  # UDP
            half = udp(key)
            if half is not None and half.skip > 0 and size > 43:  # IPv6's header and ports: no jumbogram
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


def _segment(port: Port, segment: Segment) -> Callable[[Half, float, bytes, Head], None]:
    """Give the function for a known TCP direction's segment that needs more than counting."""
    packet = Packet("tcp", b"", b"", 0)  # one for all: nobody keeps it
    pad = _padding(port)

    def plain(half: Half, now: float, data: bytes, head: Head) -> None:
        size, length, packet.seq, _, packet.flags = head
        half.packets += 1
        half.bytes += size
        half.last = now
        packet.size = size
        packet.length = length
        end = size + ETHERNET
        (packet.ack,) = ACK4(data) if data[12] == 0x08 else ACK6(data)
        packet.payload = data[end - length : end] if length else b""
        if end < SHORTEST:
            pad(data, size)
        segment(half, now, packet)

    return plain


def _new(port: Port, count: Count, slow: Frame) -> Callable[[float, bytes, bytes, Head], None]:
    """Give the function for a TCP segment that opens a connection, or is the first of its direction."""
    packet = Packet("tcp", b"", b"", 0)
    pad, mac = _padding(port), port.interface.mac

    def new(now: float, data: bytes, key: bytes, head: Head) -> None:
        size, length, packet.seq, offset, packet.flags = head
        end = size + ETHERNET
        if len(data) < end:  # cut off by the snap length
            slow(now, data)
            return
        if data[12] == 0x08:
            packet.src, packet.dst, packet.sport, packet.dport = ENDS4(key)
            (packet.ack,) = ACK4(data)
            options = 54
        else:
            packet.src, packet.dst, packet.sport, packet.dport = ENDS6(key)
            (packet.ack,) = ACK6(data)
            options = 74
        packet.size = size
        packet.length = length
        packet.payload = data[end - length : end]
        packet.extra = mss(data, options, end - length) if packet.flags & SYN and offset > 0x50 else 0
        packet.leaving = data[6:12] == mac
        if end < SHORTEST:
            pad(data, size)
        count(port, key, now, packet)

    return new


def _padding(port: Port) -> Callable[[bytes, int], None]:
    """Give the function that counts what an Ethernet driver appended to a short packet."""
    values, known = port.values, port.ignored

    def pad(data: bytes, size: int) -> None:
        more = len(data) - size - 14
        if more > 0:
            slots = known.get("padding") or port.reason("padding")
            values[slots[1]] += more

    return pad
