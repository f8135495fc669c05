"""LDAP over TCP and UDP: RFC 4511; its use over UDP (CLDAP): RFC 1798, MS-ADTS section 3.1.1.3.

Read are operations, their results, and how a bind authenticates; never a name, a password or a value. Entries that a
search finds say nothing here: its end answers it. After StartTLS (RFC 4511 section 4.14) TLS follows; after a SASL bind
what is no LDAP message any more is protected by that mechanism (RFC 4422 section 3.7), and nothing more is wanted.
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.ber_head import span
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.ldap_messages import (
    ANSWERED,
    ASKED,
    FINE,
    MAX_MESSAGE,
    RESULTS,
    TAGS,
    TOLD,
    begins,
    bind,
    recognise,
)
from exporter.formats.stream import until
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_START_TLS = b"1.3.6.1.4.1.1466.20037"
_READ = 512
_MAX_MESSAGES = 64


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if not data:
        return MORE
    if data[0] != 0x30:
        return NO
    try:
        answer = recognise(data)
        if ends.transport == "tcp":
            return answer
        return YES if answer == YES and _ends(data)[-1:] == [len(data)] else NO
    except ParseError:
        return NO


def _ends(data: bytes) -> list[int]:
    """Tell where a datagram's messages end: what a search finds and its end may be in one (MS-ADTS section 6.3.3.2)."""
    ends: list[int] = []
    at = 0
    while at < len(data) and len(ends) < _MAX_MESSAGES and data[at] == 0x30:
        at = span(data, at)[1]
        if not at or at > len(data):
            break
        ends.append(at)
    return ends


class _Ldap(Framed):
    """One connection: what has been agreed on that changes how it goes on."""

    __slots__ = ("_sasl", "_start_tls", "_stream")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._stream = ends.transport == "tcp"
        self._sasl = False
        self._start_tls = -1
        """The request for TLS that waits for its answer."""

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if self._stream:
            return super().feed(side, data)
        found: list[Message] = []
        at = 0
        try:
            for end in _ends(data):
                self.read(side, data[at:end], found)
                at = end
        except ParseError as error:
            return until(error, found)
        return found if at == len(data) else until(ParseError("length"), found)

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if data[at] != 0x30:
            if not self._sasl:
                raise ParseError("message")
            return 1, 1
        start, stop = span(data, at)
        if not start:
            return MORE_NEEDED
        if stop - at > MAX_MESSAGE or stop == start:
            raise ParseError("length")
        return stop - at, min(stop - at, _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if data[:1] != b"\x30":
            self.done = self.over = True
            return
        start, _ = span(data, 0)
        at, end = span(data, start)
        if not start or not at or data[start] != 2 or not 0 < end - at <= 4:
            raise ParseError("message id")
        serial, tag = int.from_bytes(data[at:end], "big"), data[end : end + 1]
        begin, stop = span(data, end)
        if not begin or tag[0] not in TAGS:
            raise ParseError("operation")
        self._operation(serial, tag[0], data[begin:stop], found)

    def resumes(self, side: int, data: bytes) -> bool:
        return begins(data)

    def _operation(self, serial: int, tag: int, body: bytes, found: list[Message]) -> None:
        if op := ANSWERED.get(tag):
            self._answer(serial, op, body, found)
        elif op := TOLD.get(tag):
            found.append(Message(kind=Kind.NOTICE, op=op))
        elif op := ASKED.get(tag):
            attrs: dict[str, str] = {}
            version = ""
            if op == "bind":
                attrs, version = bind(body)
                self._sasl = self._sasl or attrs.get("ldap.bind.method") == "sasl"
            elif op == "extended" and body[2 : 2 + len(_START_TLS)] == _START_TLS:
                self._start_tls, op = serial, "start_tls"
            found.append(Message(kind=Kind.REQUEST, op=op, match=serial, version=version, attrs=attrs))

    def _answer(self, serial: int, op: str, body: bytes, found: list[Message]) -> None:
        if body[:1] != b"\x0a" or not body[1:2] or not 0 < body[1] <= 4:
            raise ParseError("result")
        code = int.from_bytes(body[2 : 2 + body[1]], "big")
        status, failed = RESULTS.get(code, "other"), code not in FINE
        if op == "extended" and not serial:  # the server's notice of disconnection (section 4.4.1)
            found.append(Message(kind=Kind.NOTICE, op="disconnection", status=status, error=failed))
            return
        switch = None
        if serial == self._start_tls:
            self._start_tls, op = -1, "start_tls"
            if not code and self._stream:
                self.over, switch = True, "tls"
        found.append(
            Message(kind=Kind.RESPONSE, op=op, status=status, error=failed, match=serial, switch=switch)
        )


DISSECTOR = Dissector(
    name="ldap",
    transports=frozenset({"tcp", "udp"}),
    ports=frozenset({389, 3268}),
    operations=frozenset({*ASKED.values(), *TOLD.values(), "start_tls", "disconnection"}),
    statuses=frozenset(RESULTS.values()),
    probe=_probe,
    parser=_Ldap,
    reads="operations, result codes, how a bind authenticates; StartTLS hands over to TLS",
    specification="RFC 4511, 4422, 1798",
)
