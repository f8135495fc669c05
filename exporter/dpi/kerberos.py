"""Kerberos 5 between clients and their key distribution centre, over UDP and TCP: RFC 4120.

Read are the exchanges for a ticket (AS) and with one (TGS), the realm and the service that is asked for, and errors. A
demand for pre-authentication is a round of the exchange, not a failure. Over TCP each message has its length before it
(section 7.2.2).
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.kerberos_messages import (
    AS_REP,
    AS_REQ,
    ERRORS,
    KRB_ERROR,
    TGS_REP,
    TGS_REQ,
    begins,
    parse,
)
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_NAMES = {AS_REQ: "as", AS_REP: "as", TGS_REQ: "tgs", TGS_REP: "tgs"}
_ROUNDS = frozenset({25, 52, 91})
"""Pre-authentication is required, or more of it; the answer is too big for UDP: the client asks again."""
_READ = 16384
_MAX_MESSAGE = 1 << 20


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.transport == "udp":
        kind, size = begins(data, 0)
        return YES if kind > 0 and size == len(data) else NO
    if data and data[0]:
        return NO
    if len(data) < 5:
        return MORE
    kind, size = begins(data, 4)
    if kind < 0:
        return MORE
    return YES if kind and size == int.from_bytes(data[:4], "big") else NO


class _Kerberos(Framed):
    """One connection. An error does not say which exchange it ends: it is the last that was begun."""

    __slots__ = ("_asked", "_stream")

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._stream = ends.transport == "tcp"
        self._asked = ""

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if self._stream:
            return super().feed(side, data)
        if begins(data, 0)[0] <= 0:
            raise ParseError("message")
        return [self._message(data)]

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if len(data) - at < 4:
            return MORE_NEEDED
        size = int.from_bytes(data[at : at + 4], "big")
        if not 16 <= size <= _MAX_MESSAGE:
            raise ParseError("length")
        return 4 + size, 4 + min(size, _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if begins(data, 4)[0] <= 0:
            raise ParseError("message")
        found.append(self._message(data[4:]))

    def gap(self, side: int) -> bool:
        return not self._stream

    def _message(self, data: bytes) -> Message:
        message = parse(data)
        attrs = {}
        if message.realm:
            attrs["kerberos.realm"] = message.realm
        if message.service:
            attrs["kerberos.service"] = message.service
        if message.kind in (AS_REQ, TGS_REQ):
            self._asked = _NAMES[message.kind]
            return Message(kind=Kind.REQUEST, op=self._asked, version="5", attrs=attrs)
        status, failed, op = "ok", False, _NAMES.get(message.kind, self._asked)
        if message.kind == KRB_ERROR:
            status, failed = ERRORS.get(message.error, "other"), message.error not in _ROUNDS
        return Message(kind=Kind.RESPONSE, op=op, status=status, error=failed, version="5", attrs=attrs)


DISSECTOR = Dissector(
    name="kerberos",
    transports=frozenset({"udp", "tcp"}),
    ports=frozenset({88}),
    operations=frozenset(_NAMES.values()),
    statuses=frozenset({*ERRORS.values(), "ok"}),
    probe=_probe,
    parser=_Kerberos,
    reads="exchanges, realm, service asked for, error codes; never a ticket",
    specification="RFC 4120, 4556, 6113",
)
