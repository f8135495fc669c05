"""ISAKMP's header and its payloads in the clear: RFC 2408 section 3 (IKEv1), RFC 7296 section 3 (IKEv2)."""

from typing import NamedTuple

__all__ = ["EXCHANGES", "NOTIFICATIONS", "IkeMessage", "begins", "read"]

HEADER = 28
EXCHANGES = {
    (1, 1): "base",
    (1, 2): "identity_protection",
    (1, 3): "authentication_only",
    (1, 4): "aggressive",
    (1, 5): "informational",
    (1, 6): "transaction",
    (1, 32): "quick_mode",
    (1, 33): "new_group_mode",
    (2, 34): "ike_sa_init",
    (2, 35): "ike_auth",
    (2, 36): "create_child_sa",
    (2, 37): "informational",
    (2, 38): "ike_session_resume",
    (2, 43): "ike_intermediate",
    (2, 44): "ike_followup_ke",
}
"""By version and number: RFC 2408 section 3.1, RFC 2409 section 5, RFC 7296 section 3.1, RFC 5723, 9242, 9370."""
_PAYLOADS = {1: frozenset({*range(14), 20, 21, 130, 131, 132}), 2: frozenset({0, *range(33, 55)})}
_ENCRYPTED_1 = 1
_ENCRYPTED_2 = frozenset({46, 53})
_NOTIFY = {1: 11, 2: 41}
_MAX_PAYLOADS = 32

_NOTIFICATIONS_1 = {
    1: "INVALID-PAYLOAD-TYPE",
    4: "INVALID-COOKIE",
    5: "INVALID-MAJOR-VERSION",
    7: "INVALID-EXCHANGE-TYPE",
    9: "INVALID-MESSAGE-ID",
    11: "INVALID-SPI",
    14: "NO-PROPOSAL-CHOSEN",
    16: "PAYLOAD-MALFORMED",
    17: "INVALID-KEY-INFORMATION",
    18: "INVALID-ID-INFORMATION",
    23: "INVALID-HASH-INFORMATION",
    24: "AUTHENTICATION-FAILED",
    25: "INVALID-SIGNATURE",
    29: "UNSUPPORTED-EXCHANGE-TYPE",
    30: "UNEQUAL-PAYLOAD-LENGTHS",
}
_NOTIFICATIONS_2 = {
    1: "UNSUPPORTED_CRITICAL_PAYLOAD",
    4: "INVALID_IKE_SPI",
    5: "INVALID_MAJOR_VERSION",
    7: "INVALID_SYNTAX",
    9: "INVALID_MESSAGE_ID",
    11: "INVALID_SPI",
    14: "NO_PROPOSAL_CHOSEN",
    17: "INVALID_KE_PAYLOAD",
    24: "AUTHENTICATION_FAILED",
    43: "TEMPORARY_FAILURE",
}
NOTIFICATIONS = {1: _NOTIFICATIONS_1, 2: _NOTIFICATIONS_2}
"""Errors only (RFC 2408 section 3.14.1; RFC 7296 section 3.10.1, types below 16384)."""
_COOKIE = 16390


class IkeMessage(NamedTuple):
    """A message. `error`: the first notification of an error in the clear, 0: none; `cookie`: a cookie is demanded."""

    version: int
    minor: int
    exchange: str
    initiator: bool
    response: bool
    serial: bytes
    error: int
    cookie: bool


def begins(data: bytes, at: int) -> bool:
    """Tell whether a message fills the data from `at`, as far as its header says."""
    if len(data) - at < HEADER or int.from_bytes(data[at + 24 : at + 28], "big") != len(data) - at:
        return False
    version, flags = data[at + 17] >> 4, data[at + 19]
    if (version, data[at + 18]) not in EXCHANGES or data[at + 16] not in _PAYLOADS[version]:
        return False
    return not flags & (0xF8 if version == 1 else 0xC7) and data[at : at + 8] != bytes(8)


def read(data: bytes, at: int) -> IkeMessage | None:
    """Read the message that fills the data from `at`; None: there is none."""
    if not begins(data, at):
        return None
    version, minor, exchange = data[at + 17] >> 4, data[at + 17] & 15, data[at + 18]
    first, flags = data[at + 16], data[at + 19]
    error, cookie = 0, False
    if version == 2 or not flags & _ENCRYPTED_1:
        error, cookie = _notified(data, at + HEADER, first, version)
    serial = data[at + 20 : at + 24]
    return IkeMessage(
        version,
        minor,
        EXCHANGES[version, exchange],
        bool(flags & 8),
        bool(flags & 0x20),
        serial,
        error,
        cookie,
    )


def _notified(data: bytes, at: int, payload: int, version: int) -> tuple[int, bool]:
    """Walk the payloads up to what is encrypted; give the first error, and whether a cookie is demanded."""
    for _ in range(_MAX_PAYLOADS):
        if not payload or payload in _ENCRYPTED_2 or at + 4 > len(data):
            break
        size = data[at + 2] << 8 | data[at + 3]
        if size < 4:
            break
        if payload == _NOTIFY[version]:
            where = at + (10 if version == 1 else 6)
            kind = int.from_bytes(data[where : where + 2], "big")
            if 0 < kind < (31 if version == 1 else 16384):
                return kind, False
            if version == 2 and kind == _COOKIE:
                return 0, True
        payload = data[at]
        at += size
    return 0, False
