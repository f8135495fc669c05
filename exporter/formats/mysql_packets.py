"""MySQL's packets, and how a stream of them is recognised (MySQL internals manual, chapter "Client/Server Protocol").

A packet is its length (three bytes, least significant first), a sequence number and a body.
"""

from exporter.dissector import MORE, NO, YES
from exporter.errors import ShortError
from exporter.formats.sql import verb
from exporter.formats.text import clean
from exporter.wire import Reader

__all__ = [
    "COMMANDS",
    "COMPRESSION",
    "PROTOCOL_41",
    "QUERY_ATTRIBUTES",
    "SILENT",
    "TLS",
    "error_code",
    "recognise",
    "schema",
    "version",
]

WITH_SCHEMA, TLS, PROTOCOL_41, SECURE = 1 << 3, 1 << 11, 1 << 9, 1 << 15
LENGTH_ENCODED, QUERY_ATTRIBUTES = 1 << 21, 1 << 27
COMPRESSION = 1 << 5 | 1 << 26
"""Capability flags: zlib or zstd."""

COMMANDS = {
    1: "quit",
    2: "init_db",
    3: "query",
    4: "field_list",
    9: "statistics",
    10: "process_info",
    12: "process_kill",
    13: "debug",
    14: "ping",
    17: "change_user",
    18: "binlog_dump",
    22: "prepare",
    23: "execute",
    24: "send_long_data",
    25: "close",
    26: "reset",
    27: "set_option",
    28: "fetch",
    30: "binlog_dump",
    31: "reset_connection",
}
SILENT = frozenset({1, 24, 25})
"""Commands that have no response."""

_GREETING_MAX = 512
_TEXT_MAX = 16


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with a greeting, its refusal, a login, or a statement."""
    if len(data) < 5:
        return MORE if len(data) < 4 or data[3] in (0, 1) else NO
    size = data[0] | data[1] << 8 | data[2] << 16
    if data[3] == 1:
        return _login(data, size)
    if data[3]:
        return NO
    if data[4] == 10:
        return _greeting(data, size)
    if data[4] == 0xFF:
        return _refusal(data, size)
    return _statement(data, size) if data[4] == 3 else NO


def _greeting(data: bytes, size: int) -> int:
    """The version's text, then 8 bytes of a challenge that a zero ends (Protocol::HandshakeV10)."""
    if not 20 <= size <= _GREETING_MAX:
        return NO
    end = data.find(b"\0", 5, 5 + 100)
    text = data[5 : end if end >= 0 else 105]
    if (text and not text[:1].isdigit()) or not all(0x20 <= byte < 0x7F for byte in text):
        return NO
    if end < 0:
        return MORE if len(text) < 100 else NO
    filler = end + 13
    if b"." not in text or filler > size + 4:
        return NO
    if len(data) <= filler:
        return MORE
    return NO if data[filler] else YES


def _refusal(data: bytes, size: int) -> int:
    """An error instead of a greeting: its number, and words up to the packet's end."""
    if not 8 <= size <= _GREETING_MAX:
        return NO
    if len(data) < 4 + size:
        return MORE if len(data) < 7 or 1000 <= data[5] | data[6] << 8 < 5000 else NO
    known = 1000 <= data[5] | data[6] << 8 < 5000
    return YES if known and all(0x20 <= byte < 0x7F for byte in data[7 : 4 + size]) else NO


def _login(data: bytes, size: int) -> int:
    """Protocol::HandshakeResponse41 and Protocol::SSLRequest: 19 zeros at a fixed place."""
    if not 32 <= size < 4096:
        return NO
    if len(data) < 36:
        return NO if data[13:32].strip(b"\0") else MORE
    return YES if data[5] & PROTOCOL_41 >> 8 and data[13:32] == bytes(19) else NO


def _statement(data: bytes, size: int) -> int:
    """COM_QUERY with a verb that is known (a connection found in mid-stream)."""
    if size < 5:
        return NO
    text = data[5 : min(4 + size, 512)]
    if text[:2] == b"\0\1"[: len(text)]:
        text = text[2:]
    if any(byte < 9 for byte in text[:_TEXT_MAX]):
        return NO
    if len(data) < 4 + size and len(data) < 512:
        return MORE
    return YES if verb(text) != "other" else NO


def version(data: bytes) -> str:
    """Give the version's text that a greeting's body tells."""
    return clean(data[1:].partition(b"\0")[0], 64)


def error_code(data: bytes) -> str:
    """Give the number that an ERR packet's body tells."""
    return str(data[1] | data[2] << 8) if len(data) > 2 else ""


def schema(data: bytes) -> str:
    """Give the database's name that a login's body tells (Protocol::HandshakeResponse41); "" where there is none."""
    reader = Reader(data)
    try:
        flags = reader.u32le()
        if not flags & WITH_SCHEMA:
            return ""
        reader.skip(28)
        reader.until(b"\0", 256)
        if flags & (LENGTH_ENCODED | SECURE):
            reader.skip(reader.u8())
        else:
            reader.until(b"\0", 256)
        return clean(reader.until(b"\0", 256), 64)
    except ShortError:
        return ""
