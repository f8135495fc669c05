"""STUN's messages: RFC 8489 section 5 (with the magic cookie), RFC 3489 (without it).

A message is 20 bytes and attributes to its last byte. Without the cookie its attributes must be known ones.
"""

from ipaddress import ip_address
from typing import NamedTuple

from exporter.errors import ParseError
from exporter.formats.text import clean

__all__ = ["COOKIE", "HEADER", "METHODS", "StunMessage", "begins", "is_message", "parse"]

HEADER = 20
COOKIE = b"\x21\x12\xa4\x42"
METHODS = {
    0x001: "binding",
    0x002: "shared_secret",
    0x003: "allocate",
    0x004: "refresh",
    0x006: "send",
    0x007: "data",
    0x008: "create_permission",
    0x009: "channel_bind",
    0x00A: "connect",
    0x00B: "connection_bind",
    0x00C: "connection_attempt",
    0x080: "goog_ping",
}
"""IANA's registry of methods."""

_CLASSIC = frozenset({0x0001, 0x0101, 0x0111, 0x0002, 0x0102, 0x0112})
_CLASSIC_LAST = 0x000B
_VENDORS = 0x80
"""RFC 3489 knows attributes 1 to 11; servers of its time add some of their own from 0x8000."""
_OLD_COOKIE = b"\x00\x0f\x00\x04\x72\xc6\x4b\xc6"
"""TURN before it was a standard has a cookie as its first attribute (MS-TURN section 2.2.2.1)."""
_MAX_ATTRIBUTES = 64
_MAPPED, _ERROR, _XOR_MAPPED, _SOFTWARE = 0x0001, 0x0009, 0x0020, 0x8022
_READ = frozenset({_MAPPED, _ERROR, _XOR_MAPPED, _SOFTWARE})


class StunMessage(NamedTuple):
    """A message. `group` is its class: 0 request, 1 indication, 2 success, 3 error; `code` an error's."""

    group: int
    method: int
    serial: bytes
    code: int
    software: str
    mapped: str
    """The sender's address as the server sees it."""


def is_message(data: bytes, *, bare: bool = False) -> bool:
    """Tell whether a datagram is a message and nothing else. `bare`: neither cookie nor attributes are enough."""
    size = len(data) - HEADER
    if size < 0 or data[0] & 0xC0 or data[2] << 8 | data[3] != size:
        return False
    if data[4:8] == COOKIE or data[20:28] == _OLD_COOKIE:
        return True
    if data[0] << 8 | data[1] not in _CLASSIC:
        return False
    if not size:
        return bare
    try:
        return all(kind <= _CLASSIC_LAST or kind >> 8 == _VENDORS for kind, _ in _attributes(data))
    except ParseError:
        return False


def begins(data: bytes) -> bool:
    """Tell whether a stream begins with a message; the cookie must be there."""
    return len(data) >= HEADER and data[0] & 0xC0 == 0 and data[3] & 3 == 0 and data[4:8] == COOKIE


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    """Give the attributes (section 14): type, length, value, padded to four bytes."""
    found: list[tuple[int, bytes]] = []
    at, end = HEADER, len(data)
    while at < end:
        if end - at < 4 or len(found) >= _MAX_ATTRIBUTES:
            raise ParseError("attribute")
        size = data[at + 2] << 8 | data[at + 3]
        start = at + 4
        if start + size > end:
            raise ParseError("attribute")
        found.append((data[at] << 8 | data[at + 1], data[start : start + size]))
        at = start + (size + 3 & ~3)
    return found


def parse(data: bytes) -> StunMessage:
    """Read one message, as `is_message` has found it."""
    kind = data[0] << 8 | data[1]
    code, software, mapped = 0, "", ""
    for attribute, value in _attributes(data):
        if attribute not in _READ:
            continue
        if attribute == _SOFTWARE:
            software = clean(value.rstrip(b"\0"), 128)
        elif attribute == _ERROR:
            code = (value[2] & 7) * 100 + value[3] if len(value) >= 4 else 0
        elif attribute == _XOR_MAPPED:
            mapped = _address(bytes([a ^ b for a, b in zip(value[4:], data[4:20], strict=False)]), value[1:2])
        else:
            mapped = mapped or _address(value[4:], value[1:2])
    method = kind & 0x000F | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
    return StunMessage((kind >> 7 & 2) | (kind >> 4 & 1), method, data[4:20], code, software, mapped)


def _address(raw: bytes, family: bytes) -> str:
    size = {b"\x01": 4, b"\x02": 16}.get(family)
    return str(ip_address(raw)) if size == len(raw) else ""
