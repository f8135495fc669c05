"""The ledger: cumulative numbers by label values, one per worker and one in the identity process.

Pure. `slot` gives the index of a row's first value; who counts adds to `ledger.values[slot]` on its own, so that a
packet costs one addition. A row's identity is who the process is, not what a pod is called: names come last, in the
exporter process. A new label set that finds its family or the ledger full is counted under process `other` from its
first value on; nothing is ever moved. `ledger.now` is the time, set by whoever drives; it dates new rows.
"""

from array import array
from bisect import bisect_left
from math import exp
from typing import NamedTuple

from exporter import ledgerfile, metrics
from exporter.config import Metrics
from exporter.metrics import Family, Kind, Merge, Origin, Scope
from exporter.model import IdentityKey

__all__ = ["ALWAYS", "Ledger", "Row"]

ALWAYS = frozenset({"other", "unknown", "kernel", "forwarded", "netproc-exporter"})
"""Processes that are none of the machine's own: their label sets are closed, so they are admitted at any time."""

TEXT = 128
"""The longest label value, in characters."""
OPEN = 2_000
"""The most rows of a family without identity whose labels the table does not bound (interfaces)."""
FEW = 4_096
"""Room that is left for one row of each family when even `other` has too many label sets."""
STILL = 0.5
"""A rate below this, in bytes a second, is 0."""

NOBODY = IdentityKey("")
OTHER = IdentityKey("other")

Key = tuple[Family, IdentityKey, tuple[str, ...]]


class Row:
    """What the ledger knows of a row beside its values."""

    __slots__ = ("created", "held", "key", "slot", "used")

    def __init__(self, key: Key, slot: int, created: float) -> None:
        self.key = key
        self.slot = slot
        self.created = created
        self.used = created
        self.held = 0


class Pair(NamedTuple):
    """A byte counter and the rate kept beside it."""

    counter: int
    rate: int


class Ledger:
    """The rows of one shard. `share`: of how many shards this is one; each admits its part of the limits."""

    def __init__(
        self, limits: Metrics, share: int = 1, origin: Origin = Origin.WORKER, now: float = 0.0
    ) -> None:
        self.now = now
        self.values = array("d")
        self.rows: dict[int, Row] = {}
        self._limits = limits
        self._series_limit = max(1, limits.series_limit // share)
        self._family_limit = max(1, limits.family_limit // share)
        self._slots: dict[Key, int] = {}
        self._series = self._total = 0
        self._room = ledgerfile.rows(limits) - FEW
        self._families: dict[Family, int] = {}
        self._free: dict[int, list[int]] = {}
        self._freed: list[tuple[int, int]] = []
        self._pairs: dict[int, Pair] = {}
        self._before = array("d")
        self._seen = array("d")
        self._log = ledgerfile.Log(now)
        self._workloads = False
        self.turned: int | None = None
        """The last turn of the kernel's counting whose numbers are in `values`; goes with them, and comes back."""
        self.notes = b""
        """What was counted up to then and is in no row yet: likewise, and only for who continues after us."""
        for family in metrics.ALL:
            if family.origin is origin:
                for labels in family.closed:
                    self.slot(family, None, labels)
        self._origin = origin
        self._note_series()

    # -- rows ------------------------------------------------------------------------------------------------------

    def slot(self, family: Family, identity: IdentityKey | None, labels: tuple[str, ...] = ()) -> int:
        """Give the index of this row's first value; a new row begins at 0, or is `other`'s where there is no room."""
        key = (family, identity or NOBODY, labels)
        found = self._slots.get(key)
        if found is not None:
            self.rows[found].used = self.now
            return found
        key = self._admit(self._normal(key))
        found = self._slots.get(key)
        return self._create(key, self.now) if found is None else found

    def observe(self, slot: int, value: float) -> None:
        """Add an observation to the histogram row at `slot`."""
        buckets = self.rows[slot].key[0].buckets
        values = self.values
        values[slot + len(buckets) + 1] += value
        values[slot + bisect_left(buckets, value)] += 1  # the last bucket has what is above all bounds

    def hold(self, slot: int) -> None:
        """An open connection uses this row: it does not expire until as many `release`s were said."""
        self.rows[slot].held += 1

    def release(self, slot: int) -> None:
        """Say that a connection no longer uses this row; the index must not be used after it."""
        row = self.rows[slot]
        row.held -= 1
        row.used = self.now

    def expire(self, now: float) -> int:
        """Drop the rows that nobody holds and that did not move for the time of expiry; give their number."""
        values, seen = self.values, self._seen
        limit = now - self._limits.expiry
        gone = []
        for slot, row in self.rows.items():
            family = row.key[0]
            if family.scope is Scope.NONE or family in _PAIRED:
                continue
            end = slot + family.width
            if values[slot:end] != seen[slot:end]:
                row.used = now
            elif row.used <= limit and not row.held and not _counts(family, values[slot]):
                gone.append(slot)
        for slot in gone:
            self._drop(slot)
        self._seen = array("d", values)
        return len(gone)

    def _normal(self, key: Key) -> Key:
        """Bound the label values, and leave of the identity what the family shows."""
        family, identity, labels = key
        if family.scope is Scope.NONE:
            identity = NOBODY
        elif family.scope is Scope.COARSE:
            inside = self._workloads and identity.pod
            identity = IdentityKey("", "", identity.pod) if inside else IdentityKey(identity.process)
        if len(identity.process) > TEXT or len(identity.container) > TEXT or len(identity.pod) > TEXT:
            identity = IdentityKey(*(part[:TEXT] for part in identity))
        if any(len(value) > TEXT for value in labels):
            labels = tuple(value[:TEXT] for value in labels)
        return family, identity, labels

    def _admit(self, key: Key) -> Key:
        """Give the key itself where there is room for it, else that of `other`."""
        family, identity, labels = key
        if key in self._slots:
            return key
        if len(self.values) > self._room:
            return family, OTHER, ("other",) * len(labels)
        count = self._families.get(family, 0)
        if family.scope is Scope.NONE:
            return (
                key if count < OPEN or not OPEN_LABELS.intersection(family.labels) else _folded(key, NOBODY)
            )
        bounded = family.limit is None
        if bounded and identity.process in ALWAYS and not identity.container and not identity.pod:
            return key
        cost = family.series + (1 if self._limits.rates and family in metrics.RATES else 0)
        limit = (
            self._family_limit if bounded else min(self._family_limit, (family.limit or 0) * family.series)
        )
        if (count + 1) * family.series <= limit and self._series + cost <= self._series_limit:
            return key
        self.values[self.slot(metrics.SERIES_OVERFLOW, None, (family.name,))] += 1
        return _folded((family, identity, labels), OTHER)

    def _create(self, key: Key, created: float) -> int:
        family = key[0]
        slot = self._place(family.width)
        row = self.rows[slot] = Row(key, slot, created)
        row.used = max(created, self.now)
        self._slots[key] = slot
        self._account(family, key[1], 1)
        self._log.add(slot, key, created)
        rate = metrics.RATES.get(family)
        if rate is not None and self._limits.rates:
            twin = (rate, key[1], key[2])
            other = self._slots.get(twin)
            self._pairs[slot] = Pair(slot, self._create(twin, created) if other is None else other)
        return slot

    def _place(self, width: int) -> int:
        free = self._free.get(width)
        if free:
            return free.pop()
        slot = len(self.values)
        zeros = array("d", bytes(8 * width))
        self.values.extend(zeros)
        self._before.extend(zeros)
        self._seen.extend(zeros)
        return slot

    def _drop(self, slot: int) -> None:
        row = self.rows.pop(slot)
        family, identity, _ = row.key
        del self._slots[row.key]
        self._account(family, identity, -1)
        self._log.drop(slot)
        self._freed.append((family.width, slot))
        for at in range(slot, slot + family.width):
            self.values[at] = self._before[at] = self._seen[at] = 0.0
        pair = self._pairs.pop(slot, None)
        if pair is not None:
            self._drop(pair.rate)

    def _account(self, family: Family, identity: IdentityKey, step: int) -> None:
        self._total += step * family.series
        if identity.process in ALWAYS and not identity.container and not identity.pod:
            return
        self._families[family] = self._families.get(family, 0) + step
        if family.scope is not Scope.NONE:
            self._series += step * family.series

    def _note_series(self) -> None:
        if self._origin is Origin.WORKER:
            self.values[self.slot(metrics.SERIES, None)] = self._total
            self.values[self.slot(metrics.SERIES_LIMIT, None)] = self._series_limit

    # -- rates -----------------------------------------------------------------------------------------------------

    def rates(self, elapsed: float, window: float = 10.0) -> None:
        """Move the rate gauges on by `elapsed` seconds: decaying averages of what the byte counters gained."""
        if elapsed <= 0:
            return
        keep = exp(-elapsed / window)
        gain = (1 - keep) / elapsed
        values, before = self.values, self._before
        for slot, rate in self._pairs.values():
            value = values[slot]
            moved = value - before[slot]
            if moved:
                before[slot] = value
                values[rate] = values[rate] * keep + moved * gain
            elif values[rate]:
                slower = values[rate] * keep
                values[rate] = slower if slower >= STILL else 0.0

    # -- the memory file -------------------------------------------------------------------------------------------

    def publish(self, buffer: memoryview) -> bool:
        """Write all values into the memory file; False where they do not fit. Never waits for a reader."""
        self._note_series()
        if self._log.wasteful():
            self._log.restart((row.slot, row.key, row.created) for row in self.rows.values())
        done = self._log.publish(buffer, self.values, self.turned, self.notes)
        if done:
            for width, slot in self._freed:
                self._free.setdefault(width, []).append(slot)
            self._freed.clear()
        return done

    def restore(self, buffer: memoryview) -> str:
        """Continue from the last complete half: counters go on, gauges begin at 0. Give why not, or nothing.

        To be called before anything was counted. `empty` is a new file; else the file is refused and overwritten.
        """
        labels = ledgerfile.Labels()
        try:
            snapshot = ledgerfile.read(buffer)
            labels.extend(snapshot)
        except ledgerfile.RefusedError as refused:
            return refused.reason
        for family, entries in labels.families.items():
            for slot, (key, created) in entries.items():
                self._continue(key, created, snapshot.values[slot : slot + family.width])
        self._log.resume(snapshot)
        self.turned, self.notes = snapshot.turned, snapshot.notes
        self._seen = array("d", self.values)
        self._before = array("d", self.values)
        self._note_series()
        return ""

    def _continue(self, key: Key, created: float, values: "array[float]") -> None:
        family = key[0]
        gauge = family.kind is Kind.GAUGE
        if family.kind is Kind.INFO or (gauge and (family.merge is not Merge.SUM or family in _PAIRED)):
            return
        slot = self._slots.get(key)
        if slot is None:
            slot = self._create(key, created)
        else:
            self._redate(slot, created)
        if not gauge:
            self.values[slot : slot + family.width] = values

    def _redate(self, slot: int, created: float) -> None:
        row = self.rows[slot]
        row.created = created
        self._log.add(slot, row.key, created)


OPEN_LABELS = metrics.OPEN_LABELS
_PAIRED = frozenset(metrics.RATES.values())


def _folded(key: Key, identity: IdentityKey) -> Key:
    """Give the row of the same labels that stands for many: open labels, and who it is, are `other`."""
    family, _, labels = key
    pairs = zip(family.labels, labels, strict=True)
    return family, identity, tuple("other" if name in OPEN_LABELS else value for name, value in pairs)


def _counts(family: Family, value: float) -> bool:
    """Tell whether a gauge says that something is there now: it must not go, though nothing moves."""
    return family.kind is Kind.GAUGE and family.merge is Merge.SUM and value != 0
