"""X.509 certificates (RFC 5280): what a leaf certificate says of its owner, its issuer and its end.

A bounded reader, not a validator: it checks no signature and no chain, and raises nothing but `ParseError`.
"""

from datetime import UTC, datetime
from ipaddress import ip_address

from exporter.errors import ParseError
from exporter.formats import ber
from exporter.formats.text import clean
from exporter.model import Certificate
from exporter.wire import Reader

__all__ = ["certificate"]

_MAX_NAMES = 64
_MAX_PARTS = 32
_MAX_EXTENSIONS = 64

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

_ESCAPED = str.maketrans({c: "\\" + c for c in ',+"\\<>;='})


def certificate(data: bytes) -> Certificate:
    """Read one DER certificate."""
    body = ber.expect(ber.expect(Reader(data), ber.SEQUENCE), ber.SEQUENCE)
    tag, _ = ber.read(body)
    if tag == 0xA0:  # version; absent in version 1, where the serial number stands first
        tag, _ = ber.read(body)
    if tag != ber.INTEGER:
        raise ParseError("tag")
    ber.expect(body, ber.SEQUENCE)  # the signature's algorithm
    issuer = _name(ber.expect(body, ber.SEQUENCE))
    validity = ber.expect(body, ber.SEQUENCE)
    ber.read(validity)
    not_after = _time(*ber.read(validity))
    subject = _name(ber.expect(body, ber.SEQUENCE))
    ber.expect(body, ber.SEQUENCE)  # the public key
    return Certificate(subject, issuer, _alternative_names(body), not_after)


def _text(tag: int, value: Reader, limit: int = 256) -> str:
    raw = value.rest()[:limit]
    codec = _CODECS.get(tag)
    return clean(raw.decode(codec, "replace").encode("utf-8", "replace") if codec else raw, 2 * limit)


def _name(sequence: Reader) -> str:
    """Write a distinguished name as RFC 4514 does: the last part first."""
    parts: list[str] = []
    while len(sequence):
        if len(parts) == _MAX_PARTS:
            break
        several = ber.expect(sequence, ber.SET)
        one: list[str] = []
        while len(several) and len(one) < _MAX_PARTS:
            pair = ber.expect(several, ber.SEQUENCE)
            oid = ber.expect(pair, ber.OID)
            raw = oid.peek(len(oid))
            key = _ATTRIBUTES.get(raw) or ber.object_id(oid)
            one.append(key + "=" + _text(*ber.read(pair)).translate(_ESCAPED))
        parts.append("+".join(one))
    return ",".join(reversed(parts))[:1024]


def _time(tag: int, value: Reader) -> float:
    """Read UTCTime or GeneralizedTime as Unix time. Seconds and `Z` may be absent (seen in old certificates)."""
    digits = value.rest().removesuffix(b"Z").decode("ascii", "replace")
    if tag == 0x17:
        digits = ("20" if digits[:2] < "50" else "19") + digits
    elif tag != 0x18:
        raise ParseError("time")
    digits = digits.ljust(14, "0")
    if len(digits) != 14 or not (digits.isascii() and digits.isdigit()):
        raise ParseError("time")
    try:
        numbers = (int(digits[:4]), *(int(digits[i : i + 2]) for i in range(4, 14, 2)))
        return datetime(*numbers, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    except ValueError:
        raise ParseError("time") from None


def _alternative_names(body: Reader) -> tuple[str, ...]:
    """Find the subjectAltName extension in what follows the public key, and read its names and addresses."""
    while len(body):
        tag, value = ber.read(body)
        if tag != 0xA3:  # unique identifiers
            continue
        extensions = ber.expect(value, ber.SEQUENCE)
        for _ in range(_MAX_EXTENSIONS):
            if not len(extensions):
                break
            extension = ber.expect(extensions, ber.SEQUENCE)
            if ber.expect(extension, ber.OID).rest() == _SUBJECT_ALT_NAME:
                tag, value = ber.read(extension)
                if tag == ber.BOOLEAN:  # critical
                    tag, value = ber.read(extension)
                return _general_names(ber.expect(value, ber.SEQUENCE))
    return ()


def _general_names(sequence: Reader) -> tuple[str, ...]:
    names: list[str] = []
    while len(sequence) and len(names) < _MAX_NAMES:
        tag, value = ber.read(sequence)
        if tag in (0x81, 0x82, 0x86):  # mail address, DNS name, URI
            names.append(clean(value.rest(), 253))
        elif tag == 0x87 and len(value) in (4, 16):
            names.append(str(ip_address(value.rest())))
    return tuple(names)
