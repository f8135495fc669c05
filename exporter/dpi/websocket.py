"""WebSocket over TCP: RFC 6455, RFC 7692 (compression). HTTP's upgrade hands over to it.

What is told are messages' kinds, pings with their answers, and why a side closes. What the messages say is skipped.
"""

from exporter.dissector import Dissector, Ends
from exporter.formats.stream import Collector, Inbox
from exporter.formats.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Head,
    head,
    recognise,
    unmask,
)
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_CODES = {
    1000: "normal_closure",
    1001: "going_away",
    1002: "protocol_error",
    1003: "unsupported_data",
    1007: "invalid_payload",
    1008: "policy_violation",
    1009: "message_too_big",
    1010: "mandatory_extension",
    1011: "internal_error",
    1012: "service_restart",
    1013: "try_again_later",
    1014: "bad_gateway",
}
_FRIENDLY = frozenset({1000, 1001, 1012})
_DATA = {TEXT: "text", BINARY: "binary"}
_CONTROL = frozenset({CLOSE, PING, PONG})
_LONGEST_HEAD = 14


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _WebSocket(Collector):
    """A connection: by side the bytes of a header that is not all there, and how much of a payload is still to come."""

    __slots__ = ("_closed", "_inboxes", "_unread")

    def __init__(self, ends: Ends) -> None:
        self._closed = [False, False]
        self._inboxes = (Inbox(), Inbox())
        self._unread = [0, 0]

    def skip(self, side: int) -> int:
        if self._closed[side]:
            return -1
        unread, self._unread[side] = self._unread[side], 0
        return unread

    def _read(self, side: int, data: bytes, found: list[Message]) -> None:
        cut = min(self._unread[side], len(data))
        self._unread[side] -= cut
        if not data[cut:] or not (data := self._inboxes[side].add(data[cut:])):
            return
        at, need = 0, 2
        while at < len(data) and not self._closed[side]:
            frame = head(data, at)
            if frame is None:
                need = min(len(data) - at + 1, _LONGEST_HEAD)
                break
            end = frame.start + frame.size
            if frame.kind in _CONTROL:
                if end > len(data):
                    need = end - at
                    break
                self._control(side, frame, data[frame.start : end], found)
            elif op := _DATA.get(frame.kind):
                found.append(Message(kind=Kind.NOTICE, op=op))
            self._unread[side] = max(0, end - len(data))
            at = min(end, len(data))
        self._inboxes[side].keep(data[at:], need)

    def _control(self, side: int, frame: Head, body: bytes, found: list[Message]) -> None:
        body = unmask(body, frame.mask)
        if frame.kind == PING:
            found.append(Message(kind=Kind.REQUEST, op="ping", match=body))
        elif frame.kind == PONG:
            found.append(Message(kind=Kind.RESPONSE, status="ok", match=body))
        else:
            self._closed[side] = True
            code = int.from_bytes(body[:2], "big") if len(body) > 1 else 0
            status = _CODES.get(code, "other") if code else ""
            attrs = {"websocket.close.code": str(code)} if code else {}
            error = code != 0 and code not in _FRIENDLY
            found.append(Message(kind=Kind.NOTICE, op="close", status=status, error=error, attrs=attrs))


DISSECTOR = Dissector(
    name="websocket",
    transports=frozenset({"tcp"}),
    ports=frozenset({80, 8080}),
    operations=frozenset({"text", "binary", "ping", "close"}),
    statuses=frozenset(_CODES.values()) | {"ok"},
    probe=_probe,
    parser=_WebSocket,
    reads="kinds of messages, pings and their answers, close codes",
    specification="RFC 6455, 7692",
    idle=600.0,
)
