"""Kafka's wire protocol over TCP: Apache Kafka protocol guide; KIP-482 (flexible versions), KIP-511 (ApiVersions).

Read are each request's API and version, its client's name, a produced-to topic, and of those responses that begin with
an error code, that code. Responses tell nothing but a number: they are matched by it. Records are never read.
"""

from struct import Struct

from exporter.dissector import MORE, NO, YES, Dissector, Ends
from exporter.errors import ParseError, ShortError
from exporter.formats.framed import MORE_NEEDED, Framed
from exporter.formats.kafka_numbers import APIS, ERRORS, FIRST_ERROR, MAX_KEY
from exporter.formats.text import clean
from exporter.model import Kind, Message
from exporter.wire import Reader

__all__ = ["DISSECTOR"]

_HEADER = Struct(">IHHIh").unpack_from
"""Length, API key, version, serial, length of the client's name (-1: none)."""
_MAX_VERSION = 20
_MAX_SIZE = 512 << 20
_MAX_FIRST = 1 << 24
_READ = 512
_MAX_PENDING = 256
_PRODUCE = 0


def _probe(side: int, data: bytes, ends: Ends) -> int:
    if data[:1] not in (b"", b"\0"):
        return NO
    if len(data) < 14:
        if len(data) > 7 and (data[4] or data[5] > MAX_KEY or data[6] or data[7] > _MAX_VERSION):
            return NO
        return MORE
    size, key, version, _, name = _HEADER(data)
    if key > MAX_KEY or version > _MAX_VERSION or not 10 <= size <= _MAX_FIRST or name > min(size - 10, 255):
        return NO
    if name in (0, -1):  # then nothing but the length speaks for it
        if not 14 <= size <= 4096 - 4 or not (key or version) or key not in APIS:
            return NO
        return YES if len(data) >= 4 + size else MORE
    if name < 0 or not all(0x20 < byte < 0x7F for byte in data[14 : 14 + name]):
        return NO
    return YES if len(data) >= 14 + name else MORE


class _Kafka(Framed):
    """One connection. `_asked` are the API keys and versions that wait for their response, by serial."""

    __slots__ = ("_asked", "_client")

    resumable = True

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self._client: int | None = None
        self._asked: dict[int, tuple[int, int]] = {}

    def measure(self, side: int, data: bytes, at: int) -> tuple[int, int]:
        if len(data) - at < 4:
            return MORE_NEEDED
        size = int.from_bytes(data[at : at + 4], "big")
        if not 4 <= size <= _MAX_SIZE:
            raise ParseError("length")
        return 4 + size, min(4 + size, _READ)

    def read(self, side: int, data: bytes, found: list[Message]) -> None:
        if self._client is None and _probe(side, data, _NOBODY):
            self._client = side
        if side == self._client:
            self._request(data, found)
        else:
            self._response(data, found)

    def resumes(self, side: int, data: bytes) -> bool:
        if side == self._client:
            return _probe(side, data, _NOBODY) == YES
        return len(data) > 8 and int.from_bytes(data[4:8], "big") in self._asked

    def idle(self) -> bool:
        return self.resting() and not self._asked

    def _request(self, data: bytes, found: list[Message]) -> None:
        if len(data) < 14:
            raise ParseError("header")
        _, key, version, serial, name = _HEADER(data)
        if key > MAX_KEY or version > _MAX_VERSION:
            raise ParseError("header")
        attrs = {"messaging.client.id": clean(data[14 : 14 + name], 128)} if name > 0 else {}
        silent = key == _PRODUCE and _produce(Reader(data, 14 + max(0, name)), version, attrs)
        if not silent:
            if len(self._asked) >= _MAX_PENDING:
                del self._asked[next(iter(self._asked))]
            self._asked[serial] = key, version
        kind = Kind.NOTICE if silent else Kind.REQUEST
        op = APIS.get(key, "other")
        found.append(Message(kind=kind, op=op, match=serial, attrs=attrs))

    def _response(self, data: bytes, found: list[Message]) -> None:
        serial = int.from_bytes(data[4:8], "big")
        asked = self._asked.pop(serial, None)
        if asked is None:  # its request was not seen
            return
        code = _error(data, *asked)
        status = ERRORS.get(code, "other")
        found.append(Message(kind=Kind.RESPONSE, status=status, error=code != 0, match=serial))


_NOBODY = Ends(b"", 0, b"", 0)


def _produce(reader: Reader, version: int, attrs: dict[str, str]) -> bool:
    """Read a ProduceRequest's first topic; True: no response is wanted (acks is 0)."""
    flexible = version >= 9
    silent = False
    try:
        if flexible:
            _tags(reader)
        if version >= 3:
            reader.skip(_length(reader, flexible=flexible))
        silent = reader.u16() == 0
        reader.skip(4)
        if (
            version < 13 and (reader.u8() - 1 if flexible else reader.u32()) > 0
        ):  # from 13 on topics are numbers
            topic = reader.take(_length(reader, flexible=flexible))
            attrs["messaging.destination.name"] = clean(topic, 249)
    except ShortError:
        return silent
    return silent


def _length(reader: Reader, *, flexible: bool) -> int:
    """Read the length of a text; of none at all, it is 0."""
    if not flexible:
        size = reader.u16()
        return 0 if size == 0xFFFF else size
    size = reader.u8()
    if size & 0x80:
        size = (size & 0x7F) | (reader.u8() & 0x7F) << 7
    return max(0, size - 1)


def _tags(reader: Reader) -> None:
    """Pass over a header's tagged fields; nobody has defined any for requests."""
    for _ in range(reader.u8()):
        reader.skip(1)
        reader.skip(reader.u8())


def _error(data: bytes, key: int, version: int) -> int:
    """Give the error code that a response begins with; 0 where it says none, or elsewhere."""
    since, throttled, flexible, until = FIRST_ERROR.get(key, (1, 0, 0, 0))
    if not since <= version < until:
        return 0
    at = 8 + (4 if version >= throttled else 0) + (1 if version >= flexible else 0)
    return int.from_bytes(data[at : at + 2], "big", signed=True) if len(data) >= at + 2 else 0


DISSECTOR = Dissector(
    name="kafka",
    transports=frozenset({"tcp"}),
    ports=frozenset({9092, 9093, 9094}),
    operations=frozenset(APIS.values()),
    statuses=frozenset(ERRORS.values()),
    probe=_probe,
    parser=_Kafka,
    reads="API, client's name, produced-to topic, error code",
    specification="Apache Kafka protocol guide",
)
