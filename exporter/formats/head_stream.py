"""Messages of a head and a body on a stream, as SIP and RTSP have them (RFC 3261 section 7, RFC 2326 section 4)."""

import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from exporter.dissector import MORE, NO, YES, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.head import END, reader
from exporter.formats.stream import until
from exporter.model import Message

__all__ = ["HeadParser", "recognise"]

_MAX_HEAD = 32768
_MAX_BODY = 16384
"""A longer body is passed over unread."""
_length = reader(b"content-length", b"l")
_LINE = 4096
_WORD = re.compile(rb"[A-Z_]{1,16}")
_TARGET = re.compile(rb"(?:\*|[A-Za-z][A-Za-z0-9+.-]*(?::[^\x00-\x1f]*)?)?\r?|\* [A-Z/0-9.]*\r?")


class HeadParser(Parser):
    """A connection, or a flow of datagrams with a message each. A subclass reads `message`.

    `START` is a start line, of a request or of a response.
    """

    __slots__ = ("_held", "_lost", "_pass", "ends")

    START: ClassVar[re.Pattern[bytes]]

    def __init__(self, ends: Ends) -> None:
        """Hold nothing yet."""
        self.ends = ends
        self._held = [b"", b""]
        self._pass = [0, 0]
        self._lost = 0
        """The sides of which bytes were lost, a bit each."""

    @abstractmethod
    def message(self, side: int, head: bytes, body: bytes, found: list[Message]) -> None:
        """Read a head (without its last line feed) and its body (b"" if it is too long)."""

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found: list[Message] = []
        try:
            if self.ends.transport == "udp":
                self._datagram(side, data, found)
            else:
                self._read(side, data, found)
        except ParseError as error:
            return until(error, found)
        return found

    def skip(self, side: int) -> int:
        size, self._pass[side] = self._pass[side], 0
        return size

    def idle(self) -> bool:
        return not (any(self._held) or any(self._pass) or self._lost)

    def gap(self, side: int) -> bool:
        self._held[side] = b""
        self._pass[side] = 0
        self._lost |= 1 << side
        return True

    def _datagram(self, side: int, data: bytes, found: list[Message]) -> None:
        if not data.strip(b"\r\n\0"):  # it keeps a translation's entry alive (RFC 5626 section 3.5.1)
            return
        if not self.START.match(data):
            raise ParseError("start")
        end = END.search(data)
        head, body = (data[: end.start()], data[end.end() :]) if end else (data, b"")
        self.message(side, head, body, found)

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        if self._lost >> side & 1:
            if not self.START.match(data):
                return
            self._lost &= ~(1 << side)
        data = self._held[side] + data
        at, end = 0, len(data)
        while at < end:
            if self._pass[side]:
                size = min(self._pass[side], end - at)
                self._pass[side] -= size
                at += size
                continue
            after = at + 1 if data[at] in b"\r\n" else self._next(side, data, at, found)
            if after < 0:
                break
            at = after
        self._held[side] = data[at:]

    def _next(self, side: int, data: bytes, at: int, found: list[Message]) -> int:
        """Read a message, or what is interleaved with messages (RFC 2326 section 10.12). -1: it is not all there."""
        if data[at] == 0x24:
            if len(data) - at < 4:
                return -1
            self._pass[side] = data[at + 2] << 8 | data[at + 3]
            return at + 4
        end = END.search(data, at)
        if end is None:
            whole = data.find(b"\n", at, at + _LINE) >= 0
            if (whole and not self.START.match(data, at)) or len(data) - at > (_MAX_HEAD if whole else _LINE):
                raise ParseError("start")
            return -1
        if not self.START.match(data, at):
            raise ParseError("start")
        head = data[at : end.start()]
        fields = _length(head)
        size = _size(fields.get(b"content-length") or fields.get(b"l") or b"0")
        stop = end.end() + size
        if size > _MAX_BODY:
            self.message(side, head, b"", found)
            self._pass[side] = size
            return end.end()
        if stop > len(data):
            return -1
        self.message(side, head, data[end.end() : stop], found)
        return stop


def recognise(data: bytes, start: re.Pattern[bytes], version: bytes) -> int:
    """Tell, as a stream's probe does, whether a side begins with such a start line: the version must be in it."""
    text = data.lstrip(b"\r\n")
    if b"\n" in text[:_LINE]:
        return YES if start.match(text) else NO
    if text[:1] == version[:1] and version.startswith(text[: len(version)]):
        return MORE
    word, space, rest = text[:_LINE].partition(b" ")
    if len(text) >= _LINE or (word and not _WORD.fullmatch(word)) or (space and not _TARGET.fullmatch(rest)):
        return MORE if text.startswith(version) and len(text) < _LINE else NO
    return MORE


def _size(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > 12:
        raise ParseError("length")
    return int(raw)
