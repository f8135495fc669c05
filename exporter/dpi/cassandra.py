"""Cassandra's CQL binary protocol, versions 3 to 5: Apache Cassandra, native_protocol_v3.spec to _v5.spec.

Read are requests (of a statement its verb, prepared ones as well), the keyspace that is used, and errors; never a
text or a value. Responses are matched by stream. Compressed bodies are not read, and of version 5 nothing after the
start-up: it wraps its frames in checksummed ones then.
"""

from typing import TypeVar

from exporter.dissector import Dissector, Ends
from exporter.errors import ParseError, ShortError
from exporter.formats.cql_frames import (
    AUTHENTICATE,
    ERROR,
    ERRORS,
    EVENT,
    EXECUTE,
    HEADER,
    MAX_BODY,
    OPCODES,
    PREPARE,
    QUERY,
    READY,
    REQUESTS,
    RESPONSES,
    RESULT,
    VERSIONS,
    recognise,
)
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.sql import VERBS, verb
from exporter.formats.text import clean
from exporter.model import Kind, Message
from exporter.wire import Reader

__all__ = ["DISSECTOR"]

K = TypeVar("K", int, bytes)

_READ = 1024
_COMPRESSED, _TRACED, _PAYLOAD, _WARNED = 1, 2, 4, 8
_SET_KEYSPACE, _PREPARED = 3, 4
_MAX_REMEMBERED = 256


def _probe(side: int, data: bytes, ends: Ends) -> int:
    return recognise(data)


class _Cassandra(Framed):
    """One connection. `_preparing` are verbs by stream, `_prepared` by the statement's identifier."""

    __slots__ = ("_prepared", "_preparing")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._preparing: dict[int, str] = {}
        self._prepared: dict[bytes, str] = {}

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if data[at] & 0x7F not in VERSIONS:
            raise ParseError("version")
        if len(data) - at < 9:
            return MORE_NEEDED
        first, _, _, code, size = HEADER(data, at)
        if code not in (RESPONSES if first & 0x80 else REQUESTS) or size > MAX_BODY:
            raise ParseError("header")
        return 9 + size, min(9 + size, _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        first, flags, stream, code, _ = HEADER(data)
        body = Reader(data, 9)
        try:
            if not first & 0x80:
                found.append(self._request(first, flags, (code, stream), body))
            elif code == EVENT:
                found.append(Message(kind=Kind.NOTICE, op="event"))
            else:
                found.append(self._response(flags, (code, stream), body))
                self.done = first == 0x85 and code in (READY, AUTHENTICATE)
        except ShortError:
            if len(data) < _READ:
                raise ParseError("length") from None

    def resumes(self, side: int, data: bytes) -> bool:
        try:
            whole, _ = self.measure(side, data, 0)
        except ParseError:
            return False
        return whole >= 9 and not data[1] & 0xE0

    def forget(self) -> None:
        self._preparing.clear()

    def idle(self) -> bool:
        return self.resting() and not self._preparing and not self._prepared

    def _request(self, first: int, flags: int, frame: tuple[int, int], body: Reader) -> Message:
        code, stream = frame
        op = OPCODES[code]
        if not flags & _COMPRESSED:
            if flags & _PAYLOAD:
                _skip_payload(body)
            if code == EXECUTE:
                op = self._prepared.get(body.take(body.u16()), op)
            elif code == QUERY:
                op = verb(_text(body))
            elif code == PREPARE:
                _remember(self._preparing, stream, verb(_text(body)))
        version = VERSIONS[first] if op == "startup" else ""
        return Message(kind=Kind.REQUEST, op=op, match=stream, version=version)

    def _response(self, flags: int, frame: tuple[int, int], body: Reader) -> Message:
        code, stream = frame
        prepared = self._preparing.pop(stream, "")
        status = "error" if code == ERROR else "ok"
        attrs: dict[str, str] = {}
        if not flags & _COMPRESSED and code in (ERROR, RESULT):
            if flags & _TRACED:
                body.skip(16)
            if flags & _WARNED:
                for _ in range(body.u16()):
                    body.skip(body.u16())
            if flags & _PAYLOAD:
                _skip_payload(body)
            kind = body.u32()
            if code == ERROR:
                status = ERRORS.get(kind, "other")
            elif kind == _SET_KEYSPACE:
                attrs["db.namespace"] = clean(body.take(body.u16()), 64)
            elif kind == _PREPARED and prepared:
                _remember(self._prepared, body.take(body.u16()), prepared)
        return Message(kind=Kind.RESPONSE, status=status, error=code == ERROR, match=stream, attrs=attrs)


def _remember(names: dict[K, str], name: K, what: str) -> None:
    """Keep a name; of too many, the oldest is forgotten."""
    if name not in names and len(names) >= _MAX_REMEMBERED:
        del names[next(iter(names))]
    names[name] = what


def _text(body: Reader) -> bytes:
    """Read a statement's text, as much as is there."""
    size = body.u32()
    return body.peek(size)


def _skip_payload(body: Reader) -> None:
    """Pass over a custom payload: names and bytes (native_protocol_v4.spec section 2.2)."""
    for _ in range(body.u16()):
        body.skip(body.u16())
        size = body.u32()
        body.skip(0 if size >= 1 << 31 else size)


DISSECTOR = Dissector(
    name="cassandra",
    transports=frozenset({"tcp"}),
    ports=frozenset({9042, 9142}),
    operations=VERBS | frozenset(OPCODES.values()),
    statuses=frozenset(ERRORS.values()) | {"ok", "error"},
    probe=_probe,
    parser=_Cassandra,
    reads="version, verb of each statement, keyspace, error code",
    specification="CQL native protocol v3, v4, v5",
)
