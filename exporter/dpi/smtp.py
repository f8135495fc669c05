"""SMTP, submission and LMTP: RFC 5321, 3207 (STARTTLS), 4954 (AUTH), 3030 (BDAT), 2033 (LMTP), 2920 (pipelining).

Read are verbs, reply codes and the greeting's host name. Messages and credentials are passed over unread; neither
addresses nor a command's arguments are kept. 354 and 334 ask for more of the same command, so they are notices, and
the reply that follows ends it. A negative reply, transient or not, is an error. After STARTTLS's 220 it is TLS.
"""

import re

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.formats.replies import STATUSES, Dialogue, recognise, said
from exporter.formats.text import host_name
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_WORDS = """
EHLO HELO LHLO MAIL RCPT DATA BDAT RSET VRFY EXPN HELP NOOP QUIT AUTH STARTTLS ETRN ATRN TURN SEND SOML SAML
XCLIENT XFORWARD BURL
"""
_VERBS = frozenset(_WORDS.split())
_OPENING = re.compile(
    rb"(?i:EHLO|HELO|LHLO) [^\s]{1,255} *\r?\n|(?i:MAIL FROM|RCPT TO): ?<[^\x00-\x1f<>]{0,320}>"
)
_BEGINNINGS = (b"EHLO ", b"HELO ", b"LHLO ", b"MAIL FROM:", b"RCPT TO:")
_INITIALS = frozenset({b"", *(bytes([letter]) for letter in b"EHLMRehlmr")})
_CHUNK = re.compile(rb"BDAT +([0-9]{1,18})(?![^ \t])", re.IGNORECASE)


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] == b"2":
        return recognise("smtp", data, ends)
    if data[:1] not in _INITIALS:
        return NO
    start = data[:10].upper()
    for word in _BEGINNINGS:
        if start.startswith(word) or word.startswith(start):
            if _OPENING.match(data):
                return YES
            return MORE if len(data) < 400 and b"\n" not in data else NO
    return NO


class _Smtp(Dialogue):
    """A connection. `_challenged`: what the client sends next is a credential."""

    __slots__ = ("_challenged", "_greeted")

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._challenged = self._greeted = False

    def verbatim(self) -> bool:
        return self._challenged

    def command(self, verb: str, line: bytes, found: list[Message]) -> None:
        if verb not in _VERBS and self.lax:
            return
        self.lax = False
        self._greeted = True
        self.wait(verb)
        found.append(Message(kind=Kind.REQUEST, op=verb if verb in _VERBS else "other"))
        if verb == "DATA":
            self.begin_body(self.client)
        elif verb == "BDAT" and (chunk := _CHUNK.match(line)):
            self.pass_over(self.client, int(chunk[1]))

    def reply(self, code: bytes, text: bytes, found: list[Message]) -> None:
        if not self.pending:
            found.append(self._unasked(code, text))
            return
        if code[:1] == b"3":
            self._challenged = code == b"334" and self.pending[0] == "AUTH"
            found.append(said(code, Kind.NOTICE, "continue"))
            return
        verb = self.pending.pop(0)
        self._challenged = False
        if verb == "DATA":
            self.no_body(self.client)
        switch = "tls" if verb == "STARTTLS" and code == b"220" else None
        self.over = switch is not None
        found.append(said(code, Kind.RESPONSE, switch=switch))

    def _unasked(self, code: bytes, text: bytes) -> Message:
        """Read the greeting, which begins with the host's name (section 4.2), or what a server says when it ends."""
        first, self._greeted = not self._greeted, True
        notice = said(code, Kind.NOTICE, "greeting" if first else "unasked")
        name = host_name(text.split(b" ", 1)[0])
        if first and code == b"220" and "." in name:
            return Message(kind=Kind.NOTICE, op="greeting", status="2xx", attrs={"server.address": name})
        return notice


DISSECTOR = Dissector(
    name="smtp",
    transports=frozenset({"tcp"}),
    ports=frozenset({25, 587, 2525}),
    operations=_VERBS | {"greeting", "continue", "unasked"},
    statuses=STATUSES,
    probe=_probe,
    parser=_Smtp,
    reads="verbs, reply codes, greeting's host; STARTTLS",
    specification="RFC 5321, 3207, 4954, 3030",
    idle=600.0,
)
