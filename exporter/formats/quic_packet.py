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
_MAX_INITIAL = 9000
_MIN_HEADER = 12
"""Where the length is at the earliest if one of the connection ids is there."""
_MAX_LIST = 256


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
    peer: bytes = b""
    """Source connection id: what the other side's packets will be addressed to."""


def long_packet(data: bytes, at: int) -> Long:
    """Read the long packet at `at`, and how long it is; `ParseError`: it is none."""
    reader = Reader(data, at)
    first = reader.u8()
    code = reader.u32()
    known = version(code)
    if code == 0:
        return Long(code, NEGOTIATION, b"", reader.rest(), 0, whole=True)
    if known is not None and known.draft < 22:
        both = reader.u8()
        cid, peer = (reader.take(_old_size(size)) for size in (both >> 4, both & 15))
    else:
        cid, peer = (reader.take(reader.u8()) for _ in range(2))
    if known is None or len(cid) > _MAX_CID or len(peer) > _MAX_CID:
        raise ParseError("version" if known is None else "connection_id")
    kind = (first >> 4 & 3) - known.rotated & 3
    if kind == RETRY:
        return Long(code, kind, cid, reader.rest(), 0, whole=True, peer=peer)
    if kind == INITIAL:
        reader.skip(reader.varint())
    size = reader.varint()
    number = reader.pos - at
    end = reader.pos + size
    return Long(code, kind, cid, data[at:end], number, end <= len(data), peer)


def _old_size(code: int) -> int:
    """Give a connection id's size as it was told up to draft 21, in half a byte."""
    return code + 3 if code else 0


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a datagram begins with a long packet of a known version.

    It must be all there, but for an Initial, of which the capture may have only the beginning.
    """
    size = len(data)
    if size < 21 or data[0] & 0x80 == 0:
        return NO
    code = data[1] << 24 | data[2] << 16 | data[3] << 8 | data[4]
    if code == 0:
        return _probe_negotiation(data)
    known = version(code)
    if known is not None and known.draft < 22:
        return _probe_old(data)
    at = data[5] + 6  # the source connection id's length
    if at > _MAX_CID + 6 or at >= size or data[at] > _MAX_CID:
        return NO
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
        most = _MAX_INITIAL if kind == INITIAL and at >= _MIN_HEADER else size - at - 2
        return YES if 20 <= rest <= most else NO
    rest = _varint(data, at) if at < size else 0
    return YES if rest >= 24 and at + rest <= size else NO


def _varint(data: bytes, at: int) -> int:
    """Give how long a number and what it counts are together; what is not there counts as nothing."""
    size = 1 << (data[at] >> 6)
    return size + (int.from_bytes(data[at : at + size], "big") & (1 << (8 * size - 2)) - 1)


def _probe_old(data: bytes) -> int:
    """The long header of drafts 17 to 21."""
    try:
        packet = long_packet(data, 0)
    except ParseError:
        return NO
    return YES if packet.whole and (packet.kind == RETRY or len(packet.data) - packet.number >= 20) else NO


def _probe_negotiation(data: bytes) -> int:
    """A list of versions, of which one at least is known; the connection ids as they are now, or up to draft 21."""
    at = 7 + data[5] + data[6 + data[5]] if 6 + data[5] < len(data) else len(data)
    return _lists(data, at) or _lists(data, 6 + _old_size(data[5] >> 4) + _old_size(data[5] & 15))


def _lists(data: bytes, at: int) -> int:
    left = len(data) - at
    if left <= 0 or left & 3 or left > _MAX_LIST:
        return NO
    listed = [int.from_bytes(data[i : i + 4], "big") for i in range(at, len(data), 4)]
    return YES if 0 not in listed and any(_published(code) for code in listed) else NO


def _published(code: int) -> bool:
    """Tell a version that somebody speaks, if only of old: Google's Q0xx, a draft, mvfst, or one that is read here."""
    return (
        code >> 16 in (0x5130, 0xFF00)
        or code >> 8 == 0xFACEB0
        or (bool(version(code)) and not reserved(code))
    )
