"""dpkt, where the fast path does not go: wireless frames, whose header has a length that depends on five of its bits.

dpkt is also the oracle of the differential test (tests/decode/test_differential.py). It is not used for more: it costs
5 µs a frame where precompiled structs cost half of one, and it slices its input at every layer.
"""

import dpkt

from exporter.errors import UndecodableError

__all__ = ["radiotap", "wireless"]

_DATA = 2
_LLC = 0x0004


def radiotap(data: bytes) -> tuple[int, bytes, int]:
    """Pass over a radiotap header (radiotap.org): version 0, and its length in little-endian."""
    size = int.from_bytes(data[2:4], "little")
    if data[0] != 0 or size < 8:
        raise UndecodableError("malformed")
    return wireless(data, size)


def wireless(data: bytes, pos: int) -> tuple[int, bytes, int]:
    """Read an 802.11 frame: LLC, the frame, and where its LLC header begins."""
    if len(data) < pos + 24:
        raise UndecodableError("truncated")
    if data[pos] >> 2 & 3 != _DATA:  # management and control frames carry no packets
        raise UndecodableError("not_ip")
    try:
        frame = dpkt.ieee80211.IEEE80211(data[pos:])
        encrypted, body = frame.wep, frame.data
    except Exception:  # noqa: BLE001 - dpkt promises no single error for hostile bytes
        raise UndecodableError("malformed") from None
    if encrypted or not isinstance(body, bytes):
        raise UndecodableError("not_ip")
    return _LLC, data, len(data) - len(body)
