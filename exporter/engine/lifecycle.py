"""How connections begin and end: new keys, generations, late packets, timeouts, evictions."""

from collections.abc import Callable

from exporter import metrics as m
from exporter.dissector import Ends
from exporter.engine.accounts import NO_SIDE
from exporter.engine.context import Context
from exporter.engine.messages import Messages
from exporter.engine.port import Port
from exporter.engine.settlement import Settlement
from exporter.flow import tcp
from exporter.flow.connection import EVERYTHING, Connection, Half, Leaving, View, mirror
from exporter.flow.inspector import Inspector
from exporter.flow.reassembly import Stream
from exporter.flow.serial import MASK, distance
from exporter.flow.socket import Socket
from exporter.flow.table import Tombstone
from exporter.model import ACK, RST, SYN, Packet

__all__ = ["Lifecycle"]

STATES = {"tcp": tcp.UNKNOWN, "sctp": "unknown", "udp": "active", "icmp": "active", "icmpv6": "active"}
MIGRATED = "migrated"
"""Why an entry ended whose connection goes on elsewhere: it is not closed."""
BURIED = frozenset({"fin", "reset", "timeout"})
REPEATED = 1 << 16
"""A SYN no more than this behind what was sent repeats an old one; a new connection's number is elsewhere."""


class Lifecycle:
    """Open, attach and end connections."""

    def __init__(self, context: Context, settlement: Settlement, messages: Messages) -> None:
        """Work on this context's table."""
        self._c = context
        self._settlement = settlement
        self._messages = messages
        self.counts_from = 0.0
        """Connections found in mid-stream before this time began before us: they do not count as opened."""
        self.resumed = False
        """A worker before us has counted what is open now: until `counts_from`, datagrams begin nothing either."""
        self.linger = 0.0
        """Seconds for which what is over stays in the table, so that late packets are in its totals (files only)."""
        self.ended: dict[Connection, float] = {}
        """Over, with the time of their last packet; they wait for their owner's name, or `flow.settle`."""
        self.ending: Callable[[Connection], None] | None = None
        """Asked for the last that is counted elsewhere of a connection that ends."""

    # -- beginnings ------------------------------------------------------------------------------------------------

    def direction(self, port: Port, key: bytes, now: float, packet: Packet, packets: int = 1) -> Half | None:
        """Find or open the direction of a packet; None: it came too late for its connection, and is counted.

        `packets`: of so many packets without payload `packet` has the size.
        """
        table = _table(port, packet)
        half = table.get(key)
        opens = packet.transport == "tcp" and packet.flags & (SYN | ACK) == SYN
        if half is not None and not opens:
            return half
        scope, transport = port.interface.scope, packet.transport
        if packet.tunnel:
            transport = f"{packet.tunnel}/{transport}"
        conn = half.conn if half is not None else self._c.table.find(scope, transport, key)
        if conn is not None and opens and self._reborn(conn, key, packet):
            conn.reason = conn.reason or "replaced"
            self.end(conn, now)
            conn = half = None
        if half is not None:
            return half
        if conn is None:
            tombstone = self._c.table.tombstone(scope, transport, key)
            if tombstone is not None:
                if not opens and not (tombstone.open and packet.length):
                    self._late(port, key, tombstone, packet, packets)
                    return None
                self._lift(self._c.table.tombstones.pop((scope, transport, self._c.table.name(key))))
            conn = self._open(port, key, now, packet)
        elif conn.silent:
            self._wake(conn, port, key, packet)
        return self._attach(conn, port, key, packet)

    def early(self, port: Port, key: bytes, now: float, packet: Packet) -> None:
        """Open a connection before its first packet is counted, if nothing at all is known under its key."""
        table, place = self._c.table, (port.interface.scope, packet.transport)
        if table.find(*place, key) is None and table.tombstone(*place, key) is None:
            self.direction(port, key, now, packet)

    def listed(self, conn: Connection) -> None:
        """Enter a connection that the kernel lists and that has sent nothing yet."""
        self._c.table.add(conn)
        self._settlement.waiting[conn] = None

    def _wake(self, conn: Connection, port: Port, key: bytes, packet: Packet) -> None:
        """Take the first packet of a connection that was only listed: its other end may be ours too."""
        conn.silent = False
        self.prepare(conn)
        side = 0 if key == conn.forward else 1
        sender, receiver = self._c.places.ends(port.interface, packet.src, packet.dst, leaving=packet.leaving)
        for at, scope in ((side, sender), (1 - side, receiver)):
            if scope is not None and not conn.local >> at & 1:
                view = View(at, scope)
                view.state = conn.views[0].state
                conn.local |= 1 << at
                conn.views = (*conn.views, view)
                conn.steady = False
                if conn.settled:
                    self._settlement.enter(conn, view)
        for view in conn.views:
            if view.owner is None and not view.serial:
                self._c.owners.ask(conn, view)
        if packet.transport != "tcp" or not packet.flags & SYN:
            return
        conn.initiator = 1 - side if packet.flags & ACK else side  # it was listed before its SYN was read
        conn.opened = True
        conn.steady = False
        for view in conn.views:
            view.state = tcp.UNKNOWN
            if conn.settled:
                self._c.accounts.opened(view, conn)

    def _open(self, port: Port, key: bytes, now: float, packet: Packet) -> Connection:
        self.make_room(now)
        turned = packet.transport == "tcp" and packet.flags & (SYN | ACK) == SYN | ACK
        forward = mirror(key) if turned else key
        conn = Connection(port.interface.scope, packet.transport, forward, now)
        known = packet.transport != "tcp" or bool(packet.flags & SYN)
        conn.initiator = 0 if known else -1
        conn.opened = now >= self.counts_from or (known and (packet.transport == "tcp" or not self.resumed))
        if packet.transport == "tcp" and packet.flags & RST:
            conn.opened = False  # it answers to what is no connection here
        conn.tunnel = packet.tunnel
        sender, receiver = self._c.places.ends(port.interface, packet.src, packet.dst, leaving=packet.leaving)
        first, second = (receiver, sender) if turned else (sender, receiver)
        views = [View(side, scope) for side, scope in ((0, first), (1, second)) if scope is not None]
        conn.local = (first is not None) | (second is not None) << 1
        conn.views = tuple(views) or (View(NO_SIDE),)
        for view in conn.views:
            view.state = STATES.get(packet.transport, "unknown")
        self._c.table.add(conn)
        self.prepare(conn)
        self._settlement.begin(conn)
        return conn

    def prepare(self, conn: Connection) -> None:
        """Inspect a connection from its first payload on, if its kind and its ends are worth it."""
        inspectable = conn.transport in self._c.inspection.transports and self._c.config.dpi.enabled
        inspectable = inspectable and bool(conn.local)
        conn.fresh = inspectable
        if conn.transport != "tcp":
            conn.half0.skip = conn.half1.skip = 0 if inspectable else EVERYTHING

    def inspect(self, conn: Connection) -> None:
        """Begin a connection's inspection, or go on with it: payload is here. (Not before: an idle one needs none.)."""
        conn.fresh = False
        ends = Ends(*conn.ends(), conn.transport)
        announced = "" if conn.protocol else self._c.expected.claim(conn)
        inspector = Inspector(self._c.inspection, ends, conn.protocol, announced)
        if inspector.active:
            conn.inspector = inspector
            if conn.transport == "tcp":
                limit = self._c.inspection.budget.bytes
                for half in (conn.half0, conn.half1):
                    if half.next >= 0:
                        half.next &= MASK
                    half.stream = Stream(limit, half.next)

    @staticmethod
    def rest(conn: Connection) -> None:
        """Drop an inspection that has nothing under way; it goes on with the next payload, as it began with the first.

        An open connection is silent most of the time, and what it takes to read it is most of its memory.
        """
        inspector = conn.inspector
        if inspector is not None and not conn.half0.skip and not conn.half1.skip and inspector.resting():
            conn.inspector = None
            conn.half0.stream = conn.half1.stream = None
            conn.fresh = True

    def _attach(self, conn: Connection, port: Port, key: bytes, packet: Packet) -> Half:
        """Give a connection's direction its place in a port's table."""
        if key == conn.forward:
            side, key = 0, conn.forward
        else:
            side, key = 1, conn.name if key == conn.name else key
        leaving = not conn.local and packet.leaving
        half = conn.half1 if side else conn.half0
        if leaving or half.table is not None:
            now = conn.created
            half = Leaving(conn, side, now, port.header) if leaving else Half(conn, side, now)
            if conn.transport != "tcp":
                half.skip = EVERYTHING if conn.inspector is None and not conn.fresh else 0
            half.big = (conn.half1 if side else conn.half0).big
            conn.extra = [*(conn.extra or ()), half]
        elif half.packets and conn.settled:
            self._settlement.flush(conn)  # what another interface carried is that interface's
        half.table = table = _table(port, packet)
        table[key] = half
        if leaving:
            half.meters = (port.reason("forwarded"),)
        elif packet.transport != "arp" and not packet.tunnel:
            half.meters = _meters(port, conn.local, side)
        if self._c.config.capture.count_as == "wire" and packet.transport == "tcp" and not leaving:
            half.big = min(half.big, port.interface.mtu)
        return half

    def _reborn(self, conn: Connection, key: bytes, packet: Packet) -> bool:
        """Tell whether a SYN begins a new connection on this tuple, or repeats the one that began this one."""
        if conn.reason or conn.fin is not None:
            return True
        half, other = (conn.half0, conn.half1) if key == conn.forward else (conn.half1, conn.half0)
        if (
            half.next < 0
        ):  # nothing of this side was seen: only a conversation found in the middle is replaced
            return other.next >= 0 and conn.initiator < 0
        sent = half.bytes + half.past_bytes
        return not 0 <= distance(half.next, packet.seq + 1) <= min(sent, REPEATED)

    def make_room(self, now: float) -> None:
        """Evict connections until there is a place for one more."""
        table = self._c.table
        while len(table) >= table.limit:
            victim = table.victim(now)
            if victim is None:
                return
            victim.reason = victim.reason or "evicted"
            self._c.ledger.values[self._c.ledger.slot(m.EVICTIONS, None, ("table_full",))] += 1
            self.end(victim, now)

    # -- late packets ----------------------------------------------------------------------------------------------

    def _late(self, port: Port, key: bytes, tombstone: Tombstone, packet: Packet, packets: int) -> None:
        """Count what comes after the end for those whose connection it was."""
        side = 0 if key == tombstone.forward else 1
        if packet.tunnel:  # the outer packet's bytes are counted already
            return
        if packet.leaving and tombstone.views[0].side == NO_SIDE:
            port.ignore("forwarded", packets, packet.size + packets * port.header)
            return
        counted = (packets, packet.size)
        values = self._c.ledger.values
        local = 0
        for view in tombstone.views:
            local |= 1 << view.side
            self._c.accounts.add(view, counted if side == 0 else (0, 0), (0, 0) if side == 0 else counted)
        for packets_slot, bytes_slot in _meters(port, local, side):
            values[packets_slot] += packets
            values[bytes_slot] += packet.size

    def weather(self, now: float) -> None:
        """Take away the tombstones whose time is over."""
        for tombstone in self._c.table.weathered(now):
            self._lift(tombstone)

    def _lift(self, tombstone: Tombstone) -> None:
        for view in tombstone.views:
            self._leave(view)

    def _leave(self, view: View) -> None:
        accounts = self._c.accounts
        accounts.hide(view)
        for rows in (view.rows, view.peer):
            if rows is not None:
                accounts.leave(rows)
        view.rows = view.peer = None
        if isinstance(view, Socket):
            for key in view.keys:
                self._c.sockets.pop(key, None)

    # -- endings ---------------------------------------------------------------------------------------------------

    def over(self, conn: Connection, now: float) -> None:
        """Let a connection end that has its `reason`. One that was announced may be over without a byte."""
        self.ended[conn] = now
        if conn.reason == "fin" and conn.fresh and not conn.protocol:
            announced = self._c.expected.claim(conn)
            if announced in self._c.inspection.by_name:
                self._settlement.recognise(conn, announced)

    def finish(self, now: float) -> None:
        """End what is over and whose owner is known, or was waited for long enough."""
        settle = self._c.config.flow.settle
        for conn, at in list(self.ended.items()):
            if now - at < self.linger or not (conn.settled or now - conn.created >= settle):
                continue
            self.end(conn, now)

    def end(self, conn: Connection, now: float) -> None:
        """End a connection that has its `reason`: everything it was enters the ledger."""
        self.ended.pop(conn, None)
        if self.ending is not None:
            self.ending(conn)
        inspector = conn.inspector
        if inspector is not None and inspector.exchange is not None:
            self._messages.outcomes(conn, inspector.exchange.close())
        if conn.transport == "tcp":
            self._failed(conn)
        settlement, accounts = self._settlement, self._c.accounts
        settlement.settle(conn)
        settlement.flush(conn)
        self._c.routes.forget(conn)
        for view in conn.views:
            if conn.reason != MIGRATED:
                accounts.closed(view, conn)
            self._c.owners.forget(view)
        if self._c.sink is not None:
            self._messages.close(conn)
            self._c.sink.ended(conn, now)
        self._c.owners.release(conn)
        self._c.table.remove(conn)
        self._bury(conn, now)
        conn.inspector = None
        conn.half0.stream = conn.half1.stream = None
        conn.views = ()
        for half in conn.halves():
            del half.conn  # the cycle, so that memory is given back at once and not by the collector

    @staticmethod
    def _failed(conn: Connection) -> None:
        """See whether it never became a connection: an ICMP error that it got over is none (RFC 1122 4.2.3.9)."""
        opening = all(view.state in tcp.OPENING for view in conn.views)
        if conn.failure == "unreachable" and not opening:
            conn.failure = ""
        elif opening and not conn.failure and conn.reason in ("timeout", "replaced"):
            conn.failure = "timeout"

    def _bury(self, conn: Connection, now: float) -> None:
        """Leave a tombstone for what may come late; in the gauges only an end in `time_wait` is still there."""
        if conn.transport != "tcp" or conn.reason not in BURIED or self.linger:
            for view in conn.views:
                self._leave(view)
            return
        for view in conn.views:
            if view.state != tcp.TIME_WAIT:
                self._c.accounts.hide(view)
            elif view.shown != tcp.TIME_WAIT:
                self._c.accounts.show(view, conn)
        until = now + self._c.config.flow.timeouts.tombstone
        tombstone = Tombstone(conn.forward, until, conn.views, still_open=conn.reason == "timeout")
        evicted = self._c.table.bury(conn, tombstone)
        if evicted:
            self._c.ledger.values[self._c.ledger.slot(m.EVICTIONS, None, ("tombstones",))] += len(evicted)
        for old in evicted:
            self._lift(old)


def _table(port: Port, packet: Packet) -> dict[bytes, Half]:
    """Give the directions of a packet's kind: the same ends inside of a tunnel are another connection."""
    return port.table(f"{packet.tunnel}/{packet.transport}" if packet.tunnel else packet.transport)


def _meters(port: Port, local: int, side: int) -> tuple[tuple[int, int], ...]:
    """Give the meters for what `side` sent; `local` has a bit for each side that is ours."""
    return port.meters(sends=bool(local >> side & 1), receives=bool(local >> (1 - side) & 1))
