"""CoAP messages: RFC 7252 sections 3 and 12.2 (options); 7641, 7959, 8132, 8613, 8768, 9175, 9177, 9668."""

from typing import NamedTuple

from exporter.errors import ParseError

__all__ = ["METHODS", "OPTIONS", "STATUSES", "URI_HOST", "URI_PATH", "CoapMessage", "parse"]

METHODS = {1: "GET", 2: "POST", 3: "PUT", 4: "DELETE", 5: "FETCH", 6: "PATCH", 7: "iPATCH"}
_SUCCESS = range(0x41, 0x46)
_CLIENT = (*range(0x80, 0x87), 0x88, 0x89, 0x8C, 0x8D, 0x8F, 0x96, 0x9D)
_SERVER = (*range(0xA0, 0xA6), 0xA8)
STATUSES = {code: f"{code >> 5}.{code & 31:02}" for code in (*_SUCCESS, 0x5F, *_CLIENT, *_SERVER)}
"""Class and detail, as RFC 7252 section 12.1.2 writes them."""
URI_HOST, URI_PATH = 3, 11
OPTIONS = {
    1: (0, 8),  # If-Match
    3: (1, 255),  # Uri-Host
    4: (1, 8),  # ETag
    5: (0, 0),  # If-None-Match
    6: (0, 3),  # Observe
    7: (0, 2),  # Uri-Port
    8: (0, 255),  # Location-Path
    9: (0, 255),  # OSCORE
    11: (0, 255),  # Uri-Path
    12: (0, 2),  # Content-Format
    14: (0, 4),  # Max-Age
    15: (0, 255),  # Uri-Query
    16: (1, 1),  # Hop-Limit
    17: (0, 2),  # Accept
    19: (0, 3),  # Q-Block1
    20: (0, 255),  # Location-Query
    21: (0, 0),  # EDHOC
    23: (0, 3),  # Block2
    27: (0, 3),  # Block1
    28: (0, 4),  # Size2
    31: (0, 3),  # Q-Block2
    35: (1, 1034),  # Proxy-Uri
    39: (1, 255),  # Proxy-Scheme
    60: (0, 4),  # Size1
    252: (1, 40),  # Echo
    258: (0, 1),  # No-Response
    292: (0, 8),  # Request-Tag
}
"""The least and greatest length of each."""
_MAX_OPTIONS = 64


class CoapMessage(NamedTuple):
    """A message. `kind`: 0 confirmable, 1 not, 2 acknowledgement, 3 reset; `code` 0: it is empty."""

    kind: int
    code: int
    token: bytes
    options: list[tuple[int, bytes]]
    payload: int
    """Its length."""


def parse(data: bytes) -> CoapMessage:
    """Read a message to its last byte; `ParseError` for what is none."""
    if len(data) < 4 or data[0] >> 6 != 1:
        raise ParseError("header")
    kind, size, code = data[0] >> 4 & 3, data[0] & 15, data[1]
    at = 4 + size
    if size > 8 or at > len(data) or (not code and len(data) != 4):
        raise ParseError("header")
    options: list[tuple[int, bytes]] = []
    number, end = 0, len(data)
    while at < end and data[at] != 0xFF:
        delta, length = data[at] >> 4, data[at] & 15
        at += 1
        if delta > 12:
            delta, at = _extended(data, delta, at)
        if length > 12:
            length, at = _extended(data, length, at)
        number += delta
        if at + length > end or len(options) >= _MAX_OPTIONS:
            raise ParseError("options")
        options.append((number, data[at : at + length]))
        at += length
    if at == end - 1:  # a marker with no payload behind it
        raise ParseError("payload")
    return CoapMessage(kind, code, data[4 : 4 + size], options, max(0, end - at - 1))


def _extended(data: bytes, value: int, at: int) -> tuple[int, int]:
    """Read a delta or length that goes on in one or two further bytes (section 3.1)."""
    if value == 15 or at + value - 12 > len(data):
        raise ParseError("options")
    if value == 13:
        return 13 + data[at], at + 1
    return 269 + (data[at] << 8 | data[at + 1]), at + 2
