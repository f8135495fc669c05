"""DHCPv6's framing: a header and options to the last byte; relays wrap it (RFC 8415 sections 8, 9 and 21)."""

from exporter.errors import ParseError, ShortError
from exporter.formats.text import clean
from exporter.wire import Reader

__all__ = [
    "CLIENT_ID",
    "FQDN",
    "RELAY",
    "SERVER_ID",
    "STATUS",
    "VENDOR_CLASS",
    "domain",
    "options",
    "unwrap",
    "vendor",
]

CLIENT_ID, SERVER_ID, RELAY, STATUS, VENDOR_CLASS, FQDN = 1, 2, 9, 13, 16, 39

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
