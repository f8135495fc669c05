"""Which interfaces are captured: tables over links, and links from a sysfs of files."""

from pathlib import Path

import pytest

from exporter.capture.interfaces import choose, require_named
from exporter.capture.links import Link, is_up, missed, parse_dev, read_counters, read_links, uplinks
from exporter.config import Capture
from exporter.errors import CaptureError

UP = 0x1003
DOWN = 0x1002
SLAVE = UP | 0x800
BOND = UP | 0x400
VRF = 0x4C1  # up, running, no ARP, master
HOLLOW = 0xC3  # up, broadcast, no ARP, no multicast


def machine(*links: Link) -> dict[str, Link]:
    return {link.name: link._replace(number=number) for number, link in enumerate(links, 1)}


LO = Link("lo", 0, 0x49, 772, mtu=65536)
ETH0 = Link("eth0", 0, UP, hardware=True)
PLAIN = machine(LO, ETH0)
DOCKER = machine(
    LO,
    ETH0,
    Link("docker0", 0, UP, kind="bridge", ports=("veth1", "veth2")),
    Link("veth1", 0, UP, master="docker0", far=True),
    Link("veth2", 0, UP, master="docker0", far=True),
)
BONDED = machine(
    LO,
    Link("eth0", 0, SLAVE, master="bond0", hardware=True),
    Link("eth1", 0, SLAVE, master="bond0", hardware=True),
    Link("bond0", 0, BOND, kind="bond", ports=("eth0", "eth1")),
    Link("bond0.7", 0, UP, kind="vlan", parent="bond0"),
    Link("mac0", 0, UP, parent="bond0.7"),
)
TEAM = machine(LO, Link("eth0", 0, UP, master="team0"), Link("team0", 0, UP, ports=("eth0",)))
VRFS = machine(LO, Link("eth0", 0, UP, master="red"), Link("red", 0, VRF, ports=("eth0",)))
OVS = machine(LO, Link("eth0", 0, UP, master="ovs-system"), Link("ovs-system", 0, DOWN, ports=("eth0",)))
AZURE = machine(LO, ETH0, Link("vf0", 0, SLAVE, master="eth0", hardware=True))
BRIDGED = machine(LO, ETH0._replace(master="br0"), Link("br0", 0, UP, kind="bridge", ports=("eth0",)))
PAIR = machine(LO, Link("veth0", 0, UP, peer="veth1"), Link("veth1", 0, UP, peer="veth0"))
ODD = machine(
    LO,
    ETH0,
    Link("docker0", 0, UP, kind="bridge"),
    Link("dummy0", 0, HOLLOW),
    Link("ifb0", 0, HOLLOW),
    Link("can0", 0, UP, 280),
    Link("mon0", 0, UP, 803),
    Link("wg0", 0, 0x10D1, 65534, kind="wireguard"),
    Link("tun0", 0, 0x10D1, 65534),
    Link("vxlan0", 0, UP, kind="vxlan"),
    Link("ppp0", 0, 0x10D1, 512),
    Link("eth1", 0, DOWN, hardware=True),
)

CASES = [
    ("plain", PLAIN, {}, "lo eth0"),
    ("no loopback", PLAIN, {"loopback": False}, "eth0"),
    ("loopback by name all the same", PLAIN, {"loopback": False, "interface": ("lo",)}, "lo"),
    ("excluded", PLAIN, {"exclude_interface": ("e*",)}, "lo"),
    ("excluded wins over named", PLAIN, {"interface": ("eth0", "lo"), "exclude_interface": ("lo",)}, "eth0"),
    ("a bridge's ports", DOCKER, {}, "lo eth0 veth1 veth2"),
    ("a bridge without its ports", DOCKER, {"exclude_interface": ("veth*",)}, "lo eth0 docker0"),
    ("a bridge by name beside its ports", DOCKER, {"interface": ("docker0", "veth*")}, "docker0 veth1 veth2"),
    ("a bridge by glob", DOCKER, {"interface": ("docker*",)}, "docker0"),
    ("everything by glob is the default", DOCKER, {"interface": ("*",)}, "lo eth0 veth1 veth2"),
    ("the bridge of a host", BRIDGED, {}, "lo eth0"),
    ("a bond", BONDED, {}, "lo bond0"),
    ("a bond's members by glob", BONDED, {"interface": ("eth*",)}, "eth0 eth1"),
    ("a VLAN by name", BONDED, {"interface": ("bond0.7",)}, "bond0.7"),
    ("a VLAN whose parent is excluded", BONDED, {"exclude_interface": ("bond0", "eth?")}, "lo bond0.7"),
    ("a team", TEAM, {}, "lo team0"),
    ("a VRF", VRFS, {}, "lo eth0"),
    ("Open vSwitch", OVS, {}, "lo eth0"),
    ("a virtual function below its virtual interface", AZURE, {}, "lo eth0"),
    ("a veth with both ends here", PAIR, {}, "lo veth0"),
    ("its other end by name", PAIR, {"interface": ("veth1",)}, "veth1"),
    ("tunnels and oddities", ODD, {}, "lo eth0 wg0 tun0 vxlan0 ppp0"),
    ("a dummy by name", ODD, {"interface": ("dummy0",)}, "dummy0"),
    ("a glob that means nothing yet", PLAIN, {"interface": ("wlan*",)}, ""),
    ("one that is down", ODD, {"interface": ("eth1",)}, ""),
]


@pytest.mark.parametrize(
    ("links", "settings", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_chooses(links: dict[str, Link], settings: dict[str, tuple[str, ...]], expected: str) -> None:
    selection = choose(links, Capture(**settings))
    assert [interface.name for interface in selection.chosen] == expected.split()
    assert selection.left_out.keys() == links.keys() - set(expected.split())
    assert all(selection.left_out.values())


def test_says_why_an_interface_is_left_out() -> None:
    assert choose(DOCKER, Capture()).left_out == {"docker0": "a bridge: seen on veth1, veth2"}
    assert choose(BONDED, Capture()).left_out["bond0.7"] == "a part of bond0"
    assert choose(BONDED, Capture()).left_out["eth1"] == "a member of bond0"
    assert choose(PAIR, Capture()).left_out == {"veth1": "the other end of veth0"}
    assert choose(ODD, Capture()).left_out["eth1"] == "down"


def test_a_veth_into_another_namespace_is_a_pods_unless_it_is_our_own_way_out() -> None:
    links = machine(LO, Link("eth0", 0, UP, far=True), Link("veth1", 0, UP, far=True))
    roles = {interface.name: interface.role for interface in choose(links, Capture(), {"eth0"}).chosen}
    assert roles == {"lo": "host", "eth0": "host", "veth1": "pod"}


def test_a_missing_interface_is_one_line_that_names_those_there_are() -> None:
    with pytest.raises(
        CaptureError, match=r"^capture.interface: there is no interface 'eth9'; there are: lo, eth0$"
    ):
        require_named(PLAIN, Capture(interface=("eth0", "eth9")))
    require_named(PLAIN, Capture(interface=("lo", "wlan*")))


class Sysfs:
    """A /sys/class/net of files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, name: str, number: int, other: int | None = None, **more: str | list[str]) -> None:
        folder = self.root / name
        (folder / "statistics").mkdir(parents=True)
        lower, master, uevent = more.pop("lower", []), more.pop("master", ""), more.pop("kind", "")
        for entry in lower:
            (folder / f"lower_{entry}").symlink_to(f"../{entry}")
        if master:
            (folder / "master").symlink_to(f"../{master}")
        kind = f"DEVTYPE={uevent}\n" if uevent else ""
        files = {"ifindex": str(number), "iflink": str(number if other is None else other), "flags": "0x1003"}
        files |= {
            "type": "1",
            "mtu": "1400",
            "address": "02:00:00:00:00:01",
            "uevent": f"{kind}INTERFACE={name}\n",
        }
        for key, text in (files | more).items():
            (folder / key.replace("__", "/")).write_text(f"{text}\n")


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path)


def test_reads_an_interface(sysfs: Sysfs) -> None:
    sysfs.add("eth0", 4, statistics__rx_missed_errors="12")
    (sysfs.root / "eth0" / "device").mkdir()
    (sysfs.root / "bonding_masters").write_text("bond0\n")
    expected = Link("eth0", 4, UP, mac=bytes.fromhex("020000000001"), mtu=1400, hardware=True)
    assert read_links(sysfs.root) == {"eth0": expected}
    assert is_up("eth0", sysfs.root)
    assert missed("eth0", sysfs.root) == 12
    assert not is_up("eth1", sysfs.root)
    assert missed("eth1", sysfs.root) == 0


def test_reads_masters_parts_and_kinds(sysfs: Sysfs) -> None:
    sysfs.add("eth0", 2, master="br0")
    sysfs.add("br0", 3, lower=["eth0"], kind="bridge")
    sysfs.add("eth0.5", 4, 2, lower=["eth0"], kind="vlan")
    sysfs.add("mac0", 5, 2, lower=["eth0"])
    sysfs.add("sec0", 6, 2, lower=["eth0"], kind="macsec")
    sysfs.add("vx0", 7, lower=["eth0"], kind="vxlan")
    links = read_links(sysfs.root)
    assert links["eth0"].master == "br0"
    assert (links["br0"].kind, links["br0"].ports) == ("bridge", ("eth0",))
    assert [links[name].parent for name in ("eth0.5", "mac0", "sec0", "vx0")] == ["eth0", "eth0", "", ""]
    assert list(links) == ["eth0", "br0", "eth0.5", "mac0", "sec0", "vx0"]


def test_tells_a_veth_by_where_its_other_end_is(sysfs: Sysfs) -> None:
    sysfs.add("a", 2, 3, speed="10000", statistics__rx_packets="5", statistics__tx_packets="9")
    sysfs.add("b", 3, 2, speed="10000", statistics__rx_packets="9", statistics__tx_packets="5")
    sysfs.add("pod", 4, 2, speed="10000")  # its peer's number is a number of ours too
    sysfs.add("gretap0", 5, 2)  # bound to another interface, but no veth
    links = read_links(sysfs.root)
    assert {name: (link.peer, link.far) for name, link in links.items()} == {
        "a": ("b", False),
        "b": ("a", False),
        "pod": ("", True),
        "gretap0": ("", False),
    }


def test_two_veths_that_point_at_each_other_by_chance_are_two_pods(sysfs: Sysfs) -> None:
    for name, here, there in (("a", 2, 3), ("b", 3, 2)):
        sysfs.add(name, here, there, speed="10000", statistics__rx_packets="5", statistics__tx_packets="9")
    assert [link.far for link in read_links(sysfs.root).values()] == [True, True]


def test_default_routes_name_the_uplinks(tmp_path: Path) -> None:
    net = tmp_path / "self" / "net"
    net.mkdir(parents=True)
    assert uplinks(tmp_path) == frozenset()
    (net / "route").write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t010AA8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    zeros = "0" * 32
    (net / "ipv6_route").write_text(
        f"{zeros} 00 {zeros} 00 fe80{'0' * 27}1 00000400 00000001 00000000 00000003    wlan0\n"
        f"fe80{'0' * 28} 40 {zeros} 00 {zeros} 00000100 00000001 00000000 00000001    eth1\n"
        f"{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n"
    )
    assert uplinks(tmp_path) == {"eth0", "wlan0"}


def test_parses_the_kernels_counters(tmp_path: Path) -> None:
    text = (
        "Inter-|   Receive                             |  Transmit\n"
        " face |bytes packets errs drop (and so on)\n"
        "    lo:  100     2  0 0 0 0 0 0  100  2 0 0 0 0 0 0\n"
        "eth0:1:12345678901 20 1 3 0 0 0 0 4000 30 2 4 0 0 0 0\n"
        "torn: 1 2\n"
    )
    counters = parse_dev(text)
    assert counters.keys() == {"lo", "eth0:1"}
    assert tuple(counters["eth0:1"]) == (12345678901, 20, 3, 4000, 30, 4)
    assert read_counters(tmp_path) == {}
    assert "lo" in read_counters()
