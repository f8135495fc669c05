"""Packets of known connections where the kernel counts: their cost there and in user space, and that none is lost."""

from bench.support.space import beside
from bench.support.value import Value

__all__ = ["run"]

KERNEL = 300
"""Nanoseconds a packet (DESIGN section 6)."""
BUDGETS = {"1000": 3, "10000": 8}
"""Percent of a core."""
LATE = 2
"""Seconds from the end of a flood until all of it is on the page."""


def run(short: bool) -> dict[str, Value]:
    said = beside("bench.support.ebpf_rig", "short" if short else "full")
    found: dict[str, Value] = {}
    for flows, costs in said["kernel"].items():
        name = "ebpf_packet_kernel_ns" if flows == "1" else f"ebpf_packet_{flows}_flows_kernel_ns"
        found[name] = Value(max(costs), "ns", KERNEL)
    for flows, figures in said["known"].items():
        found[f"ebpf_known_{flows}_flows_percent"] = Value(
            max(share for name, share in figures.items() if name.endswith("_all")), "%", BUDGETS.get(flows)
        )
        for name, share in figures.items():
            if name != "lost":
                found[f"ebpf_known_{flows}_flows_{name}_percent"] = Value(share, "%")
        found[f"ebpf_known_{flows}_flows_lost_packets"] = Value(figures["lost"], "packets", 0)
    for name, figures in said["sums"].items():
        missing = abs(figures["sent"] - figures["counted"] - figures["lost"])
        found[f"ebpf_{name}_missing_packets"] = Value(missing, "packets", 0)
        found[f"ebpf_{name}_lost_packets"] = Value(figures["lost"], "packets", 0)
        found[f"ebpf_{name}_late_seconds"] = Value(figures["late"], "s", LATE)
        found[f"ebpf_{name}_rate"] = Value(figures["rate"], "pps")
    return found
