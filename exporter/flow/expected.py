"""Connections that others announced: FTP's data, TFTP's transfers, media of SIP and RTSP.

An announcement names one end of a connection to come, and the host of the other end or any. One of its two hosts has to
be a host of the announcing connection, else a peer could name what others say to each other. It holds for connections
that begin within its lifetime; where both hosts are told, for one of them. It is taken at its word about a stream, and
only where the announced protocol can read it and no other claims it about datagrams (`Inspector`).

A worker expects what was announced to itself. Captured packets are dealt by hosts, so that all between two hosts come
to one; only media between others than the announcing hosts may be another worker's. What the kernel counts is dealt by
ports as well: with several workers most announced connections are another's, and are recognised by their own marks.
"""

from itertools import product
from typing import NamedTuple

from exporter.flow.connection import Connection
from exporter.model import Expectation

__all__ = ["Expected"]

MAX_EXPECTED = 4096
MAX_LIFETIME = 300.0
KEPT = 60.0
"""Seconds beyond its lifetime: so late may be the first word on a connection that began in time."""
SLACK = 1.0
"""Seconds by which a connection may seem older than its announcement: interfaces are read one after the other."""


class Announced(NamedTuple):
    """What was announced, and when a connection has to begin to be it."""

    protocol: str
    since: float
    until: float


NOWHERE = -1
"""For every namespace that is not known yet: where a connection was announced it may become known before the other."""

Place = tuple[int, str, bytes, int, bytes | None]
"""Namespace, transport (with the tunnel's name inside of one), address and port of one end, the other's address."""


class Expected:
    """One worker's announcements; of too many, the oldest gives way."""

    def __init__(self, limit: int = MAX_EXPECTED) -> None:
        """Hold at most so many."""
        self._limit = limit
        self._places: dict[Place, Announced] = {}

    def __len__(self) -> int:
        """Give the number of connections that are waited for."""
        return len(self._places)

    def announce(self, conn: Connection, now: float, expectations: tuple[Expectation, ...]) -> int:
        """Expect what a connection announces; give how many others had to make room."""
        hosts = conn.end(0)[0], conn.end(1)[0]
        prefix = f"{conn.tunnel}/" if conn.tunnel else ""
        evicted = 0
        for one in expectations:
            if one.address not in hosts and one.peer not in hosts:
                continue
            scope = max(conn.scope, NOWHERE)
            place = scope, prefix + one.transport, one.address, one.port, one.peer
            self._places.pop(place, None)  # the newest is the last
            if len(self._places) >= self._limit and not self.expire(now):
                del self._places[next(iter(self._places))]
                evicted += 1
            self._places[place] = Announced(one.protocol, now, now + min(one.lifetime, MAX_LIFETIME))
        return evicted

    def claim(self, conn: Connection) -> str:
        """Tell as what a connection was announced; "" if it was not."""
        if not self._places:
            return ""
        ends = conn.end(0), conn.end(1)
        for (address, port), (other, _) in (ends, ends[::-1]):
            for scope, peer in product((max(conn.scope, NOWHERE), NOWHERE), (other, None)):
                place = scope, conn.kind, address, port, peer
                found = self._places.get(place)
                if found is not None and found.since - SLACK <= conn.created <= found.until:
                    if peer is not None:
                        del self._places[place]
                    return found.protocol
        return ""

    def expire(self, now: float) -> int:
        """Forget what did not come, oldest first; give how many that were."""
        before = len(self._places)
        while self._places:
            place = next(iter(self._places))
            if self._places[place].until + KEPT >= now:
                break
            del self._places[place]
        return before - len(self._places)
