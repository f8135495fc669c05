"""TLS's record layer: what its records are, and how a stream of them is recognised (RFC 8446 section 5, RFC 6101)."""

from struct import Struct

from exporter.dissector import MORE, NO, YES
from exporter.formats.tls_alerts import ALERTS

__all__ = [
    "ALERT",
    "APPLICATION_DATA",
    "CERTIFICATE",
    "CHANGE_CIPHER_SPEC",
    "CLIENT_HELLO",
    "HANDSHAKE",
    "KINDS",
    "MAX_RECORD",
    "MESSAGES",
    "RECORD",
    "SERVER_HELLO",
    "SERVER_HELLO_DONE",
    "recognise",
]

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_HELLO_DONE = 1, 2, 11, 14

KINDS = frozenset(range(20, 25))
"""The records of TLS; 24 are heartbeats (RFC 6520)."""
RECORD = Struct(">BHH").unpack_from
MAX_RECORD = 16384 + 2048
MESSAGES = frozenset({0, 1, 2, 3, 4, 5, 8, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25, 67})


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with records, or with a hello of SSL 2.0."""
    kind = data[0] if data else CHANGE_CIPHER_SPEC
    if kind & 0x80:
        return _probe_sslv2(data)
    if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA:
        return NO
    if (len(data) > 1 and data[1] != 3) or (len(data) > 2 and data[2] > 4):
        return NO
    if len(data) < 6:
        return MORE
    size = data[3] << 8 | data[4]
    if not 0 < size <= MAX_RECORD:
        return NO
    return _PROBES[kind](data, size)


def _probe_change(data: bytes, size: int) -> int:
    return YES if size == 1 and data[5] == 1 else NO


def _probe_alert(data: bytes, size: int) -> int:
    if size != 2:
        return _probe_encrypted(data, size)
    if len(data) < 7:
        return MORE
    return YES if data[5] in (1, 2) and data[6] in ALERTS else NO


def _probe_handshake(data: bytes, size: int) -> int:
    """A hello's own length and version; of other messages the kind; else an encrypted one."""
    kind = data[5]
    if kind not in MESSAGES:
        return _probe_encrypted(data, size)
    if size < 6:  # a message cut into tiny records
        return _probe_next(data, 5 + size)
    if len(data) < 11:
        return MORE
    if kind in (CLIENT_HELLO, SERVER_HELLO):
        return YES if data[6] == 0 and data[9] in (3, 0x7F) else NO
    return YES if data[6] == 0 else _probe_encrypted(data, size)


def _probe_encrypted(data: bytes, size: int) -> int:
    """A connection found in mid-stream: records, one after the other. A long one need not be seen to its end."""
    if size < 16:
        return NO
    if len(data) == 5 + size or (size > 4000 and len(data) > 4000):
        return YES
    return _probe_next(data, 5 + size)


def _probe_next(data: bytes, end: int) -> int:
    if len(data) < end + 3:
        return MORE
    return YES if CHANGE_CIPHER_SPEC <= data[end] <= APPLICATION_DATA and data[end + 1] == 3 else NO


def _probe_sslv2(data: bytes) -> int:
    """A client's or a server's hello: the lengths of its parts must add up."""
    if len(data) < 11:
        return MORE if len(data) < 3 or data[2] in (1, 4) else NO
    size = (data[0] & 0x7F) << 8 | data[1]
    ciphers, session, challenge = (int.from_bytes(data[i : i + 2], "big") for i in (5, 7, 9))
    if data[2] == CLIENT_HELLO and data[3:5] in _SSLV2_VERSIONS:
        fits = ciphers and not ciphers % 3 and session in (0, 16) and 16 <= challenge <= 32
        return YES if fits and size == 9 + ciphers + session + challenge else NO
    if data[2] == 4 and data[3] < 2 and data[5:7] == b"\x00\x02":
        if len(data) < 13:
            return MORE
        parts = sum(int.from_bytes(data[i : i + 2], "big") for i in (7, 9, 11))
        return YES if size == 11 + parts else NO
    return NO


_SSLV2_VERSIONS = (b"\x00\x02", b"\x03\x00", b"\x03\x01", b"\x03\x02", b"\x03\x03")

_PROBES = {
    CHANGE_CIPHER_SPEC: _probe_change,
    ALERT: _probe_alert,
    HANDSHAKE: _probe_handshake,
    APPLICATION_DATA: _probe_encrypted,
}
