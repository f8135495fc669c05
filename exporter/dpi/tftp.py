"""TFTP: RFC 1350, 2347 to 2349 (options).

Read are requests, the beginning of a transfer, and errors. The transfer goes on from another port of the server; the
request announces it, and so is a notice: no response comes where it was sent. Names of files are not kept.
"""

import re
from collections.abc import Iterable

from exporter.dissector import NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.model import Expectation, Kind, Message

__all__ = ["DISSECTOR"]

_LIFETIME = 30.0
_REQUEST = re.compile(
    rb"\x00([\x01\x02])[^\x00-\x1f]{1,500}\0(?i:netascii|octet|mail)\0(?:[A-Za-z0-9]{1,32}\0[^\x00-\x1f]{1,300}\0){0,16}"
)
_OPTIONS = re.compile(rb"\x00\x06(?:(?i:blksize|tsize|timeout|windowsize|multicast)\0[0-9.,]{1,40}\0){1,8}")
_ERROR = re.compile(rb"\x00\x05\x00[\x00-\x08][^\x00-\x08\x0e-\x1f]{0,300}\0")
_ERRORS = (
    "undefined",
    "file_not_found",
    "access_violation",
    "disk_full",
    "illegal_operation",
    "unknown_transfer",
    "file_exists",
    "no_such_user",
    "option_refused",
)
_FIRST = (b"\0\3\0\1", b"\0\4\0\0", b"\0\4\0\1")
_BLOCK = 516


def _probe(side: int, data: bytes, ends: Ends) -> int:
    """Take a whole request, options or an error; else the first block if it is full, or its acknowledgment."""
    if data[:1] != b"\0" or len(data) < 4 or not 1 <= data[1] <= 6:
        return NO
    if data[1] in (3, 4):
        return YES if data[:4] in _FIRST and len(data) == (_BLOCK if data[1] == 3 else 4) else NO
    return YES if _REQUEST.fullmatch(data) or _OPTIONS.fullmatch(data) or _ERROR.fullmatch(data) else NO


class _Tftp(Parser):
    """A request, or a transfer."""

    __slots__ = ("_begun", "_ends")

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._begun = False

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if len(data) < 4 or data[0] or not 1 <= data[1] <= 6:
            raise ParseError("opcode")
        kind = data[1]
        if kind <= 2:
            if not _REQUEST.fullmatch(data):
                raise ParseError("request")
            return (self._request(side, "read" if kind == 1 else "write"),)
        if kind == 5:
            code = data[2] << 8 | data[3]
            status = _ERRORS[code] if code < len(_ERRORS) else "other"
            return (Message(kind=Kind.NOTICE, op="error", status=status, error=True),)
        if kind == 6:
            return (Message(kind=Kind.NOTICE, op="options"),)
        if kind == 3 and not self._begun:
            self._begun = True
            return (Message(kind=Kind.NOTICE, op="transfer"),)
        return ()

    def _request(self, side: int, op: str) -> Message:
        """Expect the transfer, from the server's address and a port that is not known yet (RFC 1350 section 4)."""
        ends = self._ends
        here, port, there = (
            (ends.address1, ends.port1, ends.address0) if side else (ends.address0, ends.port0, ends.address1)
        )
        return Message(
            kind=Kind.NOTICE, op=op, expect=(Expectation("udp", here, port, "tftp", _LIFETIME, there),)
        )


DISSECTOR = Dissector(
    name="tftp",
    transports=frozenset({"udp"}),
    ports=frozenset({69}),
    operations=frozenset({"read", "write", "options", "transfer", "error"}),
    statuses=frozenset(_ERRORS),
    probe=_probe,
    parser=_Tftp,
    reads="requests, beginning of a transfer, errors",
    specification="RFC 1350, 2347, 2348, 2349",
    idle=30.0,
)
