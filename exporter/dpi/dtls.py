"""DTLS 1.0, 1.2 and 1.3 over UDP: RFC 4347, RFC 6347, RFC 9147.

Read is the handshake, as far as it is in the clear: hellos, the server's certificate up to DTLS 1.2, alerts; its
fragments come in any order and more than once. When both sides have gone over to encryption it is `established` and
nothing more is wanted. STUN and RTP on the same ports (RFC 7983) are passed over.
"""

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.dtls_records import ENCRYPTED, Messages, Record, recognise, records
from exporter.formats.stream import Datagrams
from exporter.formats.tls_hello import ClientHello, ServerHello
from exporter.formats.tls_records import (
    ALERT,
    APPLICATION_DATA,
    CERTIFICATE,
    CHANGE_CIPHER_SPEC,
    CLIENT_HELLO,
    HANDSHAKE,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
)
from exporter.formats.tls_report import (
    OPERATIONS,
    STATUSES,
    alert,
    certificates,
    client_hello,
    established,
    server_hello,
)
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_VERIFY = 3
"""HelloVerifyRequest: the server wants its cookie back in another hello (RFC 6347 section 4.2.1)."""
_READ = frozenset({CLIENT_HELLO, SERVER_HELLO, _VERIFY, CERTIFICATE, SERVER_HELLO_DONE})
_BOTH = 3


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Dtls(Datagrams):
    """A handshake. `_client` is the side that sent a hello; None: not seen. `_ciphered` has a bit for each side."""

    __slots__ = ("_ciphered", "_client", "_full", "_hello", "_random", "_sides")

    MOST = 256

    def __init__(self, ends: Ends) -> None:
        super().__init__()
        self._ciphered = 0
        self._client: int | None = None
        self._full = False
        self._hello: ServerHello | None = None
        self._random = b""
        self._sides = (Messages(), Messages())

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        for record in records(data):
            if self._done:
                break
            self._record(side, record, found)

    def _record(self, side: int, record: Record, found: list[Message]) -> None:
        kind, epoch, body = record
        if epoch or kind in (CHANGE_CIPHER_SPEC, APPLICATION_DATA):
            self._ciphered |= 1 << side
            self._agree(found, modern=kind == ENCRYPTED)
        elif kind == HANDSHAKE:
            for message, content in self._sides[side].add(body, _READ):
                self._message(side, message, content, found)
        elif kind == ALERT and len(body) == 2 and body[0] in (1, 2):
            found.append(alert(body[0], body[1]))

    def _message(self, side: int, kind: int, body: bytes, found: list[Message]) -> None:
        if kind == CLIENT_HELLO:
            hello = ClientHello(body, dtls=True)
            self._client = side
            if hello.random != self._random:  # not the one that brings the cookie
                self._random = hello.random
                found.append(client_hello(hello, "d"))
        elif kind == SERVER_HELLO:
            self._hello = ServerHello(body)
            self._client = 1 - side
            found.append(server_hello(self._hello))
        elif kind == _VERIFY:
            found.append(Message(kind=Kind.NOTICE, op="hello_verify_request"))
        elif kind == CERTIFICATE and side != self._client:
            self._certificate(body, found)
        elif kind == SERVER_HELLO_DONE:
            self._full = True

    def _certificate(self, body: bytes, found: list[Message]) -> None:
        """A certificate that we cannot read does not end the handshake."""
        self._full = True
        try:
            found.append(certificates(body))
        except ParseError:
            return

    def _agree(self, found: list[Message], *, modern: bool) -> None:
        """Say so once both have gone over; in DTLS 1.3 the client's encrypted records decide."""
        hello = self._hello
        if self._done or self._ciphered != _BOTH:
            return
        self._done = True
        if hello is not None and not hello.retry:
            found.append(established(resumed=hello.psk if modern else not self._full))


DISSECTOR = Dissector(
    name="dtls",
    transports=frozenset({"udp"}),
    ports=frozenset({443, 684, 853, 2221, 4433, 4740, 5061, 5349, 5684, 10161, 10162}),
    operations=OPERATIONS | {"hello_verify_request"},
    statuses=STATUSES,
    probe=_probe,
    parser=_Dtls,
    reads="server name, ALPN, offered and negotiated version, cipher, JA4, resumption, certificate, alerts",
    specification="RFC 4347, 6347, 9147, 7983",
    idle=120.0,
)
