"""LDAP's messages (RFC 4511 sections 4.1.1 and 4.1.9): operations, results, and what a message is known by."""

from exporter.dissector import MORE, NO, YES
from exporter.errors import ParseError
from exporter.formats.ber_head import span
from exporter.formats.text import clean

__all__ = [
    "ANSWERED",
    "ASKED",
    "FINE",
    "MAX_MESSAGE",
    "RESULTS",
    "TAGS",
    "TOLD",
    "begins",
    "bind",
    "recognise",
]

ASKED = {
    0x60: "bind",
    0x63: "search",
    0x66: "modify",
    0x68: "add",
    0x4A: "delete",
    0x6C: "modify_dn",
    0x6E: "compare",
    0x77: "extended",
}
ANSWERED = {
    0x61: "bind",
    0x65: "search",
    0x67: "modify",
    0x69: "add",
    0x6B: "delete",
    0x6D: "modify_dn",
    0x6F: "compare",
    0x78: "extended",
}
TOLD = {0x42: "unbind", 0x50: "abandon"}
_FOUND = frozenset({0x64, 0x73, 0x79})
"""A search's entries and references, and intermediate responses."""
TAGS = frozenset({*ASKED, *ANSWERED, *TOLD, *_FOUND})
RESULTS = {
    0: "success",
    1: "operationsError",
    2: "protocolError",
    3: "timeLimitExceeded",
    4: "sizeLimitExceeded",
    5: "compareFalse",
    6: "compareTrue",
    7: "authMethodNotSupported",
    8: "strongerAuthRequired",
    10: "referral",
    11: "adminLimitExceeded",
    12: "unavailableCriticalExtension",
    13: "confidentialityRequired",
    14: "saslBindInProgress",
    16: "noSuchAttribute",
    17: "undefinedAttributeType",
    18: "inappropriateMatching",
    19: "constraintViolation",
    20: "attributeOrValueExists",
    21: "invalidAttributeSyntax",
    32: "noSuchObject",
    33: "aliasProblem",
    34: "invalidDNSyntax",
    36: "aliasDereferencingProblem",
    48: "inappropriateAuthentication",
    49: "invalidCredentials",
    50: "insufficientAccessRights",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
    54: "loopDetect",
    64: "namingViolation",
    65: "objectClassViolation",
    66: "notAllowedOnNonLeaf",
    67: "notAllowedOnRDN",
    68: "entryAlreadyExists",
    69: "objectClassModsProhibited",
    71: "affectsMultipleDSAs",
    80: "other",
}
"""RFC 4511 section 4.1.9."""
FINE = frozenset({0, 5, 6, 10, 14})
MAX_MESSAGE = 1 << 26


def recognise(data: bytes) -> int:
    """Hold the nested lengths against each other, and the operation's first element against its tag."""
    start, stop = span(data, 0)
    if not start or len(data) < start + 3:
        return MORE
    size = data[start + 1]
    if data[start] != 2 or not 0 < size <= 4 or data[start + 2] & 0x80 or stop > MAX_MESSAGE:
        return NO
    at = start + 2 + size
    if len(data) <= at:
        return MORE if at < stop else NO
    if data[at] not in TAGS:
        return NO
    begin, end = span(data, at)
    if not begin:
        return MORE
    if end > stop or stop - end == 1:
        return NO
    shape = _shape(data[at], end - begin)
    if len(data) - begin < len(shape):
        return MORE
    return YES if all(data[begin + i] in each for i, each in enumerate(shape)) else NO


def _shape(tag: int, size: int) -> tuple[bytes, ...]:
    """What an operation of this tag and length begins with: for each byte, which it may be; one of none: no such."""
    if tag == 0x42:
        return () if size == 0 else (b"",)
    if tag == 0x50:
        return () if 0 < size <= 4 else (b"",)
    if tag == 0x4A:
        return ()
    if size < 3:
        return (b"",)
    if tag == 0x60:
        return b"\x02", b"\x01", b"\x01\x02\x03", b"\x04"
    if tag == 0x77:
        return (b"\x80",)
    if tag == 0x79:
        return (b"\x80\x81",)
    return (b"\x0a", b"\x01") if tag in ANSWERED else (b"\x04",)


def begins(data: bytes) -> bool:
    """Tell whether a message certainly begins here."""
    try:
        return data[:1] == b"\x30" and recognise(data) == YES
    except ParseError:
        return False


def bind(body: bytes) -> tuple[dict[str, str], str]:
    """Read a BindRequest's version and how it authenticates: not as whom, nor with what."""
    if len(body) < 5 or body[0] != 2 or body[1] != 1:
        raise ParseError("bind")
    version = str(body[2])
    start, stop = span(body, 3)
    if not start or stop >= len(body):
        return {}, version
    if body[stop] == 0x80:
        return {"ldap.bind.method": "simple"}, version
    if body[stop] != 0xA3:
        return {}, version
    attrs = {"ldap.bind.method": "sasl"}
    begin, _ = span(body, stop)
    at, end = span(body, begin) if begin else (0, 0)
    if at and body[begin] == 4:
        attrs["ldap.bind.mechanism"] = clean(body[at:end], 20)
    return attrs, version
