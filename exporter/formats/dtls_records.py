"""DTLS's records and the fragments of its handshake messages: RFC 6347 section 4, RFC 9147 sections 4 and 5."""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from exporter.dissector import NO, YES
from exporter.errors import ParseError, ShortError
from exporter.formats.quic_frames import Crypto, Piece
from exporter.formats.tls_alerts import ALERTS
from exporter.formats.tls_records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    KINDS,
    MESSAGES,
)

__all__ = ["ENCRYPTED", "Messages", "Record", "recognise", "records"]

ENCRYPTED = -1
"""A record of DTLS 1.3 whose kind is encrypted (RFC 9147 section 4, "unified header")."""

_HEADER = Struct(">BHHHIH").unpack_from
_SIZE = 13
_FRAGMENT = Struct(">IHHBHB").unpack_from
_FRAGMENT_SIZE = 12
_VERSIONS = frozenset({0xFEFF, 0xFEFD, 0xFEFC, 0x0100})
"""1.0, 1.2, 1.3; and what OpenSSL 0.9.8 sent before there was a standard."""
_MAX_MESSAGE = 65536
_MAX_PARTIAL = 8
_MAX_SEEN = 64


class Record(NamedTuple):
    """A record; `epoch` is 0 before encryption."""

    kind: int
    epoch: int
    body: bytes


def records(data: bytes) -> Iterator[Record]:
    """Give a datagram's records. What RFC 7983 lets share the port (STUN, RTP) gives none."""
    at, end = 0, len(data)
    while at < end:
        first = data[at]
        if first & 0xE0 == 0x20:
            yield Record(ENCRYPTED, 1, b"")
            return  # the length may be left out, and nothing in the clear follows
        if at == 0 and first not in KINDS:
            return
        if at + _SIZE > end:
            raise ShortError
        kind, version, epoch, _, _, size = _HEADER(data, at)
        if kind not in KINDS or version not in _VERSIONS:
            raise ParseError("record")
        stop = at + _SIZE + size
        if stop > end:
            raise ShortError
        yield Record(kind, epoch, data[at + _SIZE : stop])
        at = stop


def _fragment(body: bytes, at: int) -> tuple[int, int, int, int, int]:
    """Give a fragment's message type and length, sequence, offset and size."""
    if len(body) - at < _FRAGMENT_SIZE:
        raise ShortError
    head, sequence, offset_high, offset_low, size_high, size_low = _FRAGMENT(body, at)
    offset, size = offset_high << 8 | offset_low, size_high << 8 | size_low
    return head >> 24, head & 0xFFFFFF, sequence, offset, size


class Messages:
    """One side's handshake messages, put together from fragments in any order; each is given once."""

    __slots__ = ("_partial", "_seen")

    def __init__(self) -> None:
        self._partial: dict[int, Crypto] = {}
        self._seen: set[int] = set()

    def add(self, body: bytes, wanted: frozenset[int]) -> Iterator[tuple[int, bytes]]:
        """Read a record's fragments: give the messages of the `wanted` types that are whole now."""
        at = 0
        while at < len(body):
            kind, length, sequence, offset, size = _fragment(body, at)
            at += _FRAGMENT_SIZE
            if kind not in MESSAGES or offset + size > length or at + size > len(body):
                raise ParseError("fragment")
            part = body[at : at + size]
            at += size
            if kind not in wanted or length > _MAX_MESSAGE or sequence in self._seen:
                continue
            if size < length:
                part = self._join(sequence, Piece(offset, part))
            if len(part) == length and len(self._seen) < _MAX_SEEN:
                self._seen.add(sequence)
                yield kind, part

    def _join(self, sequence: int, piece: Piece) -> bytes:
        """Give what has come of a message without a hole. Of too many that are not whole, the oldest is forgotten."""
        partial = self._partial.get(sequence)
        if partial is None:
            if len(self._partial) >= _MAX_PARTIAL:
                del self._partial[next(iter(self._partial))]
            partial = self._partial[sequence] = Crypto()
        partial.add(piece)
        return partial.start()


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a datagram is made of records: their lengths must fit to its end."""
    end = len(data)
    if end < _SIZE + 1 or not CHANGE_CIPHER_SPEC <= data[0] <= APPLICATION_DATA:
        return NO
    kind, version, epoch, high, _, size = _HEADER(data)
    at = _SIZE + size
    if version not in _VERSIONS or not 0 < size <= end - _SIZE or epoch > 255 or high > 255:
        return NO
    while at < end and data[at] & 0xE0 != 0x20:
        if end - at < _SIZE or data[at] not in KINDS or data[at + 1] << 8 | data[at + 2] not in _VERSIONS:
            return NO
        at += _SIZE + (data[at + 11] << 8 | data[at + 12])
    if at > end:
        return NO
    return YES if _begins(data, kind, size) or (epoch and size > 8) else NO


def _begins(data: bytes, kind: int, size: int) -> bool:
    """Tell whether a record's body is what its kind says, in the clear."""
    if kind == HANDSHAKE:
        if size < _FRAGMENT_SIZE or data[_SIZE] not in MESSAGES:
            return False
        _, length, _, offset, part = _fragment(data, _SIZE)
        return offset + part <= length <= _MAX_MESSAGE and part + _FRAGMENT_SIZE <= size
    if kind == ALERT:
        return size == 2 and data[_SIZE] in (1, 2) and data[_SIZE + 1] in ALERTS
    return kind == CHANGE_CIPHER_SPEC and size in (1, 3) and data[_SIZE] == 1
