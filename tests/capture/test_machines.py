"""Live capture on real interfaces in namespaces of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.net_raw]


def run(scenario: str) -> Any:
    unshare = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
    script = 'mount -t proc proc /proc && mount -t sysfs sysfs /sys && ip link set lo up && exec "$@"'
    command = [*unshare, "sh", "-c", script, "sh", sys.executable, "-m", "tests.capture.scenarios", scenario]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_interface_vanishes_and_comes_back() -> None:
    said = run("vanishes")
    assert said["start"] == [{"v0": True}, 1]
    assert said["down"] == [{"v0": False}, 1]
    assert said["up"] == [{"v0": True}, 2]
    assert said["renamed"] == [{"v0": False}, 2]
    assert said["back"] == [{"v0": True}, 3]
    assert said["removed"] == [{"v0": False}, 3]
    assert said["anew"] == [{"v0": True}, 4]
    assert said["gone"] == ["v0", "v0"]
    assert said["received"] == 4


def test_containers_are_seen_on_their_veths_and_not_on_the_bridge() -> None:
    early, roles, left_out, packets = run("containers")
    (end,) = roles.keys() & {"l0", "l1"}  # the one that the kernel made first
    assert roles == {"lo": "host", "c0": "pod", "c1": "pod", end: "host"}
    assert early.items() >= roles.items()
    assert left_out.keys() - {"l0", "l1"} == {"br0"}
    assert packets["c0"] == list(range(40))
    assert packets["c1"]
    assert packets["c1"] == list(range(40 - len(packets["c1"]), 40))
    assert [packets["lo"], packets[end]] == [[], []]


def test_this_kernels_parts_and_tunnels_are_recognised() -> None:
    left_out = run("parts")
    assert left_out["mac0"] == "a part of v0"
    assert "ifb" in left_out["ifb9"]
    assert "vx0" not in left_out


def test_a_pause_costs_nothing_as_far_as_the_ring_reaches() -> None:
    assert run("pause") == [True, 50]


def test_three_workers_share_an_ethernet_and_a_raw_interface() -> None:
    sent, sums, shares, wrong = run("dealt")
    assert sums == [sent + 1, sent, sent * 2 // 3, sent]  # libpcap's `udp` means none with two VLAN tags
    assert shares == [True] * 4
    assert wrong == 0
