"""NATS' client protocol over TCP: NATS documentation, "Client Protocol"; with headers, ADR-4.

Read are operations and subjects; never a message, a password or a token. What is published with a reply subject is a
request, and what comes for that subject, whichever side sends it, its response. TLS follows the server's INFO where the
client begins it.
"""

import re

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed, line_end
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_SUBJECT = rb"[^\x00-\x20\x7f]{1,1024}"

_MESSAGE = re.compile(
    rb"(?:(PUB|RPUB) (%(s)s) +(?:(%(s)s) +)?(\d{1,9})"
    rb"|(HPUB) (%(s)s) +(?:(%(s)s) +)?\d{1,9} +(\d{1,9})"
    rb"|(MSG) (%(s)s) +%(s)s +(?:(%(s)s) +)?(\d{1,9})"
    rb"|(HMSG) (%(s)s) +%(s)s +(?:(%(s)s) +)?\d{1,9} +(\d{1,9}))[ \t]*\r\n" % {b"s": _SUBJECT},
    re.IGNORECASE,
)
"""A whole line. Groups, four for each form: the operation, the subject, the reply subject, the length."""

_WORDS = {
    b"INFO": "info",
    b"CONNECT": "connect",
    b"SUB": "subscribe",
    b"UNSUB": "unsubscribe",
    b"PING": "ping",
    b"PONG": "pong",
    b"+OK": "ok",
    b"-ERR": "error",
}
_SAID = frozenset({"info", "connect", "subscribe", "unsubscribe", "error"})
_OPENING = re.compile(rb"(?:INFO[ \t]+\{|CONNECT[ \t]+\{)")
_INFO = re.compile(rb'"(?:server_id|server_name|max_payload|auth_required|tls_required)"')
_CONNECT = re.compile(rb'"(?:verbose|pedantic|tls_required|protocol|echo|headers)"')
_VERSION = re.compile(rb'"version" ?: ?"([0-9A-Za-z.+-]{1,32})"')
_STATUS = re.compile(rb"NATS/1\.0 (\d{3})")
_BEGINNINGS = (b"INFO {", b"CONNECT {", b"PUB ", b"HPUB ", b"MSG ", b"HMSG ")
_MAX_LINE = 65536
_MAX_PENDING = 256
_READ = 64


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] not in (b"I", b"C", b"P", b"H", b"M", b""):
        return NO
    if not any(data.startswith(word) or word.startswith(data) for word in _BEGINNINGS):
        return NO
    end = data.find(b"\n") + 1
    if _OPENING.match(data):
        wanted = _INFO if data[:1] == b"I" else _CONNECT
        if wanted.search(data, 0, end or len(data)):
            return YES
        return NO if end else MORE
    if not end:
        return MORE if len(data) < 1024 and b"\0" not in data else NO
    match = _MESSAGE.match(data)
    if not match:
        return NO
    after = end + int(match[match.lastindex or 0])
    if len(data) < after + 2:
        return MORE
    return YES if data[after : after + 2] == b"\r\n" else NO


class _Nats(Framed):
    """One connection. `_asked` are the reply subjects that are awaited, with the side that asked."""

    __slots__ = ("_asked", "_began")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._asked: dict[bytes, int] = {}
        self._began: int | None = None
        """The side that began TLS."""

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if data[at] == 0x16:  # TLS
            return 1, 1
        end = line_end(data, at, _MAX_LINE)
        if not end:
            return MORE_NEEDED
        size = end - at
        if data[at] not in b"IiCcSsUuPp+-\r\n" or data[at : at + 3].upper() in (b"PUB", b"RPU"):
            match = _MESSAGE.match(data, at, end)
            if match is None:
                raise ParseError("line")
            length = int(match[match.lastindex or 0])
            return size + length + 2, size + min(length, _READ)
        return size, size

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if data[0] == 0x16:
            self.over = True
            self._began = side
            found.append(Message(kind=Kind.NOTICE, op="tls", switch="tls"))
        elif match := _MESSAGE.match(data):
            first = next(i for i in (1, 5, 9, 13) if match[i])
            op = "publish" if match[first].upper().endswith(b"PUB") else "deliver"
            status = _STATUS.match(data, match.end()) if match[first][:1] in b"Hh" else None
            code = status[1].decode("ascii") if status else ""
            self._message(side, op, (match[first + 1], match[first + 2]), code, found)
        else:
            self._line(data, found)

    def rest(self, side: int) -> bytes:
        """Give back the byte that told TLS, too; it is the client's, or nobody's."""
        return (b"\x16" if side == self._began else b"") + super().rest(side)

    def resumes(self, side: int, data: bytes) -> bool:
        return _MESSAGE.match(data) is not None or data in (b"PING\r\n", b"PONG\r\n")

    def forget(self) -> None:
        self._asked.clear()

    def idle(self) -> bool:
        return self.resting() and not self._asked

    def _message(
        self, side: int, op: str, subjects: tuple[bytes, bytes | None], code: str, found: list[Message]
    ) -> None:
        subject, reply = subjects
        attrs = {"messaging.destination.name": clean(subject)}
        if self._asked.get(subject) == 1 - side:
            del self._asked[subject]
            status = code if code in _STATUSES else "other" if code else "ok"
            found.append(
                Message(
                    kind=Kind.RESPONSE, status=status, error=code in _ERRORS, match=subject[:256], attrs=attrs
                )
            )
        elif reply:
            if len(self._asked) >= _MAX_PENDING:
                del self._asked[next(iter(self._asked))]
            self._asked[reply] = side
            found.append(Message(kind=Kind.REQUEST, op=op, match=reply[:256], attrs=attrs))
        else:
            found.append(Message(kind=Kind.NOTICE, op=op, attrs=attrs))

    def _line(self, data: bytes, found: list[Message]) -> None:
        words = data.split(None, 2)
        if not words:
            return
        op = _WORDS.get(words[0].upper())
        if op is None:
            raise ParseError("word")
        if op == "ping":
            found.append(Message(kind=Kind.REQUEST, op=op, match="ping"))
        elif op == "pong":
            found.append(Message(kind=Kind.RESPONSE, status="ok", match="ping"))
        elif op in _SAID:
            found.append(
                Message(kind=Kind.NOTICE, op=op, error=op == "error", attrs=_attributes(op, data, words))
            )


def _attributes(op: str, data: bytes, words: list[bytes]) -> dict[str, str]:
    if op == "subscribe" and len(words) > 1:
        return {"messaging.destination.name": clean(words[1])}
    version = _VERSION.search(data) if op == "info" else None
    return {"nats.version_string": version[1].decode("ascii")} if version else {}


_STATUSES = frozenset({"100", "400", "404", "408", "409", "423", "500", "503"})
"""A response's headers may be a status alone (ADR-4; JetStream's, ADR-13)."""
_ERRORS = _STATUSES - {"100", "404", "408"}
"""Those that are left out say that there is nothing now."""

DISSECTOR = Dissector(
    name="nats",
    transports=frozenset({"tcp"}),
    ports=frozenset({4222, 6222}),
    operations=_SAID | {"publish", "deliver", "ping", "tls"},
    statuses=_STATUSES | {"ok"},
    probe=_probe,
    parser=_Nats,
    reads="server's version, operations and subjects, requests and their replies, errors, TLS",
    specification="NATS Client Protocol; ADR-4",
)
