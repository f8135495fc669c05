"""What the vectors cannot say: skipping, gaps, closes, caps, and the three answers on data that means nothing."""

import random

import pytest

from exporter.dissector import YES, Ends
from exporter.dpi import load
from exporter.errors import ParseError

TCP = Ends(b"\x0a\0\0\1", 50000, b"\x0a\0\0\2", 50001)
UDP = TCP._replace(transport="udp")
DNS = UDP._replace(port1=53)
BY_NAME = {dissector.name: dissector for dissector in load()}


def parser(name, ends=TCP):
    return BY_NAME[name].parser(ends)


def ops(messages):
    return [message.op or message.status for message in messages]


def test_http_hands_a_body_over_once():
    http = parser("http")
    assert ops(http.feed(0, b"PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")) == ["PUT"]
    assert http.skip(0) == 7
    assert http.skip(0) == 0
    assert ops(http.feed(0, b"GET / HTTP/1.1\r\n\r\n")) == ["GET"]


def test_http_hands_over_chunks_and_what_only_the_close_ends():
    http = parser("http")
    assert ops(http.feed(1, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc")) == ["2xx"]
    assert http.skip(1) == 0x100 - 3
    assert ops(http.feed(1, b"\r\n0\r\n\r\nHTTP/1.0 200 OK\r\n\r\nx")) == ["2xx"]
    assert http.skip(1) == -1
    assert ops(http.close(1)) == []


def test_http_reads_on_after_a_gap_where_a_segment_begins_with_a_message():
    http = parser("http")
    assert ops(http.feed(0, b"GET /1 HTTP/1.1\r\nHost: a")) == []
    assert http.gap(0)
    assert ops(http.feed(0, b"cookie: b\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")) == []
    assert ops(http.feed(0, b"GET /3 HTTP/1.1\r\n\r\n")) == ["GET"]
    assert http.gap(1)
    assert ops(http.feed(1, b"<html>")) == []
    assert ops(http.feed(1, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) == ["2xx"]


def test_http_leaves_what_belongs_to_the_next_protocol():
    http = parser("http")
    list(http.feed(0, b"CONNECT a:443 HTTP/1.1\r\n\r\n\x16\x03\x01"))
    (answer,) = http.feed(1, b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03")
    assert answer.switch == ""
    assert (http.rest(0), http.rest(1)) == (b"\x16\x03\x01", b"\x16\x03\x03")
    assert (http.rest(0), http.rest(1)) == (b"", b"")


def test_http_head_request_waits_behind_a_refused_tunnel():
    http = parser("http")
    list(http.feed(0, b"CONNECT a:443 HTTP/1.1\r\n\r\nGET /after HTTP/1.1\r\n\r\n"))
    assert ops(http.feed(1, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")) == ["4xx"]
    assert ops(http.close(0)) == ["GET"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "length"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "length"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffg\r\n", "chunk"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "chunk"),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 5000, "long"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000, "long"),
        (b"SSH-2.0-OpenSSH\r\n", "start"),
        (b"\x00\x01\x02", "start"),
    ],
)
def test_http_errors(data, reason):
    http = parser("http")
    with pytest.raises(ParseError) as caught:
        list(http.feed(0, data))
    assert caught.value.reason == reason


def test_http_tells_what_came_before_an_error():
    messages = parser("http").feed(0, b"GET / HTTP/1.1\r\n\r\n\0\0")
    assert next(messages).op == "GET"
    with pytest.raises(ParseError):
        next(messages)


def test_tls_wants_nothing_of_encrypted_data():
    tls = parser("tls")
    record = b"\x17\x03\x03\x40\x00" + bytes(100)
    assert list(tls.feed(0, record)) == []
    assert tls.skip(0) == -1
    assert tls.skip(1) == 0
    assert list(tls.feed(1, record)) == []
    assert tls.skip(1) == -1


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x03\x00\x04\x01\xff\xff\xff",  # a message of 16 MiB
        b"\x16\x03\x03\xff\xff",  # a record that long
        b"\x16\x03\x03\x00\x04\x63\x00\x00\x00",  # no such message
        b"\x16\x03\x03\x00\x06\x01\x00\x00\x02\x03\x03",  # a hello that ends too early
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
def test_tls_errors(data):
    with pytest.raises(ParseError):
        list(parser("tls").feed(0, data))


def test_dns_keeps_reading_datagrams_after_a_broken_one():
    dns = parser("dns", DNS)
    with pytest.raises(ParseError):
        list(dns.feed(0, b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c"))
    assert ops(dns.feed(0, b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1")) == ["query"]
    assert dns.gap(0)


def test_dns_remembers_a_bounded_number_of_questions():
    dns = parser("dns", DNS)
    for number in range(2000):
        list(dns.feed(0, number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"))
    assert len(dns._asked) <= 256


def test_dns_answers_are_bounded():
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
    head = b"\0\1\x81\x80\0\1\x0f\xff\0\0\0\0\1a\0\0\1\0\1"
    assert ops(parser("dns", DNS).feed(1, head + record * 0xFFF)) == ["query"]
    head = b"\0\1\x81\x80\0\1\x00\xff\0\0\0\0\1a\0\0\1\0\1"
    (message,) = parser("dns", DNS).feed(1, head + record * 0xFF)
    assert len(message.attrs["dns.answers"]) == 16
    assert len(message.names) == 32


@pytest.mark.parametrize("name", BY_NAME)
def test_no_claim_on_generated_streams(name):
    """Random, text, zeros, compressed: of all lengths, on a port that fits and on another."""
    rng = random.Random(7)
    words = b" ".join(rng.randbytes(3).hex().encode() for _ in range(200))
    dissector = BY_NAME[name]
    claimed = 0
    for transport in dissector.transports:
        for port in (50001, *dissector.ports):
            ends = TCP._replace(port1=port, transport=transport)
            for size in (1, 2, 5, 12, 20, 60, 300, 1400, 4096):
                for data in (rng.randbytes(size), words[:size], bytes(size)):
                    claimed += dissector.probe(0, data, ends) == YES
    assert not claimed


@pytest.mark.parametrize("name", BY_NAME)
def test_probes_never_raise(name):
    rng = random.Random(11)
    dissector = BY_NAME[name]
    for transport in dissector.transports:
        ends = TCP._replace(port1=min(dissector.ports), transport=transport)
        for first in range(256):
            for size in range(18):
                dissector.probe(0, bytes([first, *rng.randbytes(size)])[: size + 1], ends)
        dissector.probe(0, b"", ends)
