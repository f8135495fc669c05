"""BER and DER (X.690), as far as certificates, LDAP, SNMP and Kerberos need them: definite lengths only.

Every value is a window on its parent (`Reader.sub`), so nesting costs no recursion here and nothing reads past its end.
"""

from exporter.errors import ParseError
from exporter.wire import Reader

__all__ = [
    "BIT_STRING",
    "BOOLEAN",
    "INTEGER",
    "OCTET_STRING",
    "OID",
    "SEQUENCE",
    "SET",
    "expect",
    "integer",
    "object_id",
    "read",
]

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID = 0x01, 0x02, 0x03, 0x04, 0x06
SEQUENCE, SET = 0x30, 0x31

_MAX_ARCS = 64


def read(reader: Reader) -> tuple[int, Reader]:
    """Read one value: its identifier (a high tag number follows in the next lower bytes) and its contents."""
    tag = reader.u8()
    if tag & 0x1F == 0x1F:
        for _ in range(3):
            more = reader.u8()
            tag = tag << 8 | more
            if not more & 0x80:
                break
        else:
            raise ParseError("tag")
    length = reader.u8()
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size <= 4:
            raise ParseError("length")
        length = int.from_bytes(reader.take(size), "big")
    return tag, reader.sub(length)


def expect(reader: Reader, tag: int) -> Reader:
    """Read one value of the given identifier; `ParseError` if it is another."""
    got, value = read(reader)
    if got != tag:
        raise ParseError("tag")
    return value


def integer(value: Reader) -> int:
    """Read an INTEGER's contents, at most eight bytes of them."""
    if not 0 < len(value) <= 8:
        raise ParseError("integer")
    return int.from_bytes(value.rest(), "big", signed=True)


def object_id(value: Reader) -> str:
    """Read an OBJECT IDENTIFIER's contents as dotted decimals."""
    arcs: list[int] = []
    arc = 0
    while len(value):
        byte = value.u8()
        arc = arc << 7 | byte & 0x7F
        if byte & 0x80:
            if arc >> 64:
                raise ParseError("oid")
            continue
        if not arcs:
            first = min(arc // 40, 2)
            arcs += [first, arc - 40 * first]
        else:
            arcs.append(arc)
        arc = 0
        if len(arcs) > _MAX_ARCS:
            raise ParseError("oid")
    return ".".join(map(str, arcs))
