"""Frames as Google's QUIC had them before the IETF's: Q039 to Q050, and in T050 and T051 ("QUIC Wire Layout", 2019)."""

from collections.abc import Iterator
from typing import Literal

from exporter.errors import ParseError
from exporter.formats.quic_frames import MAX_FRAMES, Close, Piece, skip_padding
from exporter.wire import Reader

__all__ = ["frames"]

Order = Literal["little", "big"]

CLOSE, STOP_WAITING, PING, CRYPTO = 2, 6, 7, 8
_SIZES = (1, 2, 4, 6)
_HANDSHAKE_STREAM = 1


def frames(payload: bytes, number_size: int = 4, order: Order = "big") -> Iterator[Piece | Close]:
    """Give what is of interest of a packet whose number has `number_size` bytes; before Q039 all was little-endian."""
    reader = Reader(payload)
    for _ in range(MAX_FRAMES):
        skip_padding(reader)
        if not len(reader):
            return
        kind = reader.u8()
        if kind & 0x80:
            if piece := _stream(reader, kind, order):
                yield piece
        elif kind & 0x40:
            _skip_ack(reader, kind)
        elif kind == CRYPTO:
            yield Piece(reader.varint(), reader.take(reader.varint()))
        elif kind == CLOSE:
            yield Close(reader.u32(), application=False)
            reader.skip(reader.u16())
        elif kind == STOP_WAITING:
            reader.skip(number_size)
        elif kind != PING:
            raise ParseError("frame")
    raise ParseError("frames")


def _stream(reader: Reader, kind: int, order: Order) -> Piece | None:
    """1fdooossB: fin, length present, sizes of offset and stream id. Up to Q046 the handshake is stream 1."""
    stream = int.from_bytes(reader.take(1 + (kind & 3)), order)
    bits = kind >> 2 & 7
    offset = int.from_bytes(reader.take(bits + 1 if bits else 0), order)
    size = int.from_bytes(reader.take(2), order) if kind & 0x20 else len(reader)
    data = reader.take(size)
    return Piece(offset, data) if stream == _HANDSHAKE_STREAM else None


def _skip_ack(reader: Reader, kind: int) -> None:
    """01nullmm: several blocks, sizes of the largest number and of a block's length."""
    block = _SIZES[kind & 3]
    reader.skip(_SIZES[kind >> 2 & 3] + 2)
    blocks = reader.u8() if kind & 0x20 else 0
    reader.skip(block + blocks * (1 + block))
    if stamps := reader.u8():
        reader.skip(5 + 3 * (stamps - 1))
