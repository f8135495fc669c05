"""CoAP over UDP: RFC 7252, with the methods of RFC 8132, observation (RFC 7641) and blocks (RFC 7959).

Its header proves little. A datagram is CoAP if all of its options are registered ones of legal lengths, and there is at
least one, or a payload behind its marker in a response; what is bare says nothing until the other side has spoken. On
port 5683 options that are not known may be there, too, if they are elective (section 5.4.1), and what is bare will do.
"""

from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.casting import kind_of
from exporter.formats.coap_message import METHODS, OPTIONS, STATUSES, URI_HOST, URI_PATH, CoapMessage, parse
from exporter.formats.text import clean
from exporter.model import Message

__all__ = ["DISSECTOR"]

_PORT = 5683
_MAX_PATH = 256
_EMPTY = frozenset({b"\x40\0", b"\x60\0", b"\x70\0"})
"""A ping, an acknowledgement, a reset (section 4.3): they say nothing, and a message may follow."""
_NONE, _ANY = (1, 0), (0, 1034)
"""The least and greatest length of an option that is not known: there is none, or any."""
_REQUEST_ONLY = frozenset({1, 3, 5, 7, 11, 15, 16, 17, 35, 39, 258})
_RESPONSE_ONLY = frozenset({8, 14, 20})


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) == 4 and data[:2] in _EMPTY:
        return MORE
    if len(data) < 4 or not 0x40 <= data[0] <= 0x78 or data[0] & 15 > 8:
        return NO
    request = data[1] in METHODS
    if not request and data[1] not in STATUSES:
        return NO
    kind = data[0] >> 4 & 3
    if kind > 1 and (request or kind == 3):
        return NO
    try:
        message = parse(data)
    except ParseError:
        return NO
    usual = _PORT in (ends.port0, ends.port1)
    if not usual and not message.options and (request or not message.payload or not message.token):
        return NO
    wrong = _RESPONSE_ONLY if request else _REQUEST_ONLY
    unknown = _ANY if usual else _NONE
    return YES if all(_legal(number, value, wrong, unknown) for number, value in message.options) else NO


def _legal(number: int, value: bytes, wrong: frozenset[int], unknown: tuple[int, int]) -> bool:
    low, high = OPTIONS.get(number, _NONE if number & 1 else unknown)
    if not low <= len(value) <= high or number in wrong:
        return False
    if number not in (3, 11, 15, 35, 39):
        return True
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False


class _Coap(Parser):
    """Remembers nothing: a response carries its request's token."""

    __slots__ = ("_ends",)

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        message = parse(data)
        kind = kind_of(side, self._ends, response=message.code not in METHODS)
        if method := METHODS.get(message.code):
            attrs = _attributes(message)
            return [Message(kind=kind, op=method, match=message.token, version="1", attrs=attrs)]
        if not message.code:  # an acknowledgement whose response comes later, a reset, a ping
            return []
        if message.code not in STATUSES:
            raise ParseError("code")
        status, failed = STATUSES[message.code], message.code >> 5 > 2
        return [Message(kind=kind, status=status, error=failed, match=message.token, version="1")]

    def gap(self, side: int) -> bool:
        return True

    def idle(self) -> bool:
        return True


def _attributes(message: CoapMessage) -> dict[str, str | tuple[str, ...]]:
    """Read who is asked, and for what: not the query."""
    attrs: dict[str, str | tuple[str, ...]] = {}
    path = b"".join(b"/" + value for number, value in message.options if number == URI_PATH)
    if path:
        attrs["url.path"] = clean(path, _MAX_PATH)
    for number, value in message.options:
        if number == URI_HOST:
            attrs["server.address"] = clean(value)
    return attrs


DISSECTOR = Dissector(
    name="coap",
    transports=frozenset({"udp"}),
    ports=frozenset({_PORT}),
    operations=frozenset(METHODS.values()),
    statuses=frozenset(STATUSES.values()),
    probe=_probe,
    parser=_Coap,
    reads="method, path, response code; responses belong to their request by token",
    specification="RFC 7252, 7641, 7959, 8132",
)
