"""Scopes of addresses, compared with what the standard library says of them."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.flow.addresses import scope


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("10.0.0.1", "private"),
        ("172.15.255.255", "public"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.0", "public"),
        ("192.168.1.1", "private"),
        ("192.169.0.0", "public"),
        ("100.63.255.255", "public"),
        ("100.64.0.1", "private"),
        ("100.128.0.0", "public"),
        ("169.254.1.1", "private"),
        ("0.0.0.0", "private"),
        ("8.8.8.8", "public"),
        ("224.0.0.251", "multicast"),
        ("239.255.255.250", "multicast"),
        ("240.0.0.1", "public"),
        ("255.255.255.255", "multicast"),
        ("::1", "loopback"),
        ("::", "private"),
        ("fe80::1", "private"),
        ("fec0::1", "private"),
        ("fd00::1", "private"),
        ("fc00::1", "private"),
        ("ff02::fb", "multicast"),
        ("2001:4860::8888", "public"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:8.8.8.8", "public"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:224.0.0.1", "multicast"),
    ],
)
def test_scope(address, expected):
    assert scope(ip_address(address).packed) == expected


def test_no_address():
    assert scope(b"") == "private"


@given(st.ip_addresses())
def test_multicast_and_loopback_as_the_standard_library_has_them(address):
    if getattr(address, "ipv4_mapped", None) is None:
        assert (scope(address.packed) == "loopback") == address.is_loopback
        many = address.is_multicast or address.packed == b"\xff" * 4
        assert (scope(address.packed) == "multicast") == many
