"""HTTP hands over to WebSocket and HTTP/2; and where reading ends, nothing more is wanted."""

import pytest

from exporter.dissector import Ends
from exporter.dpi import load
from exporter.errors import ParseError
from exporter.flow.inspection import Budget, Inspection
from exporter.flow.inspector import MAX_SKIP, Inspector
from exporter.formats.quic_frames import frames
from tests.dpi.cases import cases

TCP = Ends(b"\x0a\0\0\1", 50000, b"\x0a\0\0\2", 50001)
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"


def inspector(ends=TCP):
    faults = []
    return Inspector(Inspection(load(), Budget(16, 16384), faults.append), ends), faults


def told(one, *pieces):
    said = [each for side, data in pieces for each in one.feed(side, data)]
    return [(dissector.name, message.op or message.status) for dissector, message, _ in said]


def conversation(protocol, name):
    (case,) = (case for case in cases() if (case.protocol, case.name) == (protocol, name))
    return case


def test_http_to_websocket():
    one, faults = inspector()
    hello = bytes.fromhex("818537fa213d7f9f4d5158")
    pieces = [
        (0, UPGRADE % b"websocket"),
        (1, SWITCHING % b"websocket" + b"\x89\0"),
        (0, hello),
        (0, b"\x8a\x80mask"),
    ]
    assert told(one, *pieces) == [
        ("http", "GET"),
        ("http", "1xx"),
        ("websocket", "ping"),
        ("websocket", "text"),
        ("websocket", "ok"),
    ]
    assert not faults


def test_websocket_wants_nothing_after_a_close():
    one, _ = inspector()
    told(one, (0, UPGRADE % b"websocket"), (1, SWITCHING % b"websocket"), (0, b"\x88\x80mask"))
    assert one.skip(0) == MAX_SKIP
    assert one.skip(1) == 0
    told(one, (1, b"\x82\x7e\x10\0abc"))
    assert one.skip(1) == 4096 - 3
    told(one, (1, b"\x88\0"))
    assert one.skip(1) == MAX_SKIP
    assert not one.active


def test_http_to_http2():
    case = conversation("http2", "three requests and responses by prior knowledge")
    one, faults = inspector()
    pieces = [(0, UPGRADE % b"h2c"), (1, SWITCHING % b"h2c"), *case.data]
    assert [name for name, _ in told(one, *pieces)] == ["http"] * 2 + ["http2"] * 6
    assert not faults


def test_http2_hands_data_over():
    http2 = next(d for d in load() if d.name == "http2").parser(TCP)
    list(http2.feed(1, bytes.fromhex("00000004000000000000400000000000000168656c6c6f")))
    assert http2.skip(1) == 0x4000 - 5
    assert http2.skip(1) == 0
    assert not http2.gap(1)


def test_nothing_is_wanted_of_what_is_encrypted():
    for protocol, name in (
        ("quic", "version 2"),
        ("gquic", "Q046, a long header"),
        ("dtls", "DTLS 1.3, whose records hide their kind"),
    ):
        case = conversation(protocol, name)
        one, faults = inspector(case.ends)
        for side, data in case.data:
            one.feed(side, data)
            one.skip(side)
        one.skip(0)
        one.skip(1)
        assert (one.dissector.name, one.active, faults) == (protocol, False, [])


def test_quic_that_never_ends_its_handshake_is_given_up():
    case = conversation("quic", "an Initial whose tag is wrong")
    one, faults = inspector(case.ends)
    for _ in range(200):
        one.feed(*case.data[0])
        one.skip(0)
        one.skip(1)
    assert (one.dissector.name, one.active, faults) == ("quic", False, [])


def test_blocks_of_fields_that_cost_much_and_say_nothing_are_refused():
    """RFC 7541 section 4.2 allows two changes of the table's size at a block's beginning."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for updates, faults in ((b"\x20\x3f\xe1\x1f", 0), (b"\x20\x3f\xe1\x1f\x20", 1), (b"\x3f\x00" * 4000, 1)):
        one, told_of = inspector()
        block = updates + bytes.fromhex("828684")
        frame = len(block).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + block
        assert told(one, (0, preface + frame)) == [("http2", "GET")] * (not faults)
        assert len(told_of) == faults


def test_packets_of_a_thousand_frames_are_refused():
    """RFC 9000 section 12.4 sets no limit; no client needs them in its Initial packets, and each costs time."""
    for payload in (b"\x01" * 2000, b"\x01\0" * 2000, b"\x02\0\0\x48\0" + bytes(8000)):
        with pytest.raises(ParseError):
            list(frames(payload))
    assert list(frames(b"\x02\x05\0\x01\0\0\0" + bytes(60000))) == []
