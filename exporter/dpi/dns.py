"""DNS over UDP and TCP: RFC 1035, RFC 7766 (several queries on one connection), RFC 6891, RFC 2136, RFC 1996.

mDNS, LLMNR and the NetBIOS name service share the wire format; their ports tell them apart, and NetBIOS's names too.
On port 53 a header that makes sense is enough. Elsewhere a whole message must be readable to its last byte.
"""

from collections.abc import Iterator
from struct import Struct

from exporter.dissector import MORE, NO, YES, Dissector, Ends, Parser
from exporter.errors import ParseError
from exporter.formats.dns_message import DnsMessage, parse
from exporter.formats.dns_numbers import OPCODES, TYPES
from exporter.formats.dns_report import OPERATIONS, STATUSES, Match, match, report
from exporter.formats.stream import Inbox
from exporter.model import Message

__all__ = ["DISSECTOR"]

_OTHERS = frozenset({137, 138, 5353, 5355})
_HEADER = Struct(">6H")
_CLASSES = frozenset({1, 3, 4, 254, 255})
_TRANSFERS = frozenset({251, 252})
_MAX_PENDING = 256
_PLAIN = frozenset(
    flags + b"\x00\x01\x00\x00\x00\x00\x00" + additional
    for flags in (b"\x00\x00", b"\x01\x00", b"\x01\x20", b"\x01\x10", b"\x00\x20", b"\x00\x10")
    for additional in (b"\x00", b"\x01")
)
"""A query's header after its id: one question, perhaps EDNS, and no flag but RD, AD or CD."""


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if ends.port0 in _OTHERS or ends.port1 in _OTHERS:
        return NO
    usual = ends.port0 == 53 or ends.port1 == 53
    if ends.transport == "udp":
        return YES if _header(data) and (_usual(data) if usual else _strict(data)) else NO
    if len(data) < 14:
        return MORE if len(data) < 2 or data[0] or data[1] > 11 else NO
    size = data[0] << 8 | data[1]
    message = data[2 : 2 + size]
    if not _header(message):
        return NO
    if len(message) < size:  # once it is YES without the rest, the rest changes nothing
        return YES if usual and _usual(message) else MORE
    return YES if (_usual(message) if usual else _strict(message)) else NO


def _header(data: bytes) -> bool:
    """Refuse, as cheaply as can be, what is no header of a first query or response."""
    if len(data) < 12:
        return False
    _, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    opcode = flags >> 11 & 0x0F
    if opcode not in OPCODES or flags & 0x0F > 11:
        return False
    if opcode == 6:  # DNS stateful operations (RFC 8490) have no sections
        return not (questions or answers or authority or additional)
    if flags & 0x8000:
        return questions == 1 or (questions == 0 and flags & 0x0F != 0) or (questions < 17 and len(data) > 40)
    if not 0 < questions < 17:
        return False
    return bool(opcode) or (answers == 0 and authority <= 1 and additional <= 4)


def _usual(data: bytes) -> bool:
    """On port 53: a query's header says enough, even if the name is broken; a response's questions must be readable."""
    if data[2:12] in _PLAIN:
        return True
    try:
        return bool(parse(data).questions) or len(data) == 12
    except ParseError:
        return False


def _strict(data: bytes) -> bool:
    """Anywhere else: one question of a known type and class, and nothing left over."""
    if data[3] & 0x40 or data[4:6] != b"\x00\x01":
        return False
    try:
        message = parse(data)
    except ParseError:
        return False
    name, kind, group = message.questions[0]
    if not message.whole or group not in _CLASSES or not (kind in TYPES or kind >= 0xFF00):
        return False
    if kind in (32, 33) and len(name.split(".")[0]) == 32:  # NetBIOS
        return False
    return message.response or not (message.flags & 0x068F and message.opcode == 0)


class _Dns(Parser):
    """A connection's questions that wait for an answer, and on TCP what has come of a message."""

    __slots__ = ("_asked", "_inboxes", "_stream", "_transfer")

    def __init__(self, ends: Ends) -> None:
        self._stream = ends.transport == "tcp"
        self._inboxes = (Inbox(), Inbox()) if self._stream else ()
        self._asked: dict[int, Match] = {}
        self._transfer: Match | None = None

    def feed(self, side: int, data: bytes) -> Iterator[Message]:
        if not self._stream:
            yield from self._read(data)
            return
        inbox = self._inboxes[side]
        if not (data := inbox.add(data)):
            return
        at, need = 0, 2
        while (start := at + 2) <= len(data):
            need = 2 + (data[at] << 8 | data[at + 1])
            if need > len(data) - at:
                break
            yield from self._read(data[start : at + need])
            at, need = at + need, 2
        inbox.keep(data[at:], need)

    def idle(self) -> bool:
        return not self._asked and self._transfer is None and not any(map(len, self._inboxes))

    def gap(self, side: int) -> bool:
        return not self._stream

    def _read(self, data: bytes) -> list[Message]:
        message = parse(data)
        key = match(message)
        if not message.response:
            if len(self._asked) >= _MAX_PENDING:
                del self._asked[next(iter(self._asked))]
            self._asked[message.serial] = key
            self._transfer = None
            return [report(message, key)]
        asked = self._asked.pop(message.serial, None)
        if self._stream and asked is None and self._continues(message, key):
            return []
        if asked and not message.questions:  # a server that does not repeat the question
            key = asked
        if key[2] in _TRANSFERS:
            self._transfer = key
        return [report(message, key)]

    def _continues(self, message: DnsMessage, key: Match) -> bool:
        """Tell a zone transfer's second and later message: its questions may be left out (RFC 5936 section 2.2)."""
        transfer = self._transfer
        return (
            transfer is not None
            and transfer[0] == message.serial
            and (not message.questions or key == transfer)
        )


DISSECTOR = Dissector(
    name="dns",
    transports=frozenset({"udp", "tcp"}),
    ports=frozenset({53}),
    operations=OPERATIONS,
    statuses=STATUSES,
    probe=_probe,
    parser=_Dns,
    reads="questions, response code, answers, NODATA; address-to-name facts",
    specification="RFC 1035, 2308, 6891, 7766",
    idle=30.0,
)
