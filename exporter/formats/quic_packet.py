"""QUIC's packets in the clear: long headers, and how a datagram of them is recognised.

RFC 8999, RFC 9000 section 17; RFC 9369 section 3.2 numbers the types anew.
"""

from typing import NamedTuple

from exporter.dissector import NO, YES
from exporter.errors import ParseError
from exporter.formats.quic_versions import reserved, version
from exporter.wire import Reader

__all__ = ["HANDSHAKE", "INITIAL", "NEGOTIATION", "RETRY", "ZERO_RTT", "Long", "long_packet", "recognise"]

INITIAL, ZERO_RTT, HANDSHAKE, RETRY, NEGOTIATION = range(5)
_MAX_CID = 20
_MIN_INITIAL = 1200
"""The smallest datagram that a client opens with (RFC 9000 section 14.1)."""


class Long(NamedTuple):
    """A packet with a long header, `data` being all of it; `number` is where its protected number begins."""

    version: int
    kind: int
    cid: bytes
    """Destination connection id."""
    data: bytes
    number: int
    whole: bool
    """False: the capture has only a part of it."""


def long_packet(data: bytes, at: int) -> Long:
    """Read the long packet at `at`, and how long it is; `ParseError`: it is none."""
    reader = Reader(data, at)
    first = reader.u8()
    code = reader.u32()
    known = version(code)
    cid, peer = (reader.take(reader.u8()) for _ in range(2))
    if code == 0:
        return Long(code, NEGOTIATION, cid, reader.rest(), 0, whole=True)
    if known is None or len(cid) > _MAX_CID or len(peer) > _MAX_CID:
        raise ParseError("version" if known is None else "connection_id")
    kind = (first >> 4 & 3) - known.rotated & 3
    if kind == RETRY:
        return Long(code, kind, cid, reader.rest(), 0, whole=True)
    if kind == INITIAL:
        reader.skip(reader.varint())
    size = reader.varint()
    number = reader.pos - at
    end = reader.pos + size
    return Long(code, kind, cid, data[at:end], number, end <= len(data))


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a datagram begins with a long packet of a known version that is all there."""
    size = len(data)
    if size < 21 or data[0] & 0x80 == 0:
        return NO
    code = data[1] << 24 | data[2] << 16 | data[3] << 8 | data[4]
    at = data[5] + 6  # the source connection id's length
    if at > _MAX_CID + 6 or at >= size or data[at] > _MAX_CID:
        return NO
    if code == 0:
        return _probe_negotiation(data)
    known = version(code)
    if known is None or not data[0] & 0x40 or (reserved(code) and size < _MIN_INITIAL):
        return NO
    at += 1 + data[at]
    kind = (data[0] >> 4) - known.rotated & 3
    if kind == RETRY:
        return YES if size - at >= 16 else NO
    if kind == INITIAL and at < size:
        token = data[at]
        at += 1 + token if token < 0x40 else _varint(data, at)
    if at + 2 <= size and data[at] >> 6 == 1:  # the length, as nearly everybody writes it
        rest = (data[at] & 0x3F) << 8 | data[at + 1]
        return YES if 20 <= rest <= size - at - 2 else NO
    rest = _varint(data, at) if at < size else 0
    return YES if rest >= 24 and at + rest <= size else NO


def _varint(data: bytes, at: int) -> int:
    """Give how long a number and what it counts are together; what is not there counts as nothing."""
    size = 1 << (data[at] >> 6)
    return size + (int.from_bytes(data[at : at + size], "big") & (1 << (8 * size - 2)) - 1)


def _probe_negotiation(data: bytes) -> int:
    """A list of versions, of which one at least is known."""
    at = 7 + data[5] + data[6 + data[5]]
    if at >= len(data) or (len(data) - at) & 3:
        return NO
    listed = [int.from_bytes(data[i : i + 4], "big") for i in range(at, len(data), 4)]
    return YES if any(version(code) and not reserved(code) for code in listed) and 0 not in listed else NO
