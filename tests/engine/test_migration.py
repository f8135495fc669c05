"""QUIC connections that go on from other ends, between two ends of aioquic in memory; engine and table."""

import datetime as dt
from collections import Counter

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exporter import metrics as m
from exporter.engine.migration import ATTRIBUTE
from exporter.flow import quic
from exporter.flow.connection import Connection, mirror
from exporter.flow.quic import MAX_IDS, Routes
from tests.engine.frames import End, datagram
from tests.engine.rig import Rig

CLIENT, MOVED = End("10.0.0.1", 40_000), End("10.0.0.1", 50_001)
SERVER, ELSEWHERE = End("192.0.2.1", 443), End("192.0.2.2", 443)
V6 = (End("2001:db8::1", 40_000), End("2001:db8::1", 50_001), End("2001:db8:9::1", 443))
NAME = "www.example.test"
LABELS = ("quic", "udp")


@pytest.fixture(scope="module")
def certified():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()), key


class Talk:
    """Two ends; what they send goes to each other, and as frames to a rig."""

    def __init__(self, certified, rig, *, ends=(CLIENT, SERVER), client_id=8, server_id=8):
        self.rig, self.now = rig, 100.0
        self.ends = list(ends)
        asks = QuicConfiguration(
            server_name=NAME, alpn_protocols=["echo"], connection_id_length=client_id, verify_mode=0
        )
        answers = QuicConfiguration(
            is_client=False,
            alpn_protocols=["echo"],
            connection_id_length=server_id,
            certificate=certified[0],
            private_key=certified[1],
        )
        client = QuicConnection(configuration=asks)
        client.connect(self.ends[1], now=self.now)
        server = QuicConnection(
            configuration=answers,
            original_destination_connection_id=client.original_destination_connection_id,
        )
        self.sides = (client, server)
        self.run()

    def run(self, *, lose=False):
        """Deliver until nobody has anything more to say; `lose`: nothing of it is seen here."""
        for _ in range(20):
            for at, end in enumerate(self.sides):
                for data, _ in end.datagrams_to_send(self.now):
                    self.now += 0.001
                    if not lose:
                        self.rig.put(datagram(self.ends[at], self.ends[1 - at], data))
                    self.sides[1 - at].receive_datagram(data, self.ends[at], self.now)
        return self

    def ask(self, size=3000, **how):
        """Send so much over a stream of its own."""
        client = self.sides[0]
        client.send_stream_data(client.get_next_available_stream_id(), bytes(size), end_stream=True)
        return self.run(**how)

    def move(self, client):
        """The client's next datagrams come from elsewhere."""
        self.ends[0] = client
        return self


def by_port(rig):
    return {conn.end(0 if conn.initiator == 0 else 1)[1]: conn for conn in rig.conns}


@pytest.mark.parametrize("ends", [(CLIENT, MOVED, SERVER), V6])
def test_a_client_goes_on_from_another_port(certified, ends):
    first, then, server = ends
    rig = Rig()
    talk = Talk(certified, rig, ends=(first, server)).ask()
    rig.answer("browser").settle()
    before = rig.bytes
    assert rig.states == ("connected",)
    talk.move(then).ask()
    rig.answer("browser").settle()
    old, new = by_port(rig)[first.port], by_port(rig)[then.port]
    assert (new.protocol, new.initiator) == ("quic", 0 if new.end(0)[1] == then.port else 1)
    assert new.attrs["server.address"] == NAME
    assert new.attrs["quic.version"] == old.attrs["quic.version"]
    assert (new.attrs[ATTRIBUTE], old.attrs.get(ATTRIBUTE)) == ("true", None)
    assert [view.state for view in new.views + old.views] == ["connected", "draining"]
    assert rig.moved(m.CONNECTIONS) == {
        ("browser", (*LABELS, "connected")): 1,
        ("browser", (*LABELS, "draining")): 1,
    }
    assert rig.moved(m.CONNECTIONS_OPENED) == {("browser", (*LABELS, "local")): 1}
    assert rig.bytes > before + 3000
    assert {labels[0] for _, labels in rig.moved(m.TRANSMIT_BYTES)} == {"quic"}
    rig.wait(12)
    assert list(by_port(rig)) == [then.port]
    assert not rig.moved(m.CONNECTIONS_CLOSED)
    assert [(ended.reason, ended.protocol) for ended in rig.ended] == [("migrated", "quic")]
    rig.over()
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("browser", (*LABELS, "timeout")): 1}
    assert rig.captured == rig.bytes
    assert not len(rig.engine.context.routes)


def test_it_comes_back_and_goes_on_again(certified):
    rig = Rig()
    talk = Talk(certified, rig).ask()
    talk.move(MOVED).ask()
    rig.wait(12)
    talk.move(CLIENT).ask()
    rig.wait(12)
    talk.move(End("10.0.0.1", 50_002)).ask()
    assert by_port(rig)[50_002].protocol == "quic"
    rig.over()
    assert rig.sum(m.CONNECTIONS_OPENED) == rig.sum(m.CONNECTIONS_CLOSED) == 1
    assert Counter(ended.reason for ended in rig.ended) == {"migrated": 3, "timeout": 1}
    assert {ended.protocol for ended in rig.ended} == {"quic"}


def test_the_servers_first_word_on_the_new_ends_is_enough(certified):
    """What the client sent from there was lost on its way to us."""
    rig = Rig()
    talk = Talk(certified, rig).ask()
    its_own = talk.sides[1].host_cid
    rig.put(datagram(SERVER, MOVED, b"\x41" + its_own + bytes(40)))  # which nobody is addressed by that way
    (new,) = [conn for conn in rig.conns if MOVED.port in (conn.end(0)[1], conn.end(1)[1])]
    assert new.protocol == ""
    client_id = talk.sides[0].host_cid
    rig.put(datagram(SERVER, MOVED, b"\x41" + client_id + bytes(40)))
    assert (new.protocol, new.end(new.initiator)[1]) == ("quic", MOVED.port)


@pytest.mark.parametrize(
    "what", ["short_id", "another_server", "another_id", "long_header", "inspection_off"]
)
def test_what_shows_no_connection_is_none(certified, what):
    rig = Rig(dpi={"enabled": False}) if what == "inspection_off" else Rig()
    size = 3 if what == "short_id" else 8
    talk = Talk(certified, rig, client_id=size, server_id=size).ask()
    server = ELSEWHERE if what == "another_server" else SERVER
    if what in ("another_server", "short_id", "inspection_off"):
        talk.move(MOVED).ends[1] = server
        talk.ask()
    else:
        cid = bytes(8) if what == "another_id" else talk.sides[1].host_cid
        rig.put(datagram(MOVED, server, (b"\x41" if what == "another_id" else b"\xf1") + cid + bytes(40)))
    new = by_port(rig)[MOVED.port]
    assert new.protocol == ""
    rig.settle().over()
    assert rig.sum(m.CONNECTIONS_OPENED) == rig.sum(m.CONNECTIONS_CLOSED) == 2


def test_one_that_was_counted_already_is_closed_as_well(certified):
    """It was silent here for longer than a protocol is waited for; then both ends count twice."""
    rig = Rig()
    talk = Talk(certified, rig).ask()
    rig.put(datagram(MOVED, SERVER, b"\x01\x02\x03\x04 not yet QUIC"))
    rig.settle()
    talk.move(MOVED).ask()
    assert by_port(rig)[MOVED.port].protocol == "quic"
    rig.over()
    assert rig.sum(m.CONNECTIONS_OPENED) == rig.sum(m.CONNECTIONS_CLOSED) == 2


def test_each_end_goes_on_with_its_own(certified):
    """Both ends are ours, in two namespaces, one of which was not known by its number at first."""
    rig = Rig()
    talk = Talk(certified, rig).ask()
    (near,) = rig.conns
    far = Connection(-7, "udp", near.forward, rig.now)
    far.initiator, far.local = near.initiator, near.local ^ 3
    routes = rig.engine.context.routes
    for route in list(routes._ids[near]):
        cid, to_server = route[1][7:], route[1][6]
        long = b"\xe0\0\0\0\x01\0" + bytes([len(cid)]) + cid + b"\x40\x20" + bytes(32)
        assert routes.learn(far, 1 if to_server else 0, long) == 0
    moved = mirror(End("192.0.2.1", 443).packed + End("10.0.0.1", 1).packed + bytes.fromhex("01bbc351"))
    for scope, local, wanted in ((-7, 2, far), (99, 2, far), (0, 1, near), (99, 1, near), (0, 3, near)):
        conn = Connection(scope, "udp", moved, rig.now)
        conn.local = local
        assert routes.find(conn, 0, b"\x41" + talk.sides[1].host_cid + bytes(30)) == (wanted, 0)
    routes.forget(near)
    conn = Connection(0, "udp", moved, rig.now)
    conn.local = 1
    assert routes.find(conn, 0, b"\x41" + talk.sides[1].host_cid + bytes(30)) is None  # the other end's
    routes.forget(far)
    assert not len(routes)


def test_a_flood_of_handshakes_is_bounded_and_counted(certified, monkeypatch):
    monkeypatch.setattr(quic, "MAX_ROUTES", 4)
    rig = Rig()
    talks = [Talk(certified, rig, ends=(End("10.0.0.1", 41_000 + n), SERVER)).ask() for n in range(4)]
    routes = rig.engine.context.routes
    assert len(routes) <= 4
    assert rig.of(m.EVICTIONS, "", "connection_ids") or rig.sum(m.EVICTIONS)
    talks[0].move(MOVED).ask()
    assert by_port(rig)[MOVED.port].protocol == ""
    talks[3].move(End("10.0.0.1", 50_003)).ask()
    assert by_port(rig)[50_003].protocol == "quic"
    rig.over()
    assert not len(routes)


def test_a_connection_has_a_few_ids_only():
    routes = Routes()
    conn = Connection(0, "udp", bytes(12), 0.0)
    conn.initiator = 0
    for number in range(100):
        cid = bytes([8]) + number.to_bytes(8, "big")
        assert routes.learn(conn, 1, b"\xe0\0\0\0\x01" + cid + cid + b"\x40\x20" + bytes(32)) == 0
    assert len(routes) == MAX_IDS
    for bad in (
        b"\xe0",
        b"\xe0\0\0\0\x01\x15" + bytes(40),
        b"\xe0\x12\x34\x56\x78\x08" + bytes(40),
        bytes(9),
    ):
        assert routes.learn(conn, 1, bad) == 0
    routes.forget(conn)
    assert not len(routes)
    assert routes.learn(conn, 1, b"\xe0\0\0\0\x01\x08" + bytes(8) + b"\0\x40\x20" + bytes(32)) == 0
    assert not len(routes)  # an id of no length is everybody's
