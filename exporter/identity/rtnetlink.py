"""Routing netlink: our namespace's addresses and links, which namespace is behind a veth, and notice of changes."""

import errno
import socket
import struct
from typing import NamedTuple

from exporter.identity.netlink import Netlink, attributes

__all__ = ["Link", "Notices", "Route", "parse_address", "parse_link_message"]

NETLINK_ROUTE = 0
RTM_GETLINK, RTM_GETADDR, RTM_GETNSID = 18, 22, 90
GROUPS = 0x1 | 0x10 | 0x100  # links, IPv4 addresses, IPv6 addresses

IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface
IFINFOMSG = struct.Struct("=BxHiII")  # family, type, interface, flags, change
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFLA_IFNAME, IFLA_LINK, IFLA_LINK_NETNSID = 3, 5, 37
NETNSA_NSID, NETNSA_PID = 1, 2
NSID = struct.Struct("=i")
PID = struct.Struct("=B3xHHI")  # rtgenmsg, then one attribute


class Link(NamedTuple):
    """An interface of ours; `nsid` is our number for the namespace of its other end, -1 if that is ours too."""

    number: int
    name: str
    nsid: int = -1


class Route:
    """Requests to rtnetlink; none needs a capability."""

    def __init__(self) -> None:
        """Open the socket."""
        self.netlink = Netlink(NETLINK_ROUTE)
        self.places: dict[bytes, set[int]] = {}
        """The interfaces that have an address, as of the last `addresses`."""

    def close(self) -> None:
        self.netlink.close()

    def addresses(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Give all local addresses, and the IPv4 broadcast addresses."""
        self.places.clear()
        local: dict[bytes, None] = {}
        broadcast: dict[bytes, None] = {}
        for data in self.netlink.dump(RTM_GETADDR, IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            interface, own, cast = parse_address(data)
            if own:
                local[own] = None
                self.places.setdefault(own, set()).add(interface)
            if cast:
                broadcast[cast] = None
        return tuple(local), tuple(broadcast)

    def links(self) -> list[Link]:
        body = IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        return [link for data in self.netlink.dump(RTM_GETLINK, body) if (link := parse_link_message(data))]

    def nsid(self, pid: int) -> int:
        """Give our number for a process' network namespace; -1: it has none, as no link leads there."""
        try:
            data = self.netlink.one(RTM_GETNSID, PID.pack(socket.AF_UNSPEC, 8, NETNSA_PID, pid))
        except OSError as error:
            if error.errno in {errno.ESRCH, errno.EINVAL, errno.EOPNOTSUPP}:
                return -1
            raise
        for kind, value in attributes(data or b"", 4):
            if kind == NETNSA_NSID and len(value) == NSID.size:
                return int(NSID.unpack(value)[0])
        return -1


class Notices:
    """Tells that links or addresses have changed; what has changed is then asked for."""

    def __init__(self) -> None:
        """Join the groups."""
        self.netlink = Netlink(NETLINK_ROUTE, GROUPS)
        self.netlink.socket.settimeout(0)

    def fileno(self) -> int:
        return self.netlink.socket.fileno()

    def drain(self) -> bool:
        """Read all notices; true if there were any, or some were lost."""
        any_ = False
        while True:
            try:
                any_ = bool(self.netlink.socket.recv(65536)) or any_
            except BlockingIOError:
                return any_
            except OSError:  # ENOBUFS: some were lost
                return True

    def close(self) -> None:
        self.netlink.close()


def parse_address(data: bytes) -> tuple[int, bytes, bytes]:
    """Read an ifaddrmsg: interface, our address, broadcast address. On a link to one peer IFA_ADDRESS is the peer's."""
    if len(data) < IFADDRMSG.size:
        return 0, b"", b""
    found: dict[int, bytes] = dict(attributes(data, IFADDRMSG.size))
    own = found.get(IFA_LOCAL) or found.get(IFA_ADDRESS) or b""
    return IFADDRMSG.unpack_from(data)[4], own, found.get(IFA_BROADCAST) or b""


def parse_link_message(data: bytes) -> Link | None:
    """Read an ifinfomsg."""
    if len(data) < IFINFOMSG.size:
        return None
    found = dict(attributes(data, IFINFOMSG.size))
    name = found.get(IFLA_IFNAME, b"").rstrip(b"\0").decode("utf-8", "replace")
    nsid = found.get(IFLA_LINK_NETNSID, b"")
    index = IFINFOMSG.unpack_from(data)[2]
    return Link(index, name, NSID.unpack(nsid)[0] if len(nsid) == NSID.size else -1)
