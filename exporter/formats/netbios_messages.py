"""NetBIOS over UDP: the name service (RFC 1002 section 4.2) and the datagram service (section 4.4), names (RFC 1001).

A name is 16 bytes, each written as two letters from A to P (RFC 1001 section 14.1): 32 letters prove what it is.
"""

import re
from struct import Struct
from typing import NamedTuple

from exporter.errors import ParseError, ShortError

__all__ = ["Datagram", "NameMessage", "begins", "datagram", "name_message"]

_ENCODED = re.compile(rb"\x20([A-P]{32})((?:[\x01-\x3f][\x21-\x7e]{1,63}){0,8})\x00")
_HEADER = Struct(">6H")
_NB, _NBSTAT = 0x20, 0x21
_TYPES = frozenset({_NB, _NBSTAT, 0x0A, 0x02, 0x01})
_OPCODES = frozenset({0, 5, 6, 7, 8, 9, 15})
_MAX_NAMES = 32
_MAX_ADDRESSES = 16
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class NameMessage(NamedTuple):
    """A message of the name service: about one name. `names` are those that a node says are its own."""

    serial: int
    flags: int
    name: str
    kind: int
    names: tuple[str, ...]
    addresses: tuple[bytes, ...]
    """Packed: who has the name, as a positive answer to a query says."""


class Datagram(NamedTuple):
    """A datagram, from a name to a name, or about one name only; `code` is an error's."""

    kind: int
    names: tuple[str, ...]
    code: int


def _decoded(letters: bytes) -> str:
    """Give a name and its sixteenth byte, which tells the service, as `NAME<20>`."""
    raw = bytes([(letters[i] - 65) << 4 | letters[i + 1] - 65 for i in range(0, 32, 2)])
    return _named(raw)


def _named(raw: bytes) -> str:
    text = raw[:15].rstrip(b" \0").decode("latin-1")
    return f"{_UNPRINTABLE.sub(lambda found: f'<{ord(found[0]):02x}>', text)}<{raw[15]:02x}>"


def begins(data: bytes) -> bool:
    """Tell whether a datagram is one of either service."""
    if len(data) > 49 and data[12] == 0x20 and _is_name_header(data):
        return bool(_ENCODED.match(data, 12))
    if len(data) < 44 or not 0x10 <= data[0] <= 0x16:
        return False
    if data[0] > 0x13:
        return bool(_ENCODED.fullmatch(data, 10))
    if data[14] != 0x20 or data[10] << 8 | data[11] != len(data) - 14 or data[1] & 0xF0:
        return False
    found = _ENCODED.match(data, 14)
    return bool(found and _ENCODED.match(data, found.end()))


def _is_name_header(data: bytes) -> bool:
    """Tell whether flags and counts are those of a question or an answer about one name."""
    counts: tuple[int, ...] = _HEADER.unpack_from(data)
    _, flags, questions, answers, authority, additional = counts
    if flags >> 11 & 15 not in _OPCODES or flags & 0x0060:
        return False
    if flags & 0x8000:
        return questions + answers + authority <= 2 and flags & 15 < 8
    return questions == 1 and answers + authority == 0 and additional <= 1 and flags & 15 == 0


def name_message(data: bytes) -> NameMessage:
    """Read a message of the name service."""
    found = _ENCODED.match(data, 12)
    if found is None or not _is_name_header(data):
        raise ParseError("name")
    serial, flags = _HEADER.unpack_from(data)[:2]
    at = found.end()
    kind = data[at] << 8 | data[at + 1] if at + 4 <= len(data) else 0
    if kind not in _TYPES:
        raise ParseError("type")
    names: tuple[str, ...] = ()
    addresses: tuple[bytes, ...] = ()
    if flags & 0x8000 and data[4:6] == b"\0\0" and data[7] and len(data) >= at + 10:
        rest = data[at + 10 : at + 10 + (data[at + 8] << 8 | data[at + 9])]
        if kind == _NBSTAT:
            names = _own_names(rest)
        elif kind == _NB and not flags & 0x780F:  # the answer to a query, without an error
            places = range(2, min(len(rest) - 3, 6 * _MAX_ADDRESSES), 6)
            addresses = tuple([rest[place : place + 4] for place in places])
    return NameMessage(serial, flags, _decoded(found[1]), kind, names, addresses)


def _own_names(rest: bytes) -> tuple[str, ...]:
    """Read a node's names (section 4.2.18): a number, then 15 bytes, the service, two bytes of flags for each."""
    if not rest:
        return ()
    count = min(rest[0], _MAX_NAMES, (len(rest) - 1) // 18)
    return tuple([_named(rest[at : at + 16]) for at in range(1, 1 + 18 * count, 18)])


def datagram(data: bytes) -> Datagram:
    """Read a message of the datagram service; what it carries (SMB's mailslots) is not read."""
    if len(data) < 11 or not 0x10 <= data[0] <= 0x16:
        raise ParseError("type")
    kind = data[0]
    if kind == 0x13:
        return Datagram(kind, (), data[10])
    first = _ENCODED.match(data, 10 if kind > 0x13 else 14)
    if first is None:
        raise ParseError("name")
    names = (_decoded(first[1]),)
    if kind > 0x13:
        return Datagram(kind, names, 0)
    second = _ENCODED.match(data, first.end())
    if second is None:
        raise ShortError
    return Datagram(kind, (*names, _decoded(second[1])), 0)
