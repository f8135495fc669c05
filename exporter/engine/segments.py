"""TCP's slow path: what a segment does to states, sequence numbers, handshake times, payload and retransmissions.

The packet path calls this for every segment that is not the next one in order of a steady connection. It leaves
`Half.skip` so that the packet path may take the following ones on its own where that is safe.
"""

from exporter import metrics as m
from exporter.engine.accounts import NO_SIDE
from exporter.engine.context import Context
from exporter.engine.lifecycle import Lifecycle
from exporter.engine.messages import Messages
from exporter.flow import tcp
from exporter.flow.connection import EVERYTHING, NEVER, Connection, Half, View
from exporter.flow.reassembly import NOTHING
from exporter.flow.sequence import OLD, PARTLY_OLD, classify, fills_hole, in_window
from exporter.flow.serial import MASK, distance
from exporter.flow.tcp import ESTABLISHED, TRANSITIONS
from exporter.model import ACK, FIN, PSH, RST, SYN, Packet

__all__ = ["Segments"]

OPENS_OR_ENDS = SYN | FIN
NUMBERS = (0, 1, 1, 2)
"""How many sequence numbers these two flags take."""
# Events, as the receiver and as the sender of a segment see it.
OPENS, SYN_ACK = ("syn_in", "syn_out"), ("synack_in", "synack_out")
GOES_ON, ENDS = ("data_in", "data_out"), ("fin_in", "fin_out")


class Segments:
    """Follow TCP connections segment by segment."""

    def __init__(self, context: Context, messages: Messages, lifecycle: Lifecycle) -> None:
        """Write through this context; what is said goes to `messages`, what is over to `lifecycle`."""
        self._c = context
        self._messages = messages
        self._lifecycle = lifecycle
        ledger = context.ledger
        self._shaken = context.accounts.handshake
        self._unlisted = ledger.slot(m.UNLISTED_TRANSITIONS, None, ("tcp",))
        self._estimated = ledger.slot(m.ESTIMATED_SEGMENTS, None)
        self._evicted = ledger.slot(m.EVICTIONS, None, ("reassembly",))

    def segment(self, half: Half, now: float, packet: Packet) -> None:
        """Take a segment that was counted already."""
        conn, flags = half.conn, packet.flags
        own = half
        if conn.extra is not None or flags & RST or not flags or packet.size > half.big:
            followed = self._special(conn, half, now, packet)
            if followed is None:
                return
            own = followed
        if conn.inspector is not None:
            _sync(conn.half0)
            _sync(conn.half1)
        elif conn.fresh and (packet.length or (flags & FIN and _early(own, packet))):
            self._lifecycle.inspect(conn)
        seq = packet.seq
        if seq == own.next:
            own.next = seq + packet.length + NUMBERS[flags & OPENS_OR_ENDS] & MASK
        else:
            self._order(conn, own, packet)
        if flags & OPENS_OR_ENDS or not conn.steady:
            self._states(conn, own, now, packet)
        if conn.inspector is not None:
            self._payload(conn, own, now, packet)
        if conn.steady:
            self._release(conn)
        else:
            conn.half0.skip = conn.half1.skip = NEVER

    def _special(self, conn: Connection, half: Half, now: float, packet: Packet) -> Half | None:
        """Take what few segments are: give the direction that keeps their order; None: nothing else is to be done."""
        flags = packet.flags
        if not flags:  # no segment of a real end, or one that could not be read
            return None
        own = half
        if conn.extra is not None:
            if half.side == NO_SIDE:  # on its way out: followed where it came in
                half.next = packet.seq + packet.length & MASK
                half.skip = EVERYTHING
                return None
            own = conn.half0 if half.side == 0 else conn.half1
        if packet.size > half.big:
            self._estimate(half, packet)
        if flags & RST:
            self._reset(conn, own, now, packet)
            return None
        return own

    def _estimate(self, half: Half, packet: Packet) -> None:
        """Count a segmentation-offloaded packet as the segments that it is on the wire."""
        headers = packet.size - packet.length
        room = half.big - headers
        if room <= 0 or not packet.length:
            return
        if _larger(half, packet, room):
            half.big = packet.size
            return
        more = -(-packet.length // room) - 1
        half.packets += more
        half.bytes += more * headers
        self._c.ledger.values[self._estimated] += more

    # -- order -----------------------------------------------------------------------------------------------------

    def _order(self, conn: Connection, half: Half, packet: Packet) -> None:
        """Count a segment whose bytes were sent before, unless it only came late."""
        order = classify(half, packet)
        if order not in (OLD, PARTLY_OLD):
            return
        size = packet.length + (packet.flags & SYN != 0) + (packet.flags & FIN != 0)
        if not size or fills_hole(half, packet.seq, size):
            return
        self._messages.later(conn, (self._c.accounts.retransmitted, half.side, ()))

    # -- states ----------------------------------------------------------------------------------------------------

    def _states(self, conn: Connection, half: Half, now: float, packet: Packet) -> None:
        flags, side = packet.flags, half.side
        fin = conn.fin
        if (
            fin is not None
            and flags & ACK
            and fin[1 - side] >= 0
            and distance(packet.ack, fin[1 - side]) >= 0
        ):
            for view in conn.views:
                if view.side & 1 != side:
                    self._step(view, "acked")
        if flags & SYN:
            self._opening(conn, half, now, packet)
            events = SYN_ACK if flags & ACK else OPENS
        elif flags & FIN:
            events = ENDS
            if fin is None:
                fin = conn.fin = [-1, -1]
            fin[side] = (packet.seq + packet.length + 1) & MASK
        else:
            events = GOES_ON
            if conn.handshake is not None and flags & ACK:
                self._opened(conn, half, now)
        steady = fin is None and conn.handshake is None
        for view in conn.views:  # of a forwarded connection, side 0's
            self._step(view, events[view.side & 1 == side])
            if view.state != ESTABLISHED:
                steady = False
        conn.steady = steady
        if fin is not None and tcp.ENDED.issuperset([view.state for view in conn.views]):
            self._over(conn, now, "fin")

    def _step(self, view: View, event: str) -> None:
        """Walk TCP's table."""
        after = TRANSITIONS.get((view.state, event))
        if after is None:
            self._c.ledger.values[self._unlisted] += 1
        else:
            view.state = after

    def _opening(self, conn: Connection, half: Half, now: float, packet: Packet) -> None:
        """Note when the handshake's segments passed, and the largest segment that its options allow."""
        times = conn.handshake
        if times is None:
            if conn.initiator < 0 or conn.half0.past_bytes or conn.half1.past_bytes:
                return
            times = conn.handshake = [0.0, 0.0, 0.0]
        if packet.extra and half.big != EVERYTHING:
            largest = packet.extra + (40 if len(packet.src) == 4 else 60)  # noqa: PLR2004 - IP and TCP headers
            if packet.flags & ACK and largest != half.big:
                less = half.side if largest < half.big else 1 - half.side
                conn.allowed = less, max(largest, half.big)
            for other in (conn.half0, conn.half1):
                other.big = min(other.big, largest)
        which = 1 if packet.flags & ACK else 0
        if times[which]:  # sent again: whose answer comes is not known (Karn)
            times[2] += 1
            return
        times[which] = now
        if which and times[0] and not times[2]:
            seconds = now - times[0]
            side = 1 - half.side  # the client's end measures from its SYN to the SYN-ACK
            self._handshake(conn, side, seconds)

    def _opened(self, conn: Connection, half: Half, now: float) -> None:
        """Close the handshake at the client's acknowledgement: the server's end measures from its SYN-ACK."""
        times = conn.handshake
        if times is None or half.side != conn.initiator:
            return
        conn.handshake = None
        if times[1] and not times[2]:
            self._handshake(conn, 1 - half.side, now - times[1])

    def _handshake(self, conn: Connection, side: int, seconds: float) -> None:
        if conn.local >> side & 1:
            self._messages.later(conn, (self._shaken, side, ("tcp", seconds)))

    def _over(self, conn: Connection, now: float, reason: str) -> None:
        if not conn.reason:
            conn.reason = reason
            self._lifecycle.over(conn, now)

    def _reset(self, conn: Connection, half: Half, now: float, packet: Packet) -> None:
        """End a connection by a reset that can be genuine (RFC 9293 section 3.10.7, RFC 5961)."""
        refused = all(view.state in tcp.OPENING or view.state == tcp.UNKNOWN for view in conn.views)
        answers = refused and half.side != conn.initiator
        if not answers and not in_window(half, packet.seq):
            self._c.ledger.values[self._unlisted] += 1
            return
        for view in conn.views:
            self._step(view, "reset")
        if answers and conn.initiator >= 0 and not conn.reason:
            conn.failure = "refused"
        conn.steady = False
        self._over(conn, now, "reset")
        conn.half0.skip = conn.half1.skip = NEVER

    def read(self, half: Half, now: float, packet: Packet, *, sent: bool) -> None:
        """Take a segment's payload only: it is counted elsewhere, and somebody else knows the states.

        `sent`: seen where it was sent, in order; what is missing then never comes.
        """
        conn = half.conn
        if packet.flags & SYN:
            half.next = packet.seq + 1 & MASK
        if packet.flags & FIN:
            conn.fin = conn.fin or [-1, -1]
            conn.fin[half.side] = packet.seq + packet.length + 1 & MASK
        first, second = conn.half0, conn.half1
        if conn.fresh and packet.length:
            if conn.protocol:  # it rested; what passed meanwhile need not have come up
                first.next = second.next = -1
            self._lifecycle.inspect(conn)
        if first.stream is None and second.stream is None:
            return
        self._payload(conn, half, now, packet)
        if sent and half.stream is not None and half.stream.held:
            self._deliver(conn, half, now, half.stream.give_up())
        for one in (first, second):
            if one.stream is not None and not one.stream.held and one.stream.pos >= 0:
                one.next = one.stream.pos
        self._release(conn)

    # -- payload ---------------------------------------------------------------------------------------------------

    def _payload(self, conn: Connection, half: Half, now: float, packet: Packet) -> None:
        """Put payload in order and hand it to inspection; an acknowledgement may show that a hole never fills."""
        stream = half.stream
        if stream is not None:
            if packet.length:
                seq = packet.seq + 1 & MASK if packet.flags & SYN else packet.seq
                self._deliver(conn, half, now, stream.push(seq, packet.payload, packet.length))
                if stream.evicted:
                    self._c.ledger.values[self._evicted] += stream.evicted
                    stream.evicted = 0
            elif stream.pos < 0:
                stream.pos = half.next
        other = conn.half1 if half.side == 0 else conn.half0
        if other.stream is not None and other.stream.held and packet.flags & ACK:
            self._deliver(conn, other, now, other.stream.acknowledged(packet.ack))
        if conn.fin is not None:
            self._close(conn, half, now)
            self._close(conn, other, now)

    def _close(self, conn: Connection, half: Half, now: float) -> None:
        """Tell the inspection that a side has said all that came before its FIN."""
        side, stream, fin = half.side, half.stream, conn.fin
        if stream is None or fin is None or fin[side] < 0 or distance(fin[side], stream.pos) > 1:
            return
        half.stream = None
        if conn.inspector is not None:
            self._messages.take(conn, now, conn.inspector.close(side))

    def _deliver(self, conn: Connection, half: Half, now: float, pieces: list[bytes | int]) -> None:
        """Feed what is in order, and ask after each piece how much of what follows is wanted."""
        inspector, stream, side = conn.inspector, half.stream, half.side
        if inspector is None or stream is None:
            return
        for piece in pieces:
            if isinstance(piece, int):
                unwanted = min(stream.skip, piece)
                stream.skip -= unwanted
                if piece > unwanted:
                    inspector.lost(side)
                continue
            if stream.skip:
                passed = min(stream.skip, len(piece))
                stream.skip -= passed
                piece = piece[passed:]  # noqa: PLW2901 - the rest of the same piece
            if piece:
                self._messages.take(conn, now, inspector.feed(side, piece))
                if inspector.switched:
                    inspector.switched = False
                    _want_all(conn)
                stream.skip = inspector.skip(side)
                other = conn.half1.stream if side == 0 else conn.half0.stream
                if (
                    other is not None
                ):  # one side's bytes may decide that the other's are of no interest either
                    other.skip = min(NOTHING, other.skip + inspector.skip(1 - side))
        if not inspector.active:
            conn.half0.stream = conn.half1.stream = None
            if inspector.exchange is None:  # nobody waits for an answer
                conn.inspector = None

    def _release(self, conn: Connection) -> None:
        """Let the packet path take the segments that follow in order, where nothing but counting is left to do."""
        first, second = conn.half0, conn.half1
        if conn.inspector is None:
            first.skip = second.skip = 0 if conn.fresh else EVERYTHING
        elif _even(first) and _even(second):
            first.skip, second.skip = _wanted(first), _wanted(second)
            self._lifecycle.rest(conn)
        else:
            first.skip = second.skip = NEVER


def _sync(half: Half) -> None:
    """Tell the stream how far the packet path has read; that one counts on beyond 32 bits."""
    stream = half.stream
    if stream is not None and half.skip >= 0 and half.next >= 0:
        stream.pos = half.next = half.next & MASK
        stream.skip = half.skip


def _want_all(conn: Connection) -> None:
    for half in (conn.half0, conn.half1):
        if half.stream is not None:
            half.stream.skip = 0


def _larger(half: Half, packet: Packet, room: int) -> bool:
    """Tell whether a packet above what its sender announced was sent as it is: the announcement binds the other end.

    (RFC 9293 section 3.7.1; large sites' servers send more than they announce.) Segments that offload merged are full,
    except for a last one, which its sender pushes; and to two smaller ones than announced, half as much more is short.
    """
    conn = half.conn
    if conn.allowed is None or conn.local >> half.side & 1 or packet.flags & (PSH | FIN):
        return False
    side, allowed = conn.allowed
    fits = half.side == side and packet.size <= allowed
    return fits and packet.length % room != 0 and 2 * packet.length < 3 * room


def _early(half: Half, packet: Packet) -> bool:
    """Tell whether a FIN has come before payload that it stands behind: that is then read from where it begins."""
    return half.next >= 0 and distance(packet.seq, half.next) > 0


def _even(half: Half) -> bool:
    """Tell whether what was read is all that was sent: no hole, nothing that waits behind one."""
    stream = half.stream
    return stream is None or (not stream.held and stream.pos == half.next)


def _wanted(half: Half) -> int:
    return half.stream.skip if half.stream is not None else EVERYTHING
