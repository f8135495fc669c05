"""The folder is the registry."""

import re
from pathlib import Path

import pytest

from exporter import dpi

FILES = sorted(path.stem for path in Path(dpi.__file__).parent.glob("[a-z]*.py"))


def names(*wanted):
    return [dissector.name for dissector in dpi.select(wanted)]


def test_every_file_is_a_dissector():
    assert [dissector.name for dissector in dpi.load()] == FILES


def test_select():
    assert names() == FILES
    assert names("tls", "dns") == ["dns", "tls"]
    assert names("-http") == [name for name in FILES if name != "http"]
    assert names("tls", "dns", "-dns") == ["tls"]


@pytest.mark.parametrize("wanted", [["htpp"], ["-htpp"], ["tls", "htpp"]])
def test_unknown_names(wanted):
    with pytest.raises(ValueError, match=r"no such protocol: htpp; known are: .*dns"):
        dpi.select(wanted)


@pytest.mark.parametrize("dissector", dpi.load(), ids=lambda each: each.name)
def test_what_a_dissector_declares(dissector):
    assert dissector.transports <= {"tcp", "udp", "sctp", "icmp", "icmpv6", "igmp", "arp"}
    assert all(0 < port < 65536 for port in dissector.ports)
    assert dissector.reads
    assert re.search(r"RFC \d|\w", dissector.specification)
    for label in dissector.operations | dissector.statuses:
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", label)


def test_a_module_that_declares_another_name(monkeypatch, tmp_path):
    (tmp_path / "wrong.py").write_text("from exporter.dpi.dns import DISSECTOR\n")
    monkeypatch.setattr(dpi, "__path__", [str(tmp_path)])
    with pytest.raises((ValueError, ModuleNotFoundError)):
        dpi.load()
