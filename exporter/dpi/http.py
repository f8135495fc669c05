"""HTTP/1.0 and 1.1 over TCP: RFC 9110, RFC 9112, and the methods of WebDAV and its relatives.

Read are the heads; bodies are measured and skipped: by Content-Length, chunked, or up to the close. We are no endpoint
but an observer: bare line feeds, empty lines before a message, any method and lower case are taken as they come.
A request's query string and a message's cookies and credentials are never kept. A 5xx is an error; a 4xx is the
client's own and shows as status `4xx`. A 1xx is a notice, as the response is still to come. After 101, and after
CONNECT's 2xx, somebody else speaks.
"""

import re
from collections.abc import Iterable

from exporter.dissector import Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.head import END, Fields, reader
from exporter.formats.http_attributes import request_attributes, server_attributes
from exporter.formats.http_body import Body
from exporter.formats.http_start import BROKEN, LENIENT, METHODS, REQUEST, RESPONSE, recognise, starts
from exporter.formats.stream import until
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_STATUSES = {code: f"{code // 100}xx" if code < 600 else "other" for code in range(100, 1000)}
_UPGRADES = {b"websocket": "websocket", b"h2c": "http2", b"tls": "tls"}

_FRAMED = frozenset({b"content-length", b"transfer-encoding"})
_fields = reader(*_FRAMED, b"host", b"upgrade", b"user-agent", b"traceparent")
_MAX_HEAD = 65536
_MAX_PENDING = 256

HEAD, WAIT, LOST = range(3)
"""What a side is at outside bodies: heads; silence, as it asked to go over to another protocol; bytes were lost."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Side(Body):
    """One side's bytes that are not read yet, and what they are."""

    __slots__ = ("held", "searched", "state")

    def __init__(self) -> None:
        super().__init__()
        self.held = b""
        self.searched = 0
        """Bytes of `held` in which the head does not end."""
        self.state = HEAD


class _Http(Parser):
    """One connection. `_pending` are the methods of the requests that wait for their response, first in, first out."""

    __slots__ = ("_over", "_pending", "_sides")

    def __init__(self, ends: Ends) -> None:
        self._sides = (_Side(), _Side())
        self._pending: list[str] = []  # a deque takes 600 bytes when it is empty
        self._over = False
        """Another protocol has taken over."""

    def feed(self, side: int, data: bytes) -> Iterable[Message]:
        found: list[Message] = []
        try:
            self._read(self._sides[side], data, found)
        except ParseError as error:
            return until(error, found)
        return found

    def skip(self, side: int) -> int:
        state = self._sides[side]
        return state.skip() if state.part else 0

    def idle(self) -> bool:
        for state in self._sides:
            if state.part or state.held or state.state != HEAD:
                return False
        return not self._pending and not self._over

    def gap(self, side: int) -> bool:
        state = self._sides[side]
        state.reset()
        state.held = b""
        state.searched = 0
        state.state = LOST
        self._pending.clear()
        return True

    def close(self, side: int) -> Iterable[Message]:
        """Read what was held for a change of protocol that did not come about."""
        return self.feed(side, b"")

    def rest(self, side: int) -> bytes:
        state = self._sides[side]
        held, state.held = state.held, b""
        return held

    def _read(self, state: _Side, data: bytes, found: list[Message]) -> None:
        if state.state == LOST and not _resumes(state, data):
            return
        if state.held:
            data = state.held + data
        at, end = 0, len(data)
        while at < end and not self._over:
            after = state.read(data, at) if state.part else self._head(state, data, at, found)
            if after < 0:
                break
            at = after
        state.held = data[at:]

    def _wait(self, method: str) -> None:
        """Note a request; of too many, the oldest is forgotten."""
        if len(self._pending) >= _MAX_PENDING:
            del self._pending[0]
        self._pending.append(method)

    def _head(self, state: _Side, data: bytes, at: int, found: list[Message]) -> int:
        if data[at] in b"\r\n":
            return at + 1
        if state.state == WAIT:
            return _bounded(len(data) - at)
        end = END.search(data, at + max(0, state.searched - 2))
        if end is None:
            if not state.searched and not starts(data, at):
                raise ParseError("start")
            state.searched = len(data) - at
            return _bounded(state.searched)
        state.searched = 0
        names = _fields(data[at : end.start()])
        if response := RESPONSE.match(data, at):
            self._response(state, response, names, found)
        elif request := REQUEST.match(data, at):
            self._wait(request[1].decode("ascii").upper())
            self._request(state, request, names, found)
        elif request := LENIENT.match(data, at):
            self._wait("")
            self._request(state, request, names, found)
        elif broken := BROKEN.match(data, at):
            self._wait("")
            found.append(_broken(broken, names))
        else:
            raise ParseError("start")
        return end.end()

    def _request(self, state: _Side, start: re.Match[bytes], names: Fields, found: list[Message]) -> None:
        method = start[1].decode("ascii")
        op = method if method in METHODS else method.upper()
        if op not in METHODS:
            op = "other"
        attrs = request_attributes(method, start[2].strip(), names)
        version = start[3].decode("ascii")
        found.append(
            Message(kind=Kind.REQUEST, op=op, version=version if len(version) == 3 else "", attrs=attrs)
        )
        if op == "CONNECT" or (b"upgrade" in names and not names.keys() & _FRAMED):
            state.state = WAIT
        else:
            state.begin(names, endless=False)

    def _response(self, state: _Side, start: re.Match[bytes], names: Fields, found: list[Message]) -> None:
        code = int(start[2])
        interim = code < 200 and code != 101
        method = "" if interim or not self._pending else self._pending.pop(0)
        switch = _switch(code, method, names)
        found.append(
            Message(
                kind=Kind.NOTICE if interim else Kind.RESPONSE,
                op="interim" if interim else "",
                status=_STATUSES[code],
                error=500 <= code < 600,
                attrs={"http.response.status_code": start[2].decode("ascii")},
                switch=switch,
            )
        )
        self._over = switch is not None
        if interim or self._over:
            return
        self._stays()
        if method != "HEAD" and code not in (204, 304):
            state.begin(names, endless=True)

    def _stays(self) -> None:
        """A side that asked to go over and may not goes on with HTTP."""
        if not self._pending:
            for side in self._sides:
                side.state = HEAD if side.state == WAIT else side.state


def _broken(start: re.Match[bytes], names: Fields) -> Message:
    """Count a request that no server understands: its method if it is known, its host if it is told."""
    op = start[1].decode("ascii") if start[1] else "other"
    attrs = server_attributes(names.get(b"host", b"")) | ({"http.request.method": op} if start[1] else {})
    return Message(kind=Kind.REQUEST, op=op, attrs=attrs)


def _switch(code: int, method: str, names: Fields) -> str | None:
    """Name the protocol that takes over, "" if that is to be found out, None if it is none."""
    if code == 101:
        return _UPGRADES.get(names.get(b"upgrade", b"").lower().partition(b"/")[0], "")
    return "" if method == "CONNECT" and code < 300 else None


def _resumes(state: _Side, data: bytes) -> bool:
    """After a gap, reading goes on where a segment begins with a message."""
    if not (REQUEST.match(data) or RESPONSE.match(data)):
        return False
    state.state = HEAD
    return True


def _bounded(size: int) -> int:
    if size > _MAX_HEAD:
        raise ParseError("long")
    return -1


DISSECTOR = Dissector(
    name="http",
    transports=frozenset({"tcp"}),
    ports=frozenset({80, 591, 631, 3000, 3128, 5000, 5985, 8000, 8008, 8080, 8081, 8088, 8888, 9090, 9100}),
    operations=METHODS | {"interim"},
    statuses=frozenset(_STATUSES.values()),
    probe=_probe,
    parser=_Http,
    reads="method, host, path without query, user agent, trace context; status; upgrades and tunnels",
    specification="RFC 9110, 9112",
    idle=600.0,
)
