"""memcached's binary protocol: a header of 24 bytes, and what follows (memcached, "BinaryProtocolRevamped")."""

from struct import Struct

from exporter.dissector import MORE, NO, YES

__all__ = ["HEADER", "OPERATIONS", "QUIET", "REQUEST", "RESPONSE", "STATUSES", "recognise"]

REQUEST, RESPONSE = 0x80, 0x81
HEADER = Struct(">BBHBBHIII").unpack_from
"""Magic, opcode, key's length, extras' length, data type, bucket or status, body's length, serial, half of the CAS."""

OPERATIONS = {
    0x00: "get",
    0x01: "set",
    0x02: "add",
    0x03: "replace",
    0x04: "delete",
    0x05: "incr",
    0x06: "decr",
    0x07: "quit",
    0x08: "flush_all",
    0x09: "get",
    0x0A: "noop",
    0x0B: "version",
    0x0C: "get",
    0x0D: "get",
    0x0E: "append",
    0x0F: "prepend",
    0x10: "stats",
    0x11: "set",
    0x12: "add",
    0x13: "replace",
    0x14: "delete",
    0x15: "incr",
    0x16: "decr",
    0x17: "quit",
    0x18: "flush_all",
    0x19: "append",
    0x1A: "prepend",
    0x1B: "verbosity",
    0x1C: "touch",
    0x1D: "gat",
    0x1E: "gat",
    0x20: "sasl",
    0x21: "sasl",
    0x22: "sasl",
}
QUIET = frozenset({0x09, 0x0D, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1E})
"""Commands that have no response unless there is something to say."""

STATUSES = {
    0x00: "ok",
    0x01: "not_found",
    0x02: "exists",
    0x03: "too_large",
    0x04: "invalid",
    0x05: "not_stored",
    0x06: "non_numeric",
    0x07: "wrong_server",
    0x08: "auth_error",
    0x09: "auth_continue",
    0x20: "auth_error",
    0x21: "auth_continue",
    0x81: "unknown_command",
    0x82: "out_of_memory",
    0x83: "not_supported",
    0x84: "internal_error",
    0x85: "busy",
    0x86: "temporary_failure",
}
_MAX_BODY = 128 << 20


def recognise(data: bytes) -> int:
    """Tell, as a probe does, whether a header's fields agree."""
    if len(data) > 4 and (data[1] not in OPERATIONS or data[2] or data[4] > 20):
        return NO
    if len(data) < 24:
        return MORE
    magic, _, key, extras, kind, status, body, _, _ = HEADER(data)
    if kind or key > 250 or not key + extras <= body <= _MAX_BODY:
        return NO
    return YES if status == 0 or (magic == RESPONSE and status in STATUSES) else NO
