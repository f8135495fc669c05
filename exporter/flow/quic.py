"""QUIC's states as an observer sees them, and the connection ids by which a connection is known on other ends.

States follow from packet types and what Initials carry (RFC 9000 sections 10 and 17.2). A client's address and port
may change (section 9, most often a translation's new port); what it is addressed to does not, until it is told of
other connection ids, which is encrypted.
"""

from exporter.errors import ParseError
from exporter.flow.connection import Connection
from exporter.formats.quic_packet import long_packet

__all__ = ["Routes", "is_short", "step"]

MAX_ROUTES = 16_384
MIN_CID = 4
"""A shorter connection id says too little; one of no length says nothing (section 5.1)."""
MAX_SHARING = 4
"""Connections of one id."""
MAX_IDS = 4
"""Of a connection: both sides', and those that a Retry gave."""

TRANSITIONS = {
    ("unknown", "initial"): "initial",
    ("unknown", "handshake"): "handshaking",
    ("unknown", "short"): "connected",
    ("initial", "handshake"): "handshaking",
    ("initial", "short"): "connected",
    ("handshaking", "short"): "connected",
    ("connected", "close"): "draining",
    ("initial", "close"): "closed",
    ("handshaking", "close"): "closed",
    ("unknown", "close"): "draining",
    ("draining", "close"): "closed",
}


def step(state: str, event: str) -> str:
    """Walk the table; what it does not list changes nothing. `active`: a flow that was not known to be QUIC yet."""
    return TRANSITIONS.get(("unknown" if state == "active" else state, event), state)


def is_short(data: bytes) -> bool:
    """Tell whether a datagram may be a packet with a short header (section 17.3.1)."""
    return len(data) > MIN_CID and data[0] & 0xC0 == 0x40


Route = tuple[str, bytes]
"""Kind; and the server's end, which stays where it is, the direction, and a connection id."""


class Routes:
    """Which connection an id belongs to. Bounded; of too many, the oldest are forgotten.

    Where both ends are ours in two namespaces, both have a connection of these ids. A namespace is known by another
    number once its first processes are found, so that it tells them apart no better than which of the ends are ours.
    """

    def __init__(self) -> None:
        """Know none."""
        self._conns: dict[Route, tuple[Connection, ...]] = {}
        self._ids: dict[Connection, list[Route]] = {}
        self._count = 0
        self._sizes: dict[int, int] = {}
        """How many ids are of which length: a short header does not tell."""

    def __len__(self) -> int:
        """Give the number of ids, of all connections."""
        return self._count

    def learn(self, conn: Connection, side: int, data: bytes) -> int:
        """Note the id that a side asks to be addressed by in a long packet; give how many others had to go."""
        try:
            cid = long_packet(data, 0).peer
        except ParseError:
            return 0
        server = _server(conn)
        route = _route(conn, server, cid, to_server=side == server)
        known, sharing = self._ids.get(conn, ()), self._conns.get(route, ())
        if len(cid) < MIN_CID or len(known) >= MAX_IDS or route in known or len(sharing) >= MAX_SHARING:
            return 0
        before = self._count
        while self._count >= MAX_ROUTES:
            self.forget(next(iter(self._ids)))
        gone = before - self._count
        self._conns[route] = (*self._conns.get(route, ()), conn)
        self._ids.setdefault(conn, []).append(route)
        self._sizes[len(cid)] = self._sizes.get(len(cid), 0) + 1
        self._count += 1
        return gone

    def find(self, conn: Connection, side: int, data: bytes) -> tuple[Connection, int] | None:
        """Find whose a short packet on other ends is, and which side of `conn` the client is then."""
        for client in (side, 1 - side):
            for size in self._sizes:
                route = _route(conn, 1 - client, data[1 : 1 + size], to_server=side == client)
                ranked = [(_likeness(old, conn, 1 - client), old) for old in self._conns.get(route, ())]
                rank, found = max(ranked, key=lambda one: one[0], default=(0, conn))
                if rank and found is not conn:
                    return found, client
        return None

    def move(self, old: Connection, conn: Connection) -> None:
        """Let a connection have another's ids."""
        routes = self._ids[conn] = self._ids.pop(old, [])
        for route in routes:
            self._conns[route] = tuple(conn if one is old else one for one in self._conns[route])

    def forget(self, conn: Connection) -> None:
        """Forget a connection, which has ended."""
        for route in self._ids.pop(conn, ()):
            left = tuple(one for one in self._conns.pop(route) if one is not conn)
            if left:
                self._conns[route] = left
            size = len(route[1]) - len(_prefix(conn, 0, to_server=True))
            self._sizes[size] -= 1
            self._count -= 1
            if not self._sizes[size]:
                del self._sizes[size]


def _server(conn: Connection) -> int:
    return 0 if conn.initiator == 1 else 1


def _prefix(conn: Connection, server: int, *, to_server: bool) -> bytes:
    address, port = conn.end(server)
    return address + port.to_bytes(2, "big") + bytes([to_server])


def _route(conn: Connection, server: int, cid: bytes, *, to_server: bool) -> Route:
    return conn.kind, _prefix(conn, server, to_server=to_server) + cid


def _likeness(old: Connection, conn: Connection, server: int) -> int:
    """Tell how likely it is that two are the same end's: 0, they are not."""
    if old is conn:
        return 0
    before, now = _ours(old, _server(old)), _ours(conn, server)
    return 4 * (old.scope == conn.scope) + 2 * (before == now) + bool(before & now)


def _ours(conn: Connection, server: int) -> int:
    return (conn.local >> server & 1) | (conn.local >> (1 - server) & 1) << 1
