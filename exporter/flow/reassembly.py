"""One TCP direction's payload in order: late and doubled segments sorted out, holes not waited for in vain.

What comes out are pieces: bytes, or a number of bytes that are lost for good. A hole is given up when what waits
behind it reaches the cap, or when the receiver acknowledges past it: then it was delivered and only we missed it.
Overlaps: the first copy wins, as it did when it was read.
"""

from exporter.flow.serial import MASK, distance

__all__ = ["NOTHING", "Stream"]

NOTHING = 1 << 58
"""`Stream.skip`: nothing more of this direction is wanted."""

MAX_HELD = 64


class Stream:
    """Put a direction in order. `skip` next bytes are not wanted and never kept; `limit` bounds what waits."""

    __slots__ = ("evicted", "held", "limit", "pos", "size", "skip")

    def __init__(self, limit: int, start: int = -1) -> None:
        """Start at this sequence number; -1: at whatever comes first."""
        self.pos = start
        self.skip = 0
        self.held: dict[int, tuple[bytes, int]] | None = None
        self.size = 0
        self.limit = limit
        self.evicted = 0
        """How often a hole was given up because too much waited behind it."""

    def push(self, seq: int, data: bytes, length: int) -> list[bytes | int]:
        """Add a segment of true length `length`, of which `data` was captured; give what is now in order."""
        if self.pos < 0:
            self.pos = seq
        ahead = distance(seq, self.pos)
        if 0 < ahead <= self.skip:  # the hole is unwanted
            self.skip -= ahead
            self.pos = seq
            ahead = 0
        if ahead > 0:
            return self._hold(seq, data, length)
        out: list[bytes | int] = []
        self._take(out, -ahead, data, length)
        if self.held:
            self._drain(out)
        return out

    def acknowledged(self, ack: int) -> list[bytes | int]:
        """Give up the holes of which the receiver has all that we have not."""
        out: list[bytes | int] = []
        while self.held and distance(ack, self._first()) >= 0:
            out += self.give_up()
        return out

    def _first(self) -> int:
        """Give where what waits begins."""
        pos = self.pos
        return min(self.held or (), key=lambda seq: distance(seq, pos))

    def give_up(self) -> list[bytes | int]:
        """Declare the first hole lost, and give what stands behind it."""
        out: list[bytes | int] = []
        if self.held:
            lost = distance(self._first(), self.pos)
            if lost > 0:
                self._lose(out, lost)
            self._drain(out)
        return out

    def _lose(self, out: list[bytes | int], lost: int) -> None:
        self.pos = (self.pos + lost) & MASK
        unwanted = min(lost, self.skip)
        self.skip -= unwanted
        if lost > unwanted:
            out.append(lost - unwanted)

    def _take(self, out: list[bytes | int], done: int, data: bytes, length: int) -> None:
        """Deliver a segment whose first `done` bytes were delivered before."""
        if length <= done:
            return
        fresh = data[done:] if done else data
        missing = length - done - len(fresh)
        self.pos = (self.pos + len(fresh)) & MASK
        if self.skip:
            unwanted = min(self.skip, len(fresh))
            self.skip -= unwanted
            fresh = fresh[unwanted:]
        if fresh:
            out.append(fresh)
        if missing > 0:  # cut off by the capture's snap length
            self._lose(out, missing)

    def _hold(self, seq: int, data: bytes, length: int) -> list[bytes | int]:
        if self.held is None:
            self.held = {}
        old = self.held.get(seq)
        if old is None or old[1] < length:
            self.size += len(data) - (len(old[0]) if old else 0)
            self.held[seq] = (data, length)
        if self.size > self.limit or len(self.held) > MAX_HELD:
            self.evicted += 1
            return self.give_up()
        return []

    def _drain(self, out: list[bytes | int]) -> None:
        while self.held:
            first = self._first()
            ahead = distance(first, self.pos)
            if ahead > self.skip:
                return
            if ahead > 0:
                self._lose(out, ahead)
                ahead = 0
            data, length = self.held.pop(first)
            self.size -= len(data)
            self._take(out, -ahead, data, length)
        self.held = None
        self.size = 0
