"""OpenVPN's packets, as its documentation of its source (`ssl_pkt.h`) and draft-openvpn-wire-protocol describe them.

A packet's first byte is an opcode and a key's number. What opens a session is a reset, in one of three wrappings: none,
authenticated (`tls-auth`: a digest and a replay id are put in front), or encrypted (`tls-crypt`).
"""

__all__ = ["CLIENT_RESETS", "DATA", "OPCODES", "RESETS", "SOFT_RESET", "is_reset"]

CLIENT_RESETS = frozenset({1, 7, 10})
SERVER_RESETS = frozenset({2, 8})
RESETS = CLIENT_RESETS | SERVER_RESETS
SOFT_RESET = 3
DATA = frozenset({6, 9})
OPCODES = frozenset(range(1, 12))

_SESSION = 9
_DIGESTS = frozenset({16, 20, 28, 32, 48, 64})
"""Lengths of an HMAC, by its hash: MD5, SHA-1, SHA-224 to SHA-512."""
_CRYPTED = 9 + 8 + 32 + 5
"""The least length under tls-crypt: a session, a replay id, a digest, an empty list and a number, encrypted."""
_MAX_RESET = 1500
_EARLIEST = 0x3B9ACA00
"""September 2001, before which OpenVPN was not: replay ids hold the time."""
_NEGOTIATION = frozenset({0x0F, 0x0A})
"""The high byte of a replay id by which a client of tls-crypt-v2 says that it can go without state."""


def is_reset(data: bytes) -> bool:
    """Tell whether a packet certainly opens a session: all that a reset holds has to be there and fit."""
    opcode = data[0] >> 3 if data else 0
    if opcode not in RESETS or data[0] & 7 or not 14 <= len(data) <= _MAX_RESET:
        return False
    if data[1:_SESSION] == bytes(8):
        return False
    if opcode != 10 and _ends(data, _SESSION, server=opcode in SERVER_RESETS):
        return True
    if len(data) >= _CRYPTED and _replay(data, _SESSION):
        return True
    server = opcode in SERVER_RESETS
    for tail in (5, 17) if server else (5,):
        at = len(data) - tail
        if at - 8 - _SESSION in _DIGESTS and _replay(data, at - 8) and _ends(data, at, server=server):
            return True
    return False


def _replay(data: bytes, at: int) -> bool:
    """Tell a replay id: a small number, and a time."""
    if at + 8 > len(data):
        return False
    number = int.from_bytes(data[at : at + 4], "big")
    if data[at] in _NEGOTIATION:
        number &= 0xFFFF
    return 0 < number <= 16 and int.from_bytes(data[at + 4 : at + 8], "big") >= _EARLIEST


def _ends(data: bytes, at: int, *, server: bool) -> bool:
    """Tell a reset's end: what it acknowledges (with whose session), and its own number, which is 0.

    A client acknowledges nothing, a server the client's reset, unless it has done that before.
    """
    if at >= len(data):
        return False
    count = data[at]
    if count > server:
        return False
    stop = at + 1 + (12 if count else 0)
    if count and data[at + 1 : at + 5] != bytes(4):
        return False
    return len(data) == stop + 4 and data[stop:] == bytes(4)
