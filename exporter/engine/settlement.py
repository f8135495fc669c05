"""When a connection's numbers enter the ledger, and under which name.

They wait until owner and protocol are known, or for `flow.settle` seconds, or until the connection ends. From then on
each flush adds what came since the last. A name that comes later, or changes, applies to what follows.
"""

from exporter.engine.accounts import FORWARDED, KERNEL, NO_SIDE, OWN
from exporter.engine.context import Context
from exporter.flow.connection import ALL, UNKNOWN, Connection, Event, Leaving, View
from exporter.flow.names import host
from exporter.flow.socket import Socket
from exporter.model import Answer, IdentityKey, Owner

__all__ = ["Settlement", "account"]

Moved = tuple[int, int]
"""Packets and bytes."""
NOTHING = (0, 0)
OWNED = frozenset({"tcp", "udp", "sctp"})
"""Transports whose packets a process's socket sends; what else travels is the kernel's."""


class Settlement:
    """The connections that wait, and the moment at which each is settled."""

    def __init__(self, context: Context) -> None:
        """Settle into this context's ledger."""
        self._c = context
        self.waiting: dict[Connection, None] = {}
        """Not settled, oldest first."""

    def begin(self, conn: Connection) -> None:
        """Take a new connection: ask who owns its ends."""
        self.waiting[conn] = None
        for view in conn.views:
            if view.side == NO_SIDE:
                view.identity = FORWARDED
                view.answered = True
            elif conn.transport not in OWNED:
                view.identity = KERNEL
                view.answered = True
            else:
                self._c.owners.ask(conn, view)

    def due(self, now: float) -> None:
        """Settle what has waited long enough."""
        before = now - self._c.config.flow.settle
        ready = [conn for conn in self.waiting if conn.created <= before or self._known(conn)]
        for conn in ready:
            self.settle(conn)

    def answer(self, answer: Answer) -> None:
        """Take the identity process' word on a view's owner."""
        asked = self._c.owners.asked(answer)
        if asked is None:
            return
        conn, view = asked
        if answer.owner is not None or answer.final:
            view.answered = True
        if answer.method != "none":
            word = self._c.owners.word
            view.method, view.quality = word(answer.method), word(answer.quality)
        if answer.owner is not None:
            self.own(conn, view, answer.owner)
        if not conn.settled and self._known(conn):
            self.settle(conn)

    def own(self, conn: Connection, view: View, owner: Owner) -> None:
        """Give a view its owner. What was entered stays where it is; what no other name has yet is this one's."""
        view.owner, identity = self._c.owners.one(owner)
        self.name(conn, view, identity)
        if identity == OWN and not self._c.config.own.traffic:
            self._disown(conn)

    def name(self, conn: Connection, view: View, identity: IdentityKey) -> None:
        """Count for this identity from now on."""
        if identity != view.identity:
            if conn.settled and view.identity is not UNKNOWN:
                self.flush(conn)
            view.identity = identity
            if view.rows is not None:
                self._rehome(conn, view)

    def recognise(self, conn: Connection, protocol: str) -> None:
        """Give a connection its protocol. What an earlier one moved stays its own; a first name has all before it."""
        if protocol == conn.protocol:
            return
        if conn.protocol and conn.settled:
            self.flush(conn)
        elif conn.protocol and protocol:
            self._keep(conn)
        conn.protocol = protocol
        if conn.settled:
            for view in conn.views:
                if view.rows is not None:
                    self._rehome(conn, view)
        elif self._known(conn):
            self.settle(conn)

    def told(self, conn: Connection, name: str) -> None:
        """Take the server's name as its protocol tells it: the first one holds, and goes before what was looked up."""
        name = host(name)
        if conn.told or not name:
            return
        conn.told = True
        if name == conn.server:
            return
        rehomes = conn.settled and self._c.accounts.servers is not None
        if rehomes and conn.server:
            self.flush(conn)
        conn.server = name
        for view in conn.views if rehomes else ():
            if view.rows is not None:
                self._rehome(conn, view)

    def server(self, conn: Connection) -> str:
        """Give the server's name: as it was told, else as its address was looked up when the connection began."""
        names = self._c.names
        if names is None or conn.server or conn.told:
            return conn.server
        if conn.initiator >= 0 and conn.local >> conn.initiator & 1:
            address, _ = conn.end(1 - conn.initiator)
            conn.server = names.find(conn.created, conn.scope, address)
        return conn.server

    def settle(self, conn: Connection) -> None:
        """Enter a connection into the ledger under what is known now."""
        if conn.settled:
            return
        conn.settled = True
        self.waiting.pop(conn, None)
        self.server(conn)
        for view in conn.views:
            self.enter(conn, view)
        conn.pending = None

    def enter(self, conn: Connection, view: View) -> None:
        """Enter one end of a settled connection."""
        accounts = self._c.accounts
        socket = view if isinstance(view, Socket) else None
        if view.owner is None and view.identity is UNKNOWN and socket is None:
            view.identity = _fallback(conn, view)
        if view.identity not in (FORWARDED, KERNEL):
            accounts.attributed(view)
        view.rows = accounts.flow(view, conn)
        view.peer = None if view.side == NO_SIDE else accounts.peer(view, conn)
        if socket is not None and view.peer is not None and socket.waiting is not None:
            moved, socket.waiting = socket.waiting, None
            accounts.moved(view.rows, view.peer, moved)
        pending = conn.pending or ()
        if conn.opened and not (pending and pending[0][0] == accounts.opened):
            accounts.opened(view, conn)
        for method, side, arguments in pending:
            if side in (ALL, view.side):
                method(view, *arguments)

    def _keep(self, conn: Connection) -> None:
        """Keep what a protocol moved, and that it began the connection, until the owner's name is known."""
        opened = self._c.accounts.opened
        if conn.pending is None:
            conn.pending = []
        if conn.opened and not (conn.pending and conn.pending[0][0] == opened):
            conn.pending.insert(0, (opened, ALL, (conn, conn.protocol)))
        sent, got = self._take(conn)
        if not conn.tunnel:
            conn.pending.append((self._moved, ALL, (conn.protocol, conn.transport, sent, got)))

    def _moved(self, view: View, protocol: str, transport: str, sent: Moved, got: Moved) -> None:
        """Enter what an earlier protocol moved."""
        accounts = self._c.accounts
        rows, view.rows = view.rows, accounts.claim(view.identity, protocol, transport)
        accounts.add(view, sent, got)
        accounts.leave(view.rows)
        view.rows = rows

    def flush(self, conn: Connection) -> None:
        """Move what came since the last flush into the totals, the interfaces' meters and the ledger."""
        sent, got = self._take(conn)
        if conn.tunnel:
            return  # the outer packets' bytes are counted already
        for view in conn.views:
            self._c.accounts.add(view, sent, got)

    def _take(self, conn: Connection) -> tuple[Moved, Moved]:
        """Move what came since the last time into totals and meters; give what side 0 sent, and side 1."""
        sent = got = NOTHING
        values = self._c.ledger.values
        first, second = conn.half0, conn.half1
        for half in (first, second, *conn.extra) if conn.extra else (first, second):
            packets, size = half.packets, half.bytes
            if not packets:
                continue
            half.packets = half.bytes = 0
            for packets_slot, bytes_slot in half.meters:
                values[packets_slot] += packets
                values[bytes_slot] += size
            if isinstance(half, Leaving):
                values[half.meters[0][1]] += packets * half.overhead
            elif half.side == 0:
                first.past_packets += packets
                first.past_bytes += size
                sent = (packets, size) if sent is NOTHING else (sent[0] + packets, sent[1] + size)
            else:
                second.past_packets += packets
                second.past_bytes += size
                got = (packets, size) if got is NOTHING else (got[0] + packets, got[1] + size)
        return sent, got

    def _known(self, conn: Connection) -> bool:
        """Tell whether protocol and owners are found, or will not be."""
        inspector = conn.inspector
        if not conn.protocol and (conn.fresh or (inspector is not None and inspector.active)):
            return False
        for view in conn.views:  # noqa: SIM110 - a generator takes four times as long
            if not view.answered:
                return False
        return True

    def _rehome(self, conn: Connection, view: View) -> None:
        """Count from now on under the present name and protocol."""
        accounts = self._c.accounts
        old = (view.rows, view.peer)
        view.rows = accounts.flow(view, conn)
        view.peer = None if view.side == NO_SIDE else accounts.peer(view, conn)
        for rows in old:
            if rows is not None:
                accounts.leave(rows)
        if view.state_gauge >= 0:
            accounts.show(view, conn)

    def _disown(self, conn: Connection) -> None:
        """Our own traffic is counted and not read: else every export would feed the next."""
        conn.fresh = False
        conn.inspector = None
        conn.half0.stream = conn.half1.stream = None
        conn.pending = [event for event in conn.pending or () if event[0] == self._moved] or None
        conn.attrs = None
        conn.server, conn.told = "", True
        if conn.protocol:
            self.recognise(conn, "")


def account(conn: Connection, event: Event) -> None:
    """Account for something of a settled connection."""
    method, side, arguments = event
    for view in conn.views:
        if side in (ALL, view.side):
            method(view, *arguments)


def _fallback(conn: Connection, view: View) -> IdentityKey:
    """Name a view that has no owner: what the kernel answers on its own is the kernel's, the rest is unknown."""
    far = 1 - view.side
    if conn.failure == "refused" and conn.initiator == far:
        return KERNEL  # a reset from a closed port
    sent = conn.half0 if view.side == 0 else conn.half1
    silent = not sent.packets and not sent.past_packets
    if conn.transport == "udp" and silent and view.answered:
        return KERNEL  # a datagram that no socket takes
    return UNKNOWN
