"""How long a connection may be idle, and how stale it is."""

import pytest

from exporter.config import Timeouts
from exporter.flow.timeouts import CRITICAL, FRESH, STALE, Clock, staleness

CLOCK = Clock(Timeouts())


@pytest.mark.parametrize(
    ("transport", "state", "idle", "age", "expected"),
    [
        ("tcp", "syn_sent", None, 0, 60),
        ("tcp", "syn_received", 600, 0, 60),
        ("tcp", "established", None, 0, 600),
        ("tcp", "established", None, 59.9, 600),
        ("tcp", "established", None, 60, 300),
        ("tcp", "established", 1800, 1000, 1800),
        ("tcp", "unknown", None, 100, 300),
        ("tcp", "fin_wait_1", 1800, 0, 60),
        ("tcp", "fin_wait_2", None, 0, 60),
        ("tcp", "close_wait", None, 0, 60),
        ("tcp", "closing", None, 0, 60),
        ("tcp", "last_ack", None, 0, 60),
        ("tcp", "time_wait", 600, 0, 30),
        ("tcp", "closed", 600, 0, 5),
        ("udp", "active", None, 0, 60),
        ("udp", "active", 30, 0, 30),
        ("udp", "initial", 600, 0, 60),
        ("udp", "handshaking", None, 0, 60),
        ("udp", "connected", None, 0, 600),
        ("udp", "connected", None, 60, 300),
        ("udp", "connected", 600, 100, 600),
        ("udp", "draining", 600, 0, 10),
        ("udp", "closed", None, 0, 1),
        ("icmp", "active", None, 0, 60),
        ("icmpv6", "active", None, 0, 60),
        ("sctp", "unknown", None, 0, 60),
        ("gre", "unknown", None, 0, 60),
    ],
)
def test_timeout(transport, state, idle, age, expected):
    assert CLOCK.timeout(transport, state, idle, age) == expected


def test_settings_are_heard():
    clock = Clock(Timeouts(tcp_opening=7, udp=8, icmp=9, other=10, quic_opening=11))
    asked = [
        ("tcp", "syn_sent"),
        ("udp", "active"),
        ("icmp", "active"),
        ("igmp", "unknown"),
        ("udp", "initial"),
    ]
    assert [clock.timeout(*a, None, 0) for a in asked] == [7, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, FRESH), (74.9, FRESH), (75, STALE), (89.9, STALE), (90, CRITICAL), (1e9, CRITICAL), (-5, FRESH)],
)
def test_staleness(age, expected):
    assert staleness(age, 100) == expected
