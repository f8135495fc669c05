"""X.509 certificates (RFC 5280): what a leaf certificate says of its owner, its issuer and its end.

A bounded reader, not a validator: it checks no signature and no chain, and raises nothing but `ParseError`.
"""

import re
from datetime import UTC, datetime
from ipaddress import ip_address

from exporter.errors import ParseError, ShortError
from exporter.formats.ber import BOOLEAN, INTEGER, OID, SEQUENCE, SET, object_id
from exporter.formats.text import clean
from exporter.model import Certificate
from exporter.wire import Reader

__all__ = ["certificate"]

_MAX_NAMES = 64
_MAX_PARTS = 32
_MAX_EXTENSIONS = 64
_MAX_TEXT = 256
_FIELDS = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))

_SUBJECT_ALT_NAME = b"\x55\x1d\x11"
_ATTRIBUTES = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x04": "SN",
    b"\x55\x04\x05": "serialNumber",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x09": "street",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
    b"\x55\x04\x0c": "title",
    b"\x55\x04\x0f": "businessCategory",
    b"\x55\x04\x11": "postalCode",
    b"\x55\x04\x2a": "GN",
    b"\x55\x04\x61": "organizationIdentifier",
    b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01": "UID",
    b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19": "DC",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01": "emailAddress",
}
"""Encoded attribute types and their short names (RFC 4514 section 3, RFC 4519)."""

_CODECS = {0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
"""String types that are no subset of UTF-8: TeletexString (Latin-1 in practice), UniversalString, BMPString."""

_SPECIAL = re.compile(r'[,+"\\<>;=]')
_ESCAPED = str.maketrans({c: "\\" + c for c in ',+"\\<>;='})


def certificate(data: bytes) -> Certificate:
    """Read one DER certificate."""
    try:
        return _certificate(data)
    except IndexError:
        raise ShortError from None


# Positions instead of a cursor: a certificate has a hundred values or more, and a window for each took 150 µs
# for one of 60 names (half of what a whole connection may cost), against 40 µs now. No value reaches past its parent.
Span = tuple[int, int, int]
"""A value: its identifier, where its contents begin, and where they end."""


def _value(data: bytes, at: int, end: int) -> Span:
    tag = data[at]
    size = data[at + 1]
    start = at + 2
    if size & 0x80:
        width = size & 0x7F
        if not 0 < width <= 4:
            raise ParseError("length")
        start += width
        size = int.from_bytes(data[at + 2 : start], "big")
    stop = start + size
    if stop > end:
        raise ShortError
    return tag, start, stop


def _expect(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    got, start, stop = _value(data, at, end)
    if got != tag:
        raise ParseError("tag")
    return start, stop


def _certificate(data: bytes) -> Certificate:
    at, end = _expect(data, 0, len(data), SEQUENCE)
    at, end = _expect(data, at, end, SEQUENCE)
    tag, _, at = _value(data, at, end)
    if tag == 0xA0:  # version; absent in version 1, where the serial number stands first
        tag, _, at = _value(data, at, end)
    if tag != INTEGER:
        raise ParseError("tag")
    _, at = _expect(data, at, end, SEQUENCE)  # the signature's algorithm
    start, at = _expect(data, at, end, SEQUENCE)
    issuer = _name(data, start, at)
    start, at = _expect(data, at, end, SEQUENCE)
    not_after = _time(data, *_value(data, _value(data, start, at)[2], at))
    start, at = _expect(data, at, end, SEQUENCE)
    subject = _name(data, start, at)
    _, at = _expect(data, at, end, SEQUENCE)  # the public key
    return Certificate(subject, issuer, _alternative_names(data, at, end), not_after)


def _name(data: bytes, at: int, end: int) -> str:
    """Write a distinguished name as RFC 4514 does: the last part first."""
    parts: list[str] = []
    while at < end and len(parts) < _MAX_PARTS:
        start, at = _expect(data, at, end, SET)
        several: list[str] = []
        while start < at and len(several) < _MAX_PARTS:
            pair, start = _expect(data, start, at, SEQUENCE)
            several.append(_part(data, pair, start))
        parts.append("+".join(several))
    parts.reverse()
    return ",".join(parts)[:1024]


def _part(data: bytes, at: int, end: int) -> str:
    start, at = _expect(data, at, end, OID)
    kind = data[start:at]
    key = _ATTRIBUTES.get(kind) or object_id(Reader(kind))
    tag, start, stop = _value(data, at, end)
    raw = data[start : min(stop, start + _MAX_TEXT)]
    codec = _CODECS.get(tag)
    if codec:
        raw = raw.decode(codec, "replace").encode("utf-8", "replace")
    text = clean(raw, 2 * _MAX_TEXT)
    return key + "=" + (text.translate(_ESCAPED) if _SPECIAL.search(text) else text)


def _time(data: bytes, tag: int, start: int, stop: int) -> float:
    """Read UTCTime or GeneralizedTime as Unix time. Seconds and `Z` may be absent (seen in old certificates)."""
    digits = data[start:stop].removesuffix(b"Z").decode("ascii", "replace")
    if tag == 0x17:
        digits = ("20" if digits[:2] < "50" else "19") + digits
    elif tag != 0x18:
        raise ParseError("time")
    digits = digits.ljust(14, "0")
    if len(digits) != 14 or not (digits.isascii() and digits.isdigit()):
        raise ParseError("time")
    year, month, day, hour, minute, second = (int(digits[i:j]) for i, j in _FIELDS)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        raise ParseError("time") from None


def _alternative_names(data: bytes, at: int, end: int) -> tuple[str, ...]:
    """Find the subjectAltName extension in what follows the public key, and read its names and addresses."""
    while at < end:
        tag, start, at = _value(data, at, end)
        if tag != 0xA3:  # unique identifiers
            continue
        start, stop = _expect(data, start, at, SEQUENCE)
        for _ in range(_MAX_EXTENSIONS):
            if start >= stop:
                break
            extension, start = _expect(data, start, stop, SEQUENCE)
            kind, value = _expect(data, extension, start, OID)
            if data[kind:value] == _SUBJECT_ALT_NAME:
                return _general_names(data, value, start)
    return ()


def _general_names(data: bytes, at: int, end: int) -> tuple[str, ...]:
    tag, start, stop = _value(data, at, end)
    if tag == BOOLEAN:  # critical
        tag, start, stop = _value(data, stop, end)
    at, end = _expect(data, start, stop, SEQUENCE)
    names: list[str] = []
    while at < end and len(names) < _MAX_NAMES:
        tag, start, at = _value(data, at, end)
        if tag in (0x81, 0x82, 0x86):  # mail address, DNS name, URI
            names.append(clean(data[start:at], 253))
        elif tag == 0x87 and at - start in (4, 16):
            names.append(str(ip_address(data[start:at])))
    return tuple(names)
