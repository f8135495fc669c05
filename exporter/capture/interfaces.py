"""Which interfaces are captured, so that no packet is seen twice.

| left out | because its packets are seen |
|---|---|
| a bridge | on its ports, where containers' and virtual machines' packets for the host pass too |
| a member of a bond or team | on the bond, without the duplicates of inactive members |
| a VRF | on its members |
| a VLAN, macvlan or ipvlan | on the interface that it is a part of |
| one end of a veth of which both are ours | on the other end |
| ifb, dummy, monitors | elsewhere, or nowhere: they carry copies, or nothing |

Each rule holds only if the other interface is captured; so `--capture.interface=br0` alone captures the bridge.
An interface that is named without wildcards is captured whatever the rules say.
"""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from exporter.capture.links import BROADCAST, ETHERNET, LOOPBACK, MASTER, MULTICAST, NOARP, SLAVE, UP, Link
from exporter.config import Capture
from exporter.errors import CaptureError
from exporter.model import Interface

__all__ = ["Selection", "choose", "describe", "is_glob", "require_named"]

NO_NETWORK = frozenset((280, 801, 802, 803, 804, 824, 826))
"""Types that carry no IP of ours: CAN, radio monitors, and the monitors of netlink and vsock."""
OPEN_VSWITCH = "ovs-system"
"""Open vSwitch' master of all ports; it sees nothing itself."""


class Selection(NamedTuple):
    """What is captured, and why the rest is not."""

    chosen: tuple[Interface, ...]
    left_out: dict[str, str]


def is_glob(pattern: str) -> bool:
    return any(mark in pattern for mark in "*?[")


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def choose(links: Mapping[str, Link], settings: Capture, uplinks: Collection[str] = ()) -> Selection:
    named = {name for name in settings.interface if not is_glob(name)}
    left_out = {link.name: why for link in links.values() if (why := _refused(link, settings))}
    candidates = links.keys() - left_out.keys()
    for link in links.values():
        if link.name in candidates and link.name not in named and (why := _twice(link, links, candidates)):
            left_out[link.name] = why
    chosen = tuple(describe(link, uplinks) for link in links.values() if link.name not in left_out)
    return Selection(chosen, left_out)


def require_named(links: Mapping[str, Link], settings: Capture) -> None:
    """Refuse a name that no interface has. One that is there and down may come up; what a glob means may come."""
    for name in settings.interface:
        if not is_glob(name) and name not in links:
            there = ", ".join(links) or "none"
            raise CaptureError(f"capture.interface: there is no interface {name!r}; there are: {there}")


def describe(link: Link, uplinks: Collection[str] = ()) -> Interface:
    """Give an interface as the engine knows it; link type and scope are not known yet."""
    role = "pod" if link.far and link.name not in uplinks else "host"
    return Interface(link.name, -1, role=role, mac=link.mac, mtu=link.mtu)


def _refused(link: Link, settings: Capture) -> str:
    """Say why an interface is no candidate: what the user wants, and what it is by itself."""
    if _matches(link.name, settings.exclude_interface):
        return "excluded"
    if not link.flags & UP:
        return "down"
    if link.name in settings.interface:
        return ""
    if link.type in NO_NETWORK:
        return "no network interface"
    if settings.interface:
        return "" if _matches(link.name, settings.interface) else "not asked for"
    if link.type == LOOPBACK:
        return "" if settings.loopback else "loopback is switched off"
    return "a dummy or ifb: its packets go nowhere, or were seen before" if _hollow(link) else ""


def _hollow(link: Link) -> bool:
    """Know dummy and ifb by their flags: they have no other mark."""
    marks = link.flags & (BROADCAST | NOARP | MULTICAST | MASTER)
    return (
        link.type == ETHERNET and marks == BROADCAST | NOARP and not (link.hardware or link.kind or link.far)
    )


def _twice(link: Link, links: Mapping[str, Link], candidates: Collection[str]) -> str:
    """Say on which other captured interface this one's packets are seen."""
    ports = [name for name in link.ports if name in candidates]
    if link.kind == "bridge" and (ports or not link.ports):
        return f"a bridge: seen on {', '.join(ports[:3])}" if ports else "a bridge without ports"
    if link.flags & MASTER and link.flags & NOARP and ports:
        return f"a VRF: seen on {', '.join(ports[:3])}"
    if link.master in candidates and _swallows(links[link.master], link):
        return f"a member of {link.master}"
    if link.parent in candidates:
        return f"a part of {link.parent}"
    if link.peer in candidates and links[link.peer].number < link.number:
        return f"the other end of {link.peer}"
    return ""


def _swallows(master: Link, member: Link) -> bool:
    """Tell whether a master sees all that its member does: bonds and teams do."""
    if master.kind == "bridge" or master.name == OPEN_VSWITCH:
        return False
    return bool(member.flags & SLAVE) or not master.flags & NOARP
