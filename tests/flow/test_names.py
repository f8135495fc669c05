"""The passive map of addresses to names: bounded, by namespace, and of nothing but host names."""

from ipaddress import ip_address

import pytest

from exporter.flow.names import Names, host

NOW = 1_700_000_000.0
ONE, TWO = ip_address("192.0.2.1").packed, ip_address("2001:db8::1").packed


def fact(name, address=ONE, ttl=300):
    return ((address, name, ttl),)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("WWW.Example.COM.", "www.example.com"),
        ("db", "db"),
        ("_dmarc.a-b.example", "_dmarc.a-b.example"),
        ("x" * 63 + ".example", "x" * 63 + ".example"),
        (".".join(["a" * 49] * 5) + ".abc", ".".join(["a" * 49] * 5) + ".abc"),
        ("x" * 64 + ".example", ""),
        (".".join(["a" * 50] * 5), ""),
        ("", ""),
        (".", ""),
        ("a..example", ""),
        ("-a.example", ""),
        ("a-.example", ""),
        ("a.example\n", ""),
        ('a".example', ""),
        ("a\\.b.example", ""),
        ("<Root>", ""),
        ("ü.example", ""),
        ("192.0.2.7", ""),
        ("a.7", ""),
        ("2001:db8::1", ""),
    ],
)
def test_what_can_be_a_hosts_name(name, shown):
    assert host(name) == shown


def test_the_last_name_that_was_asked_for_holds():
    names = Names()
    names.learn(NOW, 0, fact("a.example"))
    names.learn(NOW + 1, 0, fact("b.example") + fact("c.example", TWO))
    assert [names.find(NOW + 2, 0, one) for one in (ONE, TWO)] == ["b.example", "c.example"]


def test_each_namespace_has_its_own():
    names = Names()
    names.learn(NOW, 7, fact("a.example"))
    assert (names.find(NOW, 7, ONE), names.find(NOW, 0, ONE)) == ("a.example", "")


@pytest.mark.parametrize(("ttl", "seconds"), [(0, 60), (59, 60), (300, 300), (3600, 3600), (1 << 31, 3600)])
def test_it_holds_for_its_time_to_live_within_bounds(ttl, seconds):
    names = Names()
    names.learn(NOW, 0, fact("a.example", ttl=ttl))
    assert names.find(NOW + seconds, 0, ONE) == "a.example"
    assert names.find(NOW + seconds + 0.1, 0, ONE) == ""
    names.sweep(NOW + seconds)
    assert len(names) == 1
    names.sweep(NOW + seconds + 0.1)
    assert len(names) == 0


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "127.0.0.1", "::", "::1", "224.0.0.1", "ff02::1", "255.255.255.255"]
)
def test_an_address_at_which_nobody_in_particular_is_gets_no_name(address):
    names = Names()
    names.learn(NOW, 0, fact("blocked.example", ip_address(address).packed))
    assert len(names) == 0


def test_what_can_be_no_name_takes_no_place_and_no_name_away():
    names = Names()
    names.learn(NOW, 0, fact("a.example"))
    names.learn(NOW, 0, fact("a b\x07") + fact("x" * 300))
    assert names.find(NOW, 0, ONE) == "a.example"


def test_a_flood_takes_no_more_room_and_the_oldest_go_first():
    names = Names(limit=100)
    evicted = sum(
        names.learn(NOW, 0, fact(f"a{n}.example", n.to_bytes(4, "big")))
        for n in range(1 << 24, (1 << 24) + 10_000)
    )
    assert (len(names), evicted) == (100, 9900)
    last = ((1 << 24) + 9999).to_bytes(4, "big")
    assert names.find(NOW, 0, last) == "a16787215.example"


def test_what_is_asked_for_again_is_the_newest():
    names = Names(limit=2)
    other = ip_address("192.0.2.3").packed
    for name, address in (("a", ONE), ("b", TWO), ("a", ONE), ("c", other)):
        names.learn(NOW, 0, fact(name, address))
    assert [names.find(NOW, 0, one) for one in (ONE, TWO, other)] == ["a", "", "c"]
