"""The memory file: what was published is read, and nothing else."""

import mmap
import struct
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import ledgerfile
from exporter import metrics as m
from exporter.config import Metrics
from exporter.ledger import Ledger
from exporter.metrics import Kind, Merge
from exporter.model import IdentityKey

LIMITS = Metrics(series_limit=2000)
TEXT = st.text(max_size=150)


def make():
    return memoryview(mmap.mmap(-1, ledgerfile.size(LIMITS)))


def content(ledger):
    """All counters and sum gauges: what a successor goes on with."""
    found = {}
    for row in ledger.rows.values():
        family = row.key[0]
        if family.kind is Kind.INFO:
            continue
        if family.kind is Kind.GAUGE and (family.merge is not Merge.SUM or family in m.RATES.values()):
            continue
        if family in (m.SERIES, m.SERIES_LIMIT):
            continue
        values = list(ledger.values[row.slot : row.slot + family.width])
        found[row.key] = (row.created, values if family.kind is not Kind.GAUGE else [0.0])
    return found


def published(buffer):
    labels, snapshot = ledgerfile.Labels(), ledgerfile.read(buffer)
    labels.extend(snapshot)
    return {
        entry.key: list(snapshot.values[slot : slot + family.width])
        for family, entries in labels.families.items()
        for slot, entry in entries.items()
    }


def everything(ledger):
    return {
        row.key: list(ledger.values[row.slot : row.slot + row.key[0].width]) for row in ledger.rows.values()
    }


ROW = st.tuples(
    st.sampled_from([one for one in m.ALL if one.labels]),
    st.builds(IdentityKey, TEXT, TEXT, TEXT),
    st.lists(TEXT, min_size=4, max_size=4),
    st.floats(0, 1e15),
)
STEP = st.one_of(ROW, st.just("publish"), st.just("expire"), st.just("again"))


@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_a_successor_goes_on_where_the_file_ends(steps):
    buffer = make()
    ledger = Ledger(LIMITS, now=1.0)
    for number, step in enumerate([*steps, "publish"]):
        ledger.now = float(number)
        if step == "publish":
            assert ledger.publish(buffer)
            assert published(buffer) == everything(ledger)
        elif step == "expire":
            ledger.expire(number + 4000.0)
        elif step == "again":
            ledger.publish(buffer)
            before = content(ledger)
            ledger = Ledger(LIMITS, now=float(number))
            assert ledger.restore(buffer) == ""
            assert content(ledger) == before
        else:
            family, identity, labels, value = step
            slot = ledger.slot(family, identity, tuple(labels[: len(family.labels)]))
            ledger.values[slot] += value


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**64 - 1))
def test_a_damaged_file_is_refused_or_read_as_it_was(at, word):
    """Any word of the header, of a half's head, or of its values."""
    buffer = make()
    ledger = Ledger(LIMITS)
    slot = ledger.slot(m.REQUEST_ERRORS, IdentityKey("curl"), ("http", "client"))
    ledger.values[slot] = 5
    ledger.publish(buffer)
    half = ledgerfile._half(buffer, 1)
    place = (0, half.start, half.values, half.labels)[at % 4] + 8 * (at // 4)
    struct.pack_into("<Q", buffer, place, word)
    other = Ledger(LIMITS)
    reason = other.restore(buffer)
    assert reason in {"", "empty", "layout", "damaged"}
    there = {row.key for row in other.rows.values() if other.values[row.slot] == 5}
    assert bool(there) == (reason == "")
    assert other.publish(buffer)
    assert published(buffer) == everything(other)


def test_a_new_file_is_empty_and_garbage_is_refused():
    buffer = make()
    assert Ledger(LIMITS).restore(buffer) == "empty"
    buffer[:] = b"\xa5" * len(buffer)
    assert Ledger(LIMITS).restore(buffer) == "layout"


@pytest.mark.parametrize("torn", range(20))
def test_a_writer_that_dies_leaves_the_other_half(torn, monkeypatch):
    """Stop at any write into the file: what counts is the last complete publication."""

    class DeathError(Exception):
        pass

    class Dying:
        def __init__(self, real, left):
            self.real, self.left = real, left

        def pack_into(self, *args):
            if self.left[0] == 0:
                raise DeathError
            self.left[0] -= 1
            self.real.pack_into(*args)

        def __getattr__(self, name):
            return getattr(self.real, name)

    buffer = make()
    ledger = Ledger(LIMITS)
    slot = ledger.slot(m.REQUEST_ERRORS, IdentityKey("curl"), ("http", "client"))
    left = [torn]
    for name in ("HEADER", "HALF", "SEQUENCE"):
        monkeypatch.setattr(ledgerfile, name, Dying(getattr(ledgerfile, name), left))
    complete = 0
    try:
        for number in range(1, 6):
            ledger.values[slot] = number
            ledger.publish(buffer)
            complete = number
    except DeathError:
        pass
    monkeypatch.undo()
    successor = Ledger(LIMITS)
    reason = successor.restore(buffer)
    assert reason == ("" if complete else "empty")
    value = successor.values[successor.slot(m.REQUEST_ERRORS, IdentityKey("curl"), ("http", "client"))]
    assert value == complete
    assert successor.publish(buffer)
    assert published(buffer) == everything(successor)


def test_a_reader_never_sees_half_a_publication():
    """A writer in a thread writes the same number into all rows; the reader must never see two numbers."""
    buffer = make()
    ledger = Ledger(LIMITS)
    slots = [ledger.slot(m.REQUEST_ERRORS, IdentityKey(f"p{n}"), ("http", "client")) for n in range(500)]
    ledger.publish(buffer)
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            for slot in slots:
                ledger.values[slot] = number
            ledger.publish(buffer)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            values = ledgerfile.read(buffer).values
            assert len({values[slot] for slot in slots}) == 1
    finally:
        stop.set()
        thread.join()


def test_a_reader_that_follows_knows_as_much_as_a_new_one():
    buffer = make()
    ledger = Ledger(Metrics(series_limit=2000, expiry=1, rates=False), now=0.0)
    follower = ledgerfile.Labels()
    for round_ in range(60):
        ledger.now = float(100 * round_)
        for number in range(100):
            ledger.slot(m.REQUEST_ERRORS, IdentityKey(f"p{round_}-{number}"), ("http", "client"))
        ledger.expire(ledger.now)
        ledger.publish(buffer)
        snapshot = ledgerfile.read(buffer)
        follower.extend(snapshot)
        fresh = ledgerfile.Labels()
        fresh.extend(snapshot)
        assert follower.families == fresh.families or {
            family: rows for family, rows in follower.families.items() if rows
        } == {family: rows for family, rows in fresh.families.items() if rows}
    assert len(snapshot.labels) < 300_000  # what is gone is forgotten, too


def test_what_does_not_fit_is_said():
    small = memoryview(bytearray(ledgerfile.FIRST + 2 * 4096))
    ledger = Ledger(LIMITS)
    for number in range(1000):
        ledger.slot(m.REQUEST_ERRORS, IdentityKey(f"p{number}"), ("http", "client"))
    assert not ledger.publish(small)


def test_rows_without_end_still_fit():
    """`other` with label sets without end: the file has room for all that is admitted, and the sum is right."""
    buffer = make()
    ledger = Ledger(LIMITS)
    for number in range(40_000):
        ledger.values[ledger.slot(m.REQUEST_ERRORS, IdentityKey("other"), (f"p{number}", "client"))] += 1
    assert ledger.publish(buffer)
    assert (
        sum(ledger.values[row.slot] for row in ledger.rows.values() if row.key[0] is m.REQUEST_ERRORS)
        == 40_000
    )


@pytest.mark.bench
def test_publishing_10_000_rows_costs_at_most_half_a_millisecond():
    buffer = memoryview(mmap.mmap(-1, ledgerfile.size(Metrics())))
    ledger = Ledger(Metrics(family_limit=20_000))
    for number in range(10_000):
        ledger.slot(m.REQUEST_ERRORS, IdentityKey(f"p{number}"), ("http", "client"))
    ledger.publish(buffer)
    ledger.publish(buffer)
    begin = time.perf_counter()
    for _ in range(100):
        ledger.publish(buffer)
    assert (time.perf_counter() - begin) / 100 < 0.0005
