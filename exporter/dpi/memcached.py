"""memcached, its text (with meta commands) and binary protocols: memcached, doc/protocol.txt, BinaryProtocolRevamped.

Read are commands and how they ended; never a key or a value. Over UDP a datagram begins with the request's number.
"""

from exporter.dissector import NO, YES, Dissector, Ends
from exporter.errors import ParseError
from exporter.formats import memcached_binary as binary
from exporter.formats import memcached_lines as lines
from exporter.formats.framed import MORE_NEEDED, Framed, Waiting, line_end
from exporter.model import Kind, Message

__all__ = ["DISSECTOR"]

_MAX_LINE = 4096
_UDP_HEADER = 8
_MAGICS = (binary.REQUEST, binary.RESPONSE)


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.transport == "udp":
        return _probe_datagram(data)
    return binary.recognise(data) if data[:1] in (b"\x80", b"\x81") else lines.recognise(data)


def _probe_datagram(data: bytes) -> int:
    """A request that is a datagram as a whole, or the first datagram of a response; there is no more to wait for."""
    if len(data) < 10 or data[2:5] != b"\0\0\0" or not data[5] or data[6:8] != b"\0\0":
        return NO
    if data[5] == 1 and (match := lines.COMMAND.match(data, _UDP_HEADER)):
        return YES if match.end() == len(data) or match[2] or match[5] or match[16] else NO
    return YES if lines.recognise(data[_UDP_HEADER:]) == YES else NO


class _Memcached(Framed):
    """One connection. `_number` is a datagram's; `_found` tells that values came before the end that is awaited."""

    __slots__ = ("_found", "_number", "_stream", "_waiting")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._stream = ends.transport == "tcp"
        self._number = 0
        self._found = ""
        self._waiting: Waiting[str] = Waiting()

    def _feed(self, side: int, data: bytes, found: list[Message]) -> None:
        if not self._stream:
            self._number = int.from_bytes(data[:2], "big")
            if data[2:4] != b"\0\0":  # a long response's second and later datagram
                return
            data = data[_UDP_HEADER:]
        super()._feed(side, data, found)
        if not self._stream:
            if self._found:  # the end is in another datagram
                self._answer(self._found, self._number, found)
                self._found = ""
            self._inboxes[side].take()
            self._left[side] = 0

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if data[at] in _MAGICS:
            if len(data) - at < 24:
                return MORE_NEEDED
            return 24 + binary.HEADER(data, at)[6], 24
        end = line_end(data, at, _MAX_LINE)
        if not end:
            return MORE_NEEDED
        size = end - at
        command = lines.COMMAND.match(data, at, end) if data[at] > 0x60 else None  # replies are in upper case
        if command:
            value = command[2] or command[5] or command[16]
        elif reply := lines.REPLY.match(data, at, end):
            value = reply[2] or reply[4]
        else:
            return size, size
        return (size + int(value) + 2 if value else size), size

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if data[0] in _MAGICS:
            self._binary(data, found)
        elif data[0] > 0x60 and (command := lines.COMMAND.match(data)):
            groups = [group for group in command.groups() if group]
            op = groups[0].decode("ascii")
            last = groups[-1] if len(groups) > 1 else b""
            silent = last == b" noreply" or (op[0] == "m" and b" q" in last) or op in ("quit", "watch")
            self._ask(op, found, silent=silent)
        elif reply := lines.REPLY.match(data):
            self._reply(reply.groups(), found)
        elif not data.islower():
            raise ParseError("line")

    def resumes(self, side: int, data: bytes) -> bool:
        whole = data if self._stream else data[_UDP_HEADER:]
        return data[0] not in _MAGICS and bool(lines.COMMAND.match(whole) or lines.REPLY.match(whole))

    def forget(self) -> None:
        self._waiting.clear()
        self._found = ""

    def idle(self) -> bool:
        return self.resting() and not self._waiting and not self._found

    def _ask(self, op: str, found: list[Message], *, silent: bool) -> None:
        if silent:
            found.append(Message(kind=Kind.NOTICE, op=op))
            return
        serial = self._waiting.add(op) if self._stream else self._number
        found.append(Message(kind=Kind.REQUEST, op=op, match=serial))

    def _reply(self, groups: tuple[bytes | None, ...], found: list[Message]) -> None:
        """Read a reply's line: a value or a statistic comes before the end, everything else is the end."""
        value, _, meta, _, _, statistic, end, number, word = groups
        if value or statistic:
            self._found = "hit" if value else "ok"
            return
        status = "hit" if meta else "ok"
        if end:
            status, self._found = self._found or "miss", ""
        elif word and not number:
            status = lines.WORDS.get(word, "other")
        first = self._waiting.pop() if self._stream else (self._number, "")
        if first is not None:
            self._answer(status, first[0], found)

    def _answer(self, status: str, match: int, found: list[Message]) -> None:
        error = status in lines.ERRORS or status in _BINARY_ERRORS
        found.append(Message(kind=Kind.RESPONSE, status=status, error=error, match=match))

    def _binary(self, data: bytes, found: list[Message]) -> None:
        magic, code, _, _, _, status, _, serial, _ = binary.HEADER(data)
        if magic == binary.REQUEST:
            kind = Kind.NOTICE if code in binary.QUIET else Kind.REQUEST
            op = binary.OPERATIONS.get(code, "other")
            found.append(Message(kind=kind, op=op, match=(code, serial)))
        else:
            said = binary.STATUSES.get(status, "other")
            error = said in _BINARY_ERRORS or said == "other"
            found.append(Message(kind=Kind.RESPONSE, status=said, error=error, match=(code, serial)))


_BINARY_ERRORS = frozenset(binary.STATUSES.values()) - {
    "ok",
    "not_found",
    "exists",
    "not_stored",
    "auth_continue",
}

DISSECTOR = Dissector(
    name="memcached",
    transports=frozenset({"tcp", "udp"}),
    ports=frozenset({11211}),
    operations=lines.OPERATIONS | frozenset(binary.OPERATIONS.values()),
    statuses=lines.STATUSES | frozenset(binary.STATUSES.values()),
    probe=_probe,
    parser=_Memcached,
    reads="command; hit, miss, stored or error",
    specification="memcached protocol.txt, BinaryProtocolRevamped",
)
