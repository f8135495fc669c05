"""Which source the configuration asks for, and what it may not ask for at once."""

import json

import pytest

from exporter.app import programs, source
from exporter.app.launch import require_consistent
from exporter.config import Config, dump
from exporter.configload import load
from exporter.errors import ConfigError

NAMED = [
    ("capture.interface", ["eth0"]),
    ("capture.exclude_interface", ["docker0"]),
    ("capture.filter", "tcp"),
    ("capture.loopback", False),
    ("decode.tunnels", "always"),
    ("identity.method", "netlink"),
]
TUNED = [("capture.snaplen", 256), ("capture.buffer_size", 1 << 20)]


def whole(**flags: object) -> dict:
    return json.loads(dump(load(flags, {})))


@pytest.mark.parametrize(("key", "value"), NAMED)
def test_what_only_captured_packets_allow_is_named(key: str, value: object) -> None:
    assert source.pcap_only(whole(**{key: value})) == [key]
    assert source.kernel_wish(whole(**{key: value})).source == "pcap"


def test_nothing_is_named_by_default() -> None:
    assert source.pcap_only(whole()) == []
    require_consistent(Config())


@pytest.mark.parametrize(("key", "value"), NAMED + TUNED)
def test_the_kernel_s_counting_refuses_what_it_would_ignore(key: str, value: object) -> None:
    asked = load({"capture.source": "ebpf", key: value}, {})
    with pytest.raises(ConfigError, match=rf"^capture\.source is ebpf, which has no {key}; leave that out"):
        require_consistent(asked)
    require_consistent(load({"capture.source": "auto", key: value}, {}))
    require_consistent(load({"capture.source": "ebpf"}, {}))


def test_tuning_does_not_choose_the_source() -> None:
    assert source.pcap_only(whole(**dict(TUNED))) == []


def test_a_wish_has_all_that_the_configuration_says() -> None:
    flags = {"capture.source": "ebpf", "workers": 3, "dpi.enabled": False, "self.traffic": True}
    sizes = {"ebpf.flows": 64, "ebpf.overflow": 65, "ebpf.ring_size": 65_537, "ebpf.budgets": 66}
    wish = source.kernel_wish(whole(**flags, **sizes))
    assert wish[:5] == ("ebpf", "auto", 3, False, False)
    assert wish.sizes[:4] == (64, 65, 131_072, 66)
    usual = source.kernel_wish(whole(**{"capture.source": "ebpf"}))
    assert (usual.sizes, usual.budget) == (programs.Wish().sizes, programs.Wish().budget)


@pytest.mark.parametrize(
    ("packets", "size", "budget"),
    [(32, 65_536, (24, 32_768)), (200, 10_000_000, (150, 5_000_000)), (1, 1, (4, 2048))],
)
def test_more_is_brought_up_where_more_may_be_looked_at(
    packets: int, size: int, budget: tuple[int, int]
) -> None:
    assert source.kernel_wish(whole(**{"dpi.packets": packets, "dpi.bytes": size})).budget == budget


@pytest.mark.parametrize(
    ("flags", "offload"),
    [
        ({}, True),
        ({"capture.interface": ["eth0"]}, True),
        ({"capture.offload": "off"}, False),
        ({"capture.filter": "tcp"}, False),
        ({"decode.tunnels": "always"}, False),
    ],
)
def test_what_is_captured_is_offloaded_where_all_that_comes_is_ours(
    flags: dict[str, object], offload: bool
) -> None:
    wish = source.kernel_wish(whole(**flags, **{"capture.snaplen": 512}))
    assert (wish.offload, wish.snaplen) == (offload, 512)
