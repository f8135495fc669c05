"""Servers' names: by their protocol, else by the DNS answer that came before; as attributes, and as a label."""

import struct
from ipaddress import ip_address

import pytest

from exporter import metrics as m
from exporter.engine.labels import Top
from exporter.flow import names as flow_names
from exporter.model import Interface
from tests.engine import frames as f
from tests.engine.counted import Counted, key, moved
from tests.engine.frames import End, Talk
from tests.engine.rig import Rig

HERE, RESOLVER, WEB = End("10.0.0.1", 40_000), End("192.0.2.53", 53), End("192.0.2.80", 9999)
NAMES = ("server_address",)
A, CNAME, AAAA = 1, 5, 28


def label(name):
    return b"".join(bytes([len(part)]) + part for part in name.encode().split(b".")) + b"\0"


def record(owner, kind, data, ttl=300):
    if kind in (A, AAAA):
        data = ip_address(data).packed
    elif kind == CNAME:
        data = label(data)
    return label(owner) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def query(name, serial=1, kind=A):
    return struct.pack(">6H", serial, 0x0100, 1, 0, 0, 0) + label(name) + struct.pack(">HH", kind, 1)


def answer(name, *records, serial=1, kind=A, question=True):
    head = struct.pack(">6H", serial, 0x8180, question, len(records), 0, 0)
    return head + (label(name) + struct.pack(">HH", kind, 1)) * question + b"".join(records)


def look_up(rig, name="www.example", *records, serial=1, on=None):
    """Ask, and have it answered."""
    more = {"on": on} if on else {}
    records = records or (record(name, A, WEB.address),)
    rig.put(f.datagram(HERE, RESOLVER, query(name, serial)), **more)
    return rig.put(f.datagram(RESOLVER, HERE, answer(name, *records, serial=serial)), **more)


def talk(rig, *said, client=HERE, server=WEB, process="curl"):
    """A connection, of which these payloads are the client's."""
    one = Talk(client, server)
    rig.put(*one.handshake(), *(one.c("PA", data) for data in said), *one.close())
    return rig.answer(process).settle()


def server_of(rig, port=9999):
    (found,) = (e.attrs.get("server.address") for e in rig.ended if e.ends[1][1] == port)
    return found


def test_a_connection_has_the_name_that_its_address_was_looked_up_by():
    rig = talk(look_up(Rig()))
    assert server_of(rig) == "www.example"


def test_over_aliases_it_is_the_name_that_was_asked_for():
    records = (record("www.example", CNAME, "a.cdn.example"), record("a.cdn.example", A, WEB.address))
    assert server_of(talk(look_up(Rig(), "www.example", *records))) == "www.example"


@pytest.mark.parametrize("ask", ["tls.example", ""])
def test_what_the_protocol_tells_goes_before_it(ask):
    host = b"Host: " + ask.encode() + b"\r\n" if ask else b""
    rig = look_up(Rig())
    talk(rig, b"GET / HTTP/1.0\r\n" + host + b"\r\n", server=End(WEB.address, 80))
    (request,) = (message for _, message in rig.said if message.op == "GET")
    assert request.attrs["server.address"] == server_of(rig, 80) == (ask or "www.example")


def test_it_is_known_for_a_minute_at_least_and_no_longer_than_its_time():
    for wait, name in ((50, "www.example"), (70, None)):
        rig = look_up(Rig(), "www.example", record("www.example", A, WEB.address, ttl=1))
        rig.wait(wait, 5.0)
        assert server_of(talk(rig)) == name


def poisoned(*frames):
    return server_of(talk(Rig().put(*frames)))


def test_only_answers_to_what_was_asked_are_believed():
    ours = f.datagram(HERE, RESOLVER, query("www.example", 7))
    evil = record("evil.example", A, WEB.address)
    assert poisoned(f.datagram(RESOLVER, HERE, answer("evil.example", evil))) is None
    assert (
        poisoned(
            ours,
            f.datagram(
                RESOLVER, HERE, answer("www.example", record("www.example", A, WEB.address), serial=8)
            ),
        )
        is None
    )
    assert poisoned(ours, f.datagram(RESOLVER, HERE, answer("evil.example", evil, serial=7))) is None
    assert poisoned(ours, f.datagram(RESOLVER, HERE, answer("", evil, serial=7, question=False))) is None
    other = f.datagram(
        End("192.0.2.66", 53), HERE, answer("www.example", record("www.example", A, WEB.address), serial=7)
    )
    assert poisoned(ours, other) is None
    right = record("www.example", A, WEB.address)
    assert (
        poisoned(ours, f.datagram(RESOLVER, HERE, answer("www.example", evil, right, serial=7)))
        == "www.example"
    )
    late = f.datagram(RESOLVER, HERE, answer("www.example", record("www.example", A, "192.0.2.99"), serial=7))
    assert poisoned(ours, late, f.datagram(RESOLVER, HERE, answer("www.example", right, serial=7))) is None


def test_an_answer_that_does_not_repeat_the_question_is_of_the_query():
    right = record("www.example", A, WEB.address)
    ours = f.datagram(HERE, RESOLVER, query("www.example", 7))
    assert (
        poisoned(ours, f.datagram(RESOLVER, HERE, answer("", right, serial=7, question=False)))
        == "www.example"
    )


def test_what_others_ask_us_names_nothing():
    """We are the resolver: who asks may ask for anything."""
    asker, here = End("192.0.2.66", 5353 + 1), End("10.0.0.1", 53)
    rig = Rig().put(f.datagram(asker, here, query("evil.example")))
    rig.put(f.datagram(here, asker, answer("evil.example", record("evil.example", A, WEB.address))))
    assert server_of(talk(rig)) is None


def test_multicast_answers_name_nothing():
    group = End("224.0.0.251", 5353)
    rig = Rig().put(f.datagram(End("10.0.0.1", 5353), group, query("www.local", 0)))
    rig.put(
        f.datagram(
            group, End("10.0.0.1", 5353), answer("www.local", record("www.local", A, WEB.address), serial=0)
        )
    )
    assert server_of(talk(rig)) is None


def test_who_connects_to_us_is_no_server():
    rig = look_up(Rig())
    talk(rig, client=WEB, server=End("10.0.0.1", 22), process="sshd")
    assert server_of(rig, 22) is None


def test_a_flood_of_answers_leaves_the_memory_bounded(monkeypatch):
    monkeypatch.setattr(flow_names, "LIMIT", 64)
    rig = Rig()
    rig.engine.context.names = names = flow_names.Names(64)
    for serial in range(1, 200):
        many = [record("a.example", A, f"192.{serial}.2.{n}") for n in range(30)]
        look_up(rig, "a.example", *many, serial=serial)
    assert len(names) == 64
    assert rig.rows(m.EVICTIONS)["", ("names",)] == 199 * 30 - 64


def test_nobody_asks_so_nothing_is_kept():
    rig = look_up(Rig(listen=False))
    assert rig.engine.context.names is None


def test_the_attribute_can_be_left_out():
    rig = look_up(Rig(attributes=("tls.cipher",)))
    talk(rig, b"GET / HTTP/1.0\r\n\r\n", server=End(WEB.address, 80))
    assert server_of(rig, 80) is None
    assert not any("server.address" in message.attrs for _, message in rig.said)


# -- the label ---------------------------------------------------------------------------------------------------------


def peers(rig, process="curl"):
    """Bytes sent, by name."""
    rows = rig.moved(m.PEER_TRANSMIT_BYTES)
    return {labels[1]: int(value) for (who, labels), value in rows.items() if who == process}


def test_without_being_asked_for_there_is_no_label():
    rig = talk(look_up(Rig()))
    assert peers(rig).keys() == {""}


def test_peers_by_the_servers_name():
    rig = look_up(Rig(labels=NAMES, listen=False))
    talk(rig)
    talk(
        rig,
        b"GET / HTTP/1.1\r\nHost: Told.Example:80\r\n\r\n",
        client=End("10.0.0.1", 40_001),
        server=End(WEB.address, 80),
    )
    talk(rig, client=End("10.0.0.1", 40_002), server=End("192.0.2.9", 9999))
    found = peers(rig)
    assert found.keys() == {"www.example", "told.example", ""}
    assert sum(found.values()) == rig.sum(m.TRANSMIT_BYTES) == rig.sum(m.PEER_TRANSMIT_BYTES)


@pytest.mark.parametrize("looked_up", [True, False])
def test_a_name_that_is_told_late_has_what_follows(looked_up):
    """What was entered stays where it is; a first name has all that was not."""
    rig = look_up(Rig(labels=NAMES)) if looked_up else Rig(labels=NAMES)
    one = Talk(HERE, End(WEB.address, 80))
    rig.put(*one.handshake()).answer("curl").settle()
    before = peers(rig)
    ask = one.c("PA", b"GET / HTTP/1.1\r\nHost: told.example\r\n\r\n")
    rig.put(ask, one.s("PA", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), one.c("A")).settle()
    new = {name: size - before.get(name, 0) for name, size in peers(rig).items()}
    size = len(ask) - 14
    assert new == (
        {"www.example": size, "told.example": 40, "": 0} if looked_up else {"": 0, "told.example": size + 40}
    )
    assert sum(peers(rig).values()) == rig.sum(m.PEER_TRANSMIT_BYTES) == rig.sum(m.TRANSMIT_BYTES)


def test_a_server_has_no_label_of_what_it_is_called():
    rig = Rig(labels=NAMES)
    talk(
        rig,
        b"GET / HTTP/1.1\r\nHost: ours.example\r\n\r\n",
        client=WEB,
        server=End("10.0.0.1", 80),
        process="nginx",
    )
    assert peers(rig, "nginx").keys() == {""}


@pytest.mark.parametrize("host", ["a\x07b", "x" * 300, '"}', "192.0.2.7", "a b"])
def test_what_can_be_no_name_is_no_label(host):
    rig = Rig(labels=NAMES)
    talk(rig, b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n", server=End(WEB.address, 80))
    assert peers(rig).keys() == {""}


def test_further_names_are_other():
    rig = Rig(labels=("server_address:top=3",))
    for n in range(10):
        host = b"GET / HTTP/1.1\r\nHost: h%d.example\r\n\r\n" % n
        talk(rig, host, client=End("10.0.0.1", 41_000 + n), server=End(WEB.address, 80))
    assert peers(rig).keys() == {"h0.example", "h1.example", "h2.example", "other"}
    assert sum(peers(rig).values()) == rig.sum(m.TRANSMIT_BYTES)


def test_a_place_is_free_once_nobody_has_used_it_for_long():
    top = Top(1, 100.0)
    assert top.fold("a", 0.0) == "a"
    top.hold("a")
    top.hold("a")
    top.release("a", 5.0)
    assert top.fold("b", 1000.0) == "other"
    top.release("a", 1000.0)
    assert [top.fold("b", now) for now in (1000.0, 1099.0)] == ["other", "other"]
    assert top.fold("a", 1050.0) == "a"
    assert top.fold("b", 1100.0) == "b"
    assert top.fold("a", 1100.0) == "other"


def test_workers_share_the_places():
    from exporter.engine import Engine

    rig = Rig(labels=("server_address:top=7",))
    top = Engine(rig.config, (), rig.ledger, None, share=2).context.accounts.servers
    assert [top.fold(name, 0.0) for name in "abcd"] == ["a", "b", "c", "other"]


# -- where the kernel counts -------------------------------------------------------------------------------------------


def test_the_kernels_numbers_have_the_names_too():
    rig = Counted(labels=NAMES)
    asks = key(HERE, RESOLVER, 1, "udp")
    rig.see(asks, f.datagram(HERE, RESOLVER, query("www.example")), sent=True)
    rig.see(
        asks,
        f.datagram(RESOLVER, HERE, answer("www.example", record("www.example", A, WEB.address))),
        sent=False,
    )
    one, end = Talk(HERE, WEB), key(HERE, WEB, 2)
    rig.see(end, one.c("S"), sent=True)
    rig.turn(moved(asks, (1, 80), (1, 60)), moved(end, (3, 300), (4, 400), initiator=1)).settle()
    assert peers(rig) == {"": 60, "www.example": 400}


def test_a_namespaces_answers_are_its_own():
    rig = Counted(labels=NAMES)
    asks, web = key(HERE, RESOLVER, 1, "udp"), key(HERE, WEB, 2)
    rig.see(asks, f.datagram(HERE, RESOLVER, query("www.example")), sent=True, scope=7)
    rig.see(
        asks,
        f.datagram(RESOLVER, HERE, answer("www.example", record("www.example", A, WEB.address))),
        sent=False,
        scope=7,
    )
    rig.see(web, Talk(HERE, WEB).c("S"), sent=True)
    rig.turn(moved(web, (3, 300), (4, 400), initiator=1)).settle()
    assert peers(rig) == {"": 400}


def test_a_pods_answers_are_the_pods():
    pod = Interface("veth1", 1, scope=7, role="pod", mac=f.HERE)
    rig = Rig(labels=NAMES)
    rig.places(7, ("10.0.0.1",))
    look_up(rig, on=pod)
    talk(rig)
    assert peers(rig).keys() == {""}
