"""Connections that others announce, and what text protocols do after a gap: vectors cannot say either."""

import pytest

from exporter.dissector import YES, Ends
from exporter.dpi import load
from exporter.errors import ParseError
from exporter.model import Expectation

HERE, THERE = b"\x0a\0\0\1", b"\x0a\0\0\2"
TCP = Ends(HERE, 50000, THERE, 50001)
UDP = TCP._replace(transport="udp")
BY_NAME = {dissector.name: dissector for dissector in load()}


def announced(name, pieces, ends=TCP):
    parser = BY_NAME[name].parser(ends)
    return [
        expected
        for side, data in pieces
        for message in parser.feed(side, data)
        for expected in message.expect
    ]


def ops(messages):
    return [message.op or message.status for message in messages]


@pytest.mark.parametrize(
    ("pieces", "address", "port", "peer"),
    [
        ([(0, b"PASV\r\n"), (1, b"227 Entering Passive Mode (10,0,0,2,195,80)\r\n")], THERE, 50000, HERE),
        ([(0, b"PASV\r\n"), (1, b"227 Entering Passive Mode (192,168,0,1,0,20)\r\n")], THERE, 20, HERE),
        ([(0, b"EPSV\r\n"), (1, b"229 Extended (|||6446|)\r\n")], THERE, 6446, HERE),
        ([(0, b"PORT 10,0,0,1,4,1\r\n")], HERE, 1025, THERE),
        ([(0, b"EPRT |2|fe80::1|5282|\r\n")], HERE, 5282, THERE),
        ([(1, b"227 Entering Passive Mode (10,0,0,2,195,80)\r\n")], THERE, 50000, HERE),
        ([(1, b"220 hi\r\n229 Extended (|||6446|)\r\n")], THERE, 6446, HERE),
    ],
)
def test_ftp_announces_data_between_the_same_hosts(pieces, address, port, peer):
    assert announced("ftp", pieces) == [Expectation("tcp", address, port, "ftp_data", 60.0, peer)]


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, b"PASV\r\n"), (1, b"227 Entering Passive Mode (10,0,0,2,195,999)\r\n")],
        [(0, b"EPSV\r\n"), (1, b"229 Extended (|||99999|)\r\n")],
        [(0, b"PORT 10,0,0,1,0,0\r\n")],
        [(0, b"PASV\r\n"), (1, b"502 no\r\n")],
    ],
)
def test_ftp_announces_no_impossible_port(pieces):
    assert announced("ftp", pieces) == []


def test_tftp_announces_a_transfer_to_the_port_that_asked():
    (expected,) = announced("tftp", [(0, b"\0\1file\0octet\0")], UDP)
    assert expected == Expectation("udp", HERE, 50000, "tftp", 30.0, THERE)


def sip(sdp):
    head = b"INVITE sip:b@c SIP/2.0\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(sdp)
    return announced("sip", [(0, head + sdp)], UDP)


def test_sip_announces_media_and_its_control():
    sdp = b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n"
    sdp += b"m=video 4002 RTP/SAVPF 96\r\nc=IN IP6 fe80::1\r\na=rtcp:5000\r\n"
    address = bytes.fromhex("fe800000000000000000000000000001")
    assert sip(sdp) == [
        Expectation("udp", HERE, 4000, "rtp", 60.0),
        Expectation("udp", HERE, 4001, "rtcp", 60.0),
        Expectation("udp", address, 4002, "rtp", 60.0, THERE),
        Expectation("udp", HERE, 4002, "rtp", 60.0),
        Expectation("udp", address, 5000, "rtcp", 60.0, THERE),
        Expectation("udp", HERE, 5000, "rtcp", 60.0),
    ]


def test_sip_announces_in_its_answer_what_comes_to_who_answers():
    sdp = b"v=0\r\nc=IN IP4 10.0.0.2\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4100 IN IP4 10.0.0.9\r\n"
    head = b"SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(sdp)
    assert announced("sip", [(1, head + sdp)], UDP) == [
        Expectation("udp", THERE, 4000, "rtp", 60.0),
        Expectation("udp", b"\x0a\0\0\x09", 4100, "rtcp", 60.0, HERE),
        Expectation("udp", THERE, 4100, "rtcp", 60.0),
    ]


@pytest.mark.parametrize(
    "sdp",
    [
        b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 0 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 10.0.0.999\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=message 4000 TCP/MSRP *\r\n",
        b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 70000 RTP/AVP 0\r\n",
    ],
)
def test_sip_announces_nothing_where_nothing_comes(sdp):
    assert sip(sdp) == []


def test_sip_announces_a_bounded_number():
    assert len(sip(b"c=IN IP4 10.0.0.1\r\n" + b"m=audio 4000 RTP/AVP 0\r\n" * 50)) == 16
    assert len(sip(b"c=IN IP4 10.0.0.9\r\n" + b"m=audio 4000 RTP/AVP 0\r\n" * 50)) == 32


def test_rtsp_announces_both_ends_of_a_stream():
    answer = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nTransport: RTP/AVP;client_port=4588-4589;server_port=6256-6257\r\n\r\n"
    assert announced("rtsp", [(1, answer)]) == [
        Expectation("udp", HERE, 4588, "rtp", 60.0, THERE),
        Expectation("udp", HERE, 4589, "rtcp", 60.0, THERE),
        Expectation("udp", THERE, 6256, "rtp", 60.0, HERE),
        Expectation("udp", THERE, 6257, "rtcp", 60.0, HERE),
    ]


@pytest.mark.parametrize(
    ("source", "others"), [("10.0.0.9", [THERE, b"\x0a\0\0\x09"]), ("10.0.0.2", [THERE]), ("999.1", [THERE])]
)
def test_rtsp_announces_media_from_the_source_that_is_named(source, others):
    answer = b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;client_port=4588;source=%b\r\n\r\n" % source.encode()
    assert announced("rtsp", [(1, answer)]) == [
        Expectation("udp", HERE, port, name, 60.0, other)
        for other in others
        for port, name in ((4588, "rtp"), (4589, "rtcp"))
    ]


@pytest.mark.parametrize("ports", [b"client_port=65535", b"client_port=0-65535", b"client_port=99999"])
def test_rtsp_announces_no_impossible_port(ports):
    found = announced("rtsp", [(1, b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;%b\r\n\r\n" % ports)])
    assert [expected.port for expected in found] == [65535] * (b"65535" in ports)


def test_imap_hands_a_literal_over_once():
    imap = BY_NAME["imap"].parser(TCP)
    assert ops(imap.feed(0, b"a1 APPEND x {100}\r\n1234567890")) == ["APPEND"]
    assert imap.skip(0) == 90
    assert imap.skip(0) == 0
    assert ops(imap.feed(0, b"\r\na2 NOOP\r\n")) == ["NOOP"]


def test_imap_is_over_once_it_is_compressed():
    imap = BY_NAME["imap"].parser(TCP)
    list(imap.feed(0, b"a1 COMPRESS DEFLATE\r\n"))
    assert ops(imap.feed(1, b"a1 OK go\r\n")) == ["ok"]
    assert imap.skip(0) == imap.skip(1) == -1


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("smtp", b"MAIL FROM:<a@b>\r\nRC", b"t of a message\r\nblah blah\r\nQUIT\r\n", ["QUIT"]),
        ("imap", b"a1 NOOP\r\na3 LOGIN ab", b"c\r\n* nothing\r\na2 NOOP\r\n", ["NOOP"]),
        ("pop3", b"CAPA\r\nPA", b"ret\r\n1\r\nSTAT\r\n", ["STAT"]),
        ("ftp", b"SYST\r\nPA", b"ret\r\n1\r\nPASV\r\n", ["PASV"]),
        ("irc", b"NICK a\r\nPA", b"ret\r\nQUIT\r\n", ["QUIT"]),
        ("sip", b"OPTIONS sip:a@b SIP/2.0\r\nCSe", b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", ["OPTIONS"]),
        ("syslog", b"<13>1 - a b c", b"<13>1 - a b c\n", ["notice"]),
    ],
)
def test_text_is_read_on_after_a_gap(name, before, after, said):
    parser = BY_NAME[name].parser(TCP)
    list(parser.feed(0, before))
    assert parser.gap(0)
    assert ops(parser.feed(0, after)) == said


def test_a_long_line_is_cut_and_not_kept():
    imap = BY_NAME["imap"].parser(TCP)
    list(imap.feed(0, b"a1 SEARCH ALL\r\n"))
    assert ops(imap.feed(1, b"* SEARCH")) == []
    for _ in range(1000):
        assert list(imap.feed(1, b" 12345" * 200)) == []
    assert len(imap.rest(1)) <= 16384
    imap = BY_NAME["imap"].parser(TCP)
    list(imap.feed(0, b"a1 FETCH 1 ALL\r\n"))
    assert ops(imap.feed(1, b"* OK " + b"x" * 50000)) == []
    assert ops(imap.feed(1, b" {5}\r\na1 NO)\r\na1 OK done\r\n")) == ["greeting", "ok"]


@pytest.mark.parametrize(
    ("name", "side", "data"),
    [
        ("smtp", 0, b"\x16\x03\x01\n"),
        ("imap", 0, b"a001\n"),
        ("pop3", 0, b"\x16\x03\n"),
        ("irc", 0, b"\x16\x03\n"),
        ("xmpp", 0, b"<a <b>"),
        ("xmpp", 0, b"<a " + b"x" * 20000),
        ("xmpp", 0, b"<a>" * 300),
        ("sip", 0, b"x" * 5000),
        ("sip", 0, b"OPTIONS sip:a SIP/2.0\r\nContent-Length: x\r\n\r\n"),
        ("socks", 0, b"\x05\x01\x00\x05\x09"),
        ("syslog", 0, b"<999>\n"),
    ],
)
def test_what_is_none_of_it_is_given_up(name, side, data):
    parser = BY_NAME[name].parser(TCP)
    with pytest.raises(ParseError):
        list(parser.feed(side, data))


@pytest.mark.parametrize(("data", "certain"), [(b"\0\0" + bytes(18), False), (b"\x80\0" + bytes(10), False)])
def test_rtp_is_not_told_by_its_header(data, certain):
    assert (BY_NAME["rtp"].probe(0, data, UDP) == YES) is certain
