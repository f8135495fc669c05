"""The door of this package: a frame's bytes in, packets out.

Typically one frame is one packet. A fragment that comes before its first one gives none yet, and the first one then
gives all that waited. Time is an argument: the capture's own.
"""

from struct import error

from exporter.decode import transport
from exporter.decode.fragments import Fragments
from exporter.decode.ip import AH, ARP, FRAGMENT, IPV4, IPV6, Part, arp, ipv4, ipv6, walk
from exporter.decode.link import strip, typed
from exporter.decode.tunnel import CARRIERS, inside
from exporter.errors import UndecodableError
from exporter.model import Packet

__all__ = ["Decoder"]

DEPTH_MAX = 4
"""Tunnels in tunnels that are followed."""


class Decoder:
    """Decodes the frames of one interface (fragments of different interfaces must not meet)."""

    def __init__(self, *, tunnels: bool, fragments: int) -> None:
        """Follow connections inside of tunnels or not; hold at most so many fragmented datagrams."""
        self._tunnels = tunnels
        self._outer = Fragments(fragments, fragments)
        self._inner = Fragments(fragments, 0)

    def decode(self, now: float, link: int, data: bytes, wire: int) -> list[Packet]:
        """Read a frame of link type `link` that had `wire` bytes; `UndecodableError` if it cannot be counted."""
        kind, pos = strip(link, data)
        if kind == IPV4:
            packet, proto, start, stop, part = ipv4(data, pos, wire)
        elif kind == IPV6:
            packet, proto, start, stop, part = ipv6(data, pos, wire)
        else:
            packet = arp(data, pos)
            packet.link = pos
            packet.pad = max(0, wire - pos - packet.size)
            return [packet]
        packet.link = pos
        if wire > stop:
            packet.pad = wire - stop
        if part is None:
            transport.read(packet, proto, data, start, stop)
            packets = [packet]
        else:
            packets = _join(self._outer, now, packet, part)
        if self._tunnels and packet.transport in CARRIERS and packet.payload:
            self._inside(now, packet, 1)
        return packets

    def expire(self, now: float) -> tuple[int, int]:
        """Give packets and bytes (of frames) of fragments whose first never came; to be called once a second.

        They are `ignored` with the reason `fragment`. At the end of a capture, ask with `now` = infinity.
        """
        self._inner.expire(now)
        return self._outer.expire(now)

    def _inside(self, now: float, outer: Packet, depth: int) -> None:
        """Decode what a tunnel carries, if it is one and what it carries is a packet that fits; else leave it."""
        try:
            found = inside(outer)
            if found is None:
                return
            kind, pos = typed(found[1], outer.payload, found[2])
            if kind == ARP:
                return
            parsed = (ipv4 if kind == IPV4 else ipv6)(outer.payload, pos, outer.length)
            packet, proto, start, stop, part = parsed
            if stop > outer.length:
                return
            if part is None:
                transport.read(packet, proto, outer.payload, start, stop)
            else:
                _join(self._inner, now, packet, part)
        except (UndecodableError, IndexError, error):
            return
        packet.tunnel = found[0]
        outer.inner = packet
        if depth < DEPTH_MAX and packet.transport in CARRIERS and packet.payload:
            self._inside(now, packet, depth + 1)


def _join(cache: Fragments, now: float, packet: Packet, part: Part) -> list[Packet]:
    """Count a fragment under its datagram's ports; the one that completes the datagram carries its contents.

    All others carry nothing but their size (`fragment` is set): so no segment is delivered, or acted upon, twice, and
    one that stays incomplete never reached a socket.
    """
    packets = [packet]
    packet.fragment = True
    if part.offset == 0:
        proto, start = _behind(part, part.proto, part.body, part.length)
        transport.ports(packet, proto, part.body, start)
        packets += cache.first(now, part, packet)
    elif not cache.later(now, part, packet):
        return []
    whole = cache.whole(now, part.key)
    if whole is None:
        return packets
    proto, data, length = whole
    try:
        proto, start = _behind(part, proto, data, length)
        transport.read(packet, proto, data, start, length)
        packet.fragment = False
    except UndecodableError:  # its ports are known all the same
        pass
    return packets


def _behind(part: Part, proto: int, data: bytes, length: int) -> tuple[int, int]:
    """Find the transport in a datagram's fragmentable part, which may begin with extension headers."""
    if part.key[2] != FRAGMENT and proto != AH:
        return proto, 0
    proto, start, place = walk(data, proto, 0, length)
    if place is not None:  # a fragment of a fragment
        raise UndecodableError("malformed")
    return proto, start
