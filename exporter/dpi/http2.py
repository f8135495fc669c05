"""HTTP/2 over TCP in the clear, by prior knowledge or after an upgrade: RFC 9113, RFC 7540 section 3.2; gRPC on it.

Read are the blocks of header fields; data is measured and skipped. A request and its response have the stream's number
in common. A gRPC response is told when its trailers come, as its status is in them. Blocks depend on all before
(HPACK), so that a connection found in mid-stream, or with a hole, cannot be read on.
"""

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    block,
    recognise,
    settings,
)
from exporter.formats.http2_headers import Fields, Headers
from exporter.formats.http2_report import (
    OPERATIONS,
    STATUSES,
    goaway,
    interim,
    is_grpc,
    request,
    reset,
    response,
)
from exporter.formats.stream import Collector, Inbox
from exporter.model import Message

__all__ = ["DISSECTOR"]

_HEADER = 9
_MAX_FRAME = 65536
_MAX_BLOCK = 32768
"""What a block of this size may cost is a few milliseconds; servers take 8 to 16 KiB."""
_MAX_STREAMS = 1024
_TABLE_SIZE = 1
_OF_STREAMS = frozenset({DATA, HEADERS, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_OF_ALL = frozenset({SETTINGS, GOAWAY})
_READ = frozenset({HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, GOAWAY, CONTINUATION})


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Side:
    """One side's bytes. `block` is the beginning of a block of fields that goes on in the next frame."""

    __slots__ = ("begun", "block", "ends", "headers", "inbox", "promise", "stream", "unread")

    def __init__(self) -> None:
        self.begun = False
        self.block: bytes | None = None
        self.ends = False
        """This block ends the stream."""
        self.headers = Headers()
        self.inbox = Inbox()
        self.promise = False
        self.stream = 0
        self.unread = 0
        """Bytes still to come of a frame that is not read."""


class _Http2(Collector):
    """A connection. `_waiting` are the streams without a response: who asked."""

    __slots__ = ("_sides", "_waiting")

    def __init__(self, ends: Ends) -> None:
        self._sides = (_Side(), _Side())
        self._waiting: dict[int, int] = {}

    def skip(self, side: int) -> int:
        state = self._sides[side]
        unread, state.unread = state.unread, 0
        return unread

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        state = self._sides[side]
        if state.unread:
            cut = min(state.unread, len(data))
            state.unread -= cut
            data = data[cut:]
        if not data or not (data := state.inbox.add(data)):
            return
        at, need = _begin(state, data), _HEADER
        if at < 0:
            return
        while len(data) - at >= _HEADER:
            kind = data[at + 3]
            start = at + _HEADER
            stop = start + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])
            stream = int.from_bytes(data[at + 5 : start], "big") & 0x7FFFFFFF
            _check(kind, stream, within=state.block is not None)
            if kind not in _READ:
                state.unread = max(0, stop - len(data))
                at = min(stop, len(data))
                continue
            if stop - start > _MAX_FRAME:
                raise ParseError("long")
            if stop > len(data):
                need = stop - at
                break
            self._frame(side, (kind, data[at + 4], stream), data[start:stop], found)
            at = stop
        state.inbox.keep(data[at:], need)

    def _frame(self, side: int, head: tuple[int, int, int], body: bytes, found: list[Message]) -> None:
        kind, flags, stream = head
        state = self._sides[side]
        if kind in (HEADERS, PUSH_PROMISE):
            state.block = block(kind, flags, body)
            if len(state.block) > _MAX_BLOCK:
                raise ParseError("long")
            state.stream = stream
            state.ends = bool(flags & END_STREAM)
            state.promise = kind == PUSH_PROMISE
        elif kind == CONTINUATION:
            state.block = (state.block or b"") + body
            if stream != state.stream or len(state.block) > _MAX_BLOCK:
                raise ParseError("continuation")
        elif kind == SETTINGS:
            if not flags & ACK and (size := settings(body).get(_TABLE_SIZE)) is not None:
                self._sides[1 - side].headers.allow(size)
            return
        elif kind == RST_STREAM:
            self._reset(side, stream, int.from_bytes(body[:4], "big"), found)
            return
        else:
            found.append(goaway(int.from_bytes(body[4:8], "big")))
            return
        if flags & END_HEADERS:
            whole, state.block = state.block, None
            fields = state.headers.read(whole)
            if not state.promise:
                self._fields(side, state, fields, found)

    def _fields(self, side: int, state: _Side, fields: Fields, found: list[Message]) -> None:
        """Take a request's or a response's fields, or trailers."""
        stream = state.stream
        if b":method" in fields:
            if len(self._waiting) >= _MAX_STREAMS:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[stream] = side
            found.append(request(fields, stream))
        elif b":status" in fields:
            code = fields[b":status"]
            if code[:1] == b"1" and code != b"101":
                found.append(interim(fields))
            elif not (is_grpc(fields) and code == b"200" and not state.ends):
                self._waiting.pop(stream, None)
                found.append(response(fields, stream))
        elif b"grpc-status" in fields:
            self._waiting.pop(stream, None)
            found.append(response(fields, stream))

    def _reset(self, side: int, stream: int, code: int, found: list[Message]) -> None:
        asked = self._waiting.pop(stream, None)
        if asked is not None:
            found.append(reset(code, stream if side != asked else None))


def _begin(state: _Side, data: bytes) -> int:
    """Pass over a client's preface: give where frames begin; -1: it is not all there."""
    if state.begun:
        return 0
    if len(data) < len(PREFACE) and PREFACE.startswith(data):
        state.inbox.keep(data, len(PREFACE))
        return -1
    state.begun = True
    return len(PREFACE) if data.startswith(PREFACE) else 0


def _check(kind: int, stream: int, *, within: bool) -> None:
    """Refuse what no frame may be: of the wrong stream, or within a block of fields."""
    if (
        within != (kind == CONTINUATION)
        or (kind in _OF_STREAMS and not stream)
        or (kind in _OF_ALL and stream)
    ):
        raise ParseError("frame")


DISSECTOR = Dissector(
    name="http2",
    transports=frozenset({"tcp"}),
    ports=frozenset({80, 2379, 4317, 8080, 8081, 9000, 50051}),
    operations=OPERATIONS,
    statuses=STATUSES,
    probe=_probe,
    parser=_Http2,
    reads="method, host, path without query, user agent, trace context; status; gRPC's method and status; resets",
    specification="RFC 9113, 7540, 7541, gRPC over HTTP2",
    idle=600.0,
)
