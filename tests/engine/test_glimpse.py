"""First packets that are seen early open a connection, and are counted only when they come again."""

from exporter import metrics as m
from exporter.config import Config
from exporter.engine import Engine
from exporter.ledger import Ledger
from exporter.model import Addresses, Ask, Interface
from tests.engine import frames

LOCAL, FAR = frames.End("10.0.0.1", 4000), frames.End("192.0.2.9", 80)


def started():
    config = Config()
    engine = Engine(config, (), Ledger(config.metrics), None)
    engine.begin(0.0, resumed=False, first_serial=1)
    engine.context.places.learn(Addresses(0, (LOCAL.packed,)))
    interface = Interface("eth0", 1)
    return engine, engine.attach(interface), engine.glimpse(interface)


def captured(engine):
    ledger = engine.context.ledger
    return sum(ledger.values[row.slot] for row in ledger.rows.values() if row.key[0] is m.CAPTURED_PACKETS)


def syn(seq=1):
    return frames.segment(LOCAL, FAR, "S", seq)


def test_a_glimpse_asks_and_does_not_count():
    engine, frame, glimpse = started()
    glimpse(10.0, syn())
    assert len(engine.context.table) == 1
    assert [type(record) for record in engine.context.owners.outbox] == [Ask]
    engine.reap(20.0)
    engine.tick(20.0)
    assert captured(engine) == 0
    frame(20.0, syn())
    engine.tick(21.0)
    assert captured(engine) == 1
    assert len(engine.context.table) == 1
    (conn,) = engine.context.table
    assert conn.views[0].state == "syn_sent"


def test_a_known_tuple_is_left_alone():
    engine, frame, glimpse = started()
    frame(10.0, syn())
    (conn,) = engine.context.table
    glimpse(10.0, syn(seq=7))
    assert list(engine.context.table) == [conn]
    assert not conn.reason


def test_what_is_no_packet_is_passed_over():
    engine, _, glimpse = started()
    glimpse(10.0, b"\0" * 20)
    assert len(engine.context.table) == 0
