"""The shards' ledgers as one: rows with the same labels are summed.

A row that expires in one shard (or a container that is gone, where its successor has the same name) takes its count
with it, while the sum lives on. So that the sum does not fall, what it had counted stays as a remainder.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from operator import add, itemgetter

from exporter import ledgerfile
from exporter.export import text
from exporter.export.names import Names, identity_labels
from exporter.ledgerfile import Entry
from exporter.metrics import OPTIONAL_LABELS, Family, Kind, Merge

__all__ = ["Block", "Shards"]

_MERGES: dict[Merge, Callable[[float, float], float]] = {Merge.SUM: add, Merge.MIN: min, Merge.MAX: max}


class Part:
    """Which values of one shard belong to which rows of a block."""

    def __init__(self) -> None:
        self.slots: list[int] = []
        self.rows: list[int] = []

    def pick(self, values: "array[float]") -> Sequence[float]:
        """Give the values at the slots."""
        if len(self.slots) == 1:
            return (values[self.slots[0]],)
        return itemgetter(*self.slots)(values) if self.slots else ()


class Block:
    """One family's rows of all shards, in the order of their labels."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.labels: list[str] = []
        self.created: list[float] = []
        self.prefixes: list[str] = []
        self.parts: list[Part] = []
        self.remainder: dict[str, list[float]] = {}
        self._plain = False

    def build(
        self, shards: Sequence[dict[int, Entry]], names: Names, written: dict[Entry, str | None]
    ) -> None:
        """Order the rows anew. `written` remembers the labels of rows that were here before."""
        self.parts = [Part() for _ in shards]
        found: dict[str, list[tuple[int, int, float]]] = {}
        for at, entries in enumerate(shards):
            for slot, entry in entries.items():
                labels = written.get(entry, "?")
                if labels == "?":
                    labels = written[entry] = _labels(entry, names)
                if labels is not None:
                    found.setdefault(labels, []).append((at, slot, entry.created))
        self.labels = sorted(found)
        self.created = [min(created for _, _, created in found[labels]) for labels in self.labels]
        self.prefixes = [line for labels in self.labels for line in text.prefixes(self.family, labels)]
        for row, labels in enumerate(self.labels):
            for at, slot, _ in found[labels]:
                self.parts[at].slots.append(slot)
                self.parts[at].rows.append(row)
        self.remainder = {labels: left for labels, left in self.remainder.items() if labels in found}
        used = [part for part in self.parts if part.slots]
        self._plain = len(used) == 1 and len(used[0].slots) == len(self.labels) and not self.remainder

    def keep(self, part: Part, gone: Sequence[int], values: "array[float]") -> None:
        """Remember what the rows at these slots had counted, that are gone from their shard."""
        if self.family.kind not in (Kind.COUNTER, Kind.HISTOGRAM):
            return
        width = self.family.width
        rows = dict(zip(part.slots, part.rows, strict=True))
        for slot in gone:
            row = rows.pop(slot, None)
            if row is not None:
                left = self.remainder.get(self.labels[row], [0.0] * width)
                self.remainder[self.labels[row]] = list(map(add, left, values[slot : slot + width]))

    def values(self, shards: "Sequence[array[float]]") -> Sequence[float]:
        """Give the value of every line."""
        if self.family.kind is Kind.HISTOGRAM:
            return [value for row in self._rows(shards) for value in text.histogram_values(row)]
        if self._plain:
            return next(
                part.pick(values) for part, values in zip(self.parts, shards, strict=True) if part.slots
            )
        merge = _MERGES[self.family.merge]
        sums: list[float | None] = [None] * len(self.labels)
        for part, values in zip(self.parts, shards, strict=True):
            for row, value in zip(part.rows, part.pick(values), strict=True):
                before = sums[row]
                sums[row] = value if before is None else merge(before, value)
        return [
            (value or 0.0) + self.remainder.get(labels, (0.0,))[0]
            for labels, value in zip(self.labels, sums, strict=True)
        ]

    def _rows(self, shards: "Sequence[array[float]]") -> "list[list[float]]":
        width = self.family.width
        sums = [self.remainder.get(labels, [0.0] * width)[:] for labels in self.labels]
        for part, values in zip(self.parts, shards, strict=True):
            for row, slot in zip(part.rows, part.slots, strict=True):
                sums[row] = list(map(add, sums[row], values[slot : slot + width]))
        return sums


def _labels(entry: Entry, names: Names) -> str | None:
    family, identity, labels = entry.key
    who = identity_labels(family.scope, identity, names)
    if who is None or len(labels) != len(family.labels):
        return None
    pairs = list(zip(family.labels, labels, strict=True))
    if not OPTIONAL_LABELS.isdisjoint(family.labels):
        pairs = [pair for pair in pairs if pair[1] or pair[0] not in OPTIONAL_LABELS]
    return text.label_text((*who, *pairs))


class Shards:
    """Reads the memory files; a file that holds nothing complete yet counts as empty."""

    def __init__(self, buffers: Sequence[memoryview], names: Names) -> None:
        self._buffers = buffers
        self._names = names
        self._version = names.version
        self._labels = [ledgerfile.Labels() for _ in buffers]
        self._written: dict[Entry, str | None] = {}
        self._blocks: dict[Family, Block] = {}
        self.values = [array("d") for _ in buffers]

    @property
    def sequences(self) -> tuple[int, ...]:
        """The publications that were read last; 0 where there was none yet."""
        return tuple(labels.sequence for labels in self._labels)

    def refresh(self) -> None:
        """Read what was published since."""
        stale: set[Family] = set()
        for at, buffer in enumerate(self._buffers):
            try:
                snapshot = ledgerfile.read(buffer)
                self._labels[at].extend(snapshot)
            except ledgerfile.RefusedError:
                continue
            stale |= self._settle(at)
            self.values[at] = snapshot.values
        if self._names.version != self._version:
            self._version = self._names.version
            self._written.clear()
            stale.update(self._blocks)
        for family in stale:
            block = self._blocks.setdefault(family, Block(family))
            block.build(
                [labels.families.get(family, {}) for labels in self._labels], self._names, self._written
            )

    def _settle(self, at: int) -> set[Family]:
        """Take note of a shard's rows that came and went, while its last values are still here."""
        labels = self._labels[at]
        gone: dict[Family, list[int]] = {}
        for slot, entry in labels.dropped:
            self._written.pop(entry, None)
            gone.setdefault(entry.key[0], []).append(slot)
        for family, slots in gone.items():
            if family in self._blocks:
                self._blocks[family].keep(self._blocks[family].parts[at], slots, self.values[at])
        changed = labels.changed
        labels.dropped = []
        labels.changed = set()
        return changed

    def block(self, family: Family) -> Block | None:
        """Give one family's rows."""
        return self._blocks.get(family)

    def blocks(self) -> Iterator[Block]:
        """Give the families that have rows, by name."""
        for family in sorted(self._blocks, key=lambda one: one.name):
            block = self._blocks[family]
            if block.labels:
                yield block
