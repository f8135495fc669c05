"""Rows: where they come from, how they are limited, and how they go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import metrics as m
from exporter.config import Metrics
from exporter.ledger import ALWAYS, Ledger
from exporter.metrics import Origin, Scope
from exporter.model import IdentityKey

CURL = IdentityKey("curl", "c" * 64, "pod-uid")
HTTP = ("http", "tcp")


def total(ledger, family):
    return sum(ledger.values[row.slot] for row in ledger.rows.values() if row.key[0] is family)


def find(ledger, family):
    return {row.key[1:]: ledger.values[row.slot] for row in ledger.rows.values() if row.key[0] is family}


def test_a_row_begins_at_zero_and_stays_where_it_is():
    ledger = Ledger(Metrics())
    slot = ledger.slot(m.RECEIVE_BYTES, CURL, HTTP)
    assert ledger.values[slot] == 0
    ledger.values[slot] += 1500
    for number in range(1000):
        ledger.slot(m.RECEIVE_BYTES, IdentityKey(f"p{number}"), HTTP)
    assert ledger.slot(m.RECEIVE_BYTES, CURL, HTTP) == slot
    assert ledger.values[slot] == 1500


def test_closed_label_sets_are_there_from_the_start():
    worker, identity = Ledger(Metrics()), Ledger(Metrics(), origin=Origin.IDENTITY)
    for family in m.ALL:
        for ledger, origin in ((worker, Origin.WORKER), (identity, Origin.IDENTITY)):
            if family.origin is origin and family not in (m.SERIES, m.SERIES_LIMIT):
                there = dict.fromkeys(family.closed, 0)
                assert {key[1]: value for key, value in find(ledger, family).items()} == there


def test_a_histogram_counts_each_value_once():
    ledger = Ledger(Metrics())
    slot = ledger.slot(m.HANDSHAKE_DURATION, CURL, ("tcp",))
    bounds = m.HANDSHAKE_DURATION.buckets
    seen = [*bounds, bounds[-1] * 2, 0.0]
    for value in seen:
        ledger.observe(slot, value)
    row = list(ledger.values[slot : slot + m.HANDSHAKE_DURATION.width])
    assert row[:-1] == [2, *([1] * (len(bounds) - 1)), 1]
    assert row[-1] == pytest.approx(sum(seen))


def test_histograms_know_the_process_alone():
    ledger = Ledger(Metrics())
    there = ledger.slot(m.HANDSHAKE_DURATION, CURL, ("tcp",))
    assert ledger.rows[there].key[1] == IdentityKey("curl")


def test_label_values_are_bounded():
    ledger = Ledger(Metrics())
    slot = ledger.slot(m.RECEIVE_BYTES, IdentityKey("x" * 5000), ("y" * 5000, "tcp"))
    assert slot == ledger.slot(m.RECEIVE_BYTES, IdentityKey("x" * 5000), ("y" * 5000, "tcp"))
    _, identity, labels = ledger.rows[slot].key
    assert (len(identity.process), len(labels[0])) == (128, 128)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from([m.REQUEST_ERRORS, m.CONNECTIONS_FAILED]))),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(1, 3),
)
def test_sums_stay_exact_beyond_the_limits(arrivals, series, family, share):
    limits = Metrics(series_limit=series, family_limit=family)
    ledger = Ledger(limits, share)
    for number, one in arrivals:
        ledger.values[ledger.slot(one, IdentityKey(f"p{number}"), ("a", "b"))] += 1
    for one in (m.REQUEST_ERRORS, m.CONNECTIONS_FAILED):
        assert total(ledger, one) == sum(1 for _, which in arrivals if which is one)
        named = [
            row for row in ledger.rows.values() if row.key[0] is one and row.key[1].process not in ALWAYS
        ]
        assert len(named) <= max(1, family // share)
    named = [row for row in ledger.rows.values() if row.key[0].scope is not Scope.NONE]
    assert sum(1 for row in named if row.key[1].process not in ALWAYS) <= max(1, series // share)


def test_a_set_at_the_limit_is_counted_as_other_with_its_other_labels():
    ledger = Ledger(Metrics(family_limit=1))
    ledger.slot(m.RECEIVE_BYTES, IdentityKey("first"), HTTP)
    late = ledger.slot(m.RECEIVE_BYTES, CURL, HTTP)
    assert ledger.rows[late].key[1:] == (IdentityKey("other"), HTTP)
    overflow = find(ledger, m.SERIES_OVERFLOW)
    assert overflow[IdentityKey(""), ("netproc_receive_bytes_total",)] == 1


@pytest.mark.parametrize("name", sorted(ALWAYS))
def test_what_is_nobodys_is_always_admitted(name):
    ledger = Ledger(Metrics(series_limit=1, family_limit=1))
    ledger.slot(m.RECEIVE_BYTES, IdentityKey("first"), HTTP)
    slot = ledger.slot(m.RECEIVE_BYTES, IdentityKey(name), HTTP)
    assert ledger.rows[slot].key[1] == IdentityKey(name)


def test_strangers_names_are_limited_and_folded():
    ledger = Ledger(Metrics())
    for number in range(200):
        ledger.slot(m.CERTIFICATE_EXPIRY, CURL, (f"host{number}.example",))
    rows = find(ledger, m.CERTIFICATE_EXPIRY)
    assert len(rows) == 51
    assert (IdentityKey("other"), ("other",)) in rows


def test_interfaces_without_end_are_folded():
    ledger = Ledger(Metrics())
    for number in range(5000):
        ledger.values[ledger.slot(m.CAPTURED_BYTES, None, (f"veth{number}", "receive"))] += 1
    assert total(ledger, m.CAPTURED_BYTES) == 5000
    assert len(find(ledger, m.CAPTURED_BYTES)) <= 2001


def test_series_are_counted_as_exposed(tmp_buffer):
    ledger = Ledger(Metrics())
    before = ledger.values[ledger.slot(m.SERIES, None)]
    ledger.slot(m.RECEIVE_BYTES, CURL, HTTP)  # and its rate
    ledger.slot(m.HANDSHAKE_DURATION, CURL, ("tcp",))
    assert ledger.publish(tmp_buffer)
    assert ledger.values[ledger.slot(m.SERIES, None)] - before == 2 + 8 + 3


def test_idle_rows_expire_and_used_ones_stay():
    ledger = Ledger(Metrics(expiry=3600), now=0.0)
    idle, held, moving, busy = (
        ledger.slot(m.REQUEST_ERRORS, IdentityKey(name), ("http", "client"))
        for name in ("idle", "held", "moving", "busy")
    )
    gauge = ledger.slot(m.CONNECTIONS, IdentityKey("busy"), ("http", "tcp", "established"))
    ledger.values[gauge] = 3
    ledger.values[idle] += 1
    ledger.hold(held)
    for minute in range(1, 61):
        ledger.now = minute * 60.0
        ledger.values[moving] += 1
        assert ledger.slot(m.REQUEST_ERRORS, IdentityKey("busy"), ("http", "client")) == busy
        assert ledger.expire(ledger.now) == 0
    ledger.now = 3660.0
    ledger.slot(m.REQUEST_ERRORS, IdentityKey("busy"), ("http", "client"))
    assert ledger.expire(ledger.now) == 1
    assert idle not in ledger.rows
    assert {held, moving, busy, gauge} <= set(ledger.rows)
    ledger.release(held)
    assert ledger.expire(ledger.now + 3599) == 1  # moving; the others were used later
    assert held in ledger.rows
    assert {held, busy} <= set(ledger.rows)
    assert ledger.expire(ledger.now + 3600) == 2
    assert gauge in ledger.rows


def test_what_has_no_identity_never_expires():
    ledger = Ledger(Metrics(expiry=1), now=0.0)
    ledger.slot(m.CAPTURED_BYTES, None, ("eth0", "receive"))
    assert ledger.expire(1e9) == 0


def test_a_slot_is_used_again_only_after_its_end_was_published(tmp_buffer):
    ledger = Ledger(Metrics(expiry=1, rates=False), now=0.0)
    slot = ledger.slot(m.REQUEST_ERRORS, CURL, ("http", "client"))
    ledger.values[slot] = 7
    ledger.expire(0.5)
    assert ledger.expire(100.0) == 1
    assert ledger.slot(m.REQUEST_ERRORS, IdentityKey("b"), ("http", "client")) != slot
    ledger.publish(tmp_buffer)
    reused = ledger.slot(m.REQUEST_ERRORS, IdentityKey("c"), ("http", "client"))
    assert reused == slot
    assert ledger.values[reused] == 0


def test_a_rate_shows_a_burst_follows_a_stream_and_ends():
    ledger = Ledger(Metrics())
    slot = ledger.slot(m.RECEIVE_BYTES, CURL, HTTP)
    rate = ledger.slot(m.RECEIVE_RATE, CURL, HTTP)
    ledger.values[slot] += 1000
    ledger.rates(1.0)
    assert 50 < ledger.values[rate] < 1000
    for _ in range(100):
        ledger.values[slot] += 5000
        ledger.rates(1.0)
    assert ledger.values[rate] == pytest.approx(5000, rel=0.001)
    ledger.rates(10.0)
    assert ledger.values[rate] == pytest.approx(5000 / 2.71828, rel=0.001)
    for _ in range(200):
        ledger.rates(1.0)
    assert ledger.values[rate] == 0


def test_rates_can_be_turned_off_and_go_with_their_counter():
    off = Ledger(Metrics(rates=False))
    off.slot(m.RECEIVE_BYTES, CURL, HTTP)
    assert not find(off, m.RECEIVE_RATE)
    ledger = Ledger(Metrics(expiry=1), now=0.0)
    ledger.slot(m.RECEIVE_BYTES, CURL, HTTP)
    assert find(ledger, m.RECEIVE_RATE)
    ledger.expire(10.0)
    assert not find(ledger, m.RECEIVE_RATE)
    assert not find(ledger, m.RECEIVE_BYTES)
