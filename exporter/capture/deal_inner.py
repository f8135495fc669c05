"""The addresses inside of a packet, for a filter: what an ICMP error quotes, and what a tunnel carries.

X is behind the outer IP header at every label that `deal.py` enters. A fragment leaves to `moved` with A at the inner
IP header, or to `outer` if it cannot see one. IPIP, 6in4, GRE version 0, VXLAN, GENEVE, and GTP-U without extension
headers are seen; Teredo, ERSPAN and tunnels behind IPv6 extension headers go by their outer addresses.
"""

from exporter.capture.bpf import Op, Step, room

__all__ = ["quoted", "tunnels"]

BRIDGED = 0x6558
IPV4, IPV6 = 0x0800, 0x86DD
VXLAN, GENEVE, GTP = 4789, 6081, 2152
UDP, ETHERNET = 8, 14
"""Bytes of these headers."""
START = 4
"""The cell that sums GRE's header."""


def quoted() -> list[Step | str]:
    """ICMP's and ICMPv6's errors quote a packet behind 8 bytes."""
    return [
        Step(Op.jump, 0, "no_error"),
        "icmp",
        *room(8, "outer"),
        Step(Op.load_byte_at, 0),
        *(Step(Op.equal, kind, "quoted") for kind in (3, 4, 5, 11)),
        Step(Op.equal, 12, "quoted", "outer"),
        "icmp6",
        *room(8, "outer"),
        Step(Op.load_byte_at, 0),
        Step(Op.equal, 0, "outer"),
        Step(Op.at_least, 5, "outer"),
        "quoted",
        Step(Op.from_index),
        Step(Op.add, 8),
        Step(Op.jump, 0, "moved"),
        "no_error",
    ]


def tunnels() -> list[Step | str]:
    return [
        Step(Op.jump, 0, "outer"),
        "there",
        Step(Op.from_index),
        Step(Op.jump, 0, "moved"),
        "udp",
        *room(UDP + 8, "outer"),
        Step(Op.load_half_at, 2),
        Step(Op.equal, VXLAN, "vxlan"),
        Step(Op.equal, GENEVE, "geneve"),
        Step(Op.equal, GTP, "gtp", "outer"),
        *_bridged(),
        *_gtp(),
        *_gre(),
    ]


def _bridged() -> list[Step | str]:
    """VXLAN and GENEVE: an Ethernet frame."""
    return [
        "geneve",
        Step(Op.load_half_at, UDP + 2),
        Step(Op.equal, BRIDGED, "", "outer"),
        Step(Op.load_byte_at, UDP),
        Step(Op.and_, 0x3F),  # words of options
        Step(Op.shift_left, 2),
        Step(Op.add_index),
        Step(Op.jump, 0, "bridged"),
        "vxlan",
        Step(Op.from_index),
        "bridged",
        Step(Op.add, UDP + 8 + ETHERNET),
        Step(Op.jump, 0, "moved"),
    ]


def _gtp() -> list[Step | str]:
    return [
        "gtp",
        Step(Op.load_byte_at, UDP),
        Step(Op.any_bit, 0x04, "outer"),  # extension headers
        Step(Op.any_bit, 0x03, "gtp_long"),  # a sequence or N-PDU number
        Step(Op.from_index),
        Step(Op.add, UDP + 8),
        Step(Op.jump, 0, "moved"),
        "gtp_long",
        Step(Op.from_index),
        Step(Op.add, UDP + 12),
        Step(Op.jump, 0, "moved"),
    ]


def _gre() -> list[Step | str]:
    """Checksum, key and sequence number take four bytes each, where the flags say so."""
    steps: list[Step | str] = [
        "gre",
        *room(4, "outer"),
        Step(Op.load_half_at, 0),
        Step(Op.any_bit, 7, "outer"),
    ]
    steps += [Step(Op.from_index), Step(Op.add, 4), Step(Op.store, START)]
    for bit in (0x8000, 0x2000, 0x1000):
        steps += [Step(Op.load_half_at, 0), Step(Op.any_bit, bit, "", f"without{bit}")]
        steps += [Step(Op.load_cell, START), Step(Op.add, 4), Step(Op.store, START), f"without{bit}"]
    return [
        *steps,
        Step(Op.load_half_at, 2),
        Step(Op.equal, IPV4, "gre_ip"),
        Step(Op.equal, IPV6, "gre_ip"),
        Step(Op.equal, BRIDGED, "", "outer"),
        Step(Op.load_cell, START),
        Step(Op.add, ETHERNET),
        Step(Op.jump, 0, "moved"),
        "gre_ip",
        Step(Op.load_cell, START),
        Step(Op.jump, 0, "moved"),
    ]
