"""RADIUS over UDP: RFC 2865, RFC 2866 (accounting), RFC 5176 (changes of authorisation), RFC 5997 (status).

Read is what is asked and how it is answered, and the access server's own identifier; never a user, a password or a
session's data. A packet is RADIUS if its length fits and its attributes fill it exactly.
"""

from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_HEADER = 20
_MAX_PACKET = 4096
_NAS_IDENTIFIER = 32
_CODES = {
    1: ("access", ""),
    2: ("access", "accept"),
    3: ("access", "reject"),
    4: ("accounting", ""),
    5: ("accounting", "response"),
    11: ("access", "challenge"),
    12: ("status", ""),
    40: ("disconnect", ""),
    41: ("disconnect", "ack"),
    42: ("disconnect", "nak"),
    43: ("coa", ""),
    44: ("coa", "ack"),
    45: ("coa", "nak"),
}
"""What is asked, and how that is answered."""
_FAILED = frozenset({"reject", "nak"})
_BARE = frozenset({5, 41, 44})
"""Answers that may do without attributes, as many do (an Access-Accept, too, but then it proves too little)."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) < _HEADER or data[0] not in _CODES:
        return NO
    if data[2] << 8 | data[3] != len(data) or len(data) > _MAX_PACKET:
        return NO
    if len(data) == _HEADER:
        return YES if data[0] in _BARE else NO
    return YES if _attributes(data) is not None else NO


def _attributes(data: bytes) -> dict[int, bytes] | None:
    """Read the attributes, of each type the first; None: they do not fill the packet."""
    found: dict[int, bytes] = {}
    at, end = _HEADER, len(data)
    while at < end:
        if at + 2 > end:
            return None
        kind, size = data[at], data[at + 1]
        if not kind or size < 2 or at + size > end:
            return None
        if kind not in found:
            found[kind] = data[at + 2 : at + size]
        at += size
    return found


class _Radius(Parser):
    """Remembers under which identifiers a server's state was asked for: the answer is that of another question."""

    __slots__ = ("_state",)

    def __init__(self, ends: Ends) -> None:
        self._state: set[int] = set()

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        size = data[2] << 8 | data[3] if len(data) >= _HEADER else 0
        if not _HEADER <= size <= len(data) or data[0] not in _CODES:
            raise ParseError("header")
        found = _attributes(data[:size])  # what is behind it is padding (RFC 2865 section 3)
        if found is None:
            raise ParseError("attributes")
        op, status = _CODES[data[0]]
        serial = data[1]
        if status:
            if serial in self._state:
                self._state.discard(serial)
                op = "status"
            failed = status in _FAILED
            return [Message(kind=Kind.RESPONSE, op=op, status=status, error=failed, match=serial)]
        if op == "status":
            self._state.add(serial)
        else:
            self._state.discard(serial)
        name = found.get(_NAS_IDENTIFIER)
        attrs = {"radius.nas_identifier": clean(name)} if name else {}
        return [Message(kind=Kind.REQUEST, op=op, match=serial, attrs=attrs)]

    def gap(self, side: int) -> bool:
        return True


DISSECTOR = Dissector(
    name="radius",
    transports=frozenset({"udp"}),
    ports=frozenset({1812, 1813, 1645, 1646, 3799}),
    operations=frozenset(op for op, _ in _CODES.values()),
    statuses=frozenset(status for _, status in _CODES.values()) - {""},
    probe=_probe,
    parser=_Radius,
    reads="requests and how they are answered, the access server's identifier; never a user or password",
    specification="RFC 2865, 2866, 5176, 5997",
)
