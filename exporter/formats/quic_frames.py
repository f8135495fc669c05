"""The frames of QUIC's Initial packets, and the stream of TLS messages in them (RFC 9000 sections 12.4 and 19)."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from exporter.errors import ParseError
from exporter.wire import Reader

__all__ = ["MAX_FRAMES", "Close", "Crypto", "Piece", "frames", "skip_padding"]

PING, ACK, ACK_ECN, CRYPTO, CLOSE, CLOSE_APPLICATION = 1, 2, 3, 6, 0x1C, 0x1D
MAX_FRAMES = 1024
"""Of one packet; browsers that shuffle their hello send tens."""
_PADDING = re.compile(rb"\x00+")
_MAX_STREAM = 1 << 16
_MAX_PIECES = 256


class Piece(NamedTuple):
    """A part of the stream of TLS messages."""

    offset: int
    data: bytes


class Close(NamedTuple):
    """CONNECTION_CLOSE, with its code."""

    code: int
    application: bool


def frames(payload: bytes) -> Iterator[Piece | Close]:
    """Give what is of interest; any frame but those that an Initial may have is an error."""
    reader = Reader(payload)
    for _ in range(MAX_FRAMES):
        skip_padding(reader)
        if not len(reader):
            return
        kind = reader.varint()
        if kind == CRYPTO:
            yield Piece(reader.varint(), reader.take(reader.varint()))
        elif kind in (ACK, ACK_ECN):
            _skip_ack(reader, kind)
        elif kind in (CLOSE, CLOSE_APPLICATION):
            yield Close(reader.varint(), kind == CLOSE_APPLICATION)
            if kind == CLOSE:
                reader.varint()
            reader.skip(reader.varint())
        elif kind != PING:
            raise ParseError("frame")
    raise ParseError("frames")


def skip_padding(reader: Reader) -> None:
    """Pass over zeros, which most of a client's first packet may be."""
    if padding := _PADDING.match(reader.data, reader.pos, reader.end):
        reader.pos = padding.end()


def _skip_ack(reader: Reader, kind: int) -> None:
    for _ in range(2):
        reader.varint()
    ranges = reader.varint()
    if ranges > MAX_FRAMES:
        raise ParseError("frame")
    for _ in range(1 + 2 * ranges + (3 if kind == ACK_ECN else 0)):
        reader.varint()


class Crypto:
    """One side's stream of TLS messages, put together from pieces in any order. Bounded in size and pieces."""

    __slots__ = ("_data", "_later", "_read")

    def __init__(self) -> None:
        self._data = bytearray()
        self._later: dict[int, bytes] = {}
        self._read = 0

    def add(self, piece: Piece) -> None:
        """Take a piece; what comes twice is the same (RFC 9000 section 2.2), what is too far is left out."""
        offset, data = piece
        have = len(self._data)
        if offset + len(data) > _MAX_STREAM or offset + len(data) <= have:
            return
        if offset > have:
            if len(self._later) < _MAX_PIECES and len(data) > len(self._later.get(offset, b"")):
                self._later[offset] = data
            return
        self._data += data[have - offset :]
        while self._later:
            first = min(self._later)
            if first > len(self._data):
                return
            late = self._later.pop(first)
            self._data += late[len(self._data) - first :]

    def start(self) -> bytes:
        """Give all that has come without a hole."""
        return bytes(self._data)

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Give the TLS messages that are whole now and were not given before: type and body."""
        data = self._data
        while len(data) - self._read >= 4:
            at = self._read + 4
            end = at + int.from_bytes(data[at - 3 : at], "big")
            if end > _MAX_STREAM:
                raise ParseError("message")
            if end > len(data):
                return
            self._read = end
            yield data[at - 4], bytes(data[at:end])
