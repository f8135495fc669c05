"""The connection table: names, room, tombstones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.flow import table as t
from exporter.flow.connection import Connection, mirror


def conn(number, *, now=0.0, scope=0, transport="tcp"):
    return Connection(scope, transport, b"\x0a\0\0\1\xc0\0\2\1" + number.to_bytes(2, "big") + b"\0\x50", now)


def talking(number, now):
    new = conn(number, now=now)
    new.half0.packets = new.half1.packets = 1
    return new


@given(st.sampled_from([12, 36]), st.data())
def test_mirror(size, data):
    key = data.draw(st.binary(min_size=size, max_size=size))
    half = (size - 4) // 2
    assert mirror(mirror(key)) == key
    assert mirror(key) == key[half : 2 * half] + key[:half] + key[-2:] + key[-4:-2]


def test_found_from_both_sides_and_in_its_own_place_only():
    table = t.Table(10)
    one = conn(1)
    table.add(one)
    assert table.find(0, "tcp", one.forward) is one
    assert table.find(0, "tcp", mirror(one.forward)) is one
    assert table.find(1, "tcp", one.forward) is None
    assert table.find(0, "udp", one.forward) is None
    assert list(table) == [one]
    assert table.remove(one)
    assert not table.remove(one)
    assert len(table) == 0
    assert table.find(0, "tcp", one.forward) is None


def test_removing_clears_the_packet_paths_entries_but_not_a_successors():
    table, path = t.Table(10), {}
    old, new = conn(1), conn(1)
    table.add(old)
    old.half0.table = old.half1.table = path
    path[old.half0.key] = new.half0
    path[old.half1.key] = old.half1
    table.remove(old)
    assert path == {old.forward: new.half0}


def test_the_victim_is_the_oldest_that_is_no_conversation():
    table = t.Table(10)
    alive, oneway, other = talking(1, 100.0), conn(2, now=100.0), conn(3, now=100.0)
    for each in (alive, oneway, other):
        table.add(each)
    assert table.victim(101.0) is oneway


def test_a_conversation_that_fell_silent_is_no_longer_spared():
    table = t.Table(10)
    silent, lively = talking(1, 0.0), talking(2, 100.0)
    table.add(silent)
    table.add(lively)
    assert table.victim(100.0) is silent


def test_with_only_conversations_the_stalest_of_a_few_goes():
    table = t.Table(100)
    for number in range(20):
        table.add(talking(number, 100.0 + number % 5))
    victim = table.victim(110.0)
    assert victim.last == 100.0
    assert len(table) == 20


def test_the_fullest_kind_makes_room():
    table = t.Table(10)
    lonely = conn(1, transport="udp")
    table.add(lonely)
    for number in range(3):
        table.add(conn(number))
    assert table.victim(1000.0).transport == "tcp"


def test_an_empty_table_has_no_victim():
    assert t.Table(1).victim(0.0) is None


def test_tombstones_weather_in_time():
    table = t.Table(10)
    one, two = conn(1), conn(2)
    first = t.Tombstone(one.forward, 10.0, (), still_open=False)
    second = t.Tombstone(two.forward, 20.0, (), still_open=False)
    for each, stone in ((one, first), (two, second)):
        table.add(each)
        table.remove(each)
        assert table.bury(each, stone) == []
    assert table.tombstone(0, "tcp", mirror(one.forward)) is first
    assert table.weathered(9.9) == []
    assert table.weathered(10.0) == [first]
    assert table.tombstone(0, "tcp", one.forward) is None
    assert table.weathered(99.0) == [second]


def test_tombstones_are_bounded_and_all_are_given_back(monkeypatch):
    monkeypatch.setattr(t, "MAX_TOMBSTONES", 3)
    table = t.Table(10)
    stones, back = [], []
    for number in (1, 2, 3, 4, 4):  # the last on the place of the one before
        each = conn(number)
        table.add(each)
        table.remove(each)
        stones.append(t.Tombstone(each.forward, 10.0, (), still_open=False))
        back += table.bury(each, stones[-1])
    back += table.weathered(10.0)
    assert sorted(map(id, back)) == sorted(map(id, stones))


@pytest.mark.parametrize("tunnel", ["", "vxlan"])
def test_inside_of_a_tunnel_is_another_place(tunnel):
    table = t.Table(10)
    one = conn(1)
    one.tunnel = tunnel
    table.add(one)
    assert (table.find(0, "tcp", one.forward) is one) is (not tunnel)
    assert table.find(0, one.kind, one.forward) is one
    assert table.remove(one)


def test_a_dictionary_gives_back_what_it_took_when_it_was_full():
    entries = dict.fromkeys(range(100000))
    held, full = entries.get, entries.__sizeof__()
    for n in range(99_990):
        del entries[n]
    assert entries.__sizeof__() == full
    t.shrink(entries)
    assert entries.__sizeof__() < full // 100
    assert len(entries) == 10
    assert held(99_995, "gone") is None  # who held a method of it holds it still


def test_a_small_or_a_full_dictionary_is_left_alone():
    full = dict.fromkeys(range(100000))
    size = full.__sizeof__()
    t.shrink(full)
    assert full.__sizeof__() == size
