"""IKE versions 1 and 2 over UDP, and the ESP that it sets up, where that is in UDP: RFC 2408, 2409, 7296, 3948.

Read are exchanges, and errors in the clear. IKEv2's requests are answered (RFC 7296 section 2.1), IKEv1's messages
are notices. On port 4500 four zeros stand before IKE, and what begins with another number is ESP (RFC 3948 section
2): it is known by a low sequence number only, by one that is not so low where both ports are 4500. When a side sends
ESP nothing more is wanted of it.
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.ike_message import EXCHANGES, NOTIFICATIONS, IkeMessage, begins, read
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_NAT_TRAVERSAL = 4500
_MARKER = bytes(4)
_KEEP_ALIVE = b"\xff"
_MIN_ESP = 28
"""A number, a sequence number, the least of encrypted data and of a check value."""
_RESERVED = 256
"""SPIs below are nobody's (RFC 4303 section 2.1)."""


def _usual(ends: Ends) -> bool:
    return _NAT_TRAVERSAL in (ends.port0, ends.port1)


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) < _MIN_ESP:
        return MORE if data == _KEEP_ALIVE and _usual(ends) else NO
    at = 4 if data[:4] == _MARKER else 0
    if begins(data, at):
        return YES
    if at or not _usual(ends):
        return NO
    return YES if _esp(data, 1 if ends.port0 == ends.port1 else 2) else NO


def _esp(data: bytes, zeros: int) -> bool:
    """Tell what may be ESP: sequence numbers count from 1, so that so many of their first bytes are 0."""
    if len(data) < _MIN_ESP or len(data) % 4 or int.from_bytes(data[:4], "big") < _RESERVED:
        return False
    return data[4 : 4 + zeros] == bytes(zeros) and data[4:8] != bytes(4)


class _Isakmp(Parser):
    """A flow. `_esp`: the sides that have sent ESP."""

    __slots__ = ("_ends", "_esp")

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._esp = [False, False]

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if data == _KEEP_ALIVE:
            return []
        at = 4 if data[:4] == _MARKER else 0
        if message := read(data, at):
            return [_message(message)]
        if at or not _usual(self._ends) or len(data) < _MIN_ESP:
            raise ParseError("message")
        if self._esp[side]:
            return []
        self._esp[side] = True
        return [Message(kind=Kind.NOTICE, op="esp")]

    def skip(self, side: int) -> int:
        return -1 if self._esp[side] else 0

    def gap(self, side: int) -> bool:
        return True


def _message(message: IkeMessage) -> Message:
    status = "ok" if message.version == 2 and message.response else ""
    if message.error:
        status = NOTIFICATIONS[message.version].get(message.error, "other")
    elif message.cookie and message.response:
        status = "COOKIE"
    kind, match = Kind.NOTICE, None
    if message.version == 2:  # each end numbers what it asks; the flag says who began the whole
        kind = Kind.RESPONSE if message.response else Kind.REQUEST
        match = (message.serial, message.initiator != message.response)
    return Message(
        kind=kind,
        op=message.exchange,
        status=status,
        error=bool(message.error),
        match=match,
        version=f"{message.version}.{message.minor}",
    )


DISSECTOR = Dissector(
    name="isakmp",
    transports=frozenset({"udp"}),
    ports=frozenset({500, _NAT_TRAVERSAL}),
    operations=frozenset({*EXCHANGES.values(), "esp"}),
    statuses=frozenset(
        {name for names in NOTIFICATIONS.values() for name in names.values()} | {"ok", "COOKIE"}
    ),
    probe=_probe,
    parser=_Isakmp,
    reads="exchanges, version, errors in the clear; that ESP follows",
    specification="RFC 2408, 2409, 7296, 3948",
    idle=300.0,
)
