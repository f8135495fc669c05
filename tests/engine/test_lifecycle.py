"""Beginnings, ends, interfaces that come and go, errors that others report, a full table, and what is left."""

import gc

import pytest

from exporter import metrics as m
from exporter.config import Config, Flow
from exporter.engine import Engine
from exporter.flow.connection import Connection, Half, View
from exporter.ledger import Ledger
from tests.engine import frames as f
from tests.engine.frames import End, Talk
from tests.engine.rig import ETH, LO, Rig
from tests.engine.test_sums import empty

HERE, AWAY = End("10.0.0.1", 40_000), End("192.0.2.1", 80)


def opened(rig):
    return {labels[2]: value for (_, labels), value in rig.moved(m.CONNECTIONS_OPENED).items()}


# -- opened --------------------------------------------------------------------------------------------------------

BEGINNINGS = {
    "SYN here": (lambda: Talk().c("S"), "local"),
    "SYN there": (lambda: Talk(AWAY, HERE).c("S"), "remote"),
    "SYN-ACK here": (lambda: Talk(AWAY, HERE).s("SA"), "remote"),
    "SYN-ACK there": (lambda: Talk().s("SA"), "local"),
    "mid-stream": (lambda: Talk().c("PA", b"x"), "unknown"),
    "datagram here": (lambda: f.datagram(HERE, AWAY, b"x"), "local"),
    "datagram there": (lambda: f.datagram(AWAY, HERE, b"x"), "remote"),
}


@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.parametrize(("age", "resumed"), [(1, False), (1, True), (10, False), (10, True)])
def test_what_counts_as_opened(name, age, resumed):
    """At the start, what is found in mid-stream began before us; after a restart, so did what sends datagrams."""
    frame, initiator = BEGINNINGS[name]
    rig = Rig(resumed=resumed).put(frame(), gap=age).settle()
    before = age < 5 and (initiator == "unknown" or (resumed and "datagram" in name))
    assert opened(rig) == ({} if before else {initiator: 1})
    assert len(rig.conns) == 1


def test_a_restarted_workers_connections_are_closed_but_not_opened():
    one = Talk()
    rig = Rig(resumed=True).put(one.c("PA", b"x"), *one.close()).settle()
    assert opened(rig) == {}
    assert rig.sum(m.CONNECTIONS_CLOSED) == 1


# -- settling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "entered"), [(0.75, False), (1.0, True)])
def test_numbers_wait_a_second(seconds, entered):
    rig = Rig().put(Talk().c("S"))
    rig.engine.reap(rig.now + seconds)
    rig.engine.tick(rig.now + seconds)
    assert (rig.bytes == 40) is entered


def test_a_gauge_follows_the_state():
    one = Talk()
    rig = Rig(dissectors=[]).put(one.c("S")).settle()
    seen = []
    for frame in (one.s("SA"), one.c("FA"), one.s("A")):
        rig.put(frame).wait(1)
        seen.append(rig.moved(m.CONNECTIONS))
    labels = ["established", "fin_wait_1", "fin_wait_2"]
    assert seen == [{("unknown", ("unknown", "tcp", state)): 1} for state in labels]
    rig.put(one.s("FA"), one.c("A")).wait(1)
    assert rig.moved(m.CONNECTIONS) == {("unknown", ("unknown", "tcp", "time_wait")): 1}
    assert rig.sum(m.TABLE_CONNECTIONS) == 0
    rig.wait(40, 1.0)
    assert rig.moved(m.CONNECTIONS) == {}


def test_rates_fall_when_nothing_moves():
    one = Talk()
    rig = Rig(dissectors=[]).put(*one.handshake(), one.c("PA", b"x" * 1000)).wait(0, 1.0)
    rig.engine.tick(rig.now)
    rig.answer("curl").wait(1, 1.0)
    high = rig.of(m.TRANSMIT_RATE, "curl", "unknown", "tcp")
    rig.wait(10, 1.0)
    assert 0 < rig.of(m.TRANSMIT_RATE, "curl", "unknown", "tcp") < high / 2


# -- interfaces ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("settled", [True, False])
def test_an_interface_attached_anew_goes_on(detached, settled):
    one = Talk()
    rig = Rig(capture={"count_as": "stack"}).put(*one.handshake(), one.c("PA", b"x" * 10))
    old = rig.handles.pop(ETH)
    if settled:
        rig.settle()
    if detached:
        rig.engine.detach("eth0")
    rig.put(one.c("PA", b"x" * 10), one.s("PA", b"y" * 10))
    conn = rig.conn
    assert conn.extra is None
    assert rig.engine._ports["eth0"].tcp.keys() == {conn.forward, conn.half1.key}
    rig.settle()
    assert rig.captured == rig.bytes == 120 + 150
    old(rig.now, one.c("PA", b"late"))  # what was read before and comes after harms nothing
    rig.put(*one.close()).settle().over()
    empty(rig)


def test_many_renewals_leave_nothing_behind():
    one = Talk()
    rig = Rig().put(*one.handshake())
    for number in range(20):
        rig.handles.clear()
        rig.put(one.c("PA", b"x"), on=ETH._replace(name=f"eth{number % 3}"))
        rig.wait(1)
    assert len(rig.conn.extra or ()) <= 3
    assert len(rig.engine._ports) == 3
    assert rig.captured == rig.bytes


def test_two_interfaces_that_carry_one_connection():
    """A bond's members, or routes that differ: each packet is seen once, on either."""
    one, other = Talk(), ETH._replace(name="eth1")
    rig = Rig().put(*one.handshake(1460))
    rig.put(one.c("PA", b"GET / HTTP/1.1\r\n"), on=other).put(one.c("PA", b"Host: a.example\r\n\r\n"))
    rig.put(one.s("PA", b"HTTP/1.1 204 No\r\n"), on=other).put(one.s("PA", b"\r\n"))
    rig.put(one.c("PA", b"x" * 2920, link={"pad": False}), on=other)
    assert len(rig.conns) == 1
    rig.put(*one.close(), on=other).settle()
    assert rig.captured == rig.bytes
    assert rig.sum(m.RETRANSMITTED_SEGMENTS) == 0
    assert rig.sum(m.ESTIMATED_SEGMENTS) == 1
    assert {labels[3] for _, labels in rig.moved(m.REQUESTS)} == {"2xx"}
    assert rig.rows(m.CAPTURED_BYTES)["", ("eth1", "transmit")] == 40 + 16 + 2920 + 80 + 2 * 40
    assert [e.reason for e in rig.ended] == ["fin"]


def test_an_interface_whose_namespace_becomes_known():
    pod = End("10.1.0.2", 50_000)
    one, veth = Talk(pod, AWAY), ETH._replace(name="veth1")
    rig = Rig().put(*one.handshake(), on=veth).settle()
    assert rig.of(m.RECEIVE_BYTES, "forwarded", "unknown", "tcp") == 120
    rig.places(7, [pod.address])
    rig.put(one.c("PA", b"x" * 10), on=veth._replace(scope=7, role="pod")).answer("app").settle()
    assert rig.sum(m.TRANSMIT_BYTES) == 50
    assert rig.captured == rig.bytes
    rig.over()
    empty(rig)


def test_addresses_that_change():
    """A new address counts for new connections; a connection keeps its sides."""
    one = Talk(End("10.0.0.7", 40_000), AWAY)
    rig = Rig().put(*one.handshake())
    rig.places(0, ["10.0.0.7"])
    rig.put(one.c("PA", b"x")).put(Talk(End("10.0.0.7", 2), AWAY).c("S")).settle()
    assert rig.of(m.RECEIVE_BYTES, "forwarded", "unknown", "tcp") == 161
    assert rig.sum(m.TRANSMIT_BYTES) == 40


# -- errors that others report -------------------------------------------------------------------------------------

HERE6, AWAY6 = End("2001:db8::1", 40_000), End("2001:db8::2", 80)


def failures(rig):
    return {labels[1]: value for (_, labels), value in rig.moved(m.CONNECTIONS_FAILED).items()}


@pytest.mark.parametrize(("here", "away", "code"), [(HERE, AWAY, 3), (HERE6, AWAY6, 4)])
def test_a_closed_port_refuses_a_datagram(here, away, code):
    frame = f.datagram(here, away, b"x" * 40)
    rig = Rig().put(frame, f.unreachable(away.address, here.address, frame, code)).wait(70, 1.0)
    assert failures(rig) == {"refused": 1}
    assert rig.captured == rig.bytes


def test_who_leaves_a_conversation_did_not_refuse_it():
    query, late = f.datagram(HERE, AWAY, b"x" * 40), f.datagram(AWAY, HERE, b"y" * 40)
    rig = Rig().put(query, late, late, f.unreachable(HERE.address, AWAY.address, late)).wait(70, 1.0)
    assert failures(rig) == {}


@pytest.mark.parametrize(("here", "away", "code"), [(HERE, AWAY, 1), (HERE6, AWAY6, 0), (HERE, AWAY, 3)])
def test_unreachable(here, away, code):
    frame = Talk(here, away).c("S")
    router = "2001:db8::9" if ":" in away.address else "192.0.2.254"
    rig = Rig().put(frame, f.unreachable(router, here.address, frame, code)).wait(70, 1.0)
    assert failures(rig) == {"unreachable": 1}


def test_an_error_that_was_got_over_is_no_failure():
    one = Talk()
    syn = one.c("S")
    rig = Rig().put(
        syn, f.unreachable("192.0.2.254", HERE.address, syn, 1), one.s("SA"), one.c("A"), *one.close()
    )
    assert failures(rig.settle()) == {}


def test_an_error_about_an_open_connection_means_nothing():
    one = Talk()
    rig = Rig().put(*one.handshake())
    data = one.c("PA", b"x")
    rig.put(f.unreachable("192.0.2.254", HERE.address, data, 1)).put(one.s("R")).settle()
    assert failures(rig) == {}


def test_an_error_about_nothing_we_know():
    stray = f.unreachable("192.0.2.254", HERE.address, Talk(HERE, End("192.0.2.77", 1)).c("S"), 1)
    rig = Rig().put(stray).settle()
    assert [conn.transport for conn in rig.conns] == ["icmp"]


# -- a full table --------------------------------------------------------------------------------------------------


def test_a_flood_takes_no_conversations_place_and_every_byte_is_counted():
    one = Talk()
    rig = Rig(flow={"limit": 100}).put(*one.handshake(), one.c("PA", b"x" * 100))
    flood = [f.segment(End("203.0.113.9", 1024 + n), End("10.0.0.1", 80), "S", n) for n in range(3000)]
    rig.put(*flood, gap=0.0001).settle()
    assert len(rig.engine.context.table) == 100
    assert one.ends[0].port in {conn.end(0)[1] for conn in rig.conns}
    assert rig.rows(m.EVICTIONS)["", ("table_full",)] == 2901
    assert (
        sum(v for (_, labels), v in rig.rows(m.CONNECTIONS_CLOSED).items() if labels[2] == "evicted") == 2901
    )
    assert rig.captured == rig.bytes == 120 + 140 + 3000 * 40
    assert rig.captured == 120 + 140 + 120_000
    rig.over()
    empty(rig)


@pytest.mark.parametrize(("share", "limit"), [(1, 100), (4, 25), (1000, 1)])
def test_each_worker_has_its_part_of_the_table(share, limit):
    config = Config(flow=Flow(limit=100))
    ledger = Ledger(config.metrics)
    engine = Engine(config, (), ledger, None, share=share)
    assert engine.context.table.limit == limit
    assert ledger.values[ledger.slot(m.TABLE_LIMIT, None)] == limit


# -- what is left --------------------------------------------------------------------------------------------------


def mixed(rig, count):
    """Connections of all kinds, ended in all ways."""
    http = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    for number in range(count):
        one = Talk(End("10.0.0.1", 1024 + number), AWAY)
        rig.put(*one.handshake(), one.c("PA", http[0]), one.s("PA", http[1]), gap=0.0001)
        ending = [one.close(), [one.c("RA")], [one.c("FA")], []][number % 4]
        rig.put(*ending, gap=0.0001)
        rig.put(
            f.datagram(End("10.0.0.1", 1024 + number), End("192.0.2.9", 53), b"\0\1\1\0\0\1" + bytes(30)),
            gap=0,
        )
        rig.put(*Talk(End("127.0.0.1", 1024 + number), End("127.0.0.1", 80)).handshake(), on=LO, gap=0)
    return rig


def living():
    return sum(isinstance(each, Connection | Half | View) for each in gc.get_objects())


def test_memory_is_given_back_without_the_collector():
    """A worker's collector runs seldom: connections break their cycles themselves."""
    gc.collect()
    gc.disable()
    try:
        before = living()
        rig = mixed(Rig(), 100)
        for number, ask in enumerate(rig.engine.context.owners.outbox[:]):
            rig.say(ask.serial, f"p{number % 3}")
        assert living() > before + 500
        rig.settle()
        rig.ended.clear()
        rig.over()
        empty(rig)
        assert living() == before
    finally:
        gc.enable()


def test_rows_of_the_gone_expire():
    rig = mixed(Rig(), 20).answer("curl").settle().over()
    rig.ledger.expire(rig.now)
    rig.now += 2 * rig.config.metrics.expiry
    rig.ledger.now = rig.now
    rig.ledger.expire(rig.now)
    assert {key[0] for key in rig.rows(m.TRANSMIT_BYTES)} <= {"other"}
    assert rig.captured > 0  # what all else is compared with stays


def test_the_end_of_a_file_ends_everything_oldest_first():
    rig = Rig(begin=False)
    talks = [Talk(End("10.0.0.1", 3000 - n), AWAY) for n in range(10)]
    for one in talks:
        rig.read(*one.handshake())
    rig.engine.close(rig.now)
    assert [e.ends[0][1] for e in rig.ended] == [3000 - n for n in range(10)]
    assert rig.captured == rig.bytes == 10 * 120
