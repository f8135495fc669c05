"""FTP's data connections: RFC 959 section 3.

A file has no mark of its own: these connections are known by the control connection that announced them. A directory's
listing says what it is, as no other protocol sends one as the first thing of a connection. Nothing is read of either.
"""

import re
from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_UNIX = (
    rb"[-bcdlps][-r][-w][-xsS][-r][-w][-xsS][-r][-w][-xtT][+.@]? {1,12}[0-9]{1,6} {1,12}[^\x00-\x1f]{1,80} [0-9]{1,15} "
    rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 0-3][0-9] {1,3}[0-9:]{4,5} [^\x00-\x1f]{1,300}\r\n"
)
_DOS = (
    rb"[01][0-9]-[0-3][0-9]-(?:[0-9]{2}){1,2}  [01][0-9]:[0-5][0-9][AP]M "
    rb"{1,30}(?:<DIR>|[0-9]{1,15}) {1,30}[^\x00-\x1f]{1,300}\r\n"
)
_MACHINE = rb"(?i:[a-z.-]{1,20}=[^;\x00-\x1f]{0,80};){2,16} [^\x00-\x1f]{1,300}\r\n"
"""Facts of RFC 3659 section 7.2."""
_LISTING = re.compile(rb"(?:total [0-9]{1,12}\r\n)?(?:%s|%s|%s)" % (_UNIX, _DOS, _MACHINE))
_BEGINS = re.compile(rb"[-bcdlps][-r]|to|[01][0-9]|(?i:ty|mo|si|pe|un|cr|la|me|ch)")
_LINES = re.compile(rb"(?:total [0-9]{1,12}\r\n)?[^\x00-\x1f]*\r?")
"""How far a listing has come that is not a whole line yet; a file's name may be in any encoding."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if len(data) > 1 and not _BEGINS.match(data):
        return NO
    if data.count(b"\n", 0, 800) > data.startswith(b"total "):
        return YES if _LISTING.match(data) else NO
    return MORE if len(data) < 800 and _LINES.fullmatch(data) else NO


class _FtpData(Parser):
    """A transfer: told once, and passed over."""

    __slots__ = ("_told",)

    def __init__(self, ends: Ends) -> None:
        self._told = False

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if self._told:
            return ()
        self._told = True
        return (Message(kind=Kind.NOTICE, op="transfer"),)

    def skip(self, side: int) -> int:
        return -1 if self._told else 0

    def gap(self, side: int) -> bool:
        return True


DISSECTOR = Dissector(
    name="ftp_data",
    transports=frozenset({"tcp"}),
    ports=frozenset({20}),
    operations=frozenset({"transfer"}),
    statuses=frozenset(),
    probe=_probe,
    parser=_FtpData,
    reads="nothing: counted only",
    specification="RFC 959, 3659",
)
