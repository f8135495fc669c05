"""What protocols of measured messages share: what is passed over, gaps, caps, and who waits for what."""

import random
from struct import pack

import pytest

from exporter.dissector import Ends
from exporter.dpi import load
from exporter.errors import ParseError
from exporter.formats.framed import Framed, Waiting
from exporter.formats.sql import verb
from tests.dpi.cases import cases

TCP = Ends(b"\x0a\0\0\1", 50000, b"\x0a\0\0\2", 50001)
BY_NAME = {dissector.name: dissector for dissector in load()}
FRAMED = sorted(name for name, each in BY_NAME.items() if isinstance(each.parser(TCP), Framed))
CASES = [case for case in cases() if case.protocol in FRAMED and case.messages and case.stream]


def ops(messages):
    return [message.op or message.status for message in messages]


def typed(kind, body=b""):
    return kind + pack(">I", len(body) + 4) + body


def test_a_row_is_passed_over_and_handed_over_once():
    postgres = BY_NAME["postgres"].parser(TCP)
    assert ops(postgres.feed(0, typed(b"Q", b"SELECT 1\0"))) == ["SELECT"]
    row = typed(b"D", bytes(100_000))
    assert ops(postgres.feed(1, row[:10])) == []
    assert postgres.skip(1) == len(row) - 10
    assert postgres.skip(1) == 0
    assert ops(postgres.feed(1, typed(b"C", b"SELECT 1\0") + typed(b"Z", b"I"))) == ["ok"]
    assert ops(postgres.feed(1, row[:10])) == []
    assert ops(postgres.feed(1, row[10:] + typed(b"A", bytes(6)))) == ["notification"]


def test_reading_goes_on_after_a_gap():
    postgres = BY_NAME["postgres"].parser(TCP)
    assert ops(postgres.feed(0, typed(b"Q", b"SELECT 1\0"))) == ["SELECT"]
    assert postgres.gap(1)
    assert ops(postgres.feed(1, b"rest of a row" + typed(b"Z", b"I"))) == []
    assert ops(postgres.feed(0, typed(b"Q", b"DELETE FROM t\0"))) == ["DELETE"]
    assert ops(postgres.feed(1, typed(b"C", b"DELETE 1\0") + typed(b"Z", b"I"))) == ["ok"]


def test_what_a_gap_made_late_answers_nobody():
    redis = BY_NAME["redis"].parser(TCP)
    (first,) = redis.feed(0, b"*1\r\n$4\r\nPING\r\n")
    assert redis.gap(1)
    (second,) = redis.feed(0, b"*1\r\n$4\r\nPING\r\n")
    (answer,) = redis.feed(1, b"+PONG\r\n")
    assert first.match != second.match == answer.match


def test_a_bulk_string_is_passed_over():
    redis = BY_NAME["redis"].parser(TCP)
    assert ops(redis.feed(0, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n" + b"x" * 64)) == ["SET"]
    assert redis.skip(0) == 1_000_002 - 64
    assert ops(redis.feed(0, b"*1\r\n$4\r\nPING\r\n")) == ["PING"]


def test_the_oldest_is_forgotten():
    waiting: Waiting[int] = Waiting()
    numbers = [waiting.add(index) for index in range(300)]
    assert len(waiting) == 256
    assert waiting.first() == waiting.pop() == (numbers[44], 44)
    waiting.clear()
    assert waiting.pop() is None


@pytest.mark.parametrize("name", FRAMED)
def test_lost_bytes_do_no_harm(name):
    """Whatever is missing, only `ParseError` escapes, and only messages of declared words are said."""
    dissector = BY_NAME[name]
    rng = random.Random(name)
    for case in [case for case in CASES if case.protocol == name]:
        for _ in range(60):
            parser = dissector.parser(case.ends)
            try:
                for side, data in case.data:
                    at = rng.randrange(len(data) + 1)
                    said = list(parser.feed(side, data[:at]))
                    if rng.random() < 0.5 and not parser.gap(side):
                        break
                    said += parser.feed(side, data[min(len(data), at + rng.randrange(20)) :])
                    assert {message.op for message in said} <= dissector.operations | {"", "other"}
                    assert {message.status for message in said} <= dissector.statuses | {"", "other"}
            except ParseError:
                continue


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        (b"select 1", "SELECT"),
        (b" \t\r\n((SELECT 1) UNION (SELECT 2))", "SELECT"),
        (b"/* a * b **/ -- c\n# d\n  Insert into t", "INSERT"),
        (b"/* never ends, SELECT", "other"),
        (b"selec 1", "other"),
        (b"", "other"),
        (b"--" * 500, "other"),
        (b"WITH x AS (SELECT 1) SELECT", "WITH"),
    ],
)
def test_verb(statement, word):
    assert verb(statement) == word
