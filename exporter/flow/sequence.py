"""Sequence numbers of one direction (RFC 9293 section 3.4, RFC 1982 comparison): order, holes, retransmissions."""

from exporter.flow.connection import Half
from exporter.flow.serial import MASK, distance
from exporter.model import FIN, SYN, Packet

__all__ = ["GAP", "IN_ORDER", "KEEPALIVE", "OLD", "PARTLY_OLD", "classify", "fills_hole", "in_window"]

WINDOW = 1 << 30
"""The largest receive window (RFC 7323 section 2.3): scaling is not followed, so bounds are wide."""
BEHIND = 1 << 20
"""A reset answers with the number that its receiver acknowledged last, which may lie this far behind what was sent."""

IN_ORDER, GAP, OLD, PARTLY_OLD, KEEPALIVE = range(5)


def in_window(half: Half, seq: int) -> bool:
    """Tell whether a reset with this number can be genuine (RFC 5961): near what its sender has sent."""
    return half.next < 0 or -BEHIND <= distance(seq, half.next) <= WINDOW


def classify(half: Half, packet: Packet) -> int:
    """Compare a segment with what its direction has sent so far; moves `half.next` past it, unless it is old.

    A number out of every window is a tuple used again of which we missed the beginning: the order starts anew with it.
    """
    size = packet.length + (packet.flags & SYN != 0) + (packet.flags & FIN != 0)
    end = (packet.seq + size) & MASK
    if half.next < 0:
        half.next = end
        return IN_ORDER
    ahead = distance(packet.seq, half.next)
    if ahead == 0:
        half.next = end
        return IN_ORDER
    if not -WINDOW <= ahead <= WINDOW:
        half.holes = None
        half.next = end
        return IN_ORDER
    if ahead > 0:
        _open_hole(half, half.next, packet.seq)
        half.next = end
        return GAP
    if distance(end, half.next) > 0:
        half.next = end
        return PARTLY_OLD
    if size <= 1 and ahead == -1 and packet.flags & (SYN | FIN) == 0:
        return KEEPALIVE  # RFC 9293 section 3.8.4: one old byte, or none, just before the window
    return OLD


def _open_hole(half: Half, start: int, end: int) -> None:
    """Remember what was not seen, so that it is late and not sent again when it comes. Few holes are kept."""
    holes = half.holes
    if holes is None:
        half.holes = holes = []
    if len(holes) >= MAX_HOLES:
        del holes[0]
    holes.append((start, end))


MAX_HOLES = 8


def fills_hole(half: Half, seq: int, size: int) -> bool:
    """Tell whether an old segment was in truth never seen before; the hole shrinks by it."""
    holes = half.holes
    if not holes:
        return False
    end = (seq + size) & MASK
    for i, (start, stop) in enumerate(holes):
        if distance(seq, start) >= 0 and distance(stop, end) >= 0:
            left = [(a, b) for a, b in ((start, seq), (end, stop)) if a != b]
            holes[i : i + 1] = left
            if not holes:
                half.holes = None
            return True
    return False
