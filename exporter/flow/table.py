"""All connections of a worker: found by their raw address and port bytes, bounded, with tombstones.

A key is what stands in the packet: both addresses, then both ports (12 bytes for IPv4, 36 for IPv6). Both directions
lead to one connection: the smaller of the two keys is its name. A tombstone swallows what comes late for a connection
that has ended, so that a last ACK opens no new one.
"""

from collections.abc import Iterator
from typing import Any

from exporter.flow.connection import Connection, View, mirror

__all__ = ["Table", "Tombstone", "shrink"]

MAX_TOMBSTONES = 16_384
CHANCES = 8
SLACK, ROOMY = 1 << 20, 400
"""A dictionary of this size is worth a look, and with so many bytes an entry it is mostly empty."""
RECENT = 60.0


def shrink(entries: dict[Any, Any]) -> None:
    """Give back what a dictionary took when it was fuller: it never does so itself. Its identity stays."""
    size = entries.__sizeof__()
    if size > SLACK and len(entries) * ROOMY < size:
        kept = list(entries.items())
        entries.clear()
        entries.update(kept)


class Tombstone:
    """What is left of an ended connection: who gets its late bytes, and its `time_wait` in the gauges."""

    __slots__ = ("forward", "open", "until", "views")

    def __init__(self, forward: bytes, until: float, views: tuple[View, ...], *, still_open: bool) -> None:
        """Stand until this time for a connection whose side 0 sent packets with the key `forward`.

        `still_open`: only its time was up, so payload means that it lives.
        """
        self.open = still_open
        self.forward = forward
        self.until = until
        self.views = views


class Table:
    """The connections by (namespace, transport) and key. `limit` bounds them; `evict` says who has to go."""

    def __init__(self, limit: int) -> None:
        """Hold at most so many connections."""
        self.limit = limit
        self.size = 0
        self.tombstones: dict[tuple[int, str, bytes], Tombstone] = {}
        self._by_kind: dict[tuple[int, str], dict[bytes, Connection]] = {}
        self._asked = self._name = b""
        """The last key, and the name that belongs to it: a packet asks two or three times."""

    def __len__(self) -> int:
        """Give the number of connections."""
        return self.size

    def __iter__(self) -> Iterator[Connection]:
        """Give the connections, in no promised order. The table must not change meanwhile."""
        for kind in self._by_kind.values():
            yield from kind.values()

    def shrink(self) -> None:
        """Give memory back after a flood."""
        shrink(self.tombstones)
        for kind in self._by_kind.values():
            shrink(kind)

    def find(self, scope: int, transport: str, key: bytes) -> Connection | None:
        """Find the connection that a packet with this key belongs to, whichever its direction."""
        kind = self._by_kind.get((scope, transport))
        if kind is None:
            return None
        return kind.get(self.name(key))

    def name(self, key: bytes) -> bytes:
        """Give what both directions' keys have in common: the smaller one."""
        if key is not self._asked:
            self._asked = key
            self._name = min(key, mirror(key))
        return self._name

    def add(self, conn: Connection) -> None:
        """Enter a connection."""
        conn.name = name = self.name(conn.forward)
        self._by_kind.setdefault((conn.scope, conn.kind), {})[name] = conn
        self.size += 1

    def remove(self, conn: Connection) -> bool:
        """Forget a connection; False if it was no longer here."""
        name, place = conn.name, (conn.scope, conn.kind)
        kind = self._by_kind.get(place)
        if kind is None or kind.get(name) is not conn:
            return False
        del kind[name]
        if not kind:
            del self._by_kind[place]
        self.size -= 1
        keys = (conn.forward, mirror(conn.forward))
        for half in conn.halves():
            if half.table is not None:
                for key in keys:  # what is on its way out has either
                    if half.table.get(key) is half:
                        del half.table[key]
                half.table = None
        return True

    def victim(self, now: float) -> Connection | None:
        """Choose who makes room: of the fullest kind the oldest that is no living conversation.

        What talked both ways within the last minute gets another chance, a few times; then the stalest of those goes.
        """
        if not self._by_kind:
            return None
        kind = max(self._by_kind.values(), key=len)
        spared: list[Connection] = []
        for _ in range(min(CHANCES, len(kind))):
            name = next(iter(kind))
            conn = kind[name]
            if not _alive(conn, now):
                return conn
            spared.append(conn)
            del kind[name]
            kind[name] = conn
        return min(spared, key=lambda conn: conn.last)

    def bury(self, conn: Connection, tombstone: Tombstone) -> list[Tombstone]:
        """Set a tombstone; give those that had to make room."""
        key = (conn.scope, conn.kind, conn.name)
        before = self.tombstones.pop(key, None)
        out = [before] if before is not None else []
        self.tombstones[key] = tombstone
        while len(self.tombstones) > MAX_TOMBSTONES:
            out.append(self.tombstones.pop(next(iter(self.tombstones))))
        return out

    def tombstone(self, scope: int, transport: str, key: bytes) -> Tombstone | None:
        """Find the tombstone for a packet with this key."""
        if not self.tombstones:
            return None
        return self.tombstones.get((scope, transport, self.name(key)))

    def weathered(self, now: float) -> list[Tombstone]:
        """Take away the tombstones whose time is over. They stand in order of time, nearly."""
        out = []
        while self.tombstones:
            key = next(iter(self.tombstones))
            if self.tombstones[key].until > now:
                break
            out.append(self.tombstones.pop(key))
        return out


def _alive(conn: Connection, now: float) -> bool:
    both = conn.totals[0] + conn.half0.packets and conn.totals[2] + conn.half1.packets
    return bool(both) and now - conn.last < RECENT
