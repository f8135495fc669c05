"""TLS 1.0 to 1.3, SSL 2.0 and 3.0 over TCP: RFC 8446, RFC 5246, RFC 6101; SSL 2.0's hello: RFC 5246 appendix E.2.

Read is the handshake, as far as it is in the clear: both hellos, the server's certificate up to TLS 1.2, alerts. When
both sides have gone over to encryption the handshake is `established` and nothing more is wanted of the connection.
TLS has no requests: all messages are notices. A handshake's duration is the time from `client_hello` to `established`.
"""

from collections.abc import Callable

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.stream import Collector, Inbox
from exporter.formats.tls_hello import ClientHello, ServerHello
from exporter.formats.tls_records import (
    ALERT,
    APPLICATION_DATA,
    CERTIFICATE,
    CHANGE_CIPHER_SPEC,
    CLIENT_HELLO,
    HANDSHAKE,
    KINDS,
    MAX_RECORD,
    MESSAGES,
    RECORD,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    recognise,
)
from exporter.formats.tls_report import (
    OPERATIONS,
    STATUSES,
    alert,
    certificates,
    client_hello,
    established,
    one_certificate,
    server_hello,
    sslv2_server_hello,
)
from exporter.model import Message
from exporter.wire import Reader

__all__ = ["DISSECTOR"]

_MAX_MESSAGE = 65536
_READ = frozenset({CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_HELLO_DONE})


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Side:
    """One side's bytes, and how far it has come."""

    __slots__ = ("begun", "ciphered", "done", "inbox", "message")

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.message = b""
        """The beginning of a handshake message that goes on in the next record."""
        self.begun = False
        self.ciphered = False
        """It has changed its cipher (up to TLS 1.2), or sent encrypted data."""
        self.done = False


class _Tls(Collector):
    """A handshake. `_client` is the side that sent the ClientHello; None: not seen."""

    __slots__ = ("_client", "_early", "_established", "_full", "_hello", "_modern", "_sides")

    def __init__(self, ends: Ends) -> None:
        self._sides = (_Side(), _Side())
        self._client: int | None = None
        self._early = False
        self._hello: ServerHello | None = None
        self._modern = False
        self._full = False
        self._established = False

    def skip(self, side: int) -> int:
        return -1 if self._sides[side].done else 0

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        state = self._sides[side]
        if state.done or not (data := state.inbox.add(data)):
            return
        at, need = (0, 5) if state.begun else self._first(side, data, found)
        end = len(data)
        while end - at >= need and not state.done:
            kind, version, size = RECORD(data, at)
            if version >> 8 != 3 or kind not in KINDS or size > MAX_RECORD:
                raise ParseError("record")
            if kind == APPLICATION_DATA and not self._is_early(side):
                self._encrypted(side, found)
                continue
            stop = at + 5 + size
            if stop > end:
                need = 5 + size
            else:
                self._record(side, kind, data[at + 5 : stop], found)
                at = stop
        if not state.done:
            state.inbox.keep(data[at:], need)

    def _first(self, side: int, data: bytes, found: list[Message]) -> tuple[int, int]:
        """Read an SSL 2.0 hello, if it is one; give where records begin, and what is needed of the first."""
        if not data[0] & 0x80:
            self._sides[side].begun = True
            return 0, 5
        if len(data) < 2 or len(data) < (need := 2 + ((data[0] & 0x7F) << 8 | data[1])):
            return 0, len(data) + 1 if len(data) < 2 else need
        reader = Reader(data, 2, need)
        if reader.u8() == CLIENT_HELLO:
            self._client = side
            found.append(client_hello(ClientHello.sslv2(reader)))
        else:
            self._sslv2_server(reader, found)
        self._sides[side].begun = True
        return need, 5

    def _sslv2_server(self, reader: Reader, found: list[Message]) -> None:
        reader.skip(4)
        size = reader.u16()
        reader.skip(4)
        found.append(sslv2_server_hello())
        self._certificate(one_certificate, reader.take(size), found)
        self._sides[0].done = self._sides[1].done = True

    def _is_early(self, side: int) -> bool:
        return self._early and self._hello is None and side == self._client

    def _record(self, side: int, kind: int, body: bytes, found: list[Message]) -> None:
        state = self._sides[side]
        if kind == HANDSHAKE:
            if not state.ciphered or self._modern:
                self._handshake(side, body, found)
        elif kind == CHANGE_CIPHER_SPEC:
            state.ciphered = True
            if not self._modern:
                self._agree(found)
        elif kind == ALERT and len(body) == 2 and body[0] in (1, 2):
            found.append(alert(body[0], body[1]))

    def _handshake(self, side: int, body: bytes, found: list[Message]) -> None:
        """Read the messages that end in this record."""
        state = self._sides[side]
        if state.message:
            body = state.message + body
        at, end = 0, len(body)
        while end - at >= 4:
            kind = body[at]
            stop = at + 4 + (body[at + 1] << 16 | body[at + 2] << 8 | body[at + 3])
            if kind not in MESSAGES or stop - at - 4 > _MAX_MESSAGE:
                raise ParseError("message")
            if stop > end:
                break
            if kind in _READ:
                self._message(side, kind, body[at + 4 : stop], found)
            at = stop
        state.message = body[at:]

    def _message(self, side: int, kind: int, body: bytes, found: list[Message]) -> None:
        if kind == CLIENT_HELLO:
            hello = ClientHello(body)
            self._client = side
            self._early = hello.early_data
            found.append(client_hello(hello))
        elif kind == SERVER_HELLO:
            self._hello = ServerHello(body)
            self._modern = self._hello.modern
            self._client = 1 - side
            found.append(server_hello(self._hello))
            self._agree(found)
        elif kind == CERTIFICATE and side != self._client:
            self._certificate(certificates, body, found)
        elif kind == SERVER_HELLO_DONE:
            self._full = True

    def _certificate(self, read: Callable[[bytes], Message], data: bytes, found: list[Message]) -> None:
        """A certificate that we cannot read does not end the handshake."""
        try:
            found.append(read(data))
        except ParseError:
            return

    def _encrypted(self, side: int, found: list[Message]) -> None:
        """Encrypted data: this side has nothing more to say to us."""
        state = self._sides[side]
        state.ciphered = state.done = True
        state.message = b""
        self._agree(found)

    def _agree(self, found: list[Message]) -> None:
        """Say so once both have gone over: up to TLS 1.2 both change ciphers, after that the client's data decides."""
        hello, client = self._hello, self._client
        if self._established or hello is None or client is None or hello.retry:
            return
        first, second = self._sides
        if self._sides[client].done if self._modern else first.ciphered and second.ciphered:
            self._established = True
            first.done = second.done = True
            found.append(established(resumed=hello.psk if self._modern else not self._full))


DISSECTOR = Dissector(
    name="tls",
    transports=frozenset({"tcp"}),
    ports=frozenset({443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 6443, 8443, 8883, 10250}),
    operations=OPERATIONS,
    statuses=STATUSES,
    probe=_probe,
    parser=_Tls,
    reads="server name, ALPN, offered and negotiated version, cipher, JA4, resumption, ECH, certificate, alerts",
    specification="RFC 8446, 5246, 6066, 6101, 7301, 9849",
    idle=600.0,
)
