"""IMAP 4: RFC 9051, 3501, 2595 (STARTTLS), 2177 (IDLE), 7888 (literals that do not wait), 4978 (COMPRESS).

Read are tags, commands and the tagged responses OK, NO and BAD; literals of both sides are passed over. A tag pairs a
response with its command. Arguments are not kept: they hold names of mailboxes, searches and credentials. After
STARTTLS's OK it is TLS; compressed, no more can be read.
"""

import re

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.lines import LineParser
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_WORDS = """
CAPABILITY NOOP LOGOUT STARTTLS AUTHENTICATE LOGIN ENABLE SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE
LIST LSUB XLIST NAMESPACE STATUS APPEND IDLE CLOSE UNSELECT CHECK EXPUNGE SEARCH FETCH STORE COPY MOVE UID ID
COMPRESS SORT THREAD GETQUOTA GETQUOTAROOT SETQUOTA GETACL SETACL DELETEACL LISTRIGHTS MYRIGHTS GETMETADATA
SETMETADATA NOTIFY RESETKEY GENURLAUTH URLFETCH CATENATE ESEARCH LANGUAGE UNAUTHENTICATE
"""
_COMMANDS = frozenset(_WORDS.split())
_TAG = rb"[!$&',-.0-9:;<=>?@A-Z\[^_`a-z|~]{1,32}"
_COMMAND = re.compile(rb"(%s) ([A-Za-z]{2,16})(?: |$)" % _TAG)
_TAGGED = re.compile(rb"(%s) (?i:(OK|NO|BAD))(?: |$)" % _TAG)
_GREETING = re.compile(rb"\* (?i:OK|PREAUTH|BYE)[ \[][^\n]{0,1000}\r\n")
_LITERAL = re.compile(rb"~?\{([0-9]{1,15})[+-]?\}$")
_OPENING = re.compile(
    rb"(?=[^ ]{0,31}[0-9])%s "
    rb"(?i:CAPABILITY|NOOP|STARTTLS|LOGOUT|LOGIN [^\r\n]{1,500}|AUTHENTICATE [A-Z0-9-]{3,20}(?: [^\r\n]*)?"
    rb"|ID (?:NIL|\([^\r\n]*)|(?:UID )?FETCH [0-9*][^\r\n]*|IDLE|SELECT [^\r\n]{1,200})\r\n" % _TAG
)
_TAGS = re.compile(rb"(?:%s(?: [A-Za-z]{0,16}(?: [^\r\n]*)?)?)?\r?" % _TAG)
_MAX_PENDING = 256


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] == b"*":
        if not b"* ".startswith(data[:2]):
            return NO
        if b"\n" in data:
            return YES if _GREETING.match(data) else NO
        return MORE if len(data) < 1000 and data[2:3].upper() in (b"", b"O", b"P", b"B") else NO
    if not data[:1].isalnum() and data[:1] not in (b".", b""):
        return NO
    if b"\n" in data[:600]:
        return YES if _OPENING.match(data) else NO
    return MORE if len(data) < 600 and _TAGS.fullmatch(data) else NO


class _Imap(LineParser):
    """A connection. `_tags` are the commands that wait for their response."""

    __slots__ = ("_client", "_goes_on", "_greeted", "_lax", "_tags")

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._client = -1
        self._tags: dict[bytes, str] = {}
        self._goes_on = 0
        """The sides whose next line goes on after a literal, a bit each."""
        self._greeted = self._lax = False

    def gone(self, side: int) -> None:
        self._goes_on &= ~(1 << side)
        self._lax = True

    def line(self, side: int, line: bytes, found: list[Message]) -> None:
        if self._client < 0:
            self._client = 1 - side if line[:2] in (b"* ", b"+ ") or _TAGGED.match(line) else side
        bit = 1 << side
        first = not self._goes_on & bit
        if line[-1:] == b"}" and (literal := _LITERAL.search(line[-24:])):
            self._goes_on |= bit
            self.pass_over(side, int(literal[1]))
        else:
            self._goes_on &= ~bit
        if not first:
            return
        if side == self._client:
            self._command(line, found)
        else:
            self._response(line, found)

    def _command(self, line: bytes, found: list[Message]) -> None:
        if self._free():
            return
        match = _COMMAND.match(line)
        if match is None:
            if line and not self._lax:
                raise ParseError("command")
            return
        op = match[2].decode("ascii").upper()
        if op not in _COMMANDS:
            if self._lax:
                return
            op = "other"
        self._lax = False
        if len(self._tags) >= _MAX_PENDING:
            del self._tags[next(iter(self._tags))]
        self._tags[match[1]] = op
        found.append(Message(kind=Kind.REQUEST, op=op, match=match[1]))

    def _free(self) -> bool:
        """Tell whether the client is at something whose lines are no commands: a credential, or IDLE's DONE."""
        last = next(reversed(self._tags.values()), "")
        return last in ("AUTHENTICATE", "IDLE")

    def _response(self, line: bytes, found: list[Message]) -> None:
        if line[:2] == b"* ":
            word = line[2:6].upper().split(b" ", 1)[0]
            if word == b"BYE" or not self._greeted:
                found.append(Message(kind=Kind.NOTICE, op="bye" if word == b"BYE" else "greeting"))
            self._greeted = True
            return
        self._greeted = True
        match = _TAGGED.match(line)
        if match is None:
            return
        status = match[2].decode("ascii").lower()
        op = self._tags.pop(match[1], "")
        switch = "tls" if op == "STARTTLS" and status == "ok" else None
        self.over = switch is not None
        self.silent = op == "COMPRESS" and status == "ok"
        found.append(
            Message(kind=Kind.RESPONSE, status=status, error=status != "ok", match=match[1], switch=switch)
        )


DISSECTOR = Dissector(
    name="imap",
    transports=frozenset({"tcp"}),
    ports=frozenset({143, 220}),
    operations=_COMMANDS | {"greeting", "bye"},
    statuses=frozenset({"ok", "no", "bad"}),
    probe=_probe,
    parser=_Imap,
    reads="commands and tagged responses; STARTTLS",
    specification="RFC 9051, 3501, 2177, 7888",
    idle=1800.0,
)
