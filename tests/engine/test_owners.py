"""Who owns what: answers early and late, better ones, none; our own traffic; sockets that are silent."""

import pytest

from exporter import metrics as m
from exporter.model import Answer, Ask, Gone, IdentityKey, Listing, Owner, SocketRow, Watch
from tests.engine import frames as f
from tests.engine.frames import End, Talk
from tests.engine.rig import ETH, LO, Rig

AWAY, HERE = End("192.0.2.1", 80), End("10.0.0.1", 40_000)
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def talk():
    return Talk(HERE, AWAY)


def test_what_is_asked():
    rig = Rig().put(talk().s("SA"))
    (ask,) = rig.outbox(Ask)
    assert (ask.scope, ask.transport, ask.local, ask.lport) == (0, "tcp", HERE.packed, 40_000)
    assert (ask.remote, ask.rport, ask.since) == (AWAY.packed, 80, rig.now)
    assert ask.serial > 100


def test_of_an_answer_little_is_kept():
    """A hundred thousand connections keep a word each otherwise, and the number of a question that is over."""
    one, two = Talk(HERE, AWAY), Talk(End("10.0.0.1", 40_001), AWAY)
    rig = Rig().put(*one.handshake(), *two.handshake()).answer("curl")
    first, second = (view for conn in rig.engine.context.table for view in conn.views)
    assert (first.method, first.quality, first.owner.process) == ("netlink", "exact", "curl")
    assert first.method is second.method
    assert first.quality is second.quality
    assert first.owner is second.owner
    assert first.identity is second.identity
    assert first.serial == second.serial == -1


def test_who_has_the_last_answer_is_not_asked_about_again():
    one = talk()
    rig = Rig().put(*one.handshake())
    (ask,) = rig.outbox(Ask)
    rig.say(ask.serial, "curl").say(ask.serial, "other")
    rig.engine.repeat()
    assert not rig.outbox(Ask)
    (conn,) = rig.engine.context.table
    assert conn.views[0].owner.process == "curl"


def test_an_answer_in_time():
    rig = Rig(dissectors=[]).put(*talk().handshake()).answer("curl")
    assert rig.moved(m.TRANSMIT_BYTES) == {}
    rig.wait(0.25)
    assert rig.moved(m.TRANSMIT_BYTES) == {("curl", ("unknown", "tcp")): 80}
    assert rig.moved(m.ATTRIBUTIONS) == {("", ("netlink", "exact")): 1}


def test_unknown_after_a_second_and_then_known_moves_nothing():
    one = talk()
    rig = Rig(dissectors=[]).put(*one.handshake())
    rig.wait(0.75)
    assert rig.bytes == 0
    rig.wait(0.75)
    assert rig.moved(m.TRANSMIT_BYTES) == {("unknown", ("unknown", "tcp")): 80}
    assert rig.moved(m.CONNECTIONS) == {("unknown", ("unknown", "tcp", "established")): 1}
    rig.answer("curl").put(one.c("PA", b"x" * 60)).wait(1)
    assert rig.moved(m.TRANSMIT_BYTES) == {
        ("unknown", ("unknown", "tcp")): 80,
        ("curl", ("unknown", "tcp")): 100,
    }
    assert rig.moved(m.CONNECTIONS) == {("curl", ("unknown", "tcp", "established")): 1}
    assert rig.moved(m.ATTRIBUTIONS) == {("", ("none", "none")): 1}


def test_the_protocol_that_comes_late_moves_nothing_either():
    one = talk()
    rig = Rig().put(*one.handshake()).answer("curl").settle()
    assert rig.moved(m.TRANSMIT_BYTES) == {("curl", ("unknown", "tcp")): 80}
    rig.put(one.c("PA", GET)).wait(1)
    assert rig.moved(m.TRANSMIT_BYTES) == {
        ("curl", ("unknown", "tcp")): 80,
        ("curl", ("http", "tcp")): 40 + len(GET),
    }
    assert rig.moved(m.CONNECTIONS) == {("curl", ("http", "tcp", "established")): 1}


def test_what_had_not_entered_when_the_name_came_is_its_own():
    one = talk()
    rig = Rig(dissectors=[]).put(*one.handshake()).settle()
    rig.put(one.c("PA", b"x" * 60)).answer("curl").put(one.c("PA", b"x" * 10)).wait(1)
    assert rig.moved(m.TRANSMIT_BYTES) == {
        ("unknown", ("unknown", "tcp")): 80,
        ("curl", ("unknown", "tcp")): 150,
    }


def test_a_listener_is_refined():
    one = Talk(AWAY, HERE)
    rig = Rig(dissectors=[]).put(*one.handshake())
    (ask,) = rig.outbox(Ask)
    rig.say(ask.serial, "nginx", quality="listener", final=False).wait(1)
    assert rig.moved(m.RECEIVE_BYTES) == {("nginx", ("unknown", "tcp")): 80}
    rig.say(ask.serial, "worker").put(one.c("PA", b"x" * 10)).wait(1)
    assert rig.moved(m.RECEIVE_BYTES) == {
        ("nginx", ("unknown", "tcp")): 80,
        ("worker", ("unknown", "tcp")): 50,
    }
    rig.say(ask.serial, "late")  # the last answer was final
    rig.put(one.c("PA", b"x")).wait(1)
    assert ("late", ("unknown", "tcp")) not in rig.rows(m.RECEIVE_BYTES)


def test_containers_and_pods_are_part_of_the_name():
    rig = Rig(dissectors=[]).put(*talk().handshake())
    rig.answer(Owner("app", pid=7, start=1.0, container="c" * 64, pod="uid")).settle()
    keys = {row.key[1] for row in rig.ledger.rows.values() if row.key[0] is m.TRANSMIT_BYTES}
    assert keys == {IdentityKey("app", "c" * 64, "uid")}


def test_a_process_is_kept_once():
    rig = Rig()
    for port in range(40_000, 40_010):
        rig.put(Talk(End("10.0.0.1", port), AWAY).c("S"))
    rig.answer(Owner("curl", pid=7, start=1.0))
    assert len({id(conn.views[0].owner) for conn in rig.conns}) == 1


def test_what_ended_is_no_longer_asked_for():
    one = talk()
    rig = Rig().put(*one.handshake(), one.c("RA")).settle()
    (ask,) = rig.outbox(Ask)
    (gone,) = rig.outbox(Gone)
    assert gone.serial == ask.serial
    rig.say(ask.serial, "curl")
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("unknown", ("unknown", "tcp", "reset")): 1}


def test_a_short_connection_waits_for_its_name():
    one = talk()
    rig = Rig().put(*one.handshake(), *one.close()).wait(0.5)
    assert rig.ended == []
    rig.answer("curl").wait(0.5)
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("curl", ("unknown", "tcp", "fin")): 1}
    assert rig.moved(m.CONNECTIONS_OPENED) == {("curl", ("unknown", "tcp", "local")): 1}


def test_messages_wait_for_the_name():
    one = talk()
    rig = Rig().put(*one.handshake(), one.c("PA", GET), one.s("PA", OK))
    assert rig.sum(m.REQUESTS) == 0
    rig.answer("curl").wait(0.25)
    assert rig.moved(m.REQUESTS) == {("curl", ("http", "client", "GET", "2xx")): 1}


def test_a_new_identity_process_is_asked_anew():
    rig = Rig().put(talk().c("S"))
    (first,) = rig.outbox(Ask)
    rig.engine.context.owners.repeat()
    (again,) = rig.outbox(Ask)
    assert again == first


def test_a_full_outbox_loses_questions_and_says_so(monkeypatch):
    monkeypatch.setattr("exporter.engine.owners.MAX_OUTBOX", 1)
    rig = Rig().put(talk().c("S"), Talk(End("10.0.0.1", 1), AWAY).c("S")).settle()
    assert rig.engine.context.owners.lost == 1
    assert rig.bytes == 80


# -- whose it is ---------------------------------------------------------------------------------------------------


def test_both_ends_local_have_their_own_owners_roles_and_states():
    one = Talk(End("127.0.0.1", 40_000), End("127.0.0.1", 80))
    rig = Rig().put(*one.handshake(), one.c("PA", GET), one.s("PA", OK), on=LO)
    rig.answer({40_000: "curl", 80: "nginx"}).wait(0.25)
    assert rig.moved(m.REQUESTS) == {
        ("curl", ("http", "client", "GET", "2xx")): 1,
        ("nginx", ("http", "server", "GET", "2xx")): 1,
    }
    assert rig.moved(m.CONNECTIONS_OPENED) == {
        ("curl", ("http", "tcp", "local")): 1,
        ("nginx", ("http", "tcp", "remote")): 1,
    }
    assert rig.count(m.HANDSHAKE_DURATION, "curl") == {("tcp",): 1}
    assert rig.count(m.HANDSHAKE_DURATION, "nginx") == {("tcp",): 1}
    assert rig.sum(m.TABLE_CONNECTIONS) == 1


@pytest.mark.parametrize("transport", ["icmp", "icmpv6", "igmp", "gre"])
def test_what_the_kernel_sends(transport):
    frame = {
        "icmp": f.ethernet(f.ip("10.0.0.1", "192.0.2.1", 1, b"\x08\x00" + bytes(30))),
        "icmpv6": f.ethernet(f.ip("2001:db8::1", "2001:db8::2", 58, b"\x80\x00" + bytes(30))),
        "igmp": f.ethernet(f.ip("10.0.0.1", "224.0.0.22", 2, b"\x22" + bytes(7))),
        "gre": f.ethernet(f.ip("10.0.0.1", "192.0.2.1", 47, bytes(30))),
    }[transport]
    rig = Rig().put(frame).settle()
    assert rig.outbox(Ask) == []
    assert [key for key, _ in rig.moved(m.TRANSMIT_BYTES).items()] == [("kernel", ("unknown", transport))]
    assert rig.moved(m.ATTRIBUTIONS) == {}


@pytest.mark.parametrize(("answers", "who"), [(False, "kernel"), (True, "unknown")])
def test_a_datagram_that_no_socket_takes(answers, who):
    rig = Rig(dissectors=[]).put(f.datagram(AWAY, HERE, b"x" * 30))
    if answers:
        rig.put(f.datagram(HERE, AWAY, b"x" * 30))
    rig.answer({40_000: ""}).settle()
    assert {name for name, _ in rig.moved(m.RECEIVE_BYTES)} == {who}


def test_our_own_traffic_is_counted_and_not_read():
    one = Talk(AWAY, HERE)
    rig = Rig().put(*one.handshake(), one.c("PA", GET)).answer("netproc-exporter")
    rig.put(one.s("PA", OK), one.c("PA", GET), one.s("PA", OK), *one.close()).settle()
    assert rig.sum(m.REQUESTS) == 0
    assert rig.moved(m.CONNECTIONS_CLOSED) == {("netproc-exporter", ("unknown", "tcp", "fin")): 1}
    assert rig.captured == rig.bytes > 0
    assert [e.attrs for e in rig.ended] == [{}]


def test_our_own_datagrams_are_not_read():
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01"
    rig = Rig().put(f.datagram(HERE, End("192.0.2.1", 53), query)).answer("netproc-exporter")
    rig.put(f.datagram(HERE, End("192.0.2.1", 53), query)).wait(60)
    assert rig.sum(m.REQUESTS) == rig.sum(m.UNANSWERED_REQUESTS) == 0
    assert rig.sum(m.TRANSMIT_BYTES) == rig.captured


def test_our_own_traffic_is_read_on_request():
    one = Talk(AWAY, HERE)
    rig = Rig(self={"traffic": True}).put(*one.handshake(), one.c("PA", GET)).answer("netproc-exporter")
    rig.put(one.s("PA", OK)).settle()
    assert rig.moved(m.REQUESTS) == {("netproc-exporter", ("http", "server", "GET", "2xx")): 1}


def test_pods_and_the_host_that_talks_to_one():
    """Over a pod's veth: the pod's end in its namespace, and the host's own."""
    veth = ETH._replace(name="veth1", scope=7, role="pod")
    rig = Rig()
    rig.places(7, ["10.1.0.2"])
    rig.put(Talk(End("10.1.0.2", 50_000), AWAY).c("S"), Talk(HERE, End("10.1.0.2", 80)).c("S"), on=veth)
    rig.put(
        Talk(End("127.0.0.1", 1), End("127.0.0.1", 2)).c("S"), on=veth
    )  # no loopback but its own comes here
    asked = sorted((a.scope, a.lport) for a in rig.outbox(Ask))
    assert asked == [(0, 40_000), (7, 80), (7, 50_000)]
    rig.settle()
    assert rig.bytes == rig.captured


# -- silent sockets ------------------------------------------------------------------------------------------------


def row(local, remote, state="established", owner="sshd", scope=0):
    who = Owner(owner, pid=1, start=1.0) if owner else None
    quality = "exact" if owner else "none"
    return SocketRow(
        scope, "tcp", local.packed, local.port, remote.packed, remote.port, state, who, "netlink", quality
    )


def listed(rig, *rows):
    rig.engine.listing(Listing(rows, True), rig.now)
    return rig


def test_a_silent_socket_is_a_connection():
    rig = listed(Rig(), row(HERE, AWAY)).settle()
    assert rig.moved(m.CONNECTIONS) == {("sshd", ("unknown", "tcp", "established")): 1}
    assert rig.moved(m.CONNECTIONS_OPENED) == {}
    assert rig.bytes == 0
    assert rig.outbox(Ask) == []
    listed(rig, row(HERE, AWAY)).settle()
    assert rig.sum(m.CONNECTIONS) == 1


def test_a_silent_socket_that_speaks_is_the_same_connection():
    rig = listed(Rig(), row(HERE, AWAY)).settle()
    rig.put(Talk(HERE, AWAY).c("PA", GET)).wait(1)
    assert rig.moved(m.TRANSMIT_BYTES) == {("sshd", ("http", "tcp")): 40 + len(GET)}
    assert rig.sum(m.CONNECTIONS) == 1
    assert rig.captured == rig.bytes


def test_both_ends_of_a_silent_local_connection():
    a, b = End("127.0.0.1", 5000), End("127.0.0.1", 22)
    rig = listed(Rig(), row(a, b, owner="ssh"), row(b, a, owner="sshd")).settle()
    assert rig.moved(m.CONNECTIONS) == {
        ("ssh", ("unknown", "tcp", "established")): 1,
        ("sshd", ("unknown", "tcp", "established")): 1,
    }
    assert rig.sum(m.TABLE_CONNECTIONS) == 1
    rig.put(Talk(a, b).c("PA", b"x"), on=LO).wait(1)
    assert rig.moved(m.TRANSMIT_BYTES) == {("ssh", ("unknown", "tcp")): 41}
    assert rig.moved(m.RECEIVE_BYTES) == {("sshd", ("unknown", "tcp")): 41}


def test_the_other_end_need_not_have_been_listed():
    a, b = End("127.0.0.1", 5000), End("127.0.0.1", 22)
    rig = listed(Rig(), row(a, b, owner="ssh")).settle()
    rig.put(Talk(a, b).c("PA", b"x"), on=LO).answer({22: "sshd"}).wait(1)
    assert rig.captured == rig.bytes == 82
    rig.put(Talk(a, b).c("PA", b"x"), on=LO).wait(1)
    assert ("sshd", ("unknown", "tcp")) in rig.moved(m.RECEIVE_BYTES)


def test_a_connection_listed_before_its_syn_was_read():
    one = talk()
    rig = listed(Rig(), row(HERE, AWAY, owner="curl")).settle().put(*one.handshake()).wait(1)
    assert rig.moved(m.CONNECTIONS_OPENED) == {("curl", ("unknown", "tcp", "local")): 1}
    assert rig.moved(m.CONNECTIONS) == {("curl", ("unknown", "tcp", "established")): 1}
    assert rig.sum(m.UNLISTED_TRANSITIONS) == 0


def test_a_listed_socket_takes_nobodys_place():
    rig = Rig(flow={"limit": 2})
    rig.put(talk().c("S"), Talk(End("10.0.0.1", 2), AWAY).c("S"))
    listed(rig, row(End("10.0.0.1", 3), AWAY))
    assert {conn.end(0)[1] for conn in rig.conns} == {40_000, 2}


def test_what_has_just_ended_is_not_listed_again():
    one = talk()
    rig = Rig().put(*one.handshake(), *one.close()).settle()
    listed(rig, row(HERE, AWAY, state="time_wait"))
    assert rig.conns == []


# -- expiry --------------------------------------------------------------------------------------------------------

SHORT = {"timeouts": {"tcp_active": 100, "tcp_idle": 100}}


def idle(seconds, **config):
    rig = Rig(flow=SHORT, dissectors=[], **config).put(*talk().handshake()).answer("curl").settle()
    rig.outbox(Ask)
    return rig.wait(seconds, 5.0)


@pytest.mark.parametrize(
    ("seconds", "staleness"), [(60, "fresh"), (78, "stale"), (95, "critical"), (120, "critical")]
)
def test_staleness(seconds, staleness):
    rig = idle(seconds)
    assert rig.moved(m.CONNECTIONS_BY_STALENESS) == {("curl", ("tcp", staleness)): 1}


def test_an_idle_socket_that_lives_stays():
    rig = idle(110)
    (watch,) = rig.outbox(Watch)
    assert (watch.local, watch.lport) == (HERE.packed, 40_000)
    rig.engine.answer(Answer(watch.serial, None, alive=True), rig.now)
    rig.wait(40, 5.0)
    assert rig.outbox(Watch) == []
    assert len(rig.conns) == 1
    rig.wait(100, 5.0)
    assert len(rig.outbox(Watch)) == 1


def test_an_idle_socket_that_is_gone_ends():
    rig = idle(110)
    (watch,) = rig.outbox(Watch)
    rig.engine.answer(Answer(watch.serial, None, alive=False), rig.now)
    assert [e.reason for e in rig.ended] == ["timeout"]
    assert rig.engine.context.owners._watching == {}


def test_word_of_a_dead_socket_that_has_moved_since_ends_nothing():
    rig = idle(110)
    (watch,) = rig.outbox(Watch)
    rig.put(talk().c("PA", b"x", seq=1001))
    rig.engine.answer(Answer(watch.serial, None, alive=False), rig.now)
    assert rig.ended == []


def test_word_of_a_dead_socket_does_not_change_why_it_ended():
    rig = idle(110)
    (watch,) = rig.outbox(Watch)
    rig.put(talk().c("R", seq=1001))
    rig.now += 200
    rig.engine.answer(Answer(watch.serial, None, alive=False), rig.now)
    rig.wait(1)
    assert [e.reason for e in rig.ended] == ["reset"]


def test_without_an_answer_an_idle_connection_ends():
    """The identity process is gone: nothing may stay for ever."""
    rig = idle(110)
    assert len(rig.outbox(Watch)) == 1
    rig.wait(400, 10.0)
    assert [e.reason for e in rig.ended] == ["timeout"]
    assert rig.engine.context.owners._watched == {}


def test_an_unknown_owners_connection_ends_by_its_timeout():
    rig = Rig(flow=SHORT, dissectors=[]).put(*talk().handshake()).wait(110, 5.0)
    assert [e.reason for e in rig.ended] == ["timeout"]
    assert rig.outbox(Watch) == []


def test_a_silent_socket_without_an_owner_is_watched():
    rig = listed(Rig(flow=SHORT), row(HERE, AWAY, owner="")).wait(110, 5.0)
    (watch,) = rig.outbox(Watch)
    rig.engine.answer(Answer(watch.serial, None, alive=True), rig.now)
    assert len(rig.wait(20, 5.0).conns) == 1
