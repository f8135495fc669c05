"""Lists all connected sockets with their owners, a piece at a time: at a worker's start, then seldom."""

import time
from collections.abc import Iterator

from exporter.identity.netlink import PROTOCOLS, Socket
from exporter.identity.resolver import Resolver
from exporter.identity.tables import Tables
from exporter.model import Listing, SocketRow

__all__ = ["list_sockets"]

PIECE = 250
"""Sockets of a slice, 2 ms; questions are answered between two."""
ROWS = 25
"""Rows of a record: with their owners' command lines they must fit a datagram."""

Found = tuple[int, str, Socket]


def list_sockets(resolver: Resolver, now: float) -> Iterator[Listing | None]:
    """Give the records of one listing; None where others may be served before it goes on."""
    rows: list[Found] = []
    begun = time.perf_counter()
    for found in read(resolver, now):
        if found:
            rows.append(found)
        if not found or len(rows) % PIECE == 0:
            resolver.stats.dump_seconds += time.perf_counter() - begun
            yield None
            begun = time.perf_counter()
    resolver.stats.dumps += 1
    resolver.stats.sockets = len(rows)
    if holders := resolver.holders:
        while holders.sweeping():  # another one is under way
            holders.step()
            yield None
        if any(socket.inode and socket.inode not in holders.found for _, _, socket in rows):
            holders.begin(now, force=True)
        while holders.sweeping():
            holders.step()
            yield None
    for at in range(0, len(rows), ROWS):
        piece = [make_row(resolver, found, now) for found in rows[at : at + ROWS]]
        yield Listing(tuple(piece), last=False)
    yield Listing((), last=True)


def read(resolver: Resolver, now: float) -> Iterator[Found | None]:
    """Dump the tables of all namespaces; None where one is still being read."""
    for scope in resolver.sources.scopes():
        sockets = resolver.sources.sockets(scope, now)
        if sockets is None:
            continue
        sockets.prepare(now)
        while isinstance(sockets, Tables) and sockets.reading is not None:
            sockets.step()
            yield None
        for transport in PROTOCOLS:
            for socket in sockets.dump(transport):
                if socket.end.rport:
                    yield scope, sockets.method, socket


def make_row(resolver: Resolver, found: Found, now: float) -> SocketRow:
    scope, method, socket = found
    owner, shared = resolver.judge.owner(socket, now)
    quality = "shared" if shared else "exact" if owner else "none"
    state = socket.state if socket.end.transport == "tcp" else "active"
    return SocketRow(scope, *socket.end, state, owner, method, quality)
