"""Frames that a fuzzer found, of connections that the fast path knows: it must count them as the general path does."""

import pytest

from tests.engine import frames as f
from tests.engine.frames import End, Talk
from tests.engine.rig import CLIENT, SERVER, Rig

CLIENT6, SERVER6 = End("2001:db8::1", 40_000), End("2001:db8::2", 9999)


def ledger(frames, *, fast):
    rig = Rig(fast=fast).put(*frames).settle()
    return {
        (row.key[0].name, row.key[1], row.key[2]): list(
            rig.ledger.values[row.slot : row.slot + row.key[0].width]
        )
        for row in rig.ledger.rows.values()
        if rig.ledger.values[row.slot]
    }


def other_version():
    """An EtherType of IPv6, and a version that is none."""
    frame = bytearray(f.datagram(CLIENT6, SERVER6, b"x" * 40))
    frame[14] = 0x20
    return bytes(frame)


def without_room_for_ports(length):
    return f.datagram(CLIENT6, SERVER6, b"x" * 40, total=length)


UNREAD = [f.datagram(CLIENT6, SERVER6, bytes([200]) * 40)] * 40
"""More than is looked at of a datagram flow that nobody claims: from then on it is only counted."""


@pytest.mark.parametrize(
    "odd", [other_version(), *map(without_room_for_ports, (1, 2, 3, 4))], ids=["version", "1", "2", "3", "4"]
)
def test_udp_over_ipv6(odd):
    frames = [*UNREAD, odd, odd]
    assert ledger(frames, fast=True) == ledger(frames, fast=False)


@pytest.mark.parametrize("ends", [(CLIENT, SERVER), (CLIENT6, SERVER6)], ids=["IPv4", "IPv6"])
def test_tcp_cut_in_its_header(ends):
    """Flags that stand there, of a header whose end does not: nothing follows from them (a FIN ends nothing)."""
    known = Talk(*ends)
    frames = [*known.handshake(), known.c("PA", b"x" * 10)]
    more = 20 if ends[0] is CLIENT6 else 0
    odd = known.c("FA", b"x" * 30, link={"pad": False})[: 50 + more]
    assert ledger([*frames, odd], fast=True) == ledger([*frames, odd], fast=False)
