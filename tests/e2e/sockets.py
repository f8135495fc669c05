"""An independent count of the packets that no socket takes: nftables' own look-up, beside the exporter's programs.

A socket in TIME_WAIT is none (it has no owner and passes no filter); a handshake's last acknowledgement is for a
listener, though the socket table gives something else for it.
"""

import json
from collections import Counter

from tests.e2e.netns import Namespace
from tests.e2e.truth import Ports

RULES = """
table inet unheld {{
  set opening4 {{ type ipv4_addr . inet_service . inet_service; size 65535; flags dynamic; }}
  set opening6 {{ type ipv6_addr . inet_service . inet_service; size 65535; flags dynamic; }}
  set of_tcp {{ type inet_service . inet_service; size 65535; flags dynamic; counter; }}
  set of_udp {{ type inet_service . inet_service; size 65535; flags dynamic; counter; }}
  counter icmp_in {{ packets 0 bytes 0 }}
  counter icmpv6_in {{ packets 0 bytes 0 }}
  counter icmp_out {{ packets 0 bytes 0 }}
  counter icmpv6_out {{ packets 0 bytes 0 }}
  chain in {{
    type filter hook input priority 300;
    iifname != "{interface}" accept
    meta l4proto icmp counter name icmp_in accept
    meta l4proto ipv6-icmp counter name icmpv6_in accept
    socket transparent 0 socket mark >= 0 jump opened
    socket transparent 0 socket mark >= 0 accept
    ip saddr . tcp sport . tcp dport @opening4 delete @opening4 {{ ip saddr . tcp sport . tcp dport }} accept
    ip6 saddr . tcp sport . tcp dport @opening6 delete @opening6 {{ ip6 saddr . tcp sport . tcp dport }} accept
    meta l4proto tcp add @of_tcp {{ tcp dport . tcp sport }}
    meta l4proto udp add @of_udp {{ udp dport . udp sport }}
  }}
  chain opened {{
    ip version 4 tcp flags & (syn|ack) == syn add @opening4 {{ ip saddr . tcp sport . tcp dport }}
    ip6 version 6 tcp flags & (syn|ack) == syn add @opening6 {{ ip6 saddr . tcp sport . tcp dport }}
  }}
  chain out {{
    type filter hook output priority 300;
    oifname != "{interface}" accept
    meta l4proto icmp counter name icmp_out accept
    meta l4proto ipv6-icmp counter name icmpv6_out accept
    tcp flags & (syn|ack) == (syn|ack) accept
    socket mark >= 0 accept
    meta l4proto tcp add @of_tcp {{ tcp sport . tcp dport }}
    meta l4proto udp add @of_udp {{ udp sport . udp dport }}
  }}
}}
"""


class Unheld:
    """Counts on an interface of a namespace, from construction on."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self.namespace = namespace
        namespace.run("nft", "-f", "-", input=RULES.format(interface=interface))

    def _listed(self, what: str, name: str) -> dict:
        said = self.namespace.run("nft", "-j", "list", what, "inet", "unheld", name).stdout
        return next(one[what] for one in json.loads(said)["nftables"] if what in one)

    def ports(self, name: str) -> Counter[tuple[int, int]]:
        """Bytes by local and remote port, of `tcp` or `udp`."""
        found: Counter[tuple[int, int]] = Counter()
        for item in self._listed("set", f"of_{name}").get("elem", ()):
            local, remote = item["elem"]["val"]["concat"]
            found[local, remote] = item["elem"]["counter"]["bytes"]
        return found

    def owners(self, ports: Ports, *, far: bool = False) -> Counter[str]:
        """Bytes of each process' connections that it never got or sent; `far`: the ports are named from the peer."""
        found: Counter[str] = Counter()
        for name in ("tcp", "udp"):
            for ends, size in self.ports(name).items():
                local, remote = reversed(ends) if far else ends
                found[ports.get(("local", local)) or ports["remote", remote]] += size
        return found

    def by_server(self, servers: set[int]) -> Counter[int]:
        """Bytes, as `owners`, by whichever of the ports is a server's."""
        found: Counter[int] = Counter()
        for name in ("tcp", "udp"):
            for ends, size in self.ports(name).items():
                found[next(port for port in ends if port in servers)] += size
        return found

    def icmp(self, way: str, transport: str = "icmp") -> int:
        """Bytes that came `in` or went `out`; of icmp or icmpv6."""
        return self._listed("counter", f"{transport}_{way}")["bytes"]

    def total(self) -> int:
        """Bytes that no socket took or sent, and all of ICMP."""
        kinds = [(way, kind) for way in ("in", "out") for kind in ("icmp", "icmpv6")]
        ports = self.ports("tcp").total() + self.ports("udp").total()
        return ports + sum(self.icmp(*kind) for kind in kinds)
