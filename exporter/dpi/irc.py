"""IRC: RFC 1459, 2812; capabilities as IRCv3 has them (CAP, SASL, message tags).

Read are commands of both sides and numeric replies; 400 to 599 and ERROR are errors (RFC 2812 section 5.2). There is
no pairing of replies with commands, so all messages are notices. Neither texts nor names are kept.
"""

import re

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.lines import LineParser
from exporter.formats.text import host_name
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_WORDS = """
ADMIN AUTHENTICATE AWAY BATCH CAP CONNECT ERROR INFO INVITE ISON JOIN KICK KILL LINKS LIST LUSERS MODE MOTD NAMES NICK
NJOIN NOTICE OPER PART PASS PING PONG PRIVMSG PROTOCTL QUIT REHASH SERVER SERVICE SQUERY SQUIT STARTTLS STATS SUMMON
TAGMSG TIME TOPIC TRACE USER USERHOST USERS VERSION WALLOPS WEBIRC WHO WHOIS WHOWAS ACCOUNT CHGHOST SETNAME
"""
_COMMANDS = frozenset(_WORDS.split())
_LINE = re.compile(rb"(?:@[^ ]+ +)?(?::([^ ]+) +)?(?:([A-Za-z]{1,16})|([0-9]{3}))(?: |$)")
_NICK = rb"[^\x00-\x20:,!@]{1,64}"
_OPENING = re.compile(
    rb"(?:(?i:PASS) [^\x00\r\n]{1,250}\r?\n|(?i:NICK) :?%s *\r?\n|(?i:CAP) [^\x00\r\n]{1,100}\r?\n)*?"
    rb"(?:(?i:CAP) (?:LS(?: 30[0-9])?|REQ :[^\x00\r\n]{1,200}|END) *\r?\n|(?i:NICK) :?%s *\r?\n(?i:USER) |"
    rb"(?i:USER) [^\x00-\x20]{1,64} [^\x00-\x20]{1,128} [^\x00-\x20]{1,128} :?[^\x00\r\n]{0,250}\r?\n|"
    rb"(?i:JOIN) [#&][^\x00\r\n]{1,200}\r?\n)" % (_NICK, _NICK)
)
_SERVER = re.compile(
    rb"(?::[^\x00-\x20:]{1,120} )?(?:NOTICE (?:AUTH|\*|%s) :[^\x00\r\n]{1,400}\r?\n|CAP (?:\*|%s) (?:LS|ACK|NAK) |"
    rb"00[1-4] %s |4[0-9][0-9] (?:\*|%s) |376 %s )" % ((_NICK,) * 5)
)
_TYPED = re.compile(
    rb"(?:(?i:PASS|NICK|CAP|USER|JOIN|PING|PONG) [^\x00\r\n]{0,400}\r?\n){0,6}"
    rb"(?:[A-Za-z]{0,4}|(?i:PASS|NICK|CAP|USER|JOIN|PING|PONG) [^\x00\r\n]{0,400}\r?)"
)


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] == b":" or data[:6] == b"NOTICE"[: len(data)]:
        if _SERVER.match(data):
            return YES
        return MORE if len(data) < 500 and b"\n" not in data and b"\0" not in data else NO
    if data[:1].upper() not in (b"P", b"N", b"C", b"U", b"J", b"") or (
        len(data) > 512 and b"\n" not in data[:512]
    ):
        return NO
    if _OPENING.match(data):
        return YES
    return MORE if len(data) < 1200 and _TYPED.fullmatch(data) else NO


class _Irc(LineParser):
    """A connection, of a client or between servers."""

    __slots__ = ()

    def line(self, side: int, line: bytes, found: list[Message]) -> None:
        if not line:
            return
        match = _LINE.match(line)
        if match is None:
            raise ParseError("line")
        prefix, word, number = match.groups()
        if number:
            self._numeric(prefix or b"", int(number), found)
            return
        op = word.decode("ascii").upper()
        op = op if op in _COMMANDS else "other"
        found.append(Message(kind=Kind.NOTICE, op=op, error=op == "ERROR"))

    def _numeric(self, prefix: bytes, number: int, found: list[Message]) -> None:
        """Read a reply: 001 comes first, from the server's name; 670 begins TLS (STARTTLS)."""
        failed = 400 <= number < 600
        name = host_name(prefix) if number == 1 else ""
        self.over = number == 670
        found.append(
            Message(
                kind=Kind.NOTICE,
                op="numeric",
                status="error" if failed else "reply",
                error=failed,
                attrs={"server.address": name} if name else {},
                switch="tls" if self.over else None,
            )
        )


DISSECTOR = Dissector(
    name="irc",
    transports=frozenset({"tcp"}),
    ports=frozenset({194, *range(6660, 6670), 6697, 7000}),
    operations=_COMMANDS | {"numeric"},
    statuses=frozenset({"reply", "error"}),
    probe=_probe,
    parser=_Irc,
    reads="commands, numeric replies, server's name; STARTTLS",
    specification="RFC 1459, 2812, IRCv3",
    idle=1800.0,
)
