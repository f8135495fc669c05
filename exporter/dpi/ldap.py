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
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_ASKED = {
    0x60: "bind",
    0x63: "search",
    0x66: "modify",
    0x68: "add",
    0x4A: "delete",
    0x6C: "modify_dn",
    0x6E: "compare",
    0x77: "extended",
}
_ANSWERED = {
    0x61: "bind",
    0x65: "search",
    0x67: "modify",
    0x69: "add",
    0x6B: "delete",
    0x6D: "modify_dn",
    0x6F: "compare",
    0x78: "extended",
}
_TOLD = {0x42: "unbind", 0x50: "abandon"}
_FOUND = frozenset({0x64, 0x73, 0x79})
"""A search's entries and references, and intermediate responses."""
_TAGS = frozenset({*_ASKED, *_ANSWERED, *_TOLD, *_FOUND})
_RESULTS = {
    0: "success",
    1: "operationsError",
    2: "protocolError",
    3: "timeLimitExceeded",
    4: "sizeLimitExceeded",
    5: "compareFalse",
    6: "compareTrue",
    7: "authMethodNotSupported",
    8: "strongerAuthRequired",
    10: "referral",
    11: "adminLimitExceeded",
    12: "unavailableCriticalExtension",
    13: "confidentialityRequired",
    14: "saslBindInProgress",
    16: "noSuchAttribute",
    17: "undefinedAttributeType",
    18: "inappropriateMatching",
    19: "constraintViolation",
    20: "attributeOrValueExists",
    21: "invalidAttributeSyntax",
    32: "noSuchObject",
    33: "aliasProblem",
    34: "invalidDNSyntax",
    36: "aliasDereferencingProblem",
    48: "inappropriateAuthentication",
    49: "invalidCredentials",
    50: "insufficientAccessRights",
    51: "busy",
    52: "unavailable",
    53: "unwillingToPerform",
    54: "loopDetect",
    64: "namingViolation",
    65: "objectClassViolation",
    66: "notAllowedOnNonLeaf",
    67: "notAllowedOnRDN",
    68: "entryAlreadyExists",
    69: "objectClassModsProhibited",
    71: "affectsMultipleDSAs",
    80: "other",
}
"""RFC 4511 section 4.1.9."""
_FINE = frozenset({0, 5, 6, 10, 14})
_START_TLS = b"1.3.6.1.4.1.1466.20037"
_READ = 512
_MAX_MESSAGE = 1 << 26


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if not data:
        return MORE
    if data[0] != 0x30:
        return NO
    try:
        answer = _recognise(data)
        if ends.transport == "tcp":
            return answer
        return YES if answer == YES and span(data, 0)[1] == len(data) else NO
    except ParseError:
        return NO


def _recognise(data: bytes) -> int:
    """Hold the nested lengths against each other, and the operation's first element against its tag."""
    start, stop = span(data, 0)
    if not start or len(data) < start + 3:
        return MORE
    size = data[start + 1]
    if data[start] != 2 or not 0 < size <= 4 or data[start + 2] & 0x80 or stop > _MAX_MESSAGE:
        return NO
    at = start + 2 + size
    if len(data) <= at:
        return MORE if at < stop else NO
    if data[at] not in _TAGS:
        return NO
    begin, end = span(data, at)
    if not begin:
        return MORE
    if end > stop or stop - end == 1:
        return NO
    shape = _shape(data[at], end - begin)
    if len(data) - begin < len(shape):
        return MORE
    return YES if all(data[begin + i] in each for i, each in enumerate(shape)) else NO


def _shape(tag: int, size: int) -> tuple[bytes, ...]:
    """What an operation of this tag and length begins with: for each byte, which it may be; one of none: no such."""
    if tag == 0x42:
        return () if size == 0 else (b"",)
    if tag == 0x50:
        return () if 0 < size <= 4 else (b"",)
    if tag == 0x4A:
        return ()
    if size < 3:
        return (b"",)
    if tag == 0x60:
        return b"\x02", b"\x01", b"\x01\x02\x03", b"\x04"
    if tag == 0x77:
        return (b"\x80",)
    if tag == 0x79:
        return (b"\x80\x81",)
    return (b"\x0a", b"\x01") if tag in _ANSWERED else (b"\x04",)


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
        self.read(side, data, found)
        return found

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if data[at] != 0x30:
            if not self._sasl:
                raise ParseError("message")
            return 1, 1
        start, stop = span(data, at)
        if not start:
            return MORE_NEEDED
        if stop - at > _MAX_MESSAGE or stop == start:
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
        if not begin or tag[0] not in _TAGS:
            raise ParseError("operation")
        self._operation(serial, tag[0], data[begin:stop], found)

    def resumes(self, side: int, data: bytes) -> bool:
        return data[:1] == b"\x30" and _recognise_safely(data)

    def _operation(self, serial: int, tag: int, body: bytes, found: list[Message]) -> None:
        if op := _ANSWERED.get(tag):
            self._answer(serial, op, body, found)
        elif op := _TOLD.get(tag):
            found.append(Message(kind=Kind.NOTICE, op=op))
        elif op := _ASKED.get(tag):
            attrs: dict[str, str] = {}
            version = ""
            if op == "bind":
                attrs, version = _bind(body)
                self._sasl = self._sasl or attrs.get("ldap.bind.method") == "sasl"
            elif op == "extended" and body[2 : 2 + len(_START_TLS)] == _START_TLS:
                self._start_tls, op = serial, "start_tls"
            found.append(Message(kind=Kind.REQUEST, op=op, match=serial, version=version, attrs=attrs))

    def _answer(self, serial: int, op: str, body: bytes, found: list[Message]) -> None:
        if body[:1] != b"\x0a" or not body[1:2] or not 0 < body[1] <= 4:
            raise ParseError("result")
        code = int.from_bytes(body[2 : 2 + body[1]], "big")
        status, failed = _RESULTS.get(code, "other"), code not in _FINE
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


def _recognise_safely(data: bytes) -> bool:
    try:
        return _recognise(data) == YES
    except ParseError:
        return False


def _bind(body: bytes) -> tuple[dict[str, str], str]:
    """Read a BindRequest's version and how it authenticates: not as whom, nor with what."""
    if len(body) < 5 or body[0] != 2 or body[1] != 1:
        raise ParseError("bind")
    version = str(body[2])
    start, stop = span(body, 3)
    if not start or stop >= len(body):
        return {}, version
    if body[stop] == 0x80:
        return {"ldap.bind.method": "simple"}, version
    if body[stop] != 0xA3:
        return {}, version
    attrs = {"ldap.bind.method": "sasl"}
    begin, _ = span(body, stop)
    at, end = span(body, begin) if begin else (0, 0)
    if at and body[begin] == 4:
        attrs["ldap.bind.mechanism"] = clean(body[at:end], 20)
    return attrs, version


DISSECTOR = Dissector(
    name="ldap",
    transports=frozenset({"tcp", "udp"}),
    ports=frozenset({389, 3268}),
    operations=frozenset({*_ASKED.values(), *_TOLD.values(), "start_tls", "disconnection"}),
    statuses=frozenset(_RESULTS.values()),
    probe=_probe,
    parser=_Ldap,
    reads="operations, result codes, how a bind authenticates; StartTLS hands over to TLS",
    specification="RFC 4511, 4422, 1798",
)
