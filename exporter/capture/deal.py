"""Which worker gets a packet: (source xor destination) mod N, of the last 32 bits of both addresses.

Symmetric, the same on every interface, and stable when a worker dies. The kernel decides, with a filter on each
capture handle. VLAN tags are looked through; an ICMP error goes where the packet that it quotes goes; fragments go by
their addresses like everything else. What is no IP packet, or too short to be one, is worker 0's. `inner` deals
tunnels by the addresses inside of them, as far as `deal_inner.py` reaches.
"""

from exporter.capture.bpf import Instruction, Op, Step, assemble, room
from exporter.capture.deal_inner import quoted, tunnels

__all__ = ["ETHERNET", "dealing", "incoming", "shard"]

ETHERNET = 1
BARE = frozenset((12, 101, 113))
"""Link types whose packets begin with the network header in the kernel: raw IP, and libpcap's cooked mode."""
PROTOCOL = 0xFFFF_F000
PACKET_TYPE, OUTGOING = 0xFFFF_F004, 4
"""Where a filter finds what is not in the data (SKF_AD_OFF + SKF_AD_PROTOCOL, SKF_AD_PKTTYPE)."""

IPV4, IPV6 = 0x0800, 0x86DD
TUNNELS = ((4, "there"), (41, "there"), (47, "gre"), (17, "udp"))
TAGS = (0x8100, 0x88A8, 0x9100)
OUTER, BEHIND, SOURCE = range(3)
"""Cells: where the outermost IP header is, what is behind it, an address."""


def shard(source: bytes, destination: bytes, workers: int) -> int:
    """Give the worker of two packed addresses, as the filter does."""
    return (int.from_bytes(source[-4:]) ^ int.from_bytes(destination[-4:])) % workers


def dealing(link: int, index: int, workers: int, *, inner: bool = False) -> list[Instruction]:
    """Give a filter that drops what is other workers'; worker `index`'s packets go on behind its last instruction."""
    if workers == 1:
        return []
    steps: list[Step | str] = []
    if link == ETHERNET or link in BARE:
        steps += [*(_ethernet() if link == ETHERNET else _bare()), *_outer(inner=inner), *quoted()]
        steps += [*(tunnels() if inner else ()), *_header(), *_pairs()]
    steps += ["first", Step(Op.load, 0), "deal", Step(Op.mod, workers)]
    return assemble([*steps, Step(Op.equal, index, "mine"), Step(Op.ret, 0)], "mine")


def incoming() -> list[Instruction]:
    """Give a filter that drops what goes out: on loopback each packet comes twice, and libpcap drops one too late."""
    return assemble(
        [Step(Op.load_word, PACKET_TYPE), Step(Op.equal, OUTGOING, "", "in"), Step(Op.ret, 0)], "in"
    )


def _ethernet() -> list[Step | str]:
    """Find the network header behind up to two VLAN tags."""
    steps: list[Step | str] = []
    for tags in range(3):
        at = 14 + 4 * tags
        steps += [f"tags{tags}", Step(Op.index, at), Step(Op.load_length), Step(Op.at_least, at, "", "first")]
        steps += [Step(Op.load_half, at - 2), Step(Op.equal, IPV4, "ip"), Step(Op.equal, IPV6, "ip")]
        steps += [Step(Op.equal, tag, f"tags{tags + 1}") for tag in TAGS if tags < 2]
        steps.append(Step(Op.jump, 0, "first"))
    return steps


def _bare() -> list[Step | str]:
    return [
        Step(Op.index, 0),
        Step(Op.load_word, PROTOCOL),
        Step(Op.equal, IPV4, "ip"),
        Step(Op.equal, IPV6, "ip", "first"),
    ]


def _outer(*, inner: bool) -> list[Step | str]:
    """X is at an IP header: put X behind it, and go where its protocol leads."""
    return [
        "ip",
        Step(Op.store_index, OUTER),
        *room(20, "first"),
        Step(Op.load_byte_at, 0),
        Step(Op.shift_right, 4),
        Step(Op.equal, 6, "ip6"),
        Step(Op.equal, 4, "", "first"),
        Step(Op.load_half_at, 6),
        Step(Op.any_bit, 0x3FFF, "outer"),  # a fragment, the first one too: they have to meet
        Step(Op.load_byte_at, 0),
        Step(Op.and_, 15),
        Step(Op.shift_left, 2),
        Step(Op.add_index),
        Step(Op.store, BEHIND),
        Step(Op.load_byte_at, 9),
        Step(Op.jump, 0, "protocol"),
        "ip6",
        *room(40, "first"),
        Step(Op.from_index),
        Step(Op.add, 40),
        Step(Op.store, BEHIND),
        Step(Op.load_byte_at, 6),
        "protocol",
        Step(Op.index_cell, BEHIND),
        Step(Op.equal, 1, "icmp"),
        Step(Op.equal, 58, "icmp6"),
        *(Step(Op.equal, number, label) for number, label in TUNNELS if inner),
    ]


def _header() -> list[Step | str]:
    """A is where another IP header should be (`moved`); if there is none, the outer one decides."""
    return [
        Step(Op.jump, 0, "outer"),
        "moved",
        Step(Op.to_index),
        *room(20, "outer"),
        Step(Op.load_byte_at, 0),
        Step(Op.shift_right, 4),
        Step(Op.equal, 4, "pair4"),
        Step(Op.equal, 6, "", "outer"),
        *room(40, "outer"),
        Step(Op.jump, 0, "pair6"),
        "outer",
        Step(Op.index_cell, OUTER),
        Step(Op.load_byte_at, 0),
        Step(Op.shift_right, 4),
        Step(Op.equal, 6, "pair6", "pair4"),
    ]


def _pairs() -> list[Step | str]:
    steps: list[Step | str] = []
    for version, source, destination in ((4, 12, 16), (6, 20, 36)):
        steps += [
            f"pair{version}",
            Step(Op.load_word_at, source),
            Step(Op.store, SOURCE),
            Step(Op.load_word_at, destination),
            Step(Op.index_cell, SOURCE),
            Step(Op.xor_index),
            Step(Op.jump, 0, "deal"),
        ]
    return steps
