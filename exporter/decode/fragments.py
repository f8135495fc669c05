"""Fragments: every fragment's bytes belong to its connection, and the whole datagram can be inspected.

Later fragments have no ports; they get them from the first, by (source, destination, protocol, identification). Those
that come before it are held for `HOLD` seconds of capture time and then given up. The datagram is put together as
well, so that whoever completes it can read its payload. As in Linux, an exact duplicate is passed over and any other
overlap ends the reassembly (RFC 5722; RFC 8200 section 4.5), so that no order of pieces says two things; it ends the
inspection only, all bytes are still counted.

Bounds: `limit` datagrams, `waiting` held packets, `BUFFER` bytes of pieces in all; the oldest datagram goes first.
"""

from bisect import bisect_left
from operator import itemgetter

from exporter.decode.ip import Key, Part
from exporter.errors import UndecodableError
from exporter.model import Packet

__all__ = ["Fragments", "Whole"]

HOLD = 30.0
LINGER = 1.0
"""How long a complete datagram's ports are kept, for duplicates; short, because identifications come back."""
BUFFER = 4 * 1024 * 1024
"""As Linux' ipfrag_high_thresh."""
DATAGRAM = 65_535
PIECE = 160
"""What a piece costs beside its bytes, so that many small ones are no way around the bound."""

_OFFSET = itemgetter(0)

Whole = tuple[int, bytes, int]
"""A complete datagram: the first fragment's protocol, what was captured without a hole, the true length."""


class _Datagram:
    """One datagram's fragments as far as they came."""

    __slots__ = ("cost", "deadline", "first", "have", "held", "open", "pieces", "proto", "total")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.first: Packet | None = None
        self.proto = 0
        self.held: list[Packet] = []
        self.pieces: list[tuple[int, int, bytes]] = []
        self.have = self.cost = self.total = 0
        self.open = True
        """Still worth putting together."""

    def put(self, part: Part) -> None:
        """Keep a piece; anything odd ends the reassembly."""
        end = part.offset + part.length
        if part.more:
            sound = part.length % 8 == 0 and part.length > 0 and (not self.total or end <= self.total)
        else:
            sound = self.total in {0, end} and all(at + size <= end for at, size, _ in self.pieces[-1:])
            self.total = end
        at = bisect_left(self.pieces, part.offset, key=_OFFSET)
        after = self.pieces[at] if at < len(self.pieces) else None
        if after is not None and after[:2] == (part.offset, part.length):
            return
        before = self.pieces[at - 1] if at else (0, 0, b"")
        if not sound or end > DATAGRAM or before[0] + before[1] > part.offset or (after and after[0] < end):
            self.close()
            return
        self.pieces.insert(at, (part.offset, part.length, part.body))
        self.have += part.length
        self.cost += len(part.body) + PIECE

    def close(self) -> None:
        """Give up, or finish, putting it together."""
        self.open = False
        self.pieces = []
        self.cost = 0

    def whole(self) -> Whole | None:
        """Give the datagram if it is complete, up to the first byte that the capture cut off."""
        if not self.open or not self.total or self.have != self.total or self.first is None:
            return None
        bodies = []
        for _, size, body in self.pieces:
            bodies.append(body)
            if len(body) < size:
                break
        self.close()
        return self.proto, b"".join(bodies), self.total


class Fragments:
    """The cache of unfinished datagrams."""

    def __init__(self, limit: int, waiting: int) -> None:
        """Keep at most `limit` datagrams, and `waiting` packets whose first fragment is still to come."""
        self._limit = limit
        self._waiting = waiting
        self._datagrams: dict[Key, _Datagram] = {}
        self._cost = self._held = 0
        self._lost = [0, 0]

    def first(self, now: float, part: Part, packet: Packet) -> list[Packet]:
        """Take a first fragment, whose ports `packet` has: gives the packets that waited for it."""
        known = self._find(now, part)
        if known.first is not None and not known.open:  # the identification is in use again
            self._drop(part.key)
            known = self._find(now, part)
        if known.first is None:
            known.first, known.proto = packet, part.proto
        released, known.held = known.held, []
        self._held -= len(released)
        for late in released:
            _name(late, packet)
        self._put(known, part)
        return released

    def later(self, now: float, part: Part, packet: Packet) -> bool:
        """Take another fragment: True if `packet` has its ports now, False if it was kept until the first comes."""
        known = self._find(now, part)
        if known.first is not None:
            _name(packet, known.first)
            self._put(known, part)
            return True
        if self._held >= self._waiting:
            raise UndecodableError("fragment")
        known.held.append(packet)
        self._held += 1
        self._put(known, part)
        return False

    def whole(self, now: float, key: Key) -> Whole | None:
        """Give the datagram if it is complete."""
        known = self._datagrams.get(key)
        if known is None:
            return None
        cost = known.cost
        whole = known.whole()
        if whole is not None:
            self._cost -= cost
            known.deadline = now + LINGER
        return whole

    def expire(self, now: float) -> tuple[int, int]:
        """Forget what is too old: gives how many packets, and bytes of frames, never found their first fragment."""
        for key in [key for key, known in self._datagrams.items() if known.deadline <= now]:
            self._drop(key)
        packets, size = self._lost
        self._lost = [0, 0]
        return packets, size

    def _find(self, now: float, part: Part) -> _Datagram:
        known = self._datagrams.get(part.key)
        if known is not None and known.deadline > now:
            return known
        if known is not None:
            self._drop(part.key)
        elif len(self._datagrams) >= self._limit:
            self._drop(next(iter(self._datagrams)))
        known = self._datagrams[part.key] = _Datagram(now + HOLD)
        return known

    def _put(self, known: _Datagram, part: Part) -> None:
        if not known.open:
            return
        before = known.cost
        known.put(part)
        self._cost += known.cost - before
        while self._cost > BUFFER:
            self._drop(next(iter(self._datagrams)))

    def _drop(self, key: Key) -> None:
        known = self._datagrams.pop(key)
        self._cost -= known.cost
        self._held -= len(known.held)
        self._lost[0] += len(known.held)
        self._lost[1] += sum(late.link + late.size + late.pad for late in known.held)


def _name(packet: Packet, first: Packet) -> None:
    """Give a later fragment its connection."""
    packet.transport, packet.sport, packet.dport = first.transport, first.sport, first.dport
    packet.fragment = True
