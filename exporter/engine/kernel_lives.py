"""How connections that the kernel counts begin and end: sockets found, joined to their other end, closed.

A connection is known by namespace, transport and ends; each of its local ends is a `Socket`, known by the key that the
kernel gave it. The kernel says in which state a TCP socket is and when it is closed; nothing is concluded from flags.
"""

from struct import Struct

from exporter import metrics as m
from exporter.engine.context import Context
from exporter.engine.lifecycle import Lifecycle
from exporter.engine.messages import Messages
from exporter.engine.settlement import Settlement
from exporter.flow import tcp
from exporter.flow.connection import Connection, View, mirror
from exporter.flow.socket import Socket
from exporter.model import End, Tally

__all__ = ["Lives"]

PORTS = Struct(">HH").pack
FOREVER = float("inf")
ENDS_AT_ONCE = 8
"""Sockets of different processes with the same ends at a time; more are taken for one."""
MAX_KEYS = 32
"""Sockets of one process with the same ends, one after the other or at a time."""
REASONS = {"fin": "fin", "reset": "reset", "refused": "reset", "timeout": "timeout", "unreachable": "timeout"}


class Lives:
    """Open, join and end connections."""

    def __init__(
        self, context: Context, settlement: Settlement, lifecycle: Lifecycle, messages: Messages
    ) -> None:
        """Work on this context's table and sockets."""
        self._c = context
        self.accounts = context.accounts
        self.settlement = settlement
        self.lifecycle = lifecycle
        self.messages = messages
        self.trusted = FOREVER
        """Until when idle TCP connections are left alone: the kernel tells their end, unless it lost something."""

    # -- beginnings ------------------------------------------------------------------------------------------------

    def find(self, end: End, scope: int, now: float, initiator: int) -> Socket:
        """Find or open the connection of a socket that is not known yet; `initiator`: 1 this end, 0 the other, -1."""
        key = end.local + end.remote + PORTS(end.lport, end.rport)
        conn = self._c.table.find(scope, end.transport, key)
        socket = None
        if conn is not None:
            socket = self._join(conn, 0 if key == conn.forward else 1, now)
        if socket is None:
            socket = self._open(end, key if initiator else mirror(key), (scope, now, initiator))
        keys = (*socket.keys, end.key)
        if len(keys) > MAX_KEYS:  # the one it had longest will be met again, if it still moves
            self._c.sockets.pop(keys[0], None)
            keys = keys[1:]
        socket.keys = keys
        self._c.sockets[end.key] = socket
        return socket

    def _join(self, conn: Connection, side: int, now: float) -> Socket | None:
        """Find a socket's place in a connection that is known; None: that one was an earlier one on the same ends."""
        for view in conn.views:
            if view.side == side and isinstance(view, Socket):
                if view.keys and conn.transport == "tcp":
                    self._set_aside(conn, now)
                    return None
                if conn.silent:
                    self._wake(conn)
                return view
        if conn.silent:
            self._wake(conn)
        return self._seat(conn, side)

    def _seat(self, conn: Connection, side: int) -> Socket:
        socket = Socket(side, conn.scope)
        socket.conn = conn
        socket.state = (
            tcp.UNKNOWN if conn.transport == "tcp" else conn.views[0].state if conn.views else "active"
        )
        if not conn.local >> side & 1:
            conn.local |= 1 << side
            half = conn.half0 if side == 0 else conn.half1
            half.past = (0, 0)  # what the other end received of it: it counts that itself
        conn.views = (*conn.views, socket)
        return socket

    def split(self, socket: Socket, key: bytes) -> Socket:
        """Part two sockets with the same ends that turn out to be different processes'."""
        conn = socket.conn
        if conn is None or len(conn.views) >= ENDS_AT_ONCE:
            return socket
        socket.keys = tuple(other for other in socket.keys if other != key)
        other = self._c.sockets[key] = self._seat(conn, socket.side)
        other.keys = (key,)
        return other

    def _open(self, end: End, forward: bytes, begun: tuple[int, float, int]) -> Socket:
        scope, now, initiator = begun
        self.lifecycle.make_room(now)
        conn = Connection(scope, end.transport, forward, now)
        if initiator >= 0:
            conn.initiator = 0
        if end.transport != "tcp":
            conn.opened = not (self.lifecycle.resumed and now < self.lifecycle.counts_from)
        socket = self._seat(conn, 0 if initiator else 1)
        socket.reads = True
        self._c.table.add(conn)
        self.lifecycle.prepare(conn)
        return socket

    def _wake(self, conn: Connection) -> None:
        """Something moves on a connection that was only listed."""
        conn.silent = False
        self.lifecycle.prepare(conn)
        for view in conn.views:
            if isinstance(view, Socket):
                view.conn = conn
                view.reads = view is conn.views[0]

    def _set_aside(self, conn: Connection, now: float) -> None:
        """Make room for a new connection on the same ends. The last tallies of the old one may still come."""
        self._c.table.remove(conn)
        if not conn.reason:
            conn.reason = "replaced"
            self.lifecycle.ended[conn] = now

    def enter(self, socket: Socket, tally: Tally) -> None:
        """Take a socket's first tally: now its owner is known, and who began."""
        conn = socket.conn
        if conn is None:
            return
        before = conn.opened
        if conn.transport == "tcp":
            conn.watched = self.trusted
            if tally.initiator >= 0 and conn.initiator < 0:
                conn.initiator = socket.side if tally.initiator else 1 - socket.side
            conn.opened = conn.initiator >= 0
        if not conn.settled:
            self.settlement.waiting[conn] = None
        elif socket.rows is None:
            self.settlement.enter(conn, socket)
        elif conn.opened and not before:  # it was listed before it was counted
            self.accounts.opened(socket, conn)

    def doubt(self) -> None:
        """The kernel lost something, which may have been the end of a connection: who is idle is asked about again."""
        self.trusted = 0.0
        for conn in self._c.table:
            if conn.watched == FOREVER:
                conn.watched = 0.0

    # -- states and endings ----------------------------------------------------------------------------------------

    def state(self, conn: Connection, socket: Socket, tally: Tally) -> None:
        """Take what a TCP socket's tally says beside numbers."""
        if tally.retransmits and conn.transport == "tcp":
            self.messages.later(conn, (self._resent, socket.side, (tally.retransmits,)))
        if socket.over:
            return
        if tally.ended:
            self._ended(conn, socket, tally)
        elif tally.state and tally.state != tcp.CLOSED:
            socket.state = tally.state

    def _resent(self, view: View, segments: int) -> None:
        ledger = self._c.ledger
        ledger.values[ledger.slot(m.RETRANSMITTED_SEGMENTS, view.identity, ())] += segments

    def _ended(self, conn: Connection, socket: Socket, tally: Tally) -> None:
        opening = not tally.established and (socket.state in tcp.OPENING or socket.state == tcp.UNKNOWN)
        why = tally.ended
        if opening and why == "reset":
            why = "timeout"  # nobody answered, and its process gave up
        if opening and why in ("refused", "unreachable"):
            conn.failure = why
        if opening and why != "refused":
            socket.state = tcp.SYN_SENT  # as far as it came
        else:
            socket.state = tally.state
        socket.over = REASONS[why]
        reasons = {view.over if isinstance(view, Socket) else "" for view in conn.views}
        if "" not in reasons and conn.reason in ("", "replaced"):
            conn.reason = next(reason for reason in ("reset", "timeout", "fin") if reason in reasons)
            self.lifecycle.over(conn, tally.timestamp)
