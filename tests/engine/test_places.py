"""Which ends are ours, where a network is named to be."""

from exporter.engine.places import Places
from exporter.model import Interface
from tests.engine.frames import End

NAMED = Places(["10.1.0.0/16", "2001:db8::1"])
HERE, THERE = End("10.1.2.3", 1).packed, End("10.2.0.1", 1).packed


def test_a_named_network_is_ours_on_each_interface():
    for scope in (0, 7):
        interface = Interface("x", 1, scope=scope)
        assert NAMED.ends(interface, HERE, THERE, leaving=False) == (scope, None)
        assert NAMED.ends(interface, THERE, HERE, leaving=False) == (None, scope)
        assert NAMED.ends(interface, THERE, THERE, leaving=False) == (None, None)


def test_a_single_address_is_a_network():
    six = [End(f"2001:db8::{last}", 1).packed for last in (1, 2)]
    assert NAMED.ends(Interface("x", 1), *six, leaving=False) == (0, None)
