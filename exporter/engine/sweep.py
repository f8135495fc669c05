"""What happens by the clock: flushes each second, timeouts and staleness every few, and what only the kernel knows."""

from exporter import metrics as m
from exporter.engine.accounts import NO_SIDE
from exporter.engine.context import Context
from exporter.engine.lifecycle import Lifecycle
from exporter.engine.messages import Messages
from exporter.engine.settlement import Settlement
from exporter.flow import tcp
from exporter.flow.connection import Connection, Half, View
from exporter.flow.inspector import Inspector
from exporter.flow.timeouts import staleness
from exporter.model import Answer, Packet, SocketRow

__all__ = ["Sweep"]

PORT_UNREACHABLE = {"icmp": 3 << 8 | 3, "icmpv6": 1 << 8 | 4}
"""RFC 792; RFC 4443 section 3.1: type and code by which a closed UDP port answers."""
UNREACHABLE = {"icmp": 3, "icmpv6": 1}
REWATCH = 60.0
LONGEST_WATCH = 600.0


class Sweep:
    """Walk the table by the clock."""

    def __init__(
        self, context: Context, settlement: Settlement, lifecycle: Lifecycle, messages: Messages
    ) -> None:
        """Work on this context's table."""
        self._c = context
        self._settlement = settlement
        self._lifecycle = lifecycle
        self._messages = messages
        ledger = context.ledger
        self._size = ledger.slot(m.TABLE_CONNECTIONS, None)
        ledger.values[ledger.slot(m.TABLE_LIMIT, None)] = context.table.limit
        self._last_tick = 0.0

    def tick(self, now: float) -> None:
        """Flush what moved, and bring the gauges up to date."""
        c = self._c
        c.ledger.now = now
        flush, show = self._settlement.flush, c.accounts.show
        for conn in c.table if c.changed() else ():
            if conn.settled:
                if conn.half0.packets or conn.half1.packets or conn.extra:
                    flush(conn)
                for view in conn.views:
                    if view.shown is not view.state and view.shown != view.state and not conn.reason:
                        show(view, conn)
        if self._last_tick:  # before, no time has passed that is known
            c.ledger.rates(now - self._last_tick, c.config.flow.rate_window)
        self._last_tick = now
        c.ledger.values[self._size] = len(c.table)

    def sweep(self, now: float) -> None:
        """End what timed out; note how stale the rest is; give up requests that nobody answers."""
        late = now - self._c.config.flow.timeouts.request
        expired = []
        for conn in self._c.table:
            age = now - conn.last
            allowed = self._allowed(conn, age)
            if age >= allowed and now >= conn.watched:
                expired.append(conn)
            stale = staleness(age, allowed)
            if stale != conn.staleness:
                conn.staleness = stale
                for view in conn.views:
                    if view.state_gauge >= 0:
                        self._c.accounts.show(view, conn)
            inspector = conn.inspector
            if inspector is not None:
                inspector.tire(now)
                self._calm(conn, inspector, late)
        for conn in expired:
            self._expire(conn, now)
        self._lifecycle.weather(now)

    def _calm(self, conn: Connection, inspector: Inspector, late: float) -> None:
        """Give up what nobody has answered until now, and see whether an inspection may rest."""
        if inspector.exchange is not None:
            self._messages.outcomes(conn, inspector.exchange.expire(late))
            if not inspector.exchange:
                inspector.exchange = None
        if inspector.active:
            self._lifecycle.rest(conn)
        elif inspector.exchange is None:
            conn.inspector = None
            conn.half0.stream = conn.half1.stream = None

    def _allowed(self, conn: Connection, age: float) -> float:
        dissector = self._c.inspection.by_name.get(conn.protocol)
        idle = self._c.clock.idle(conn.protocol, dissector.idle if dissector is not None else None)
        return self._c.clock.timeout(conn.transport, conn.views[0].state, idle, age)

    def _expire(self, conn: Connection, now: float) -> None:
        """End an idle connection, unless its socket may still be there: then the kernel is asked."""
        if conn.reason:
            return
        for view in conn.views:
            known = view.owner is not None or conn.silent
            if view.side != NO_SIDE and known and self._c.owners.watch(conn, view):
                wait = min(LONGEST_WATCH, max(REWATCH, now - conn.last))
                conn.watched = now + wait
                return
        self._timeout(conn, now)

    def watched(self, conn: Connection, answer: Answer, now: float) -> None:
        """Take the kernel's word on an idle connection's socket."""
        age = now - conn.last
        if not answer.alive and not conn.reason and age >= self._allowed(conn, age):
            self._timeout(conn, now)

    def _timeout(self, conn: Connection, now: float) -> None:
        finished = conn.fin is not None or any(view.state in tcp.ENDED for view in conn.views)
        conn.reason = "fin" if finished and conn.transport == "tcp" else "timeout"
        self._lifecycle.end(conn, now)

    def close(self, now: float) -> None:
        """End everything, oldest first."""
        for conn in sorted(self._c.table, key=lambda conn: conn.created):
            conn.reason = conn.reason or "timeout"
            self._lifecycle.end(conn, now)

    # -- what others tell ------------------------------------------------------------------------------------------

    def unreachable(self, half: Half, packet: Packet) -> None:
        """Note on the connection that an ICMP error speaks of that it never came to be (RFC 5927: only if it opens)."""
        quoted = packet.quoted
        if quoted is None or packet.extra >> 8 != UNREACHABLE.get(packet.transport):
            return
        key = quoted.src + quoted.dst + quoted.sport.to_bytes(2, "big") + quoted.dport.to_bytes(2, "big")
        conn = self._c.table.find(half.conn.scope, quoted.transport, key)
        if conn is None or conn.failure:
            return
        refuser = conn.half1 if key == conn.forward else conn.half0
        if conn.transport == "udp" and packet.extra == PORT_UNREACHABLE[packet.transport]:
            if not refuser.packets and not refuser.past_packets:  # else it only left the conversation
                conn.failure = "refused"
        elif conn.transport == "tcp" and all(view.state in tcp.OPENING for view in conn.views):
            conn.failure = "unreachable"

    def listed(self, row: SocketRow, now: float) -> None:
        """Enter a connected socket of which nothing was heard: a connection all the same, silent so far."""
        key = row.local + row.remote + row.lport.to_bytes(2, "big") + row.rport.to_bytes(2, "big")
        table = self._c.table
        known = table.find(row.scope, row.transport, key)
        if known is not None:
            self._second(known, row)
            return
        if table.tombstone(row.scope, row.transport, key) is not None or len(table) >= table.limit:
            return  # what is silent takes nobody's place
        conn = Connection(row.scope, self._c.owners.word(row.transport), key, now)
        view = self._c.view(0, row.scope)
        view.state = self._c.owners.word(row.state)
        conn.local = 1
        conn.views = (view,)
        conn.silent = True
        self._lifecycle.listed(conn)
        self._own(conn, view, row)

    def _second(self, conn: Connection, row: SocketRow) -> None:
        """See whether a listed socket is the other end of a silent connection: both ends are ours then."""
        if not conn.silent or conn.end(1) != (row.local, row.lport) or len(conn.views) > 1:
            return
        view = self._c.view(1, row.scope)
        view.state = self._c.owners.word(row.state)
        conn.local = 3
        conn.views = (*conn.views, view)
        conn.steady = False
        self._own(conn, view, row)
        if conn.settled:
            self._settlement.enter(conn, view)

    def _own(self, conn: Connection, view: View, row: SocketRow) -> None:
        view.answered = True
        word = self._c.owners.word
        view.method, view.quality = word(row.method), word(row.quality)
        if row.owner is not None:
            settled, conn.settled = conn.settled, False  # this end has entered nothing yet
            self._settlement.own(conn, view, row.owner)
            conn.settled = settled
