"""Kerberos 5 messages as far as they are in the clear (RFC 4120 section 5): services, realms, error codes."""

from typing import NamedTuple

from exporter.errors import ParseError
from exporter.formats.ber import SEQUENCE, expect, integer, read
from exporter.formats.ber_head import span
from exporter.formats.text import clean
from exporter.wire import Reader

__all__ = [
    "AS_REP",
    "AS_REQ",
    "ERRORS",
    "KRB_ERROR",
    "TGS_REP",
    "TGS_REQ",
    "KerberosMessage",
    "begins",
    "parse",
]

AS_REQ, AS_REP, TGS_REQ, TGS_REP, KRB_ERROR = 10, 11, 12, 13, 30
_REQUESTS = frozenset({AS_REQ, TGS_REQ})
_TYPES = frozenset({AS_REQ, AS_REP, TGS_REQ, TGS_REP, KRB_ERROR})
_MAX_NAMES = 8

ERRORS = {
    1: "KDC_ERR_NAME_EXP",
    2: "KDC_ERR_SERVICE_EXP",
    3: "KDC_ERR_BAD_PVNO",
    6: "KDC_ERR_C_PRINCIPAL_UNKNOWN",
    7: "KDC_ERR_S_PRINCIPAL_UNKNOWN",
    8: "KDC_ERR_PRINCIPAL_NOT_UNIQUE",
    9: "KDC_ERR_NULL_KEY",
    10: "KDC_ERR_CANNOT_POSTDATE",
    11: "KDC_ERR_NEVER_VALID",
    12: "KDC_ERR_POLICY",
    13: "KDC_ERR_BADOPTION",
    14: "KDC_ERR_ETYPE_NOSUPP",
    15: "KDC_ERR_SUMTYPE_NOSUPP",
    16: "KDC_ERR_PADATA_TYPE_NOSUPP",
    18: "KDC_ERR_CLIENT_REVOKED",
    19: "KDC_ERR_SERVICE_REVOKED",
    20: "KDC_ERR_TGT_REVOKED",
    21: "KDC_ERR_CLIENT_NOTYET",
    22: "KDC_ERR_SERVICE_NOTYET",
    23: "KDC_ERR_KEY_EXPIRED",
    24: "KDC_ERR_PREAUTH_FAILED",
    25: "KDC_ERR_PREAUTH_REQUIRED",
    26: "KDC_ERR_SERVER_NOMATCH",
    28: "KDC_ERR_PATH_NOT_ACCEPTED",
    29: "KDC_ERR_SVC_UNAVAILABLE",
    31: "KRB_AP_ERR_BAD_INTEGRITY",
    32: "KRB_AP_ERR_TKT_EXPIRED",
    33: "KRB_AP_ERR_TKT_NYV",
    34: "KRB_AP_ERR_REPEAT",
    35: "KRB_AP_ERR_NOT_US",
    36: "KRB_AP_ERR_BADMATCH",
    37: "KRB_AP_ERR_SKEW",
    38: "KRB_AP_ERR_BADADDR",
    39: "KRB_AP_ERR_BADVERSION",
    41: "KRB_AP_ERR_MODIFIED",
    44: "KRB_AP_ERR_BADKEYVER",
    45: "KRB_AP_ERR_NOKEY",
    50: "KRB_AP_ERR_INAPP_CKSUM",
    52: "KRB_ERR_RESPONSE_TOO_BIG",
    60: "KRB_ERR_GENERIC",
    61: "KRB_ERR_FIELD_TOOLONG",
    62: "KDC_ERR_CLIENT_NOT_TRUSTED",
    66: "KDC_ERR_CERTIFICATE_MISMATCH",
    68: "KDC_ERR_WRONG_REALM",
    90: "KDC_ERR_PREAUTH_EXPIRED",
    91: "KDC_ERR_MORE_PREAUTH_DATA_REQUIRED",
}
"""RFC 4120 section 7.5.9, RFC 4556 section 3.1.3, RFC 6113 section 5.3."""


class KerberosMessage(NamedTuple):
    """A message's type, and what could be read of the rest."""

    kind: int
    realm: str = ""
    service: str = ""
    error: int = -1


def begins(data: bytes, at: int) -> tuple[int, int]:
    """Give the type of the message at `at` and its length; 0: it is none; (-1, 0): too few bytes to tell.

    The tag, the protocol's version and the type inside must agree (section 5.10).
    """
    if len(data) <= at:
        return -1, 0
    kind = data[at] ^ 0x60
    if kind not in _TYPES:
        return 0, 0
    try:
        start, stop = span(data, at)
        if not start or len(data) <= start:
            return -1, 0
        begin, end = span(data, start)
        if data[start] != SEQUENCE or (begin and end != stop):
            return 0, 0
        if not begin or len(data) < begin + 10:
            return -1, 0
    except ParseError:
        return 0, 0
    first = 0xA1 if kind in _REQUESTS else 0xA0
    wanted = bytes((first, 3, 2, 1, 5, first + 1, 3, 2, 1, kind))
    return (kind, stop - at) if data[begin : begin + 10] == wanted else (0, 0)


def parse(data: bytes) -> KerberosMessage:
    """Read a message that `begins` knows; of one that is cut short or oddly built only its type."""
    kind = data[0] ^ 0x60
    try:
        _, reader = read(Reader(data))
        fields = _fields(expect(reader, SEQUENCE))
        if kind in _REQUESTS:
            fields = _fields(expect(fields[4], SEQUENCE))
            return KerberosMessage(kind, _realm(fields.get(2)), _principal(fields.get(3)))
        if kind == KRB_ERROR:
            _, code = read(fields[6])
            return KerberosMessage(kind, _realm(fields.get(9)), _principal(fields.get(10)), integer(code))
        return KerberosMessage(kind, _realm(fields.get(3)))
    except (ParseError, KeyError):
        return KerberosMessage(kind)


def _fields(reader: Reader) -> dict[int, Reader]:
    """Read a sequence of context-tagged elements, by number."""
    found: dict[int, Reader] = {}
    while len(reader):
        tag, value = read(reader)
        found.setdefault(tag & 0x1F, value)
    return found


def _realm(value: Reader | None) -> str:
    return clean(read(value)[1].rest()) if value is not None else ""


def _principal(value: Reader | None) -> str:
    """Read a PrincipalName: its type, and a sequence of strings that are written with slashes (section 6.2)."""
    if value is None:
        return ""
    names = expect(_fields(expect(value, SEQUENCE))[1], SEQUENCE)
    parts: list[str] = []
    while len(names) and len(parts) < _MAX_NAMES:
        parts.append(clean(read(names)[1].rest(), 64))
    return "/".join(parts)
