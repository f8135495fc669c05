"""Syslog over UDP (RFC 5426, RFC 3164) and TCP (RFC 6587, both framings).

Read are facility and severity; the messages' texts are not kept. All messages are notices; a message about an error is
no error of the protocol.
"""

import re
from collections.abc import Iterable

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.stream import until
from exporter.formats.syslog_line import FACILITIES, SEVERITIES, START, STRICT
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_COUNT = re.compile(rb"([1-9][0-9]{0,5}) (?=<)")
_MAX_LINE = 65536
_PRINTABLE = re.compile(rb"[^\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]{4,}")
_BEGINS = re.compile(rb"(?:[1-9][0-9]{0,5}(?: (?:<[^\n]*)?)?|<[^\n]*)?")


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.transport == "udp":
        if data[:1] != b"<" or not (priority := START.match(data)):
            return NO
        if STRICT.match(data):
            return YES
        text = data[priority.end() :].rstrip(b"\r\n\0")
        return YES if b"\0" not in text and b"</" not in text and _PRINTABLE.fullmatch(text) else NO
    count = _COUNT.match(data)
    if STRICT.match(data, count.end() if count else 0):
        return YES
    return MORE if len(data) < 340 and _BEGINS.fullmatch(data) else NO


class _Syslog(Parser):
    """A flow of datagrams, or a stream of lines or counted messages."""

    __slots__ = ("_held", "_lost", "_pass", "_stream")

    def __init__(self, ends: Ends) -> None:
        self._stream = ends.transport == "tcp"
        self._held = [b"", b""]
        self._pass = [0, 0]
        self._lost = 0

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        if not self._stream:
            return (_said(data, 0),)
        found: list[Message] = []
        try:
            self._read(side, data, found)
        except ParseError as error:
            return until(error, found)
        return found

    def idle(self) -> bool:
        return not (any(self._held) or any(self._pass) or self._lost)

    def gap(self, side: int) -> bool:
        self._held[side] = b""
        self._pass[side] = 0
        self._lost |= 1 << side
        return True

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        if self._lost >> side & 1:
            if not (START.match(data) or _COUNT.match(data)):
                return
            self._lost &= ~(1 << side)
        data = self._held[side] + data
        at, end = 0, len(data)
        while at < end:
            size = min(self._pass[side], end - at)
            self._pass[side] -= size
            after = at + size if size else self._next(side, data, at, found)
            if after < 0:
                break
            at = after
        self._held[side] = data[at:]

    def _next(self, side: int, data: bytes, at: int, found: list[Message]) -> int:
        """Read a message; -1: it is not all there. Of a counted one its beginning is enough."""
        if data[at] in b"\r\n\0":
            return at + 1
        if count := _COUNT.match(data, at):
            if len(data) - count.end() < min(8, int(count[1])):
                return -1
            found.append(_said(data, count.end()))
            self._pass[side] = int(count[1])
            return count.end()
        stop = data.find(b"\n", at)
        if stop < 0:
            stop = data.find(b"\0", at)
        if stop < 0:
            if len(data) - at > _MAX_LINE:
                raise ParseError("long")
            return -1
        if data[at] == 0x3C or not _more(data[at]):
            found.append(_said(data, at))
        return stop + 1


def _more(byte: int) -> bool:
    """Tell whether a line goes on with the message before it, which had a line's end in it (a trace)."""
    return byte in b"\t }])" or byte > 0x40


def _said(data: bytes, at: int) -> Message:
    start = START.match(data, at)
    if start is None:
        raise ParseError("priority")
    facility, severity = divmod(int(start[1]), 8)
    return Message(
        kind=Kind.NOTICE,
        op=SEVERITIES[severity],
        version="1" if start[2] else "",
        attrs={"syslog.facility": FACILITIES[facility]},
    )


DISSECTOR = Dissector(
    name="syslog",
    transports=frozenset({"udp", "tcp"}),
    ports=frozenset({514, 601, 6514}),
    operations=frozenset(SEVERITIES),
    statuses=frozenset(),
    probe=_probe,
    parser=_Syslog,
    reads="facility and severity",
    specification="RFC 5424, 5426, 6587, 3164",
)
