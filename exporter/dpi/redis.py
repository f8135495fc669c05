"""Redis' serialization protocol, RESP2 and RESP3: Redis documentation, "Redis serialization protocol specification".

Read are each command's name and the kind of its reply (for an error, its first word); never a key, a value or a
password. What comes without having been asked for is a push. Replication's stream is not read. Commands without
arrays ("inline") are words of many protocols: they are read where a reply tells what they are.
"""

import re

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats.framed import MORE_NEEDED, Framed, Waiting, line_end
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

# fmt: off
_COMMANDS = frozenset({
    "APPEND", "AUTH", "BLPOP", "BRPOP", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DECR", "DEL", "DISCARD", "ECHO",
    "EVAL", "EVALSHA", "EXEC", "EXISTS", "EXPIRE", "FLUSHALL", "GET", "GETDEL", "HDEL", "HELLO", "HGET", "HGETALL",
    "HINCRBY", "HMGET", "HMSET", "HSCAN", "HSET", "INCR", "INCRBY", "INFO", "KEYS", "LLEN", "LPOP", "LPUSH", "LRANGE",
    "MGET", "MSET", "MULTI", "PING", "PSUBSCRIBE", "PSYNC", "PUBLISH", "REPLCONF", "RPOP", "RPUSH", "SADD", "SCAN",
    "SELECT", "SET", "SETEX", "SMEMBERS", "SREM", "SUBSCRIBE", "TTL", "UNSUBSCRIBE", "XADD", "XREAD", "XREADGROUP",
    "ZADD", "ZRANGE",
})
_ERRORS = frozenset({
    "ASK", "BUSY", "BUSYGROUP", "BUSYKEY", "CLUSTERDOWN", "CROSSSLOT", "DENIED", "ERR", "EXECABORT", "INPROG", "IOERR",
    "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH", "NOGROUP", "NOPERM", "NOREPLICAS", "NOSCRIPT", "OOM",
    "READONLY", "TRYAGAIN", "UNKILLABLE", "WRONGPASS", "WRONGTYPE",
})
# fmt: on
_REPLICATION = frozenset({"SYNC", "PSYNC", "MONITOR"})
_PUSHES = frozenset({"MESSAGE", "PMESSAGE", "SMESSAGE", "UNSUBSCRIBE", "PUNSUBSCRIBE"})

_ARRAY = re.compile(rb"\*[1-9]\d{0,6}\r\n\$(\d{1,2})\r\n([A-Za-z][A-Za-z0-9._|-]*)\r\n")
_ARRAY_BEGINS = re.compile(
    rb"\*(?:[1-9]\d{0,6}(?:\r(?:\n(?:\$\d{0,2}(?:\r(?:\n(?:[A-Za-z][A-Za-z0-9._|-]{0,98}\r?)?)?)?)?)?)?)?"
)
_BULK_HEAD = re.compile(rb"\$([1-9]\d{0,8})\r\n")
_BULK_BEGINS = re.compile(rb"\$(?:[1-9]\d{0,8}\r?)?")
_REPLIES = (
    b"+PONG\r\n",
    b"-NOAUTH Authentication required",
    b"-DENIED Redis is running in protected mode",
    b"-WRONGTYPE Operation ",
)
"""Replies that no other protocol has."""

_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_SIMPLE = frozenset(b"+-:_,#(")
_BULK = frozenset(b"$!=")
_GROUPS = {0x2A: 1, 0x7E: 1, 0x3E: 1, 0x25: 2, 0x7C: 2}
"""Arrays, sets, pushes; maps and attributes, whose elements are pairs."""
_PUSH, _ATTRIBUTE, _ARRAY_TYPE = 0x3E, 0x7C, 0x2A
_MAX_LINE = 65536
_MAX_NAME = 64
_MAX_LENGTH = 1 << 32


def _probe(side: int, data: bytes, ends: Ends) -> int:
    first = data[:1]
    if first == b"*":
        if match := _ARRAY.match(data):
            return YES if int(match[1]) == len(match[2]) else NO
        return MORE if _ARRAY_BEGINS.fullmatch(data) else NO
    if first == b"$":
        return _probe_bulk(data)
    if first not in (b"-", b"+", b""):
        return NO
    if data.startswith(_REPLIES):
        return YES
    return MORE if any(reply.startswith(data) for reply in _REPLIES) else NO


def _probe_bulk(data: bytes) -> int:
    """A reply alone: its end is where its length says."""
    match = _BULK_HEAD.match(data)
    if not match:
        return MORE if _BULK_BEGINS.fullmatch(data) else NO
    end = match.end() + int(match[1])
    if len(data) < end + 2:
        return MORE
    return YES if data[end : end + 2] == b"\r\n" else NO


class _Side:
    """How far one side's message has come."""

    __slots__ = ("first", "kind", "left")

    def __init__(self) -> None:
        self.left = 0
        """Elements of the message under way that are still to come."""
        self.kind = 0
        self.first = False
        """The next element is the first of a message."""


class _Redis(Framed):
    """One connection; an element at a time, however deep it is in others. `_client` is None until it is known."""

    __slots__ = ("_client", "_sides", "_waiting")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._client: int | None = None
        self._sides = (_Side(), _Side())
        self._waiting: Waiting[None] = Waiting()

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        kind = data[at]
        if kind in _LETTERS and not self._sides[side].left and self._client != 1 - side:
            end = line_end(data, at, _MAX_LINE)
            return end - at if end else 0, min(end - at, _MAX_NAME) if end else 0
        if kind not in _SIMPLE and kind not in _BULK and kind not in _GROUPS:
            raise ParseError("type")
        end = line_end(data, at, _MAX_LINE)
        if not end:
            return MORE_NEEDED
        line = whole = end - at
        if kind in _BULK and (size := _number(data[at + 1 : end])) >= 0:
            whole += size + 2
        state = self._sides[side]
        if (
            state.left and not state.first and kind not in _GROUPS
        ):  # one of many, of no interest: counted at once
            state.left -= 1
            return whole, 0
        return whole, min(whole, line + _MAX_NAME)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        state, kind = self._sides[side], data[0]
        if not state.left:
            self._begin(state, kind, data, side, found)
            return
        state.left -= 1
        if kind in _GROUPS:
            state.left += max(0, _number(data[1:])) * _GROUPS[kind]
        if state.first:
            state.first = False
            self._first(side, data, found)

    def resumes(self, side: int, data: bytes) -> bool:
        self._sides[side].left = 0
        return _ARRAY.match(data) is not None or (
            side != self._client and data[:1] in (b"+", b"-", b":", b"$")
        )

    def forget(self) -> None:
        self._waiting.clear()

    def idle(self) -> bool:
        return self.resting() and not self._waiting and not any(side.left for side in self._sides)

    def _begin(self, state: _Side, kind: int, data: bytes, side: int, found: list[Message]) -> None:
        if kind in _LETTERS:  # a command on a line
            self._client = side
            self._command(data.split(None, 1)[0].decode("ascii", "replace").upper(), found)
            return
        state.kind = kind
        if kind in _GROUPS:
            state.left = max(0, _number(data[1:])) * _GROUPS[kind]
            state.first = kind in (_ARRAY_TYPE, _PUSH) and state.left > 0
            if kind in (_PUSH, _ATTRIBUTE) or state.first:
                return
        if side != self._client and not (self._client is None and kind in _GROUPS):
            self._reply(data, found)

    def _first(self, side: int, data: bytes, found: list[Message]) -> None:
        """The first element of an array tells a command, or a push that nobody asked for."""
        name = data.partition(b"\n")[2].rstrip(b"\r\n") if data[0] in _BULK else b""
        word = name.decode("ascii", "replace").upper()
        if self._sides[side].kind == _PUSH or (
            word in _PUSHES and not self._waiting and side != self._client
        ):
            self._client = 1 - side
            found.append(Message(kind=Kind.NOTICE, op="push"))
        elif side == self._client or (self._client is None and word in _COMMANDS):
            self._client = side
            self._command(word, found)
        elif self._client is not None:
            self._reply(b"*", found)

    def _command(self, word: str, found: list[Message]) -> None:
        op = word if word in _COMMANDS else "other"
        attrs = {"db.operation.name": word} if word.isprintable() and word else {}
        found.append(Message(kind=Kind.REQUEST, op=op, match=self._waiting.add(None), attrs=attrs))
        self.done = word in _REPLICATION

    def _reply(self, data: bytes, found: list[Message]) -> None:
        first = self._waiting.pop()
        if first is None:
            return
        status, kind = "ok", data[0]
        if kind in b"-!":
            word = data[1:] if kind == 0x2D else data.partition(b"\n")[2]
            status = word.split(None, 1)[0].decode("ascii", "replace") if word.strip() else "other"
            status = status if status in _ERRORS else "other"
        elif data[:2] in (b"$-", b"*-") or kind == 0x5F:
            status = "nil"
        error = kind in b"-!" and status not in ("MOVED", "ASK")
        found.append(Message(kind=Kind.RESPONSE, status=status, error=error, match=first[0]))


def _number(line: bytes) -> int:
    """Read a length; -1: there is nothing."""
    text = line.partition(b"\r")[0]
    if text == b"-1":
        return -1
    if not text.isdigit() or len(text) > 10 or (size := int(text)) > _MAX_LENGTH:
        raise ParseError("length")
    return size


DISSECTOR = Dissector(
    name="redis",
    transports=frozenset({"tcp"}),
    ports=frozenset({6379, 6380, 16379, 26379}),
    operations=_COMMANDS | {"push"},
    statuses=_ERRORS | {"ok", "nil"},
    probe=_probe,
    parser=_Redis,
    reads="command's name; kind of the reply, an error's word; pushes",
    specification="Redis serialization protocol (RESP2, RESP3)",
)
