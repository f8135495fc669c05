"""A bounds-checked cursor over bytes: the only way in which dissectors read (STYLE habit 5).

A nested length is a window (`sub`), so that no inner field can reach past its outer one. There is one error for
"ends too early": `ShortError`. A stream parser takes it as "need more", a datagram parser as truncated.
"""

from exporter.errors import ShortError

__all__ = ["Reader"]


class Reader:
    """A read position in a window of bytes. Integers are unsigned, big-endian unless the name ends in `le`."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None) -> None:
        """Read `data[pos:end]`."""
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else min(end, len(data))

    def __len__(self) -> int:
        """Give the number of bytes not yet read."""
        return self.end - self.pos

    def _take(self, size: int) -> int:
        pos = self.pos
        if size < 0 or size > self.end - pos:
            raise ShortError
        self.pos = pos + size
        return pos

    # The short integers are read a hundred times in a handshake: they do without `_take`.

    def u8(self) -> int:
        """Read one byte."""
        pos = self.pos
        if pos >= self.end:
            raise ShortError
        self.pos = pos + 1
        return self.data[pos]

    def u16(self) -> int:
        """Read two bytes."""
        pos = self.pos
        if pos + 2 > self.end:
            raise ShortError
        self.pos = pos + 2
        data = self.data
        return data[pos] << 8 | data[pos + 1]

    def u24(self) -> int:
        """Read three bytes."""
        pos = self.pos
        if pos + 3 > self.end:
            raise ShortError
        self.pos = pos + 3
        data = self.data
        return data[pos] << 16 | data[pos + 1] << 8 | data[pos + 2]

    def u32(self) -> int:
        """Read four bytes."""
        pos = self._take(4)
        return int.from_bytes(self.data[pos : pos + 4], "big")

    def u64(self) -> int:
        """Read eight bytes."""
        pos = self._take(8)
        return int.from_bytes(self.data[pos : pos + 8], "big")

    def u16le(self) -> int:
        """Read two bytes, least significant first."""
        pos = self._take(2)
        return int.from_bytes(self.data[pos : pos + 2], "little")

    def u24le(self) -> int:
        """Read three bytes, least significant first."""
        pos = self._take(3)
        return int.from_bytes(self.data[pos : pos + 3], "little")

    def u32le(self) -> int:
        """Read four bytes, least significant first."""
        pos = self._take(4)
        return int.from_bytes(self.data[pos : pos + 4], "little")

    def u64le(self) -> int:
        """Read eight bytes, least significant first."""
        pos = self._take(8)
        return int.from_bytes(self.data[pos : pos + 8], "little")

    def varint(self) -> int:
        """Read a QUIC variable-length integer (RFC 9000 section 16)."""
        first = self.u8()
        size = (1 << (first >> 6)) - 1
        pos = self._take(size)
        return (first & 0x3F) << (8 * size) | int.from_bytes(self.data[pos : pos + size], "big")

    def peek(self, size: int = 1) -> bytes:
        """Give the next bytes without reading them; fewer where the window ends."""
        return self.data[self.pos : min(self.pos + size, self.end)]

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        pos = self._take(size)
        return self.data[pos : pos + size]

    def rest(self) -> bytes:
        """Read all that is left."""
        pos, self.pos = self.pos, self.end
        return self.data[pos : self.end]

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        self._take(size)

    def sub(self, size: int) -> "Reader":
        """Read `size` bytes as a window of their own."""
        pos = self._take(size)
        return Reader(self.data, pos, pos + size)

    def until(self, delimiter: bytes, limit: int) -> bytes:
        """Read up to `delimiter` and pass over it; `ShortError` if it is not within `limit` bytes or the window."""
        stop = min(self.end, self.pos + limit + len(delimiter))
        at = self.data.find(delimiter, self.pos, stop)
        if at < 0:
            raise ShortError
        value = self.data[self.pos : at]
        self.pos = at + len(delimiter)
        return value
