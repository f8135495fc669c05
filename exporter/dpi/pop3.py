"""POP3: RFC 1939, 2449 (CAPA, pipelining), 2595 (STLS), 5034 (AUTH).

Read are commands and whether they succeed. Arguments (names, passwords, digests) are not kept; messages and lists are
passed over up to the line that is a dot. After STLS's +OK it is TLS.
"""

import re

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.lines import LineParser
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_COMMANDS = frozenset(
    {
        "USER",
        "PASS",
        "APOP",
        "AUTH",
        "STAT",
        "LIST",
        "RETR",
        "DELE",
        "NOOP",
        "RSET",
        "QUIT",
        "TOP",
        "UIDL",
        "CAPA",
    }
    | {"STLS", "UTF8", "LANG", "XTND"}
)
_COMMAND = re.compile(rb"([A-Za-z0-9]{3,8})(?: +(.*))?$", re.DOTALL)
_ANSWER = re.compile(rb"(\+OK|-ERR)(?: |$)", re.IGNORECASE)
_SAID = re.compile(rb"(?:\+OK|-ERR)(?: [^\n]{0,510})?\r?\n")
_SPEAKS = re.compile(rb"\+OK [^\r\n]{1,500}\r\n")
_OWN = re.compile(
    rb"(?i:CAPA|STLS|UIDL(?: [0-9]+)?|TOP [0-9]+ [0-9]+|APOP [^ \r\n]+ [0-9a-f]{32}|RETR [0-9]+)\r\n"
)
_BOTH = re.compile(rb"(?i:USER|PASS|AUTH|STAT|LIST|NOOP|QUIT)(?: [^\r\n]{0,250})?\r\n")
"""Commands that FTP has as well, or nearly so; they prove nothing."""
_TYPED = re.compile(rb"[A-Za-z]{0,4}|[A-Za-z]{3,4} [^\r\n]{0,250}\r?|[A-Za-z]{4}\r")
_MAX_PENDING = 256


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] in (b"+", b"-"):
        return _server(data)
    if not data[:1].isalpha() or (len(data) > 300 and b"\n" not in data[:300]):
        return NO if data else MORE
    at = 0
    while match := _BOTH.match(data, at):
        at = match.end()
    if _OWN.match(data, at):
        return YES
    return MORE if len(data) < 600 and _TYPED.fullmatch(data, at) else NO


def _server(data: bytes) -> int:
    """Look for +OK with a text. Redis says +OK without one, and -ERR: neither proves anything."""
    at = 0
    while match := _SAID.match(data, at):
        if _SPEAKS.match(data, at):
            return YES
        at = match.end()
    left = data[at : at + 600]
    if left[:4].upper() not in (b"+OK ", b"-ERR") and not (
        b"+OK\r\n".startswith(left) or b"-ERR".startswith(left)
    ):
        return NO
    return MORE if len(data) < 600 and b"\n" not in left else NO


class _Pop3(LineParser):
    """A connection. `_pending` are the commands that wait, oldest first, and whether a success has a body."""

    __slots__ = ("_client", "_greeted", "_lax", "_pending")

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._client = -1
        self._pending: list[tuple[str, bool]] = []
        self._greeted = self._lax = False

    def gone(self, side: int) -> None:
        self._pending.clear()
        self._lax = True

    def line(self, side: int, line: bytes, found: list[Message]) -> None:
        if self._client < 0:
            self._client = 1 - side if line[:1] in (b"+", b"-") else side
        if side != self._client:
            self._answer(side, line, found)
        elif line and not (self._pending and self._pending[-1][0] == "AUTH"):
            self._command(line, found)

    def _command(self, line: bytes, found: list[Message]) -> None:
        match = _COMMAND.match(line)
        op = match[1].decode("ascii").upper() if match else ""
        if self._lax and op not in _COMMANDS:
            return
        if match is None:
            raise ParseError("command")
        self._lax, self._greeted = False, True
        bare = not match[2]
        body = op in ("RETR", "TOP", "CAPA") or (bare and op in ("LIST", "UIDL", "AUTH", "LANG"))
        if len(self._pending) >= _MAX_PENDING:
            del self._pending[0]
        self._pending.append(("" if op == "AUTH" and bare else op, body))
        found.append(Message(kind=Kind.REQUEST, op=op if op in _COMMANDS else "other"))

    def _answer(self, side: int, line: bytes, found: list[Message]) -> None:
        match = _ANSWER.match(line)
        if match is None:  # a challenge, or what is left of a message that was lost
            return
        status = "ok" if match[1][:1] == b"+" else "err"
        op, body = self._pending.pop(0) if self._pending else ("", False)
        kind, notice = Kind.RESPONSE, ""
        if not op and not body:
            kind, notice = Kind.NOTICE, "unasked" if self._greeted else "greeting"
        self._greeted = True
        if body and status == "ok":
            self.begin_body(side)
        switch = "tls" if op == "STLS" and status == "ok" else None
        self.over = switch is not None
        found.append(Message(kind=kind, op=notice, status=status, error=status == "err", switch=switch))


DISSECTOR = Dissector(
    name="pop3",
    transports=frozenset({"tcp"}),
    ports=frozenset({110}),
    operations=_COMMANDS | {"greeting", "unasked"},
    statuses=frozenset({"ok", "err"}),
    probe=_probe,
    parser=_Pop3,
    reads="commands, +OK or -ERR; STLS",
    specification="RFC 1939, 2449, 2595, 5034",
    idle=600.0,
)
