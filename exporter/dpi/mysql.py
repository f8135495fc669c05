"""MySQL's and MariaDB's client/server protocol, version 10: MySQL internals manual, chapter "Client/Server Protocol".

Read are the greeting, the login, each command (of a statement, its verb and no more) and its error; never a text, a
value or a password. A command's latency ends with the first packet of its response. After SSLRequest comes TLS; what
is compressed is not read.
"""

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed, Waiting
from exporter.formats.mysql_packets import (
    COMMANDS,
    COMPRESSION,
    PROTOCOL_41,
    QUERY_ATTRIBUTES,
    SILENT,
    TLS,
    error_code,
    recognise,
    schema,
    version,
)
from exporter.formats.sql import VERBS, verb
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_OK, _ERROR, _GREETING = 0, 0xFF, 10
_QUERY, _PREPARE, _EXECUTE, _CLOSE = 3, 22, 23, 25
_READ = 1024
_MAX_STATEMENTS = 256


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Mysql(Framed):
    """One connection. What waits is a statement's verb that is being prepared, or ""."""

    __slots__ = ("_attributes", "_client", "_compresses", "_login", "_statements", "_waiting")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._client: int | None = None
        self._login = False
        """A login is under way: its packets are numbered on, whoever sends them."""
        self._compresses = False
        self._attributes = False
        """Statements come after their attributes' number."""
        self._waiting: Waiting[str] = Waiting()
        self._statements: dict[bytes, str] = {}

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if len(data) - at < 4:
            return MORE_NEEDED
        size = 4 + (data[at] | data[at + 1] << 8 | data[at + 2] << 16)
        serial = data[at + 3]
        if serial == 0 or self._login or (serial == 1 and self._waiting):
            return size, min(size, _READ)
        return size, 0

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if len(data) < 5:
            return
        serial, body = data[3], data[4:]
        if serial == 0:
            if body[0] == _GREETING and len(body) > 1:
                self._greeting(side, body, found)
            elif body[0] == _ERROR:
                found.append(_error(body))
            elif body[0] > 32 or self._client == 1 - side:
                raise ParseError("command")
            else:
                self._command(side, body, found)
        elif self._client is None:
            if serial == 1 and recognise(data[:4] + body) and len(body) >= 32:
                self._answer_greeting(side, body, found)
        elif side == self._client:
            if self._login and serial == 1:
                self._answer_greeting(side, body, found)
        else:
            self._response(body, found)

    def resumes(self, side: int, data: bytes) -> bool:
        return len(data) > 4 and data[3] < 2 and data[2] == 0

    def forget(self) -> None:
        self._waiting.clear()
        self._login = False

    def idle(self) -> bool:
        quiet = not (self._waiting or self._login or self._statements or self._attributes)
        return quiet and self.resting()

    def _greeting(self, side: int, body: bytes, found: list[Message]) -> None:
        self._client = 1 - side
        self._login = True
        found.append(
            Message(
                kind=Kind.NOTICE, op="greeting", version="10", attrs={"mysql.version_string": version(body)}
            )
        )

    def _answer_greeting(self, side: int, body: bytes, found: list[Message]) -> None:
        """Read a login, or that TLS comes before it."""
        self._client = side
        flags = int.from_bytes(body[:4], "little")
        if len(body) == 32 and flags & TLS:
            self.over = True
            found.append(Message(kind=Kind.NOTICE, op="ssl_request", switch="tls"))
            return
        self._login = True
        self._compresses = flags & COMPRESSION != 0
        self._attributes = flags & QUERY_ATTRIBUTES != 0
        name = schema(body) if flags & PROTOCOL_41 else ""
        self._ask("login", "", found, {"db.namespace": name} if name else {})

    def _ask(self, op: str, prepared: str, found: list[Message], attrs: dict[str, str]) -> None:
        found.append(Message(kind=Kind.REQUEST, op=op, match=self._waiting.add(prepared), attrs=attrs))

    def _command(self, side: int, body: bytes, found: list[Message]) -> None:
        self._client = side
        self._login = False
        code = body[0]
        op, prepared = COMMANDS.get(code, "other"), ""
        if code in (_QUERY, _PREPARE):
            text = body[1:]
            if code == _QUERY and self._attributes and text[:2] == b"\0\1":
                text = text[2:]
            prepared = verb(text)
            op = prepared if code == _QUERY else op
        elif code == _EXECUTE:
            op = self._statements.get(body[1:5], op)
        elif code == _CLOSE:
            self._statements.pop(body[1:5], None)
        if code in SILENT:
            found.append(Message(kind=Kind.NOTICE, op=op))
        else:
            self._ask(op, prepared if code == _PREPARE else "", found, {})

    def _response(self, body: bytes, found: list[Message]) -> None:
        """Read a response's first packet. A login's may be a question of its own."""
        if self._login and body[0] not in (_OK, _ERROR):
            return
        first = self._waiting.pop()
        if first is None:
            return
        serial, prepared = first
        if body[0] == _ERROR:
            found.append(_error(body, serial))
        else:
            if prepared and body[0] == _OK and len(body) >= 5:
                if len(self._statements) >= _MAX_STATEMENTS:
                    del self._statements[next(iter(self._statements))]
                self._statements[body[1:5]] = prepared
            found.append(Message(kind=Kind.RESPONSE, status="ok", match=serial))
            self.done = self._login and self._compresses
        self._login = False


def _error(body: bytes, serial: int | None = None) -> Message:
    """Say an error: a request's, or the server's own."""
    attrs = {"db.response.status_code": error_code(body)}
    if serial is None:
        return Message(kind=Kind.NOTICE, op="error", status="error", error=True, attrs=attrs)
    return Message(kind=Kind.RESPONSE, status="error", error=True, match=serial, attrs=attrs)


DISSECTOR = Dissector(
    name="mysql",
    transports=frozenset({"tcp"}),
    ports=frozenset({3306}),
    operations=(
        VERBS - {"LISTEN", "NOTIFY", "UNLISTEN", "VACUUM", "REFRESH", "DISCARD", "MERGE", "COPY", "CLOSE"}
    )
    | frozenset(COMMANDS.values())
    | {"greeting", "ssl_request", "login", "error"},
    statuses=frozenset({"ok", "error"}),
    probe=_probe,
    parser=_Mysql,
    reads="server version, database, commands and verb of each statement, error number, TLS",
    specification="MySQL internals manual, Client/Server Protocol",
)
