"""What sysfs says of the network interfaces. `root` is /sys/class/net; fixtures and containers give another."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "SYSFS",
    "UP",
    "Counters",
    "Link",
    "parse_dev",
    "read_counters",
    "read_links",
    "uplinks",
]

SYSFS = Path("/sys/class/net")
UP, BROADCAST, NOARP, MASTER, SLAVE, MULTICAST = 0x1, 0x2, 0x80, 0x400, 0x800, 0x1000
"""Flags of an interface (linux/if.h)."""
ROUTES = 1 << 16
"""Bytes read of a routing table, where default routes come first: some have a million lines."""
ETHERNET, LOOPBACK = 1, 772
"""Types of an interface (linux/if_arp.h)."""


class Link(NamedTuple):
    """One interface."""

    name: str
    number: int
    flags: int
    type: int = ETHERNET
    kind: str = ""
    """What the kernel's uevent calls it (`bridge`, `bond`, `vlan`, `vxlan` ...); many say nothing."""
    master: str = ""
    """The bridge, bond or VRF that it is a member of."""
    parent: str = ""
    """The interface that it is a part of: VLAN, macvlan, ipvlan."""
    peer: str = ""
    """The other end of a veth, if that is in our namespace too."""
    far: bool = False
    """The other end of this veth is in another network namespace."""
    ports: tuple[str, ...] = ()
    """The members of a bridge, bond or VRF."""
    hardware: bool = False
    mac: bytes = b""
    mtu: int = 1500


class Counters(NamedTuple):
    """The kernel's own counters of an interface; bytes with link headers."""

    receive_bytes: int
    receive_packets: int
    receive_dropped: int
    transmit_bytes: int
    transmit_packets: int
    transmit_dropped: int


class _Wire(NamedTuple):
    """A link, and the index and names of what it is tied to."""

    link: Link
    other: int
    lower: tuple[str, ...]
    paired: bool
    """It has the marks of a veth."""


def _text(folder: Path, name: str) -> str:
    """Give an attribute's text; "" where an interface of this kind has none, or is gone."""
    try:
        return (folder / name).read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _read(folder: Path) -> _Wire:
    names = {entry.name for entry in folder.iterdir()}
    lower = tuple(sorted(name[6:] for name in names if name.startswith("lower_")))
    index, other = _number(_text(folder, "ifindex")), _number(_text(folder, "iflink"))
    uevent = dict(line.split("=", 1) for line in _text(folder, "uevent").splitlines() if "=" in line)
    kind, sort = uevent.get("DEVTYPE", ""), _number(_text(folder, "type"))
    link = Link(
        folder.name,
        index,
        _number(_text(folder, "flags")),
        sort,
        kind or ("bridge" if "bridge" in names else "bond" if "bonding" in names else ""),
        master=(folder / "master").readlink().name if "master" in names else "",
        ports=lower if other == index else (),
        hardware="device" in names,
        mac=_mac(_text(folder, "address")),
        mtu=_number(_text(folder, "mtu")) or 1500,
    )
    tied = other not in {0, index} and not lower and sort == ETHERNET
    return _Wire(link, other, lower, tied and (kind in {"veth", "netkit"} or bool(_text(folder, "speed"))))


def _mac(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return b""


def is_up(name: str, root: Path = SYSFS) -> bool:
    """Tell whether an interface is there and up; much cheaper than to read all of it."""
    return bool(_number(_text(root / name, "flags")) & UP)


def missed(name: str, root: Path = SYSFS) -> int:
    """Give how many packets a network card had no room for."""
    return _number(_text(root / name, "statistics/rx_missed_errors"))


def read_links(root: Path = SYSFS) -> dict[str, Link]:
    """Read all interfaces, in the order of their numbers. One that vanishes meanwhile is left out."""
    wires = {wire.link.number: wire for wire in _each(root)}
    links = {}
    for index in sorted(wires):
        wire = wires[index]
        link, other = wire.link, wires.get(wire.other)
        if wire.lower and wire.other not in {0, index} and link.kind != "macsec":
            link = link._replace(parent=other.link.name if other else wire.lower[0])
        elif wire.paired:
            near = other is not None and other.paired and other.other == index
            if near and other is not None and _one_wire(root, link.name, other.link.name):
                link = link._replace(peer=other.link.name)
            else:
                link = link._replace(far=True)
        links[link.name] = link
    return links


def _each(root: Path) -> Iterator[_Wire]:
    for folder in sorted(root.iterdir()):
        with suppress(OSError):  # gone, or a file like bonding_masters
            yield _read(folder)


def _one_wire(root: Path, one: str, other: str) -> bool:
    """Tell whether what one end received the other sent. Indexes alone prove nothing: each namespace has its own."""
    there, here = (root / other, "statistics/tx_packets"), (root / one, "statistics/rx_packets")
    before, sent, after = (_number(_text(*where)) for where in (here, there, here))
    return before <= sent <= after


def uplinks(proc: Path = Path("/proc")) -> frozenset[str]:
    """Give the interfaces of the default routes: in a container our own veth is no pod's."""
    names = set()
    for name, zero, column in (("route", "00000000", 1), ("ipv6_route", "00", 1)):
        try:
            with (proc / "self" / "net" / name).open() as file:
                text = file.read(ROUTES)
        except OSError:
            continue
        for line in text.splitlines():
            fields = line.split()
            if len(fields) > column and fields[column] == zero:
                names.add(fields[0 if name == "route" else -1])
    return frozenset(names) - {"lo", "Iface"}


def parse_dev(text: str) -> dict[str, Counters]:
    """Parse /proc/net/dev."""
    found = {}
    for line in text.splitlines()[2:]:
        name, colon, rest = line.rpartition(":")
        numbers = rest.split()
        if colon and len(numbers) >= 16:
            r_bytes, r_packets, _, r_dropped = map(int, numbers[:4])
            found[name.strip()] = Counters(r_bytes, r_packets, r_dropped, *_sent(numbers))
    return found


def _sent(numbers: list[str]) -> tuple[int, int, int]:
    return int(numbers[8]), int(numbers[9]), int(numbers[11])


def read_counters(proc: Path = Path("/proc")) -> dict[str, Counters]:
    """Read the kernel's own counters of all interfaces in our namespace."""
    try:
        return parse_dev((proc / "self" / "net" / "dev").read_text())
    except OSError:
        return {}
