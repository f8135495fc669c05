"""How a ledger lies in a memory file: a header and two halves, written in turns; the latest complete one holds.

    header   magic, layout version, size of the file, sequence number of the last publication
    half     sequence, epoch, length and checksum of the labels, count and checksum of the values, turn, length and
             checksum of the notes; values; labels; notes, at its end

`turn` is the last one of the kernel's counting that is in the values, plus 1; 0 where nothing was counted there.
`notes` are the writer's own, for who continues after it: what was counted and stands in no value yet.

The labels are a log: what a publication adds is one chunk, so that nothing is encoded twice, and a reader that knows
the log up to some length decodes the rest only. A log with too much of the past in it begins anew (a new epoch).

The writer marks a half as broken, writes it, marks it with its sequence number and names that number in the header. A
reader that sees the mark change while it copies tries again; a writer that dies leaves the other half.
"""

import struct
from array import array
from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

import msgspec

from exporter.config import Metrics
from exporter.errors import NetprocError
from exporter.metrics import BY_NAME, Family
from exporter.model import IdentityKey

__all__ = ["Entry", "Labels", "Log", "RefusedError", "Snapshot", "read", "size"]

MAGIC = b"netprocL"
LAYOUT = 3
HEADER = struct.Struct("<8sQQQ")
SEQUENCE = struct.Struct("<Q")
SEQUENCE_AT = 24
HALF = struct.Struct("<QQQIIIQII")
HALF_SIZE = 64
FIRST = 4096
CHUNK = struct.Struct("<I")
ROW_BYTES = 512
"""Room for the labels of a row: both its records and the past that the log may carry."""
SPARE = 16_384
"""Values beside the limit: `other`, `unknown`, `kernel` and what has no identity."""
TRIES = 100
WASTE = 1_000
"""So many rows that are gone are no reason to begin anew."""

Key = tuple[Family, IdentityKey, tuple[str, ...]]


class RefusedError(NetprocError):
    """The memory file holds no complete half; `reason` is `empty`, `layout` or `damaged`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Who(msgspec.Struct, array_like=True, tag=0):
    """From here on, `number` means this identity."""

    number: int
    process: str
    container: str
    pod: str


class Add(msgspec.Struct, array_like=True, tag=1):
    """From here on, the values at `slot` are this row's."""

    slot: int
    family: str
    who: int
    labels: tuple[str, ...]
    created: float


class Drop(msgspec.Struct, array_like=True, tag=2):
    """From here on, `slot` is nobody's."""

    slot: int


Record = Who | Add | Drop
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Record])


class Entry(NamedTuple):
    """A row as a reader knows it."""

    key: Key
    created: float


class Snapshot(NamedTuple):
    """A complete half, copied."""

    sequence: int
    epoch: int
    labels: bytes
    values: "array[float]"
    turned: int | None
    """The kernel's turn whose numbers are in it, with all before."""
    notes: bytes = b""


def size(limits: Metrics) -> int:
    """Give the size of the memory file: large, but only pages that were written cost memory."""
    room = rows(limits) * (8 + ROW_BYTES)
    return FIRST + 2 * (-(-(HALF_SIZE + room) // 4096) * 4096)


def rows(limits: Metrics) -> int:
    """Give how many values a half has room for."""
    return limits.series_limit + SPARE


class Half(NamedTuple):
    """Where a half lies in its file."""

    start: int
    values: int
    labels: int
    end: int


def _half(buffer: memoryview, sequence: int) -> Half:
    whole = (len(buffer) - FIRST) // 2 // 4096 * 4096
    start = FIRST + (sequence & 1) * whole
    values = start + HALF_SIZE
    return Half(start, values, values + (whole - HALF_SIZE) // (8 + ROW_BYTES) * 8, start + whole)


def read(buffer: memoryview) -> Snapshot:
    """Copy the last complete half; `RefusedError` where there is none."""
    magic, layout, length, _ = HEADER.unpack_from(buffer, 0)
    if magic != MAGIC:
        raise RefusedError("empty" if magic == bytes(8) else "layout")
    if layout != LAYOUT or length != len(buffer):
        raise RefusedError("layout")
    sequence = 0
    for _ in range(TRIES):
        (sequence,) = SEQUENCE.unpack_from(buffer, SEQUENCE_AT)
        snapshot = _copy(buffer, sequence) if sequence else None
        if snapshot is not None:
            return snapshot
    snapshot = _copy(buffer, sequence - 1) if sequence > 1 else None
    if snapshot is None:
        raise RefusedError("damaged" if sequence else "empty")
    return snapshot


def _copy(buffer: memoryview, sequence: int) -> Snapshot | None:
    """Copy a half; None if it is not this publication's, or changed meanwhile."""
    half = _half(buffer, sequence)
    found = HALF.unpack_from(buffer, half.start)
    mark, epoch, length, labels_sum, count, values_sum, turn, noted, notes_sum = found
    if mark != sequence or half.values + 8 * count > half.labels or half.labels + length + noted > half.end:
        return None
    values = bytes(buffer[half.values : half.values + 8 * count])
    labels = bytes(buffer[half.labels : half.labels + length])
    notes = bytes(buffer[half.end - noted : half.end])
    (mark,) = SEQUENCE.unpack_from(buffer, half.start)
    sums = crc32(labels), crc32(values), crc32(notes)
    if mark != sequence or sums != (labels_sum, values_sum, notes_sum):
        return None
    return Snapshot(sequence, epoch, labels, array("d", values), turn - 1 if turn else None, notes)


class Log:
    """The writer's side: the labels so far, and what each half holds of them.

    The first epoch is the time, in milliseconds, so that no predecessor's labels are taken for ours.
    """

    def __init__(self, now: float) -> None:
        self._sequence = 0
        self._epoch = int(now * 1000) + 1
        self._text = bytearray()
        self._sum = 0
        self._pending: list[Record] = []
        self._numbers: dict[IdentityKey, int] = {}
        self._adds = self._drops = 0
        self._written = [(0, 0), (0, 0)]

    def add(self, slot: int, key: Key, created: float) -> None:
        family, identity, labels = key
        number = self._numbers.get(identity)
        if number is None:
            number = self._numbers[identity] = len(self._numbers)
            self._pending.append(Who(number, *identity))
        self._pending.append(Add(slot, family.name, number, labels, created))
        self._adds += 1

    def drop(self, slot: int) -> None:
        self._pending.append(Drop(slot))
        self._drops += 1

    def wasteful(self) -> bool:
        """Tell whether more than half of the log is about rows that are gone."""
        return self._drops > WASTE and 2 * self._drops > self._adds

    def restart(self, rows: Iterable[tuple[int, Key, float]]) -> None:
        """Begin a new epoch with what is there now."""
        self._epoch += 1
        self._text.clear()
        self._sum = self._adds = self._drops = 0
        self._pending.clear()
        self._numbers.clear()
        for slot, key, created in rows:
            self.add(slot, key, created)

    def resume(self, before: Snapshot) -> None:
        """Follow on a predecessor's publication; its labels are replaced by ours."""
        self._sequence = before.sequence
        self._epoch = max(self._epoch, before.epoch + 1)

    def publish(
        self, buffer: memoryview, values: "array[float]", turned: int | None = None, notes: bytes = b""
    ) -> bool:
        """Write the next half and then name it in the header."""
        self._encode()
        sequence = self._sequence + 1
        half = _half(buffer, sequence)
        room = half.end - half.labels - len(notes)
        if half.values + 8 * len(values) > half.labels or len(self._text) > room:
            return False
        self._sequence = sequence
        SEQUENCE.pack_into(buffer, half.start, 0)
        epoch, done = self._written[sequence & 1]
        if epoch != self._epoch:
            done = 0
        with memoryview(values).cast("B") as numbers, memoryview(self._text) as text:
            buffer[half.values : half.values + len(numbers)] = numbers
            buffer[half.labels + done : half.labels + len(text)] = text[done:]
            buffer[half.end - len(notes) : half.end] = notes
            check = crc32(numbers)
        turn = 0 if turned is None else turned + 1
        labels, noted = (len(self._text), self._sum), (len(notes), crc32(notes))
        HALF.pack_into(buffer, half.start, 0, self._epoch, *labels, len(values), check, turn, *noted)
        SEQUENCE.pack_into(buffer, half.start, sequence)
        HEADER.pack_into(buffer, 0, MAGIC, LAYOUT, len(buffer), sequence)
        self._written[sequence & 1] = (self._epoch, len(self._text))
        return True

    def _encode(self) -> None:
        if not self._pending:
            return
        chunk = _ENCODER.encode(self._pending)
        self._pending.clear()
        head = CHUNK.pack(len(chunk))
        self._text += head
        self._text += chunk
        self._sum = crc32(chunk, crc32(head, self._sum))


class Labels:
    """The reader's side: the rows of the last snapshot. Decodes only what is new.

    `changed` are the families whose rows came or went, `dropped` the rows that went; who reads them clears them.
    """

    def __init__(self) -> None:
        self.families: dict[Family, dict[int, Entry]] = {}
        self.changed: set[Family] = set()
        self.dropped: list[tuple[int, Entry]] = []
        self.sequence = 0
        self._where: dict[int, Family] = {}
        self._epoch = 0
        self._length = 0
        self._who: dict[int, IdentityKey] = {}
        self._same: dict[tuple[str, ...], tuple[str, ...]] = {}

    def extend(self, snapshot: Snapshot) -> None:
        """Take over a snapshot's labels."""
        length = len(snapshot.labels)
        if self._epoch == snapshot.epoch and self._length <= length and self.sequence <= snapshot.sequence:
            self._decode(snapshot.labels, self._length)
        else:
            before = self.families
            self.families = {}
            self._where.clear()
            self._who.clear()
            self._same.clear()
            self._decode(snapshot.labels, 0)
            self._compare(before)
        self.sequence, self._epoch, self._length = snapshot.sequence, snapshot.epoch, length

    def _compare(self, before: dict[Family, dict[int, Entry]]) -> None:
        """Find what is gone after a new beginning; slots may have changed."""
        for family, entries in before.items():
            self.changed.add(family)
            now = set(self.families.get(family, {}).values())
            self.dropped.extend((slot, entry) for slot, entry in entries.items() if entry not in now)

    def _decode(self, labels: bytes, at: int) -> None:
        text = memoryview(labels)
        try:
            while at < len(text):
                (length,) = CHUNK.unpack_from(text, at)
                at += CHUNK.size + length
                for record in _DECODER.decode(text[at - length : at]):
                    self._apply(record)
        except (struct.error, msgspec.DecodeError, KeyError) as error:
            raise RefusedError("damaged") from error

    def _apply(self, record: Record) -> None:
        if isinstance(record, Add):
            family = BY_NAME.get(record.family)
            if family is None:
                return
            labels = self._same.setdefault(record.labels, record.labels)
            entry = Entry((family, self._who[record.who], labels), record.created)
            self.families.setdefault(family, {})[record.slot] = entry
            self._where[record.slot] = family
            self.changed.add(family)
        elif isinstance(record, Who):
            self._who[record.number] = IdentityKey(record.process, record.container, record.pod)
        elif record.slot in self._where:
            family = self._where.pop(record.slot)
            self.changed.add(family)
            self.dropped.append((record.slot, self.families[family].pop(record.slot)))
