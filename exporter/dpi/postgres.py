"""PostgreSQL's frontend/backend protocol 3: PostgreSQL documentation, chapters "Message Flow" and "Message Formats".

Read are the start-up, each statement's verb (simple and extended queries) and how it ended; never its text, its values
or a password. A statement is answered by its completion or error; what an error discards up to the next
synchronisation is answered by it, too. After a server's consent to SSLRequest, TLS follows.
"""

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed, Waiting
from exporter.formats.postgres_messages import (
    CANCEL,
    CLIENT_ONLY,
    GSS,
    SERVER_ONLY,
    SSL,
    TYPES,
    chained,
    recognise,
    startup_size,
)
from exporter.formats.sql import VERBS, verb
from exporter.formats.text import clean
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

# fmt: off
_READ = {"Q": 1024, "P": 1024, "B": 512, "E": 1024, "p": 5, "F": 5, "S": 5, "C": 5, "I": 5, "s": 5, "Z": 6, "A": 5,
         "D": 0, "d": 0}
# fmt: on
_WANTED = {ord(letter): size for letter, size in _READ.items()}
_MAX_STARTUP = 2048
_MAX_NAMES = 256
_VERSION_32 = 0x30002


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Postgres(Framed):
    """One connection. What waits says what ends it; "sync" is no request, but where an error's consequences end."""

    __slots__ = ("_asked", "_client", "_parsed", "_portals", "_statements", "_waiting")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._client: int | None = None
        self._asked = ""
        """Encryption that was asked for and not yet answered, by one letter."""
        self._waiting: Waiting[str] = Waiting()
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._parsed = False
        """A statement was prepared since the last synchronisation, and nothing executed."""

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        kind = data[at]
        if self._asked and side != self._client and kind in b"SNG":
            return 1, 1
        if not kind:
            size = startup_size(data, at)
            return size, min(size, _MAX_STARTUP)
        if kind not in TYPES:
            raise ParseError("type")
        if len(data) - at < 5:
            return MORE_NEEDED
        size = 1 + int.from_bytes(data[at + 1 : at + 5], "big")
        if size < 5:
            raise ParseError("length")
        return size, min(size, _WANTED.get(kind, 5))

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        kind = data[0]
        if not kind:
            self._client = side
            self._startup(data, found)
            return
        if kind in CLIENT_ONLY:
            self._client = side
        elif kind in SERVER_ONLY and len(data) > 1:
            self._client = 1 - side
        if self._client is None:
            return
        if side != self._client:
            self._server(data, found)
        else:
            self._query(kind, data, found)

    def resumes(self, side: int, data: bytes) -> bool:
        return chained(data) != 0 and len(data) > 4

    def forget(self) -> None:
        self._waiting.clear()
        self._parsed = False

    def idle(self) -> bool:
        return self.resting() and not (
            self._waiting or self._asked or self._statements or self._portals or self._parsed
        )

    def _ask(self, op: str, what: str, found: list[Message]) -> None:
        found.append(Message(kind=Kind.REQUEST, op=op, match=self._waiting.add(what)))

    def _answer(self, serial: int, found: list[Message], code: str = "", status: str = "ok") -> None:
        attrs = {"db.response.status_code": code} if code else {}
        error = status in ("error", "aborted")
        found.append(Message(kind=Kind.RESPONSE, status=status, error=error, match=serial, attrs=attrs))

    def _startup(self, data: bytes, found: list[Message]) -> None:
        code = int.from_bytes(data[4:8], "big")
        if code in (SSL, GSS):
            self._asked = "ssl_request" if code == SSL else "gss_request"
            self._ask(self._asked, "letter", found)
        elif code == CANCEL:
            found.append(Message(kind=Kind.NOTICE, op="cancel"))
        else:
            words = data[8:].split(b"\0")
            named = dict(zip(words[::2], words[1::2], strict=False))
            name = clean(named.get(b"database") or named.get(b"user", b""), 64)
            serial = self._waiting.add("startup")
            version = "3.2" if code == _VERSION_32 else "3.0"
            attrs = {"db.namespace": name} if name else {}
            found.append(Message(kind=Kind.REQUEST, op="startup", match=serial, version=version, attrs=attrs))

    def _query(self, kind: int, data: bytes, found: list[Message]) -> None:
        if kind == 0x51:  # Query
            self._ask(verb(data[5:]), "query", found)
        elif kind == 0x50:  # Parse: a name, and the statement
            name, _, text = data[5:].partition(b"\0")
            _remember(self._statements, name, verb(text))
            self._parsed = True
        elif kind == 0x42:  # Bind: a portal, and a statement's name
            portal, _, left = data[5:].partition(b"\0")
            _remember(self._portals, portal, self._statements.get(left.partition(b"\0")[0], "execute"))
        elif kind == 0x45:  # Execute
            self._parsed = False
            self._ask(self._portals.get(data[5:].partition(b"\0")[0], "execute"), "execute", found)
        elif kind == 0x46:  # FunctionCall
            self._ask("function_call", "query", found)
        elif kind == 0x53:  # Sync
            if self._parsed:
                self._parsed = False
                self._ask("prepare", "query", found)
            else:
                self._waiting.add("sync")

    def _server(self, data: bytes, found: list[Message]) -> None:
        kind = data[0]
        if self._asked:
            self._letter(kind, found)
        elif kind == 0x5A:
            self._ready(found)
        elif kind == 0x45:
            self._error(data, found)
        elif kind in b"CIs" and (first := self._waiting.first()) and first[1] == "execute":
            self._waiting.pop()
            self._answer(first[0], found)
        elif kind == 0x41:
            found.append(Message(kind=Kind.NOTICE, op="notification"))

    def _letter(self, kind: int, found: list[Message]) -> None:
        """Read the answer to a request for encryption."""
        protocol = "tls" if self._asked == "ssl_request" else "gssapi"
        self._asked = ""
        first = self._waiting.pop()
        consents = kind not in b"NE"
        self.over = consents
        found.append(
            Message(
                kind=Kind.RESPONSE,
                status="accepted" if consents else "refused",
                match=first[0] if first else None,
                switch=protocol if consents else None,
            )
        )

    def _error(self, data: bytes, found: list[Message]) -> None:
        """An error answers the oldest request at once; those behind it wait for their synchronisation."""
        fields = {field[:1]: field[1:] for field in data[5:].split(b"\0")}
        code = clean(fields.get(b"C", b""), 5)
        first = self._waiting.pop()
        if first is None:
            found.append(
                Message(kind=Kind.NOTICE, op="error", error=True, attrs={"db.response.status_code": code})
            )
            return
        if first[1] != "sync":
            self._answer(first[0], found, code, "error")
        if first[1] in ("query", "sync"):  # its ReadyForQuery is still to come
            self._waiting.put_back((0, "sync"))

    def _ready(self, found: list[Message]) -> None:
        """Answer all up to the end that this stands for."""
        while first := self._waiting.pop():
            serial, what = first
            if what == "execute":
                self._answer(serial, found, status="aborted")
                continue
            if what != "sync":
                self._answer(serial, found)
            return


def _remember(names: dict[bytes, str], name: bytes, what: str) -> None:
    """Keep a name; of too many, the oldest is forgotten."""
    if name not in names and len(names) >= _MAX_NAMES:
        del names[next(iter(names))]
    names[name[:64]] = what


DISSECTOR = Dissector(
    name="postgres",
    transports=frozenset({"tcp"}),
    ports=frozenset({5432, 5433, 6432}),
    operations=VERBS
    | {
        "ssl_request",
        "gss_request",
        "startup",
        "cancel",
        "prepare",
        "execute",
        "function_call",
        "notification",
        "error",
    },
    statuses=frozenset({"ok", "error", "aborted", "accepted", "refused"}),
    probe=_probe,
    parser=_Postgres,
    reads="database, verb of each statement, completion or SQLSTATE, encryption, cancellation",
    specification="PostgreSQL documentation, Frontend/Backend Protocol",
)
