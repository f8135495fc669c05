"""Connections that are counted below: where nothing but counting is left to do, a filter in the kernel does it.

Each turn chooses directions that move much, adds what was counted of those chosen before, and gives up the idle ones. A
packet that comes up of a chosen TCP connection (it ends, or is out of order, or is to be read) takes the whole
connection back before it is looked at. A row is read once more after nothing can write to it any longer, so each packet
is counted once; what is found then for a connection that has ended goes where late packets go.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple, Protocol

from exporter import metrics as m
from exporter.engine.context import Context
from exporter.engine.lifecycle import Lifecycle
from exporter.engine.port import Port
from exporter.flow.connection import EVERYTHING, Connection, Half, Leaving
from exporter.flow.serial import MASK, distance
from exporter.model import ACK, SYN, Packet

__all__ = ["TRANSPORTS", "Count", "Kernel", "Offloaded", "Wanted"]

TRANSPORTS = {"arp": 0, "icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmpv6": 58, "sctp": 132}
"""What the filter knows, by IP protocol."""
MANY = 8
"""Packets of a direction in a turn, from which on it is worth a row."""
FEW = 4096
BUSY = 500
"""Few directions are looked through each turn (0.2 ms), more when so many packets were counted in the last."""
MOST = 2048
"""Connections chosen in a turn: some milliseconds."""
WORTH = 1 << 16
"""Bytes of a TCP direction that are not to be read, from which on it is chosen; its other one then comes along."""
FARTHEST = 1 << 30
"""How far ahead a sequence number may be told."""
IDLE = 10
"""Turns without a packet after which a connection is given up."""


class Wanted(NamedTuple):
    """A direction to be counted below."""

    interface: str
    transport: str
    key: bytes
    limit: int
    """The TCP sequence number from which on payload comes up; -1: none does."""
    big: int
    """The IP length above which a packet is several on the wire."""


class Count(NamedTuple):
    """What a row says, in the order of offload.h's struct: totals since it was taken; `last` is the kernel's clock."""

    packets: int
    bytes: int
    estimated: int
    padding: int
    tags: int
    last: int
    next: int
    first: int
    limit: int
    big: int
    began: int
    limited: int
    open: int


class Kernel(Protocol):
    """The filter's table, as capture/offload.py has it."""

    offset: float
    """Seconds to add to the kernel's clock for Unix time."""

    def take(self, wanted: Sequence[Wanted]) -> list[int]:
        """Begin to count a connection's directions; give their rows, none if it cannot be."""

    def look(self) -> None:
        """Begin a turn: see what time it is."""

    def packets(self, row: int) -> int:
        """Give a row's packets."""

    def opened(self, row: int) -> bool:
        """Tell whether something of a connection came up."""

    def read(self, row: int) -> Count:
        """Give a row."""

    def open(self, row: int) -> None:
        """Let everything of a connection come up: `row` is the first that `take` gave."""

    def forget(self, row: int) -> None:
        """Let a direction come up for good."""

    def free(self, row: int) -> None:
        """Give back a row that was forgotten long ago: programs that still had it have ended."""


class Taken:
    """A direction that is counted below, and how much of it has been added."""

    __slots__ = ("count", "half", "idle", "over", "port", "row", "wanted")

    def __init__(self, half: Half, port: Port, wanted: Wanted, row: int) -> None:
        self.half = half
        self.port = port
        self.wanted = wanted
        self.row = row
        self.count = NOTHING
        self.idle = 0
        self.over = False
        """Its connection has ended, or does without it."""


NOTHING = Count(*(0,) * len(Count._fields))


class Offloaded:
    """What is counted below, of all interfaces."""

    def __init__(
        self, context: Context, lifecycle: Lifecycle, ports: Mapping[str, Port], kernel: Kernel
    ) -> None:
        """Choose nothing yet. `ports` by interface is the engine's own."""
        self._c = context
        self._lifecycle = lifecycle
        self._ports = ports
        self._kernel = kernel
        self._taken: dict[Connection, list[Taken]] = {}
        self._given_up: dict[Connection, list[Taken]] = {}
        """Since the last turn; their keys are still there, their gates open."""
        self._quiet: dict[Connection, list[Taken]] = {}
        """Whose keys were taken away in the last turn."""
        self._estimated = context.ledger.slot(m.ESTIMATED_SEGMENTS, None)
        self._seen = 0.0
        lifecycle.ending = self.ended

    def __len__(self) -> int:
        """Give the number of connections that are counted below."""
        return len(self._taken)

    # -- by the clock ----------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Bring everything up to date and choose anew; each second, before the engine's own numbers are flushed."""
        self._kernel.look()
        for one in chain.from_iterable(self._quiet.values()):
            self._add(one)
            self._kernel.free(one.row)
        for conn, taken in list(self._taken.items()):
            for one in taken:
                one.idle = 0 if self._add(one) else one.idle + 1
            if min(one.idle for one in taken) >= IDLE:
                self.recall(conn)
        for one in chain.from_iterable(self._given_up.values()):
            self._kernel.forget(one.row)
        self._quiet, self._given_up = self._given_up, {}
        if self._busy():
            self._choose()

    def catch_up(self) -> None:
        """Add what was counted, so that nothing seems idle that is not; before timeouts are looked at."""
        self._kernel.look()
        for one in chain.from_iterable(self._taken.values()):
            self._add(one)

    def _busy(self) -> bool:
        if sum(len(table) for port in self._ports.values() for table in port.tables.values()) <= FEW:
            return True
        values = self._c.ledger.values
        seen = sum(values[port.receive[0]] + values[port.transmit[0]] for port in self._ports.values())
        before, self._seen = self._seen, seen
        return seen - before >= BUSY

    def _choose(self) -> None:
        found: dict[Connection, None] = {}
        for port in self._ports.values():
            for transport in port.tables.keys() & TRANSPORTS.keys():
                table = port.tables[transport].values()
                found |= {half.conn: None for half in table if half.packets >= MANY and half.skip >= 0}
        places = {id(table): port for port in self._ports.values() for table in port.tables.values()}
        chosen = (conn for conn in found if conn not in self._taken and not conn.reason and _plain(conn))
        for conn in islice(chosen, MOST):
            self._take(conn, places)

    def _take(self, conn: Connection, places: Mapping[int, Port]) -> None:
        halves = [half for half in conn.halves() if half.table is not None]
        ports = [places[id(half.table)] for half in halves]
        wanted = [_wanted(port, half) for port, half in zip(ports, halves, strict=True)]
        rows = self._kernel.take(wanted)
        if rows:
            self._taken[conn] = [Taken(*each) for each in zip(halves, ports, wanted, rows, strict=True)]

    # -- what happens ----------------------------------------------------------------------------------------------

    def segment(self, then: Callable[[Half, float, Packet], None]) -> Callable[[Half, float, Packet], None]:
        """Give what takes a TCP segment that came up, for the function that looks at it."""
        taken = self._taken

        def segment(half: Half, now: float, packet: Packet) -> None:
            conn = half.conn
            if conn not in taken:
                then(half, now, packet)
                return
            self._meet(conn, half, packet)
            then(half, now, packet)
            if conn in taken and not (conn.views and _plain(conn)):
                self.recall(conn)

        return segment

    def arrives(self, port: Port, key: bytes, packet: Packet) -> None:
        """Take a connection back if this packet is its."""
        if packet.transport == "tcp" and not packet.tunnel:
            half = port.tcp.get(key)
            if half is not None and half.conn in self._taken:
                self._meet(half.conn, half, packet)

    def _meet(self, conn: Connection, half: Half, packet: Packet) -> None:
        """Take a connection back, unless this packet waited in the ring since before it was counted below."""
        taken = self._taken[conn]
        if packet.flags & SYN or (
            self._kernel.opened(taken[0].row)
            and not any(self._older(one, packet) for one in taken if one.half is half)
        ):
            self.recall(conn)

    def _older(self, one: Taken, packet: Packet) -> bool:
        now = self._kernel.read(one.row)
        return bool(now.began) and distance(packet.seq, now.first) < 0

    def recall(self, conn: Connection) -> None:
        """Take a connection back, with all that was counted of it, and how far that went."""
        taken = self._taken.pop(conn)
        self._kernel.open(taken[0].row)
        for one in taken:
            self._add(one)
            if one.count.began:
                _advance(one.half, one.count.first, one.count.next)
        self._given_up[conn] = taken

    def ended(self, conn: Connection) -> None:
        """Take the last of a connection that ends."""
        if conn in self._taken:
            self.recall(conn)
        for one in chain(self._given_up.get(conn, ()), self._quiet.get(conn, ())):
            self._add(one)
            one.over = True

    def leave(self, port: Port) -> None:
        """Take back what an interface carries: its tables are about to go."""
        for conn in [conn for conn, taken in self._taken.items() if any(one.port is port for one in taken)]:
            self.recall(conn)
        for one in chain.from_iterable((*self._given_up.values(), *self._quiet.values())):
            one.over = one.over or (one.port is port and isinstance(one.half, Leaving))

    # -- counts ----------------------------------------------------------------------------------------------------

    def _add(self, one: Taken) -> bool:
        """Add what a row counted since it was last read, if it did."""
        before = one.count
        if self._kernel.packets(one.row) == before.packets:
            return False
        now = one.count = self._kernel.read(one.row)
        packets, size = now.packets - before.packets, now.bytes - before.bytes
        at = now.last * 1e-9 + self._kernel.offset
        half = self._late(one, at, packets, size) if one.over else one.half
        if half is not None:
            half.packets += packets
            half.last = max(half.last, at)
            if one.wanted.transport != "arp":
                half.bytes += size
        port = one.port
        if one.wanted.transport == "arp":
            port.ignore("arp", packets, size + packets * port.header)
        for reason, more in (
            ("padding", now.padding - before.padding),
            ("encapsulation", now.tags - before.tags),
        ):
            if more:
                port.ignore(reason, 0, more)
        self._c.ledger.values[self._estimated] += now.estimated - before.estimated
        return True

    def _late(self, one: Taken, now: float, packets: int, size: int) -> Half | None:
        """Give the direction that packets without a connection belong to; None: they were counted as late ones."""
        key = one.wanted.key
        middle = (len(key) - 4) // 2
        packet = Packet(one.wanted.transport, key[:middle], key[middle:-4], size)
        packet.sport, packet.dport = int.from_bytes(key[-4:-2], "big"), int.from_bytes(key[-2:], "big")
        packet.flags = ACK
        packet.leaving = isinstance(one.half, Leaving)
        port = self._ports.get(one.port.interface.name, one.port)
        return self._lifecycle.direction(port, key, now, packet, packets)


def _plain(conn: Connection) -> bool:
    """Tell whether there is nothing to do but count, of all directions."""
    halves = [half for half in conn.halves() if half.table is not None]
    if conn.transport != "tcp":
        return all(half.skip == EVERYTHING for half in halves)
    if any(not isinstance(half, Leaving) for half in conn.extra or ()):
        return False  # followed where it came first, whichever interface that was
    return min(half.skip for half in halves) >= 0 and any(half.skip >= WORTH for half in halves)


def _wanted(port: Port, half: Half) -> Wanted:
    limit = -1
    if half.conn.transport == "tcp" and half.skip != EVERYTHING:
        limit = half.next + min(half.skip, FARTHEST) & MASK
    big = EVERYTHING if isinstance(half, Leaving) else half.big  # what is ignored is not estimated either
    return Wanted(port.interface.name, half.conn.transport, half.key, limit, big)


def _advance(half: Half, first: int, end: int) -> None:
    """Let a TCP direction go on behind what was counted below, if it has come to where that began."""
    ahead = distance(end, half.next & MASK) if half.next >= 0 else 0
    if half.next < 0 or (ahead > 0 and distance(half.next & MASK, first) >= 0):
        half.next = end
        if 0 <= half.skip < EVERYTHING:
            half.skip = max(0, half.skip - ahead)
