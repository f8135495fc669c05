"""Compression makes four kilobytes many long names: their labels are bounded in all."""

import struct

import pytest

from exporter.formats.dns_message import parse

LABELS = 126
QUESTION = b"\x01\x01" * LABELS + b"\0" + struct.pack(">HH", 1, 1)


def message(records: int) -> bytes:
    """Every record's owner points two bytes further into the question's name, so that none is known already."""
    data = struct.pack(">6H", 1, 0x8400, 1, records, 0, 0) + QUESTION
    for index in range(records):
        data += struct.pack(">HHHIH4s", 0xC000 | 14 + 2 * (index % 50), 1, 1, 1, 4, b"\xc0\0\2\1")
    return data


def test_a_few_are_read():
    found = parse(message(20))
    assert found.whole
    assert len(found.answers) == 20


@pytest.mark.parametrize("multicast", [False, True])
def test_many_end_the_reading(multicast):
    found = parse(message(256), multicast=multicast)
    assert not found.whole
    assert 4096 // LABELS - 2 <= len(found.answers) < 64
