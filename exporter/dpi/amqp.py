"""AMQP 0-9-1 (and 0-9, 0-8) over TCP: AMQP 0-9-1 specification, sections 2.2, 2.3 and 4.2; of AMQP 1.0 the header.

Read are methods, and of messages the exchange and routing key; never a content, its properties, a password. Methods
that are answered are requests, matched by channel; all others, publishing and delivering among them, are notices. A
channel or connection that the peer closes with a code of error answers what was asked on it.
"""

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError, ShortError
from exporter.formats.amqp_methods import METHODS, REPLY_CODES, Method
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.text import clean
from exporter.model import Kind, Message
from exporter.wire import Reader

__all__ = ["DISSECTOR"]

_PROTOCOL = b"AMQP"
_VERSIONS = {
    b"\0\0\x09\1": "0-9-1",
    b"\1\1\x09\1": "0-9-1",
    b"\1\1\0\x09": "0-9",
    b"\1\1\x08\0": "0-8",
    b"\1\1\0\x0a": "0-10",
    b"\0\1\0\0": "1.0",
    b"\2\1\0\0": "1.0",
    b"\3\1\0\0": "1.0",
}
"""The header's other four bytes. Of 1.0: plain, TLS, SASL."""
_TLS = b"AMQP\2\1\0\0"

_METHOD, _CONTENT, _BODY, _HEARTBEAT = 1, 2, 3, 8
_FRAMES = (_METHOD, _CONTENT, _BODY, _HEARTBEAT)
_END = 0xCE
_CLASSES = frozenset(group for group, _ in METHODS)
_MAX_FRAME = 1 << 24
_MAX_PROBED = 131072 + 8
_READ = 1024
_MAX_PENDING = 256
_PUBLISH, _RETURN, _DELIVER, _GET_EMPTY = (60, 40), (60, 50), (60, 60), (60, 72)
_CLOSES = frozenset({(10, 50), (20, 40)})


def _probe(side: int, data: bytes, ends: Ends) -> int:
    first = data[0] if data else _METHOD
    if first == 0x41:
        head = data[:8]
        if len(head) < 8:
            return MORE if head.startswith(_PROTOCOL) or _PROTOCOL.startswith(head) else NO
        return YES if head[:4] == _PROTOCOL and head[4:] in _VERSIONS else NO
    return _probe_frame(data) if first in _FRAMES else NO


def _probe_frame(data: bytes) -> int:
    """A connection found in mid-stream: a frame whose end is where its length says."""
    if len(data) < 7:
        return MORE if len(data) < 4 or data[3] < 2 else NO
    size = int.from_bytes(data[3:7], "big")
    kind = data[0]
    if size > _MAX_PROBED:
        return NO
    if kind == _HEARTBEAT:
        right = not (size or data[1] or data[2])
    else:
        right = size >= (4, 14, 1)[kind - 1] and data[1] < 16
        right = right and (kind == _BODY or len(data) < 11 or _opens(data))
    if not right:
        return NO
    if len(data) < 8 + size:
        return MORE
    if kind == _BODY:  # contents are anything: the next frame must agree
        return _probe_next(data, 8 + size) if data[7 + size] == _END else NO
    return YES if data[7 + size] == _END else NO


def _opens(data: bytes) -> bool:
    """Tell whether a frame's payload begins as its kind says."""
    group, method = data[7] << 8 | data[8], data[9] << 8 | data[10]
    return (group, method) in METHODS if data[0] == _METHOD else group == 60 and method == 0


def _probe_next(data: bytes, at: int) -> int:
    if len(data) < at + 7:
        return MORE
    return YES if data[at] in _FRAMES and data[at + 3] == 0 else NO


class _Amqp(Framed):
    """One connection. `_asked` are the answers that are awaited, with the side that asked, by channel and class."""

    __slots__ = ("_asked", "_secured")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._asked: dict[tuple[int, int, int], int] = {}
        self._secured = 0
        """How many sides have asked for AMQP 1.0's TLS."""

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        kind = data[at]
        if kind == 0x41:
            return 8, 8
        if kind not in _FRAMES:
            raise ParseError("type")
        if len(data) - at < 7:
            return MORE_NEEDED
        size = int.from_bytes(data[at + 3 : at + 7], "big")
        if size > _MAX_FRAME:
            raise ParseError("length")
        return 8 + size, min(8 + size, _READ) if kind == _METHOD else 7

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if data[0] == 0x41:
            self._header(data, found)
        elif data[0] == _METHOD:
            if len(data) < 12:
                raise ParseError("length")
            key = (data[7] << 8 | data[8], data[9] << 8 | data[10])
            if key[0] not in _CLASSES:
                raise ParseError("class")
            self._method(side, key, data, found)

    def resumes(self, side: int, data: bytes) -> bool:
        return _probe_frame(data) == YES if data[0] in _FRAMES else False

    def forget(self) -> None:
        self._asked.clear()

    def idle(self) -> bool:
        return self.resting() and not self._asked and not self._secured

    def _header(self, data: bytes, found: list[Message]) -> None:
        version = _VERSIONS.get(data[4:])
        if data[:4] != _PROTOCOL or version is None:
            raise ParseError("header")
        switch = None
        if data == _TLS:
            self._secured += 1
            switch = "tls" if self._secured == 2 else None
            self.over = switch is not None
        else:
            self.done = version == "1.0"
        found.append(Message(kind=Kind.NOTICE, op="header", version=version, switch=switch))

    def _method(self, side: int, key: tuple[int, int], data: bytes, found: list[Message]) -> None:
        method = METHODS.get(key)
        channel = data[1] << 8 | data[2]
        asker = self._asked.get((channel, *key))
        if asker == 1 - side:
            for answer in _answers(key):
                self._asked.pop((channel, *answer), None)
            status = "empty" if key == _GET_EMPTY else "ok"
            found.append(Message(kind=Kind.RESPONSE, status=status, match=(channel, *_question(key))))
        elif key in _QUESTIONS:  # what it answers was not seen
            return
        elif method is None or not method.answers or _silent(method, data):
            name = method.name if method else "other"
            found.append(Message(kind=Kind.NOTICE, op=name, attrs=_names(key, data)))
        else:
            self._request(side, key, method, data, found)

    def _request(
        self, side: int, key: tuple[int, int], method: Method, data: bytes, found: list[Message]
    ) -> None:
        channel = data[1] << 8 | data[2]
        code = int.from_bytes(data[11:13], "big") if key in _CLOSES else 200
        error = code >= 300
        if error:
            self._refuse(side, channel if key[0] == 20 else None, code, found)
        if len(self._asked) >= _MAX_PENDING:
            del self._asked[next(iter(self._asked))]
        for answer in method.answers:
            self._asked[channel, key[0], answer] = side
        attrs = {"amqp.reply_code": str(code)} if error else {}
        found.append(
            Message(kind=Kind.REQUEST, op=method.name, error=error, match=(channel, *key), attrs=attrs)
        )

    def _refuse(self, side: int, channel: int | None, code: int, found: list[Message]) -> None:
        """Answer what the other side asked on this channel, or on any."""
        status = REPLY_CODES.get(code, "other")
        for where, *key in [k for k, asker in self._asked.items() if asker != side]:
            if channel in (None, where) and self._asked.pop((where, key[0], key[1]), None) is not None:
                question = _question((key[0], key[1]))
                if (key[0], key[1]) != _GET_EMPTY:
                    found.append(
                        Message(kind=Kind.RESPONSE, status=status, error=True, match=(where, *question))
                    )


_QUESTIONS = {(key[0], answer): key for key, method in METHODS.items() for answer in method.answers}


def _question(answer: tuple[int, int]) -> tuple[int, int]:
    """Give the method that this one answers."""
    return _QUESTIONS[answer]


def _answers(answer: tuple[int, int]) -> list[tuple[int, int]]:
    """Give all that may answer the same question."""
    question = _QUESTIONS[answer]
    return [(question[0], each) for each in METHODS[question].answers]


def _silent(method: Method, data: bytes) -> bool:
    """Tell whether a method's bits say that it wants no answer."""
    if not method.silent:
        return False
    reader = Reader(data, 13)
    try:
        for _ in range(method.texts):
            reader.skip(reader.u8())
        return reader.u8() & method.silent != 0
    except ShortError:
        return False


def _names(key: tuple[int, int], data: bytes) -> dict[str, str]:
    """Read exchange and routing key, where a method has them."""
    if key not in (_PUBLISH, _RETURN, _DELIVER):
        return {}
    reader = Reader(data, 11)
    try:
        if key != _DELIVER:  # reserved, or the code of what is returned
            reader.skip(2)
        if key != _PUBLISH:  # the consumer's tag, or the code's text
            reader.skip(reader.u8())
        if key == _DELIVER:
            reader.skip(9)
        exchange, routing = reader.take(reader.u8()), reader.take(reader.u8())
    except ShortError:
        return {}
    attrs = {"messaging.destination.name": clean(exchange)} if exchange else {}
    return attrs | ({"messaging.rabbitmq.destination.routing_key": clean(routing)} if routing else {})


DISSECTOR = Dissector(
    name="amqp",
    transports=frozenset({"tcp"}),
    ports=frozenset({5672}),
    operations=frozenset(m.name for k, m in METHODS.items() if k not in _QUESTIONS) | {"header"},
    statuses=frozenset(REPLY_CODES.values()) | {"empty"},
    probe=_probe,
    parser=_Amqp,
    reads="version, methods, exchange and routing key, reply code; of AMQP 1.0 the header",
    specification="AMQP 0-9-1; AMQP 1.0 part 2.2",
)
