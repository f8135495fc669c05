"""What connections become in the ledger: byte rows, gauges, counters and durations, per view.

A connection's numbers enter when its owner and protocol are settled; what waits until then stands in
`Connection.pending`. What entered is never moved: later bytes go to the new row.
"""

from collections.abc import Sequence

from exporter import metrics as m
from exporter.engine.labels import Top
from exporter.flow import addresses
from exporter.flow.connection import Connection, Rows, View
from exporter.flow.timeouts import STALENESS
from exporter.ledger import Ledger
from exporter.model import IdentityKey

__all__ = ["FORWARDED", "KERNEL", "OWN", "SOCKETS", "Accounts"]

KERNEL = IdentityKey("kernel")
FORWARDED = IdentityKey("forwarded")
OWN = IdentityKey("netproc-exporter")
NO_SIDE = 2
SOCKETS = "sockets"
"""What stands for an interface where the kernel counts by socket."""

PEERS = (m.PEER_TRANSMIT_BYTES, m.PEER_RECEIVE_BYTES)
INITIATORS = {True: "local", False: "remote"}


class Accounts:
    """The engine's door to the ledger."""

    def __init__(self, ledger: Ledger, *, packets: bool, servers: Top | None) -> None:
        """Write into this ledger; `packets`: count packets per process too; `servers`: and peers by their names."""
        self.ledger = ledger
        self.values = ledger.values
        self._packets = packets
        self.servers = servers
        self._rows: dict[tuple[object, ...], Rows] = {}
        self._sockets: tuple[int, ...] = ()

    # -- byte rows -------------------------------------------------------------------------------------------------

    def flow(self, view: View, conn: Connection) -> Rows:
        """Give the byte rows of a view's identity, protocol and transport; held until `leave`."""
        return self.claim(view.identity, conn.protocol or "unknown", conn.transport)

    def claim(self, identity: IdentityKey, protocol: str, transport: str) -> Rows:
        """Give the byte rows of these labels; held until `leave`."""
        key = (identity, protocol, transport)
        rows = self._rows.get(key)
        if rows is None:
            labels = (protocol, transport)
            sent, got = (
                self._hold(family, identity, labels) for family in (m.TRANSMIT_BYTES, m.RECEIVE_BYTES)
            )
            rows = self._rows[key] = Rows(key, sent, got)
            if self._packets:
                rows.transmit_packets = self._hold(m.TRANSMIT_PACKETS, identity, labels)
                rows.receive_packets = self._hold(m.RECEIVE_PACKETS, identity, labels)
        rows.users += 1
        return rows

    def peer(self, view: View, conn: Connection) -> Rows:
        """Give the byte rows of a view's identity towards its other end; held until `leave`.

        By the end's scope and, if it is the server and asked for, its name.
        """
        far, _ = conn.end(0 if view.side == 1 else 1)
        asks = self.servers is not None and view.side == conn.initiator
        return self.towards(view.identity, addresses.scope(far), conn.server if asks else "")

    def towards(self, identity: IdentityKey, scope: str, server: str = "") -> Rows:
        """Give the byte rows of an identity towards a scope, or a server there; held until `leave`."""
        if self.servers is not None and server:
            server = self.servers.fold(server, self.ledger.now)
        labels = (scope, server)
        key = (identity, labels)
        rows = self._rows.get(key)
        if rows is None:
            sent, got = (self._hold(family, identity, labels) for family in PEERS)
            rows = self._rows[key] = Rows(key, sent, got, server)
            if self.servers is not None and server:
                self.servers.hold(server)
        rows.users += 1
        return rows

    def _hold(self, family: m.Family, identity: IdentityKey, labels: tuple[str, str]) -> int:
        slot = self.ledger.slot(family, identity, labels)
        self.ledger.hold(slot)
        return slot

    def leave(self, rows: Rows) -> None:
        """Give rows back; the last user lets them expire."""
        rows.users -= 1
        if not rows.users:
            del self._rows[rows.key]
            if self.servers is not None and rows.server:
                self.servers.release(rows.server, self.ledger.now)
            for slot in (rows.transmit, rows.receive, rows.transmit_packets, rows.receive_packets):
                if slot >= 0:
                    self.ledger.release(slot)

    def add(self, view: View, sent: tuple[int, int], got: tuple[int, int]) -> None:
        """Count packets and bytes that side 0 sent, and that side 1 sent, for a view."""
        rows, peer = view.rows, view.peer
        if rows is None:
            return
        if view.side == 1:
            sent, got = got, sent
        elif view.side == NO_SIDE:  # both directions entered this machine, and neither began here
            sent, got = (0, 0), (sent[0] + got[0], sent[1] + got[1])
        values = self.values
        values[rows.transmit] += sent[1]
        values[rows.receive] += got[1]
        if rows.transmit_packets >= 0:
            values[rows.transmit_packets] += sent[0]
            values[rows.receive_packets] += got[0]
        if peer is not None:
            values[peer.transmit] += sent[1]
            values[peer.receive] += got[1]

    def watch_sockets(self) -> None:
        """Prepare the meters of what the kernel counts: all sockets are one interface."""
        ledger = self.ledger
        self._sockets = tuple(
            ledger.slot(family, None, (SOCKETS, direction))
            for direction in ("receive", "transmit")
            for family in (m.CAPTURED_PACKETS, m.CAPTURED_BYTES)
        )

    def moved(self, rows: Rows, peer: Rows, moved: Sequence[int]) -> None:
        """Count what a socket moved: packets and bytes received, then sent."""
        received, received_size, sent, sent_size = moved
        values = self.values
        values[rows.receive] += received_size
        values[rows.transmit] += sent_size
        values[peer.receive] += received_size
        values[peer.transmit] += sent_size
        if rows.transmit_packets >= 0:
            values[rows.receive_packets] += received
            values[rows.transmit_packets] += sent
        packets_in, size_in, packets_out, size_out = self._sockets
        values[packets_in] += received
        values[size_in] += received_size
        values[packets_out] += sent
        values[size_out] += sent_size

    # -- gauges ----------------------------------------------------------------------------------------------------

    def show(self, view: View, conn: Connection) -> None:
        """Count a view in the gauges under its present state and staleness, and no longer under its last."""
        ledger = self.ledger
        protocol = conn.protocol or "unknown"
        state = ledger.slot(m.CONNECTIONS, view.identity, (protocol, conn.transport, view.state))
        stale = ledger.slot(
            m.CONNECTIONS_BY_STALENESS, view.identity, (conn.transport, STALENESS[conn.staleness])
        )
        self.hide(view)
        view.state_gauge, view.stale_gauge = state, stale
        view.shown = view.state
        for slot in (state, stale):
            ledger.hold(slot)
            self.values[slot] += 1

    def hide(self, view: View) -> None:
        """Count a view in no gauge."""
        if view.state_gauge >= 0:
            for slot in (view.state_gauge, view.stale_gauge):
                self.values[slot] -= 1
                self.ledger.release(slot)
            view.state_gauge = view.stale_gauge = -1
            view.shown = ""

    # -- counters --------------------------------------------------------------------------------------------------

    def count(self, family: m.Family, view: View, labels: tuple[str, ...]) -> None:
        """Add one to a counter of a view's identity."""
        self.values[self.ledger.slot(family, view.identity, labels)] += 1

    def opened(self, view: View, conn: Connection, protocol: str = "") -> None:
        """Count a beginning: by this end, by the other, or unknown; `protocol`: the first of several."""
        began = "unknown" if conn.initiator < 0 else INITIATORS[conn.initiator == view.side]
        labels = (protocol or conn.protocol or "unknown", conn.transport, began)
        self.count(m.CONNECTIONS_OPENED, view, labels)

    def closed(self, view: View, conn: Connection) -> None:
        """Count an end by its reason, and a failure by its own."""
        self.count(m.CONNECTIONS_CLOSED, view, (conn.protocol or "unknown", conn.transport, conn.reason))
        if conn.failure:
            self.count(m.CONNECTIONS_FAILED, view, (conn.transport, conn.failure))

    def attributed(self, view: View) -> None:
        """Count how a view's owner was found."""
        none = view.owner is None
        labels = ("none", "none") if none else (view.method, view.quality)
        self.values[self.ledger.slot(m.ATTRIBUTIONS, None, labels)] += 1

    def handshake(self, view: View, kind: str, seconds: float) -> None:
        """Record a handshake's duration; clocks may step back."""
        slot = self.ledger.slot(m.HANDSHAKE_DURATION, view.identity, (kind,))
        self.ledger.observe(slot, max(0.0, seconds))

    def retransmitted(self, view: View) -> None:
        """Count a segment that this end sent again."""
        self.count(m.RETRANSMITTED_SEGMENTS, view, ())

    def outcome(self, view: View, labels: tuple[str, str, str], end: tuple[int, bool, float | None]) -> None:
        """Record a request's end under its protocol, operation and status.

        `end`: who asked, whether it went wrong, and seconds; None: it was not answered.
        """
        side, error, duration = end
        role = "client" if side == view.side else "server"
        protocol, op, status = labels
        self.count(m.REQUESTS, view, (protocol, role, op, status))
        if error:
            self.count(m.REQUEST_ERRORS, view, (protocol, role))
        if duration is None:
            self.count(m.UNANSWERED_REQUESTS, view, (protocol, role))
        else:
            slot = self.ledger.slot(m.REQUEST_DURATION, view.identity, (protocol, role))
            self.ledger.observe(slot, duration)

    def version(self, view: View, protocol: str, version: str) -> None:
        """Record a negotiated version."""
        self.count(m.PROTOCOL_VERSIONS, view, (protocol, version))

    def certificate(self, view: View, name: str, not_after: float) -> None:
        """Record when a certificate expires."""
        self.values[self.ledger.slot(m.CERTIFICATE_EXPIRY, view.identity, (name,))] = not_after
