"""What UDP says: each datagram on its own, as long as somebody wants to hear it."""

from exporter.engine.lifecycle import Lifecycle
from exporter.engine.messages import Messages
from exporter.flow.connection import EVERYTHING, Connection, Half
from exporter.model import Packet

__all__ = ["Datagrams"]


class Datagrams:
    """Hand datagrams to inspection."""

    def __init__(self, messages: Messages, lifecycle: Lifecycle) -> None:
        """What is said goes to `messages`."""
        self._messages = messages
        self._lifecycle = lifecycle

    def read(self, half: Half, now: float, packet: Packet) -> None:
        """Take a datagram with payload that was counted already."""
        conn = half.conn
        if conn.fresh:
            self._lifecycle.inspect(conn)
        inspector = conn.inspector
        if inspector is None:
            _unread(conn)
            return
        if (
            len(packet.payload) < packet.length
        ):  # cut off by the snap length: half a datagram would only mislead
            inspector.lost(half.side)
        else:
            self._messages.take(conn, half.side, now, inspector.feed(half.side, packet.payload))
            inspector.skip(half.side)
        _unread(conn)


def _unread(conn: Connection) -> None:
    if conn.inspector is None or not conn.inspector.active:
        for half in conn.halves():
            half.skip = EVERYTHING
        if conn.inspector is not None and conn.inspector.dissector is None:  # nobody claimed it
            conn.inspector = None
