"""What dissectors tell is in the table; what is not asked for goes no further; and secrets are never told at all."""

import base64
from collections.abc import Iterator

import msgspec
import pytest
from hpack import Encoder

from exporter import metrics as m
from exporter.attributes import TABLE, Attribute, select
from exporter.dissector import YES, Dissector, Ends, Parser, known_attributes
from exporter.flow.inspection import Budget, Inspection
from exporter.flow.inspector import Inspector
from exporter.model import Kind, Message
from tests.dpi.cases import Case, cases
from tests.dpi.reading import DISSECTORS, Piece, read
from tests.engine import frames as f
from tests.engine.frames import Talk
from tests.engine.rig import Rig

SECRET = b"secret"
TOLD = ("secret", base64.b64encode(SECRET).decode().rstrip("="), SECRET.hex())
KNOWN = known_attributes(DISSECTORS)
CARRIERS = {
    "amqp", "cassandra", "ftp", "http", "imap", "irc", "ldap", "mqtt", "mysql", "nats", "pop3", "postgres", "redis",
    "rtsp", "snmp", "socks",
}  # fmt: skip
"""Whose vectors have passwords, communities, cookies, tokens or queries in the clear: they read "secret"."""


# -- the table ---------------------------------------------------------------------------------------------------------


def test_every_attribute_is_in_the_table_and_the_table_has_no_other():
    told = {
        key for case in cases() for _, message in read(case.data, case.ends).said for key in message.attrs
    }
    assert told == KNOWN.keys()


def test_what_people_and_applications_name_is_not_kept_by_default():
    named = {"url.path", "db.namespace", "messaging.destination.name", "messaging.client.id", "smb.share"}
    assert not select(()) & named
    assert select(()) >= {"server.address", "http.request.method", "dns.question.name", "tls.cipher"}


@pytest.mark.parametrize(
    ("words", "kept", "dropped"),
    [
        (["all"], "url.path tls.cipher", ""),
        (["safe", "url.path"], "url.path tls.cipher", "smb.share"),
        (["url.path"], "url.path", "tls.cipher"),
        (["-tls.cipher"], "tls.alert", "tls.cipher url.path"),
        (["all", "-safe"], "url.path", "tls.cipher"),
        (["url.path", "-url.path"], "", "url.path tls.cipher"),
    ],
)
def test_choosing(words, kept, dropped):
    found = select(words)
    assert found >= set(kept.split())
    assert not found & set(dropped.split())


def test_unknown_names_are_refused_with_those_that_there_are():
    with pytest.raises(
        ValueError, match=r"^no such attribute: cookie, x; known are: safe, all, amqp\.reply_code, "
    ):
        select(["x", "safe", "-cookie"])


# -- what goes no further ----------------------------------------------------------------------------------------------


class Tells(Parser):
    def feed(self, side, data):
        attrs = {"server.address": "a.example", "url.path": "/p", "own.thing": "1", "nobodys.thing": "2"}
        yield Message(kind=Kind.REQUEST, attrs=attrs)

    def close(self, side):
        return [Message(kind=Kind.NOTICE, attrs={"url.path": "/q", "tls.cipher": "c"})]


def told_by(words, own):
    dissector = Dissector(
        "own", frozenset({"tcp"}), frozenset(), frozenset(), frozenset(), lambda *_: YES, lambda _: Tells(), "", "",
        attributes=own,
    )  # fmt: skip
    keep = select(words, known_attributes([dissector]))
    shared = Inspection([dissector], Budget(4, 1000), lambda _: None, keep)
    inspector = Inspector(shared, Ends(bytes(4), 1, bytes(4), 2))
    said = inspector.feed(0, b"x") + inspector.close(0)
    assert inspector.named == "a.example"
    return [set(message.attrs) for _, message, _ in said]


def test_what_is_not_asked_for_is_dropped_at_the_dissectors_door():
    assert told_by([], {}) == [{"server.address"}, {"tls.cipher"}]
    assert told_by(["url.path"], {}) == [{"url.path"}, {"url.path"}]
    assert told_by(["all"], {}) == [{"server.address", "url.path"}, {"url.path", "tls.cipher"}]


def test_a_protocol_declares_its_own_attributes_in_its_own_file():
    assert told_by([], {"own.thing": Attribute("what it is")})[0] == {"server.address", "own.thing"}
    assert told_by([], {"own.thing": Attribute("whose it is", safe=False)})[0] == {"server.address"}
    assert "own.thing" in told_by(["all"], {"own.thing": Attribute("whose it is", safe=False)})[0]


# -- secrets -----------------------------------------------------------------------------------------------------------


def more() -> Iterator[tuple[str, list[Piece]]]:
    """Further conversations with secrets, where vectors have none."""
    basic = base64.b64encode(b"alice:" + SECRET)
    yield "http", [
        (0, b"CONNECT alice:secret@a.example:443 HTTP/1.1\r\nHost: alice:secret@a.example\r\n"
            b"Proxy-Authorization: Basic " + basic + b"\r\nCookie: id=secret\r\nX-Api-Key: secret\r\n\r\n"),
        (1, b"HTTP/1.1 403 Forbidden\r\nSet-Cookie: id=secret\r\nContent-Length: 6\r\n\r\nsecret"),
    ]  # fmt: skip
    fields = [
        (":method", "POST"), (":scheme", "http"), (":authority", "a:secret@a.example"), (":path", "/p?token=secret"),
        ("authorization", "Bearer secret"), ("cookie", "id=secret"), ("x-api-key", "secret"),
    ]  # fmt: skip
    block = Encoder().encode(fields, huffman=False)
    head = len(block).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + block
    yield "http2", [(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + head)]
    yield (
        "smtp",
        [
            (1, b"220 mail.example ESMTP\r\n"),
            (0, b"EHLO a.example\r\n"),
            (1, b"250-mail.example\r\n250 AUTH PLAIN\r\n"),
            (0, b"AUTH PLAIN " + base64.b64encode(b"\0alice\0secret") + b"\r\n"),
            (1, b"235 2.7.0 welcome, secret\r\n"),
            (0, b"MAIL FROM:<secret@a.example>\r\n"),
            (1, b"250 ok\r\n"),
        ],
    )
    yield "sip", [
        (0, (b"REGISTER sip:alice:secret@sip.example;key=secret SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n"
            b"From: <sip:secret@sip.example>;tag=1\r\nTo: <sip:b@sip.example>\r\nCall-ID: 1@a\r\nCSeq: 1 REGISTER\r\n"
            b'Authorization: Digest username="alice", response="secret"\r\nContent-Length: 0\r\n\r\n')),
    ]  # fmt: skip
    yield "xmpp", [
        (0, (b"<?xml version='1.0'?><stream:stream to='im.example' version='1.0' xmlns='jabber:client' "
            b"xmlns:stream='http://etherx.jabber.org/streams'>")),
        (1, (b"<?xml version='1.0'?><stream:stream from='im.example' id='secret' version='1.0' xmlns='jabber:client' "
            b"xmlns:stream='http://etherx.jabber.org/streams'>")),
        (0, b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
            + base64.b64encode(b"\0alice\0secret") + b"</auth>"),
    ]  # fmt: skip
    yield "redis", [(0, b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$5\r\nalice\r\n$6\r\nsecret\r\n"),
                    (0, b"*3\r\n$3\r\nSET\r\n$6\r\nsecret\r\n$6\r\nsecret\r\n")]  # fmt: skip
    yield "postgres", [
        (0, b"\0\0\0\x22\0\x03\0\0user\0alice\0database\0shop\0\0"),
        (1, b"R\0\0\0\x08\0\0\0\x03"),
        (0, b"p\0\0\0\x0bsecret\0"),
        (1, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"),
        (0, b"Q\0\0\0\x28ALTER USER alice PASSWORD 'secret';    \0"),
    ]  # fmt: skip


def carried() -> list[Case]:
    found = [case for case in cases() if case.messages and any(SECRET in data for _, data in case.data)]
    ends = Ends(b"\x0a\0\0\1", 50000, b"\x0a\0\0\2", 50001, "tcp")
    return found + [Case(f"more {name}", "", name, ends, tuple(pieces), (), None) for name, pieces in more()]


def rig_of(case: Case) -> Rig:
    """Run a conversation through the engine, everything kept that can be."""
    rig = Rig(attributes=("all",))
    ends = f.End("10.0.0.1", case.ends.port0), f.End("192.0.2.1", case.ends.port1)
    if case.stream:
        one = Talk(*ends)
        rig.put(*one.handshake(), *(one.say(side, "PA", data) for side, data in case.data), *one.close())
    else:
        rig.put(*(f.datagram(ends[side], ends[1 - side], data) for side, data in case.data))
    return rig.answer("x").settle().over()


def test_vectors_carry_secrets():
    assert {case.protocol for case in carried()} >= CARRIERS


@pytest.mark.parametrize("case", carried(), ids=lambda case: f"{case.protocol}: {case.name}")
def test_no_secret_leaves_the_engine(case):
    rig = rig_of(case)
    assert any(labels[0] == case.protocol for _, labels in rig.rows(m.CONNECTIONS_OPENED))
    assert rig.said
    told = [msgspec.json.encode(msgspec.structs.replace(each, match=None)).decode() for _, each in rig.said]
    told += [repr(ended.attrs) for ended in rig.ended]
    told += [repr(row.key[1:]) for row in rig.ledger.rows.values()]
    for text in told:
        assert not [one for one in TOLD if one.lower() in text.lower()], text


def test_the_table_says_what_each_means():
    assert all(one.meaning for one in TABLE.values())
