"""Which ends of a packet are ours: the addresses of each network namespace, as the identity process tells them."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from exporter.flow import addresses
from exporter.model import Addresses, Interface

__all__ = ["Places"]

UNSPECIFIED = (bytes(4), bytes(16))


class Places:
    """The addresses of every namespace we know; 0 is our own."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Know nothing yet but `networks`, whose addresses are ours wherever they are seen."""
        self._networks = [ip_network(one, strict=False) for one in networks]
        self._local: dict[int, frozenset[bytes]] = {}
        self._broadcast: dict[int, frozenset[bytes]] = {}
        self.known = False

    def learn(self, record: Addresses) -> None:
        """Replace what is known of a namespace."""
        self._local[record.scope] = frozenset(record.local)
        self._broadcast[record.scope] = frozenset(record.broadcast)
        self.known = self.known or record.scope == 0

    def ends(
        self, interface: Interface, src: bytes, dst: bytes, *, leaving: bool
    ) -> tuple[int | None, int | None]:
        """Tell in which namespace the sender's and the receiver's sockets are; None: not on this machine.

        A file has no addresses of its own: its first sender counts as local. A multicast or broadcast destination is
        local where it is received. `leaving`: the frame bears the interface's own hardware address as its source.
        """
        if interface.role == "file":
            return 0, None
        scope = interface.scope
        sender = self._find(scope, src)
        if sender is None and leaving and src in UNSPECIFIED:
            sender = scope  # a DHCP client has no address yet
        receiver = self._find(scope, dst)
        if receiver is None and sender is None and not leaving and self._grouped(scope, dst):
            receiver = scope
        return sender, receiver

    def _find(self, scope: int, address: bytes) -> int | None:
        if address in self._local.get(scope, ()):
            return scope
        if self._networks and any(ip_address(address) in one for one in self._networks):
            return scope
        if scope:
            return 0 if address in self._local.get(0, ()) else None
        return 0 if addresses.scope(address) == addresses.LOOPBACK else None

    def _grouped(self, scope: int, address: bytes) -> bool:
        return addresses.scope(address) == addresses.MULTICAST or address in self._broadcast.get(scope, ())
