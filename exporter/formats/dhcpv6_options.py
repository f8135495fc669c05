"""DHCPv6's framing: a header and options to the last byte; relays wrap it (RFC 8415 sections 8, 9 and 21)."""

from struct import Struct

from exporter.errors import ParseError, ShortError
from exporter.formats.text import clean
from exporter.wire import Reader

__all__ = [
    "FQDN",
    "RELAY",
    "STATUS",
    "VENDOR_CLASS",
    "domain",
    "options",
    "proves",
    "unwrap",
    "vendor",
]

RELAY, STATUS, VENDOR_CLASS, FQDN = 9, 13, 16, 39

_OPTION = Struct(">HH").unpack_from
_DUIDS = frozenset({b"\0\1", b"\0\2", b"\0\3", b"\0\4"})
_RELAYED = (12, 13)
_MAX_RELAYS = 32
_MAX_CODE = 1024
"""IANA has given away codes up to about 150."""
_MAX_OPTIONS = 64


def options(data: bytes, at: int) -> dict[int, bytes]:
    """Read all options from `at` to the end; of those that are repeated the first. `ParseError`: they do not fit."""
    found: dict[int, bytes] = {}
    end, count = len(data), 0
    while at < end:
        if end - at < 4:
            raise ShortError
        code = data[at] << 8 | data[at + 1]
        start = at + 4
        at = start + (data[at + 2] << 8 | data[at + 3])
        count += 1
        if at > end or not 0 < code < _MAX_CODE or count > _MAX_OPTIONS:
            raise ParseError("option")
        found.setdefault(code, data[start:at])
    return found


def proves(data: bytes, at: int) -> bool:
    """Tell, as cheaply as can be, whether options fill the rest, and one of them is what every message has.

    That is somebody's DUID (RFC 8415 section 11, RFC 6355), or a relayed message; an INFORMATION-REQUEST may do without
    and tells what it wants.
    """
    end, proof = len(data), False
    bare = 0
    while at + 4 <= end:
        code, size = _OPTION(data, at)
        at += 4
        if code < 3:
            if not code or not 3 <= size <= 130 or data[at : at + 2] not in _DUIDS:
                return False
            proof = True
        elif code == RELAY:
            proof = proof or size > 3
        elif code == 6:
            bare |= 0 < size <= 64 and not size & 1
        elif code == 8:
            bare |= (size == 2) << 1
        elif code >= _MAX_CODE:
            return False
        at += size
    return at == end and (proof or (bare == 3 and data[0] == 11))


def unwrap(data: bytes) -> tuple[bytes, int]:
    """Give the message inside its relays' messages, and how many of those there are."""
    relays = 0
    while data[:1] and data[0] in _RELAYED:
        relays += 1
        inner = options(data, 34).get(RELAY)
        if not inner or relays > _MAX_RELAYS:
            raise ParseError("relay")
        data = inner
    if len(data) < 4:
        raise ShortError
    return data, relays


def domain(raw: bytes) -> str:
    """Read a client's name (RFC 4704 section 4): flags, then labels; the last may be cut off its domain."""
    reader = Reader(raw)
    labels = []
    try:
        reader.skip(1)
        while len(reader) and 0 < (size := reader.u8()) < 64:
            labels.append(reader.take(size))
    except ShortError:
        return ""
    return clean(b".".join(labels), 255)


def vendor(raw: bytes) -> str:
    """Read a vendor class (RFC 8415 section 21.16): an enterprise's number, then texts; give the first."""
    reader = Reader(raw)
    try:
        reader.skip(4)
        return clean(reader.take(reader.u16()), 255)
    except ShortError:
        return ""
