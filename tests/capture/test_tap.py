"""Which packets are first ones, as the kernel's filter sees them."""

import struct

import pcap
import pytest

from exporter.capture.tap import FIRST
from tests.engine.frames import End, datagram, segment

FOUR = End("192.0.2.1", 40_000), End("192.0.2.2", 5354)
SIX = End("2001:db8::1", 40_000), End("2001:db8::2", 5354)
QUESTION = struct.pack(">6H", 7, 0x0120, 1, 0, 0, 1) + b"\7example\4test\0\0\1\0\1"
ANSWER = struct.pack(">6H", 7, 0x8180, 1, 1, 0, 0) + b"\7example\4test\0\0\1\0\1"


@pytest.fixture(scope="module")
def passes():
    return pcap.bpf(FIRST.encode(), pcap.DLT_EN10MB).filter


@pytest.mark.parametrize("ends", [FOUR, SIX], ids=["IPv4", "IPv6"])
def test_what_begins_passes_and_what_goes_on_does_not(passes, ends):
    assert passes(segment(*ends, "S", 1))
    assert passes(datagram(*ends, QUESTION))
    for flags in ("SA", "A", "PA", "FA", "R"):
        assert not passes(segment(*ends, flags, 1, 1))
    assert not passes(datagram(*ends, ANSWER))
    assert not passes(datagram(*ends, b"\xff" * 40))
