"""What goes to everybody is a notice: its answer, if any, is another connection's, and it would count as unanswered."""

from ipaddress import ip_address

import pytest

from exporter.dissector import Ends
from exporter.model import Kind
from tests.dpi.cases import cases
from tests.dpi.reading import read

NAMES = ("dhcp", "dhcpv6", "llmnr", "mdns", "ssdp")
GROUPS = ("224.0.0.251", "239.255.255.250", "255.255.255.255", "ff02::fb")
HOSTS = ("192.0.2.255", "223.255.255.255", "fe80::ff02")
CASES = {case.protocol: case for case in reversed(cases()) if case.protocol in NAMES and case.messages}


def first(name: str, address: str) -> Kind:
    case = CASES[name]
    other = ip_address(address).packed
    ends = Ends(other[:-1] + b"\1", case.ends.port0, other, case.ends.port1, "udp")
    return read(case.data[:1], ends).said[0][1].kind


def test_each_has_a_case():
    assert set(CASES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("address", GROUPS)
def test_to_many(name, address):
    assert first(name, address) is Kind.NOTICE


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("address", HOSTS)
def test_to_one(name, address):
    assert first(name, address) is not Kind.NOTICE
