"""BitTorrent's datagrams: DHT (BEP 5, 32, 44, 51), uTP (BEP 29), UDP trackers (BEP 15), local discovery (BEP 14)."""

from typing import NamedTuple

from exporter.errors import ParseError
from exporter.formats.bencode import decode

__all__ = [
    "DHT_ERRORS",
    "DHT_QUERIES",
    "LOCAL",
    "TRACKER_ACTIONS",
    "DhtMessage",
    "dht",
    "is_tracker",
    "is_utp",
    "utp_opens",
]

DHT_QUERIES = frozenset(
    {"ping", "find_node", "get_peers", "announce_peer", "get", "put", "sample_infohashes", "vote"}
)
DHT_ERRORS = {
    201: "generic_error",
    202: "server_error",
    203: "protocol_error",
    204: "method_unknown",
    205: "message_too_big",
    206: "invalid_signature",
    207: "salt_too_big",
    301: "cas_mismatch",
    302: "sequence_number_too_low",
}
LOCAL = b"BT-SEARCH * HTTP/1.1\r\n"
TRACKER_ACTIONS = ("connect", "announce", "scrape", "error")
_TRACKER = b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0"
_HANDSHAKE = b"\x13BitTorrent protocol"
_ID = 20


class DhtMessage(NamedTuple):
    """A DHT message. `kind`: q, r or e."""

    kind: str
    serial: bytes
    query: str
    error: int


def dht(data: bytes) -> DhtMessage:
    """Read a message that is whole, with who sent it; `ParseError` for what is none."""
    message = decode(data)
    if not isinstance(message, dict):
        raise ParseError("message")
    kind, serial, query = message.get(b"y"), message.get(b"t"), message.get(b"q", b"")
    if not isinstance(serial, bytes) or not isinstance(query, bytes) or kind not in (b"q", b"r", b"e"):
        raise ParseError("message")
    if kind == b"e":
        error = message.get(b"e")
        code = error[0] if isinstance(error, list) and error else 0
        return DhtMessage("e", serial, "", code if isinstance(code, int) else 0)
    body = message.get(b"a" if kind == b"q" else b"r")
    sender = body.get(b"id") if isinstance(body, dict) else None
    if not isinstance(sender, bytes) or len(sender) != _ID or (kind == b"q") != bool(query):
        raise ParseError("sender")
    name = query.decode("latin-1")
    return DhtMessage(kind.decode(), serial, name if name in DHT_QUERIES or not name else "other", 0)


def is_tracker(data: bytes) -> bool:
    """Tell a tracker's connect request: it begins with a number of 64 bits that is the protocol's own."""
    return len(data) == 16 and data.startswith(_TRACKER)


def is_utp(data: bytes) -> bool:
    """Tell what may be a packet of uTP in a flow that has shown that it speaks it."""
    return len(data) >= 20 and data[0] & 15 == 1 and data[0] >> 4 < 5


def utp_opens(data: bytes) -> str:
    """Tell a connection's beginning, or its peers' handshake in it; "": neither.

    A SYN has the first sequence number, acknowledges nothing and has seen no delay yet.
    """
    if data[0] == 0x41:
        first = data[8:12] == b"\0\0\0\0" and data[16:20] == b"\0\x01\0\0" and data[12:16] != b"\0\0\0\0"
        return "utp" if first and (data[1], len(data)) in ((0, 20), (2, 30)) else ""
    if data[0] == 0x01 and not data[1] and data[20:].startswith(_HANDSHAKE):
        return "handshake"
    return ""
