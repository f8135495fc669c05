"""Network namespaces: which there are, who lives in them, their addresses, and which interfaces of ours lead there.

A scope is a namespace's inode number (`/proc/<pid>/ns/net`); 0 is our own. To know what a veth leads to, the kernel is
asked for the namespace ids of the link and of one process in each namespace: that needs no capability, and unlike the
peer's interface index, which is 2 in every pod, it cannot be mistaken.
"""

import contextlib
import socket

from exporter.identity.procfs import Procfs
from exporter.identity.rtnetlink import Route

__all__ = ["Addressing", "Namespaces", "parse_fib_trie", "parse_if_inet6"]

V6 = 16
MEMBERS = 4
"""Processes remembered of a namespace; the first that lives is read."""
EVERY = 30.0
LEAST = 1.0
"""Seconds between walks, regularly and when something asks for one."""

Addressing = tuple[tuple[bytes, ...], tuple[bytes, ...]]
"""Local addresses and IPv4 broadcast addresses."""


class Namespaces:
    """All network namespaces in which there is a process that we may look at."""

    def __init__(self, proc: Procfs, route: Route | None) -> None:
        """Take the procfs; without rtnetlink it is not known where interfaces lead."""
        self.proc = proc
        self.route = route
        self.own = proc.netns("self")
        self.members: dict[int, list[int]] = {}
        self.walked = float("-inf")
        self.denied = 0
        self.strange = 0
        """Interfaces that lead where nobody lives yet, or nobody whom we may see."""

    def walk(self, now: float, *, force: bool = False) -> bool:
        """Look at all processes' namespaces if it is time; true if it was done."""
        if now - self.walked < (LEAST if force else EVERY):
            return False
        self.walked = now
        members: dict[int, list[int]] = {}
        self.denied = 0
        for pid in sorted(self.proc.pids()):
            try:
                scope = self.proc.netns(pid)
            except PermissionError:
                self.denied += 1
                continue
            except OSError:
                continue
            if scope and len(pids := members.setdefault(scope, [])) < MEMBERS:
                pids.append(pid)
        members.pop(self.own, None)
        self.members = members
        return True

    def pids(self, scope: int) -> list[int | str]:
        """Name processes in a namespace, oldest first."""
        return list(self.members.get(scope, ()))

    def interfaces(self) -> tuple[tuple[str, int], ...]:
        """Name our interfaces whose other end is in another namespace, with its scope."""
        if self.route is None:
            return ()
        links = [link for link in self.route.links() if link.nsid >= 0]
        scopes: dict[int, int] = {}
        if links:
            for scope, pids in self.members.items():
                for pid in pids:
                    if (nsid := self.route.nsid(pid)) >= 0:
                        scopes[nsid] = scope
                        break
        self.strange = sum(link.nsid not in scopes for link in links)
        return tuple((link.name, scopes[link.nsid]) for link in links if link.nsid in scopes)

    def addresses(self, scope: int) -> Addressing:
        """Read a namespace's addresses from its tables."""
        for pid in self.pids(scope):
            with contextlib.suppress(OSError):
                local, broadcast = parse_fib_trie(self.proc.read_all(pid, "net/fib_trie"))
                with contextlib.suppress(FileNotFoundError):  # no IPv6
                    local = (*local, *parse_if_inet6(self.proc.read_all(pid, "net/if_inet6")))
                return local, broadcast
        return (), ()


def parse_fib_trie(data: bytes) -> Addressing:
    """Read `net/fib_trie`: under each leaf (`|-- address`) stand its routes, ours marked LOCAL and BROADCAST."""
    found: dict[str, dict[bytes, None]] = {"LOCAL": {}, "BROADCAST": {}}
    leaf = b""
    for line in data.decode("ascii", "replace").splitlines():
        match line.split():
            case ["|--", address]:
                with contextlib.suppress(OSError):
                    leaf = socket.inet_aton(address)
            case ["/32", _, kind] if kind in found:
                found[kind][leaf] = None
    return tuple(found["LOCAL"]), tuple(found["BROADCAST"])


def parse_if_inet6(data: bytes) -> tuple[bytes, ...]:
    """Read `net/if_inet6`: an address of 32 hexadecimal digits begins each line."""
    found: dict[bytes, None] = {}
    for line in data.splitlines():
        with contextlib.suppress(ValueError):
            address = bytes.fromhex(line[:32].decode("ascii"))
            if len(address) == V6:
                found[address] = None
    return tuple(found)
