"""Frames of Cassandra's CQL binary protocol (Apache Cassandra, native_protocol_v3.spec to native_protocol_v5.spec)."""

from struct import Struct

from exporter.dissector import MORE, NO, YES
from exporter.formats.sql import verb

__all__ = [
    "AUTHENTICATE",
    "ERROR",
    "ERRORS",
    "EVENT",
    "EXECUTE",
    "HEADER",
    "MAX_BODY",
    "OPCODES",
    "PREPARE",
    "QUERY",
    "READY",
    "REQUESTS",
    "RESPONSES",
    "RESULT",
    "VERSIONS",
    "recognise",
]

HEADER = Struct(">BBhBI").unpack_from
"""Version (its high bit: a response), flags, stream, opcode, body's length."""

VERSIONS = {3: "3", 4: "4", 5: "5", 0x41: "DSE 1", 0x42: "DSE 2"}
MAX_BODY = 256 << 20

ERROR, STARTUP, READY, AUTHENTICATE, OPTIONS, SUPPORTED, QUERY, RESULT = 0, 1, 2, 3, 5, 6, 7, 8
PREPARE, EXECUTE, REGISTER, EVENT, BATCH = 9, 10, 11, 12, 13
AUTH_CHALLENGE, AUTH_RESPONSE, AUTH_SUCCESS = 14, 15, 16

OPCODES = {
    STARTUP: "startup",
    OPTIONS: "options",
    QUERY: "query",
    PREPARE: "prepare",
    EXECUTE: "execute",
    REGISTER: "register",
    EVENT: "event",
    BATCH: "batch",
    AUTH_RESPONSE: "auth_response",
}
REQUESTS = frozenset(OPCODES) - {EVENT}
RESPONSES = frozenset({ERROR, READY, AUTHENTICATE, SUPPORTED, RESULT, EVENT, AUTH_CHALLENGE, AUTH_SUCCESS})

ERRORS = {
    0x0000: "server_error",
    0x000A: "protocol_error",
    0x0100: "authentication_error",
    0x1000: "unavailable",
    0x1001: "overloaded",
    0x1002: "is_bootstrapping",
    0x1003: "truncate_error",
    0x1100: "write_timeout",
    0x1200: "read_timeout",
    0x1300: "read_failure",
    0x1400: "function_failure",
    0x1500: "write_failure",
    0x1600: "cdc_write_failure",
    0x1700: "cas_write_unknown",
    0x2000: "syntax_error",
    0x2100: "unauthorized",
    0x2200: "invalid",
    0x2300: "config_error",
    0x2400: "already_exists",
    0x2500: "unprepared",
}

_STATEMENTS = frozenset({QUERY, PREPARE})
_HELLOS = frozenset({STARTUP, SUPPORTED})


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a side begins with a frame that proves itself."""
    first = data[0] if data else 4
    if first & 0x7F not in VERSIONS or (len(data) > 1 and data[1] & 0xE0):
        return NO
    if len(data) > 4 and data[4] not in (RESPONSES if first & 0x80 else REQUESTS):
        return NO
    if len(data) < 9:
        return MORE
    _, flags, stream, code, size = HEADER(data)
    if size > MAX_BODY or (not first & 0x80 and stream < 0):
        return NO
    return _body(data, flags, code, size)


def _body(data: bytes, flags: int, code: int, size: int) -> int:
    if code == OPTIONS:
        return YES if size == 0 and not flags & 0x0F else NO
    seen = data[9 : 9 + size]
    if code in _HELLOS:
        if not 10 <= size <= 4096:
            return NO
        if b"CQL_VERSION" in seen:
            return YES
        return MORE if len(seen) < size and len(data) < 4096 else NO
    if code == EVENT:
        return _event(data, seen)
    if code in _STATEMENTS and not flags & 1:
        return _statement(seen, size)
    if code == ERROR and data[0] & 0x80 and not flags & 0x0F:
        return _error(seen, size)
    return NO


def _event(data: bytes, seen: bytes) -> int:
    """Events are of stream -1, and of three kinds."""
    if data[2:4] != b"\xff\xff":
        return NO
    kinds = (b"\0\x0fTOPOLOGY_CHANGE", b"\0\x0dSTATUS_CHANGE", b"\0\x0dSCHEMA_CHANGE")
    if seen.startswith(kinds):
        return YES
    return MORE if any(kind.startswith(seen) for kind in kinds) else NO


def _statement(seen: bytes, size: int) -> int:
    """A statement's text fits into its frame, and begins with a verb."""
    if len(seen) < 4:
        return MORE if size > 4 else NO
    length = int.from_bytes(seen[:4], "big")
    if not 0 < length <= size - 4 or size - 4 - length > 65536:
        return NO
    wanted = min(4 + length, 256)
    if len(seen) < wanted:
        return MORE
    return YES if verb(seen[4:wanted]) != "other" else NO


def _error(seen: bytes, size: int) -> int:
    """An error's code is known, and its text fits."""
    if len(seen) < 6:
        return MORE if size >= 6 else NO
    text = int.from_bytes(seen[4:6], "big")
    return YES if int.from_bytes(seen[:4], "big") in ERRORS and 0 < text <= size - 6 else NO
