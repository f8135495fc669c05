"""Several ledgers as one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import config
from exporter import metrics as m
from exporter.export.names import ShortNames
from exporter.export.shards import Shards
from exporter.ledger import Ledger
from exporter.model import IdentityKey
from tests.export.conftest import CURL, Shard

HTTP = ("http", "client")


def lines(shards):
    return {
        line: value
        for block in shards.blocks()
        for line, value in zip(block.prefixes, block.values(shards.values), strict=True)
    }


def value(shards, family, process="curl"):
    found = [
        v
        for line, v in lines(shards).items()
        if line.startswith(family.name + "{") and f'"{process}"' in line
    ]
    assert len(found) == 1
    return found[0]


def make(count=2, **limits):
    parts = [Shard(config.Metrics(**limits), count) for _ in range(count)]
    return parts, Shards([one.buffer for one in parts], ShortNames())


def publish(parts, shards):
    for one in parts:
        one.publish()
    shards.refresh()


def test_counters_and_gauges_are_summed_the_rest_is_merged():
    parts, shards = make()
    for number, one in enumerate(parts, 1):
        one.add(m.REQUEST_ERRORS, CURL, HTTP, number)
        one.add(m.CONNECTIONS, CURL, ("http", "tcp", "established"), number)
        one.add(m.CERTIFICATE_EXPIRY, CURL, ("example.org",), 1000 * number)
        one.add(m.INTERFACE_RECEIVE_BYTES, None, ("eth0",), 10 * number)
        one.add(m.HANDSHAKE_DURATION, CURL, ("tcp",), 0.02)
    publish(parts, shards)
    assert value(shards, m.REQUEST_ERRORS) == 3
    assert value(shards, m.CONNECTIONS) == 3
    assert value(shards, m.CERTIFICATE_EXPIRY) == 1000
    assert value(shards, m.INTERFACE_RECEIVE_BYTES, "eth0") == 20
    count = 'netproc_handshake_duration_seconds_count{handshake="tcp",process="curl"} '
    assert lines(shards)[count] == 2


def test_nothing_published_is_nothing_shown():
    _, shards = make()
    shards.refresh()
    assert lines(shards) == {}
    assert shards.sequences == (0, 0)


def test_a_sum_does_not_fall_when_one_shards_row_expires():
    parts, shards = make(expiry=10)
    for one in parts:
        one.ledger.now = 0.0
        one.add(m.REQUEST_ERRORS, CURL, HTTP, 5)
        one.add(m.HANDSHAKE_DURATION, CURL, ("tcp",), 0.02)
    publish(parts, shards)
    parts[0].ledger.expire(1.0)
    parts[0].ledger.expire(1e10)
    publish(parts, shards)
    assert value(shards, m.REQUEST_ERRORS) == 10
    parts[0].add(m.REQUEST_ERRORS, CURL, HTTP, 1)
    publish(parts, shards)
    assert value(shards, m.REQUEST_ERRORS) == 11
    for one in parts:
        one.ledger.expire(1e11)
        one.ledger.expire(1e12)
    publish(parts, shards)
    assert "curl" not in str(lines(shards))


def test_containers_of_one_name_are_one_series_that_does_not_fall():
    (part,), shards = make(1, expiry=10)
    old, new = (
        IdentityKey("nginx", "aaaaaaaaaaaa" + "0" * 52),
        IdentityKey("nginx", "aaaaaaaaaaaa" + "1" * 52),
    )
    part.ledger.now = 0.0
    part.add(m.REQUEST_ERRORS, old, HTTP, 5)
    publish([part], shards)
    part.add(m.REQUEST_ERRORS, new, HTTP, 2)
    part.ledger.hold(part.ledger.slot(m.REQUEST_ERRORS, new, HTTP))
    publish([part], shards)
    assert value(shards, m.REQUEST_ERRORS, "nginx") == 7
    part.ledger.expire(1.0)
    assert part.ledger.expire(1e10) == 1
    publish([part], shards)
    assert value(shards, m.REQUEST_ERRORS, "nginx") == 7


def test_a_restarted_worker_goes_on():
    parts, shards = make()
    for one in parts:
        one.add(m.REQUEST_ERRORS, CURL, HTTP, 5)
    publish(parts, shards)
    parts[0].ledger = Ledger(config.Metrics(), 2)
    assert parts[0].ledger.restore(parts[0].buffer) == ""
    parts[0].add(m.REQUEST_ERRORS, CURL, HTTP, 1)
    publish(parts, shards)
    assert value(shards, m.REQUEST_ERRORS) == 11


def test_a_worker_whose_file_was_refused_takes_no_count_away():
    parts, shards = make()
    for one in parts:
        one.ledger.now = 1.0
        one.add(m.REQUEST_ERRORS, CURL, HTTP, 5)
    publish(parts, shards)
    parts[0].ledger = Ledger(config.Metrics(), 2, now=2.0)
    parts[0].add(m.REQUEST_ERRORS, CURL, HTTP, 1)
    publish(parts, shards)
    assert value(shards, m.REQUEST_ERRORS) == 11


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 5), st.sampled_from(["add", "expire", "restart", "read"])),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_series_falls_while_it_is_there(steps):
    parts, shards = make(3, expiry=100, rates=False)
    before = {}
    for now, (shard, process, what) in enumerate([*steps, (0, 0, "read")]):
        part = parts[shard]
        part.ledger.now = now * 60.0
        if what == "add":
            part.add(m.REQUEST_ERRORS, IdentityKey(f"p{process}"), HTTP, 1)
        elif what == "expire":
            part.ledger.expire(part.ledger.now)
        elif what == "restart":
            part.publish()
            part.ledger = Ledger(part.ledger._limits, 3, now=part.ledger.now)
            assert part.ledger.restore(part.buffer) == ""
        publish(parts, shards)
        found = {line: one for line, one in lines(shards).items() if line.startswith(m.REQUEST_ERRORS.name)}
        assert all(found[line] >= one for line, one in before.items() if line in found)
        before = found
