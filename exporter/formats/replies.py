"""Commands that are answered by three digits and a text: RFC 959 section 4.2, RFC 5321 section 4.2."""

import re
from abc import abstractmethod

from exporter.dissector import MORE, NO, YES, Ends
from exporter.errors import ParseError
from exporter.formats.lines import LineParser
from exporter.model import Kind, Message

__all__ = ["STATUSES", "Dialogue", "recognise", "said"]

STATUSES = frozenset({"1xx", "2xx", "3xx", "4xx", "5xx"})
REPLY = re.compile(rb"([1-5][0-9][0-9])(?:([ -])(.*))?$", re.DOTALL)
_VERB = re.compile(rb"[A-Za-z]{3,12}(?![^ \t])")
_MAX_PENDING = 256
_MAX_STRAY = 16
_FIRST = b"220"
_SMTP = re.compile(rb"\bE?SMTP\b|\bLMTP\b", re.IGNORECASE)
_FTP = re.compile(rb"FTP|FileZilla", re.IGNORECASE)
_PORTS = {25: "smtp", 587: "smtp", 2525: "smtp", 21: "ftp", 2121: "ftp"}
_CODES = dict.fromkeys((b"250", b"354", b"334", b"235"), "smtp") | dict.fromkeys(
    (b"331", b"230", b"234", b"215", b"211", b"200", b"257", b"227", b"229"), "ftp"
)
"""Replies that only one of the two gives so early."""


class Dialogue(LineParser):
    """A connection. A subclass reads `command` and `reply`; `pending` are the verbs that wait, oldest first."""

    __slots__ = ("_code", "_strays", "_text", "client", "lax", "pending")

    def __init__(self, ends: Ends) -> None:
        """Begin with a greeting, or anywhere."""
        super().__init__(ends)
        self.client = -1
        """The side that sends commands; -1: nobody has said anything."""
        self.pending: list[str] = []
        self.lax = False
        """Lines were lost: what is no command may belong to a body."""
        self._code = b""
        self._text = b""
        self._strays = 0

    @abstractmethod
    def command(self, verb: str, line: bytes, found: list[Message]) -> None:
        """Read a command, its verb in capitals."""

    @abstractmethod
    def reply(self, code: bytes, text: bytes, found: list[Message]) -> None:
        """Read a reply, all lines of which are there; `text` is the first one's."""

    def verbatim(self) -> bool:
        """Tell whether the client's line is no command but an answer to a challenge."""
        return False

    def line(self, side: int, line: bytes, found: list[Message]) -> None:
        if self.client < 0:
            self.client = 1 - side if REPLY.match(line) else side
        if side != self.client:
            self._answer(line, found)
        elif line and not self.verbatim():
            verb = _VERB.match(line)
            if verb:
                self.command(verb[0].decode("ascii").upper(), line, found)
            elif not self.lax:
                raise ParseError("command")

    def gone(self, side: int) -> None:
        """Forget both: who waits for what, and the reply that was under way."""
        self.pending.clear()
        if side != self.client:
            self._code = b""
        self.lax = True

    def wait(self, verb: str) -> None:
        """Note a command; of too many, the oldest is forgotten."""
        if len(self.pending) >= _MAX_PENDING:
            del self.pending[0]
        self.pending.append(verb)

    def _answer(self, line: bytes, found: list[Message]) -> None:
        match = REPLY.match(line)
        if self._code:
            if match is None or match[1] != self._code or match[2] == b"-":
                return
            text = self._text
        elif match is None:
            self._strays += 1
            if self._strays > _MAX_STRAY:
                raise ParseError("reply")
            return
        else:
            text = match[3] or b""
        code = match[1]
        if match[2] == b"-":
            self._code, self._text = code, text[:_MAX_PENDING]
            return
        self._code = self._text = b""
        self.reply(code, text, found)


def said(code: bytes, kind: Kind, op: str = "", switch: str | None = None) -> Message:
    """Make a reply's message: a negative reply (4xx, 5xx) is an error."""
    status = f"{code[:1].decode('ascii')}xx"
    return Message(kind=kind, op=op, status=status, error=code[0] in b"45", switch=switch)


def recognise(name: str, data: bytes, ends: Ends) -> int:
    """Tell whether a server that begins with 220 is an SMTP or an FTP server (`name`), which greet alike.

    RFC 5321 section 3.1, RFC 959 section 5.4. One of the two words may fall in the greeting; else the next reply tells,
    or the port: for these twins it has to.
    """
    if data[:3] != _FIRST[: len(data)]:
        return NO
    greeting = True
    for raw in data.split(b"\n")[:-1]:
        line = raw.rstrip(b"\r")
        match = REPLY.match(line)
        told = ""
        if greeting:
            told = "smtp" if _SMTP.search(line) else "ftp" if _FTP.search(line) else ""
            if match and match[1] == _FIRST and match[2] != b"-":
                greeting = False
                told = told or _PORTS.get(ends.port1) or _PORTS.get(ends.port0) or ""
        elif match:
            told = _CODES.get(match[1], "")
        if told:
            return YES if told == name else NO
    return MORE if REPLY.match(data[:4].ljust(4)) or len(data) < 3 else NO
