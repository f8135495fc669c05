"""A connection: both directions of a 5-tuple in one network namespace, and the ends of it that are ours.

`Half` is what the packet path touches: one direction as one interface carries it. Its counts are what came since the
last flush. `View` is one local end: owner, state and role. Sides: 0 began the connection or was seen first, 1 is the
other. Everything here is a plain record with slots: a hundred thousand of them are held.
"""

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from exporter.model import IdentityKey, Owner

if TYPE_CHECKING:
    from exporter.flow.inspector import Inspector
    from exporter.flow.reassembly import Stream

__all__ = [
    "ALL",
    "EVERYTHING",
    "NEVER",
    "UNKNOWN",
    "Connection",
    "Event",
    "Half",
    "Leaving",
    "Rows",
    "View",
    "mirror",
]

EVERYTHING = 1 << 58
"""`Half.skip`: no payload of this direction is wanted."""

UNKNOWN = IdentityKey("unknown")
"""Who should have been found and was not."""

Event = tuple[Callable[..., None], int, tuple[object, ...]]
"""Something to account for: a function of a view and these arguments, for the view of one side, or for `ALL`."""

ALL = -1

V4, ENDS4 = 12, Struct(">4s4sHH").unpack
"""How long a key of IPv4 is, and how it is read."""

NEVER = -1
"""`Half.skip`: every segment takes the slow path (state changes, holes, several interfaces)."""


def mirror(key: bytes) -> bytes:
    """Give the key of the opposite direction."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]


class Rows:
    """The ledger's slots of what one identity sends and receives over one protocol, or to one kind of peer."""

    __slots__ = ("key", "receive", "receive_packets", "server", "transmit", "transmit_packets", "users")

    def __init__(self, key: tuple[object, ...], transmit: int, receive: int, server: str = "") -> None:
        """Name the byte counters' slots; those of packets are -1 where packets are not exported."""
        self.key = key
        self.server = server
        """Of a peer: the label that holds a place among the names."""
        self.transmit = transmit
        self.receive = receive
        self.transmit_packets = -1
        self.receive_packets = -1
        self.users = 0


class Counted:
    """What the packet path touches of a direction: first and side by side, so that they share a cache line.

    `bytes` and `packets` since the last flush; `last`, time of the newest packet; `next`, the sequence number that
    should come (-1: unknown; modulo 2^32); `skip`, payload bytes that may pass unread: `NEVER`, 0 (all are wanted) up
    to `EVERYTHING`; `big`, the IP length above which a packet is several on the wire.
    """

    __slots__ = ("big", "bytes", "last", "next", "packets", "skip")


class Half(Counted):
    """One direction of a connection on one interface.

    `meters` are the ledger's slots (packets, bytes) of the interface that carries it.
    """

    __slots__ = ("conn", "holes", "meters", "past_bytes", "past_packets", "side", "stream", "table")

    def __init__(self, conn: "Connection", side: int, now: float) -> None:
        """Start a direction with nothing counted."""
        self.big = EVERYTHING
        self.bytes = 0
        self.packets = 0
        self.last = now
        self.next = -1
        self.skip = NEVER
        self.conn = conn
        self.side = side
        self.table: dict[bytes, Half] | None = None
        self.meters: tuple[tuple[int, int], ...] = ()
        self.past_packets = self.past_bytes = 0
        """Of the side, on whatever interface, that were flushed (kept in the side's first `Half`)."""
        self.holes: list[tuple[int, int]] | None = None
        self.stream: Stream | None = None

    @property
    def key(self) -> bytes:
        """What its packets are found by; asked for seldom, so it is not kept."""
        forward = self.conn.forward
        return mirror(forward) if self.side == 1 else forward

    @property
    def past(self) -> tuple[int, int]:
        """Packets and bytes of the side that were flushed."""
        return self.past_packets, self.past_bytes

    @past.setter
    def past(self, moved: tuple[int, int]) -> None:
        self.past_packets, self.past_bytes = moved


class Leaving(Half):
    """A forwarded packet's second appearance, on its way out: ignored, with so many bytes of link header each."""

    __slots__ = ("overhead", "way")

    def __init__(self, conn: "Connection", way: int, now: float, overhead: int) -> None:
        """Count nothing of what side `way` of a connection sends here."""
        super().__init__(conn, 2, now)
        self.way = way
        self.overhead = overhead
        self.skip = EVERYTHING

    @property
    def key(self) -> bytes:
        forward = self.conn.forward
        return mirror(forward) if self.way == 1 else forward


class View:
    """One local end of a connection (or the connection as a whole, where no end is ours)."""

    __slots__ = (
        "answered",
        "identity",
        "method",
        "owner",
        "peer",
        "quality",
        "rows",
        "scope",
        "serial",
        "shown",
        "side",
        "stale_gauge",
        "state",
        "state_gauge",
    )

    def __init__(self, side: int, scope: int = 0) -> None:
        """Look from this side, whose socket is in this namespace: what it sends is transmit. Side 2: no end is ours."""
        self.side = side
        self.scope = scope
        self.state = "unknown"
        self.shown = ""
        """The state that the gauges show."""
        self.owner: Owner | None = None
        self.answered = False
        self.serial = 0
        """Of the question about its owner; 0: none was asked, -1: it has its last answer."""
        self.method = "none"
        self.quality = "none"
        self.identity = UNKNOWN
        self.rows: Rows | None = None
        self.peer: Rows | None = None
        self.state_gauge = self.stale_gauge = -1
        """The ledger's slots of the gauges in which this view is counted; -1: in none."""


class Connection:
    """Both directions of a 5-tuple from the first packet to the end. Times are Unix seconds on the capture's clock.

    `server` is the server's name: by its protocol (then it was `told`), else as its address was looked up; "" where
    neither is known, or nobody asks.
    """

    __slots__ = (
        "allowed",
        "attrs",
        "created",
        "extra",
        "failure",
        "fin",
        "forward",
        "fresh",
        "half0",
        "half1",
        "handshake",
        "initiator",
        "inspector",
        "local",
        "name",
        "opened",
        "pending",
        "protocol",
        "reason",
        "scope",
        "server",
        "settled",
        "silent",
        "staleness",
        "steady",
        "told",
        "transport",
        "tunnel",
        "version",
        "views",
        "watched",
    )

    def __init__(self, scope: int, transport: str, forward: bytes, now: float) -> None:
        """Open a connection; `forward` is the key of a packet that side 0 sends."""
        self.scope = scope
        self.transport = transport
        self.forward = forward
        self.created = now
        self.half0, self.half1 = Half(self, 0, now), Half(self, 1, now)
        self.extra: list[Half] | None = None
        self.initiator = -1
        """0 or 1; -1: unknown."""
        self.local = 0
        """Bit 0: side 0 is ours; bit 1: side 1."""
        self.views: tuple[View, ...] = ()
        self.protocol = self.tunnel = self.server = ""
        self.fresh = False
        """Nothing was said yet, or all that was said is read: inspection begins, or goes on, with the next payload."""
        self.inspector: Inspector | None = None
        self.attrs: dict[str, str | list[str]] | None = None
        self.settled = self.silent = self.told = False
        self.steady = False
        """Nothing but payload is to come (TCP): between the handshake and the first FIN or reset."""
        self.opened = False
        """Its beginning was seen, or it came long enough after our own start: it counts as opened."""
        self.staleness = 0
        self.watched = 0.0
        self.reason = ""
        """Why it ended; empty while it lives."""
        self.failure = ""
        """Why it never became a connection: `refused`, `timeout`, `unreachable`."""
        self.pending: list[Event] | None = None
        """What waits for the owner's name."""
        self.version: Event | None = None
        """That it speaks the version that was said last."""
        self.fin: list[int] | None = None
        """The sequence numbers just past each side's FIN; -1: none yet."""
        self.handshake: list[float] | None = None
        """Times of the SYN and the SYN-ACK (0: not seen), and how often either was sent."""
        self.allowed: tuple[int, int] | None = None
        """The side that announced the smaller segments, and the IP length that the other's announcement allows it."""
        self.name = b""
        """The smaller of its two keys: what the table knows it by."""

    @property
    def last(self) -> float:
        """Time of the newest packet of either direction."""
        a, b = self.half0.last, self.half1.last
        newest = max(b, a)
        if self.extra:
            newest = max(newest, *(h.last for h in self.extra))
        return newest

    @property
    def totals(self) -> tuple[int, int, int, int]:
        """Packets and bytes of side 0, packets and bytes of side 1, all that was flushed."""
        return (*self.half0.past, *self.half1.past)

    @property
    def kind(self) -> str:
        """The transport; inside of a tunnel, with its name before it: the same ends outside are not the same."""
        return f"{self.tunnel}/{self.transport}" if self.tunnel else self.transport

    def halves(self) -> tuple[Half, ...]:
        """Give all directions on all interfaces."""
        return (self.half0, self.half1, *(self.extra or ()))

    def ends(self) -> tuple[bytes, int, bytes, int]:
        """Give side 0's packed address and port, then side 1's."""
        key = self.forward
        if len(key) == V4:
            address0, address1, port0, port1 = ENDS4(key)
            return address0, port0, address1, port1
        return *self.end(0), *self.end(1)

    def end(self, side: int) -> tuple[bytes, int]:
        """Give a side's packed address and port."""
        key = self.forward
        size = (len(key) - 4) // 2
        if side == 0:
            return key[:size], int.from_bytes(key[-4:-2], "big")
        return key[size:-4], int.from_bytes(key[-2:], "big")
