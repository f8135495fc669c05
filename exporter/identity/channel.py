"""One worker's end: lists of records as MessagePack in datagrams. It never blocks; what waits is bounded."""

import socket
from collections import deque
from collections.abc import Iterator

import msgspec

from exporter.identity.stats import Stats
from exporter.model import Record

__all__ = ["Channel"]

DATAGRAM = 48_000
"""Bytes of a datagram, as far as records are smaller."""
LARGEST = 1 << 18
WAITING = 20_000
"""Records that wait for a worker."""
BUSY = 500
RECEIVES = 8
"""Datagrams read at a time: of questions a thousand is in each."""
FIXED = 15
"""The longest list whose header is one byte."""


class Channel:
    """Encodes, decodes, and keeps what could not be sent."""

    def __init__(self, end: socket.socket, stats: Stats) -> None:
        """Take a connected SOCK_SEQPACKET socket."""
        self.socket = end
        self.socket.settimeout(0)
        self.stats = stats
        self.encoder = msgspec.msgpack.Encoder()
        self.decoder = msgspec.msgpack.Decoder(list[Record])
        self.buffer = memoryview(bytearray(LARGEST))
        self.waiting: deque[tuple[bytes, bool]] = deque()
        self.closed = False

    def put(self, record: Record, *, keep: bool) -> None:
        """Queue a record; one that need not be kept is dropped when the worker does not take it at once."""
        if self.closed or len(self.waiting) >= WAITING:
            self.stats.errors["full"] += 1
            return
        self.waiting.append((self.encoder.encode(record), keep))

    def busy(self) -> bool:
        return len(self.waiting) >= BUSY

    def clear(self) -> None:
        """Forget what was meant for a predecessor."""
        self.waiting.clear()

    def flush(self) -> None:
        """Send what waits, as much as the worker takes."""
        while self.waiting and not self.closed:
            batch: list[bytes] = []
            size = 0
            for data, _ in self.waiting:
                if batch and size + len(data) > DATAGRAM:
                    break
                batch.append(data)
                size += len(data)
            try:
                self.socket.send(pack(batch))
            except BlockingIOError:
                before = len(self.waiting)
                self.waiting = deque(entry for entry in self.waiting if entry[1])
                self.stats.errors["full"] += before - len(self.waiting)
                return
            except OSError as error:
                self.fail(error)
            for _ in batch:
                self.waiting.popleft()

    def fail(self, error: OSError) -> None:
        """Count a datagram that cannot go; the other end's close ends the channel."""
        self.stats.errors["full"] += 1
        self.closed = self.closed or isinstance(error, ConnectionError)

    def receive(self) -> Iterator[Record]:
        """Give what came; a datagram that is not ours is counted and passed over."""
        for _ in range(RECEIVES):
            try:
                size = self.socket.recv_into(self.buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self.fail(error)
                return
            if not size:
                self.closed = True
                return
            try:
                yield from self.decoder.decode(self.buffer[:size])
            except msgspec.MsgspecError:
                self.stats.errors["malformed"] += 1


def pack(batch: list[bytes]) -> bytes:
    """Make a MessagePack list of encoded records."""
    count = len(batch)
    head = bytes([0x90 | count]) if count <= FIXED else b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(batch)
