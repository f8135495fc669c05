"""FTP's control connection: RFC 959, 2228 and 4217 (AUTH TLS), 2389 (FEAT), 2428 (EPRT, EPSV), 3659 (MLSD, SIZE).

Read are verbs, reply codes, and the data connections that are announced. No argument is kept: PASS has the password,
others have names of files. 1xx says that a transfer begins, so it is a notice; the transfer's end is the response. A
negative reply is an error. After the 234 to AUTH it is TLS.
"""

import re

from msgspec.structs import replace

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.formats.ftp_data_ports import announced_by_client, announced_by_server
from exporter.formats.replies import STATUSES, Dialogue, recognise, said
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_WORDS = """
USER PASS ACCT CWD CDUP SMNT QUIT REIN PORT PASV TYPE STRU MODE RETR STOR STOU APPE ALLO REST RNFR RNTO ABOR DELE RMD
MKD PWD LIST NLST SITE SYST STAT HELP NOOP AUTH ADAT PBSZ PROT CCC MIC CONF ENC FEAT OPTS EPRT EPSV LANG MDTM MLSD
MLST SIZE HOST XPWD XCWD XMKD XRMD XCUP CLNT
"""
_VERBS = frozenset(_WORDS.split())
_OWN = re.compile(
    rb"(?i:SYST|FEAT|PASV|X?PWD|CDUP|EPSV(?: ALL| [12])?|TYPE [AIEL](?: [0-9NTC]+)?|AUTH (?:TLS|SSL|TLS-C|TLS-P)|"
    rb"PBSZ 0|PROT [CSEP]|OPTS UTF8(?: ON)?|PORT [0-9]+(?:,[0-9]+){5}|EPRT \|[12]\|[0-9A-Fa-f:.]+\|[0-9]+\||"
    rb"MODE [SBC]|STRU [FRP])\r\n"
)
_BOTH = re.compile(rb"(?i:USER|PASS|ACCT|NOOP|LIST|STAT|QUIT|CWD|SIZE|MDTM|RETR)(?: [^\r\n]{0,250})?\r\n")
"""Commands that others have as well; they prove nothing."""
_TYPED = re.compile(rb"[A-Za-z]{0,4}|[A-Za-z]{3,4} [^\r\n]{0,250}\r?|[A-Za-z]{3,4}\r")
_PASSIVE = re.compile(
    rb"227 [^\r\n]{0,60}[( =][0-9]{1,3}(?:,[0-9]{1,3}){5}\)?[^\r\n]{0,20}\r\n|229 [^\r\n]{0,60}\(\|\|\|[0-9]{1,5}\|\)"
)


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] == b"2":
        if data[:2] == b"22" and data[2:3] in (b"7", b"9"):  # its beginning was not seen
            return YES if _PASSIVE.match(data) else MORE if len(data) < 120 and b"\n" not in data else NO
        return recognise("ftp", data, ends)
    if not data[:1].isalpha() or (len(data) > 300 and b"\n" not in data[:300]):
        return NO if data else MORE
    at = 0
    while match := _BOTH.match(data, at):
        at = match.end()
    if _OWN.match(data, at):
        return YES
    return MORE if len(data) < 1000 and _TYPED.fullmatch(data, at) else NO


class _Ftp(Dialogue):
    """A control connection."""

    __slots__ = ("_greeted",)

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._greeted = False

    def command(self, verb: str, line: bytes, found: list[Message]) -> None:
        if self.lax and verb not in _VERBS:
            return
        self.lax, self._greeted = False, True
        self.wait(verb)
        expect = (
            announced_by_client(verb, line, 1 - self.client, self.ends) if verb in ("PORT", "EPRT") else ()
        )
        found.append(Message(kind=Kind.REQUEST, op=verb if verb in _VERBS else "other", expect=expect))

    def reply(self, code: bytes, text: bytes, found: list[Message]) -> None:
        expect = (
            announced_by_server(code, text, 1 - self.client, self.ends) if code in (b"227", b"229") else ()
        )
        if not self.pending:  # its command was not seen
            op = "unasked" if self._greeted else "greeting"
            found.append(replace(said(code, Kind.NOTICE, op), expect=expect))
            self._greeted = True
            return
        if code[:1] == b"1":
            found.append(said(code, Kind.NOTICE, "begins"))
            return
        verb = self.pending.pop(0)
        switch = "tls" if verb == "AUTH" and code == b"234" else None
        self.over = switch is not None
        found.append(replace(said(code, Kind.RESPONSE, switch=switch), expect=expect))


DISSECTOR = Dissector(
    name="ftp",
    transports=frozenset({"tcp"}),
    ports=frozenset({21, 2121}),
    operations=_VERBS | {"greeting", "begins", "unasked"},
    statuses=STATUSES,
    probe=_probe,
    parser=_Ftp,
    reads="verbs, reply codes, data connections announced; AUTH TLS",
    specification="RFC 959, 2228, 2428, 3659, 4217",
    idle=900.0,
)
