import contextlib
import socket

import msgspec
import pytest

from exporter.identity.channel import Channel, pack
from exporter.identity.stats import Stats
from exporter.model import Answer, Gone, Hello, Owner, Record


@pytest.fixture
def pair(closing):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(0)
    return Channel(closing(ours), Stats()), closing(theirs)


def read(end):
    return msgspec.msgpack.decode(end.recv(1 << 18), type=list[Record])


@pytest.mark.parametrize("count", [1, 15, 16, 1000])
def test_records_are_sent_together(pair, count):
    channel, end = pair
    sent = [Gone(serial) for serial in range(count)]
    for record in sent:
        channel.put(record, keep=True)
    channel.flush()
    assert read(end) == sent


def test_a_datagram_is_bounded(pair):
    channel, end = pair
    owner = Owner("x", command=("y" * 1000,))
    for serial in range(200):
        channel.put(Answer(serial, owner), keep=True)
    channel.flush()
    got = []
    while len(got) < 200:
        data = end.recv(1 << 18)
        assert len(data) <= 60_000
        got += msgspec.msgpack.decode(data, type=list[Record])
        channel.flush()
    assert [answer.serial for answer in got] == list(range(200))


def test_what_a_worker_does_not_take_waits_or_is_dropped(pair):
    channel, end = pair
    owner = Owner("x", command=("y" * 1000,))
    for serial in range(2000):
        channel.put(Answer(serial, owner), keep=serial % 2 == 0)
    channel.flush()
    assert channel.stats.errors["full"] > 0
    got = []
    while channel.waiting:
        got += read(end)
        channel.flush()
    with contextlib.suppress(BlockingIOError):
        while True:
            got += read(end)
    serials = [answer.serial for answer in got]
    assert serials == sorted(serials)
    assert set(range(0, 2000, 2)) <= set(serials)


def test_too_much_is_dropped(pair, monkeypatch):
    monkeypatch.setattr("exporter.identity.channel.WAITING", 3)
    channel, _ = pair
    for serial in range(5):
        channel.put(Gone(serial), keep=True)
    assert (len(channel.waiting), channel.stats.errors["full"]) == (3, 2)


@pytest.mark.parametrize("data", [b"\xff", b"\x91\x01", b"\x90\x90", b"hello", pack([b"\xc1"])])
def test_what_is_not_ours_is_counted(pair, data):
    channel, end = pair
    end.send(data)
    end.send(msgspec.msgpack.encode([Hello(1)]))
    assert list(channel.receive()) == [Hello(1)]
    assert channel.stats.errors["malformed"] == 1


def test_the_other_end_is_gone(pair):
    channel, end = pair
    end.close()
    assert list(channel.receive()) == []
    assert channel.closed
    channel.put(Gone(1), keep=True)
    channel.flush()


def test_a_send_to_nobody(pair):
    channel, end = pair
    end.close()
    channel.put(Gone(1), keep=True)
    channel.flush()
    assert channel.closed
    assert not channel.waiting
