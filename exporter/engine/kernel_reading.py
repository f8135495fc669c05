"""What is read of connections that the kernel counts: handshake times, and payload for inspection.

The kernel brings up each connection's first packets on its own, and all of those that it is told to. Nothing here
counts, or changes a TCP state. One socket's packets are read of a connection, even where both of its ends are ours.
"""

from collections.abc import Callable
from struct import Struct

from exporter.decode.frame import Decoder
from exporter.engine.kernel_lives import Lives
from exporter.engine.segments import Segments
from exporter.errors import UndecodableError
from exporter.flow.connection import Connection, Half
from exporter.flow.serial import MASK
from exporter.flow.socket import Socket
from exporter.model import ACK, SYN, End, Packet, Sight

__all__ = ["Inspect", "Reading"]

Inspect = Callable[[bytes, bool], None]
"""Told a socket's key, and whether its packets shall come up from the next turn on."""

Datagram = Callable[[Half, float, Packet], None]

PORTS = Struct(">HH").pack
RAW = 101
"""LINKTYPE_RAW: from the network header on."""
MAX_KNOCKS = 8192
"""Handshakes at listeners that are under way."""
MAX_EARLY = 512
"""Segments with data that wait for their connection; further ones are not read."""
IDLE = 64
"""So many packets of a turn that nobody wanted to read: something large is under way, which nobody will."""
CALM = 64
"""At most so many packets moved in a turn: it is over, and the next request may come."""


class Knock:
    """A handshake at a listener. `asked`: when the SYN-ACK was sent; `again`: how often more; `took`: until its answer.

    `next`: the sequence number that follows the client's SYN. `early`: segments with data that came before the socket
    was there. One of them made it: the acknowledgement was lost or overtaken, or whoever accepts waits for data.
    """

    __slots__ = ("again", "asked", "early", "next", "took")

    def __init__(self) -> None:
        """Know nothing yet."""
        self.asked = self.took = 0.0
        self.again = 0
        self.next = -1
        self.early: tuple[tuple[float, Packet], ...] = ()


class Reading:
    """Read what comes up."""

    def __init__(self, lives: Lives, segments: Segments, datagram: Datagram, inspect: Inspect) -> None:
        """Hand payload to `segments` and `datagram`; ask for more by `inspect`."""
        self._lives = lives
        self._segments = segments
        self._datagram = datagram
        self._inspect = inspect
        self._decoder = Decoder(tunnels=False, fragments=1)
        self._knocks: dict[tuple[int, bytes], Knock] = {}
        """By namespace and ends."""
        self._early = 0
        """Segments with data that wait for their connection."""

    def take(self, sight: Sight, socket: Socket | None) -> None:
        """Read a packet; `socket` is whose it is, if it is known."""
        if socket is not None and (socket.conn is None or not socket.reads):
            return
        packet = self._decode(sight)
        end = sight.end
        if packet is None or packet.transport != end.transport:
            return
        tcp = packet.transport == "tcp"
        if tcp and not end.rport:
            self._knock(sight, packet)
            return
        if socket is None:
            if tcp and not packet.flags & SYN and not packet.length:
                return  # the last word of one that is over
            socket = self._meet(sight, packet)
        conn = socket.conn
        if conn is None or not socket.reads:
            return
        side = socket.side if sight.sent else 1 - socket.side
        half = conn.half0 if side == 0 else conn.half1
        if tcp:
            if packet.flags & SYN:
                self._greet(conn, socket, sight, packet)
            if (
                packet.length
                and not conn.fresh
                and (half.stream is None or half.stream.skip >= packet.length)
            ):
                socket.idle += 1
            self._segments.read(half, sight.timestamp, packet, sent=sight.sent)
        elif packet.transport == "udp" and packet.payload:
            if half.skip > 0:
                socket.idle += 1
            else:
                self._datagram(half, sight.timestamp, packet)

    def _decode(self, sight: Sight) -> Packet | None:
        """Read the headers; what cannot be read is counted all the same, by its tally."""
        try:
            packets = self._decoder.decode(sight.timestamp, RAW, sight.data, sight.size)
        except UndecodableError:
            return None
        return packets[0] if len(packets) == 1 and not packets[0].fragment else None

    # -- beginnings ------------------------------------------------------------------------------------------------

    def _meet(self, sight: Sight, packet: Packet) -> Socket:
        """Open the connection of a socket that nothing was heard of, or find its place in one."""
        initiator = -1
        if packet.transport != "tcp" or packet.flags & (SYN | ACK) == SYN:
            initiator = 1 if sight.sent else 0
        elif _place(sight.end, sight.scope) in self._knocks:
            initiator = 0
        socket = self._lives.find(sight.end, sight.scope, sight.timestamp, initiator)
        self.met(socket, sight.end, sight.scope)
        return socket

    def met(self, socket: Socket, end: End, scope: int) -> None:
        """A socket has its connection: what was seen of its handshake, at its listener, belongs to it."""
        knock = self._knocks.pop(_place(end, scope), None) if self._knocks else None
        if knock is None:
            return
        self._early -= len(knock.early)
        conn = socket.conn
        if conn is None:
            return
        if knock.took:
            self._handshake(conn, socket, knock.took)
        if not socket.reads:
            return
        half = conn.half1 if socket.side == 0 else conn.half0
        if half.stream is None and half.next < 0:
            half.next = knock.next
        for timestamp, packet in knock.early:
            self._segments.read(half, timestamp, packet, sent=False)

    def _knock(self, sight: Sight, packet: Packet) -> None:
        """Take a handshake's segment at a listener, whose own end measures from its SYN-ACK to the answer."""
        if sight.sent:
            place = sight.scope, packet.src + packet.dst + PORTS(packet.sport, packet.dport)
        else:
            place = sight.scope, packet.dst + packet.src + PORTS(packet.dport, packet.sport)
        knock = self._knocks.get(place)
        early = bool(packet.length) and not sight.sent
        if knock is None:
            if not packet.flags & SYN and not early:
                return
            if len(self._knocks) >= MAX_KNOCKS:
                self._early -= len(self._knocks.pop(next(iter(self._knocks))).early)
            knock = self._knocks[place] = Knock()
        if packet.flags & SYN:
            if packet.flags & ACK and sight.sent:
                if knock.asked:
                    knock.again += 1  # whose answer comes is not known (Karn)
                knock.asked = sight.timestamp
            elif not sight.sent:
                knock.next = packet.seq + 1 & MASK
        elif packet.flags & ACK and knock.asked and not knock.again:
            knock.took = max(sight.timestamp - knock.asked, 1e-9)
        if early and self._early < MAX_EARLY:
            self._early += 1
            knock.early += ((sight.timestamp, packet),)

    def _greet(self, conn: Connection, socket: Socket, sight: Sight, packet: Packet) -> None:
        """Take a client's SYN, or the SYN-ACK that comes back to it."""
        times = conn.handshake
        if sight.sent and not packet.flags & ACK:
            if times is None:
                conn.handshake = [sight.timestamp, 0.0, 0.0]
            else:
                times[2] += 1
        elif times is not None and not sight.sent:
            conn.handshake = None
            if not times[2]:
                self._handshake(conn, socket, sight.timestamp - times[0])

    def _handshake(self, conn: Connection, socket: Socket, seconds: float) -> None:
        accounts = self._lives.accounts
        self._lives.messages.later(conn, (accounts.handshake, socket.side, ("tcp", seconds)))

    # -- what shall come up ----------------------------------------------------------------------------------------

    def steer(self, socket: Socket, packets: int) -> None:
        """Once a turn: have the kernel bring up what inspection can use; `packets` moved in this turn."""
        conn = socket.conn
        inspector = conn.inspector if conn is not None else None
        if inspector is not None:
            wants = inspector.active and inspector.dissector is not None
        else:  # between two messages
            wants = conn is not None and conn.fresh and bool(conn.protocol)
        unread = socket.idle > IDLE
        if unread or (socket.told is False and packets > CALM):
            wants = False
        socket.idle = 0
        # So much comes up unasked only if a worker before us asked.
        if wants != (socket.told or False) or (unread and socket.told is None):
            socket.told = wants
            self._inspect(socket.keys[-1], wants)


def _place(end: End, scope: int) -> tuple[int, bytes]:
    return scope, end.local + end.remote + PORTS(end.lport, end.rport)
