"""QUIC connections whose client goes on from another address or port (RFC 9000 section 9).

Connections are told apart by their ends, so what goes on elsewhere is another entry of the table. It takes over
protocol, state and attributes; it was not opened now, and the entry on the old ends was not closed.
"""

from exporter import metrics as m
from exporter.engine.context import Context
from exporter.engine.lifecycle import MIGRATED, Lifecycle
from exporter.engine.settlement import Settlement
from exporter.flow.connection import Connection, Half
from exporter.flow.quic import is_short, step

__all__ = ["Migration"]

QUIC = "quic"
ATTRIBUTE = "quic.migrated"


class Migration:
    """Learn connection ids, and recognise them on other ends."""

    def __init__(self, context: Context, settlement: Settlement, lifecycle: Lifecycle) -> None:
        """Work on this context's table."""
        self._c = context
        self._settlement = settlement
        self._lifecycle = lifecycle

    def learn(self, conn: Connection, side: int, data: bytes) -> None:
        """Note the connection ids of a handshake's datagram."""
        if gone := self._c.routes.learn(conn, side, data):
            ledger = self._c.ledger
            ledger.values[ledger.slot(m.EVICTIONS, None, ("connection_ids",))] += gone

    def follow(self, half: Half, now: float, data: bytes) -> None:
        """See whether a datagram on ends of which no protocol is known belongs to a connection on others."""
        conn = half.conn
        found = self._c.routes.find(conn, half.side, data) if is_short(data) else None
        if found is None:
            return
        old, client = found
        self._take_over(conn, old, client)
        self._leave(old, now, counted=conn.settled and conn.opened)

    def _take_over(self, conn: Connection, old: Connection, client: int) -> None:
        self._c.routes.move(old, conn)
        conn.initiator = client
        if not conn.settled:
            conn.opened = False  # it was, on the ends that it had
        if self._c.sink is not None:
            conn.attrs = {**(old.attrs or {}), ATTRIBUTE: "true"}
        for view in conn.views:
            view.state = step(old.views[0].state, "short")
        conn.fresh = False
        conn.inspector = None  # the handshake is over
        self._settlement.recognise(conn, QUIC)

    def _leave(self, old: Connection, now: float, *, counted: bool) -> None:
        """End what was left behind, after the time in which packets may still be on their way (section 9.3)."""
        if old.reason:
            return
        old.reason = "replaced" if counted else MIGRATED
        for view in old.views:
            view.state = "draining"
            if old.settled:
                self._c.accounts.show(view, old)
        self._lifecycle.ended[old] = now + self._c.config.flow.timeouts.quic_draining
