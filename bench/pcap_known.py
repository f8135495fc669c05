"""A packet of a known connection, live through a veth pair, against a bare pypcap loop and tcpdump in the same run."""

from statistics import median

from bench.support.space import inside
from bench.support.value import Value

__all__ = ["run"]

RATIO = 1.7
"""Of the processor time of the bare loop (DESIGN section 6)."""
Costs = dict[str, list[tuple[float, int, float, float]]]


def run(short: bool) -> dict[str, Value]:
    costs: Costs = inside("bench.support.pcap_rig", "short" if short else "full")
    found: dict[str, Value] = {}
    for key, runs in costs.items():
        rate, flows, kind = key.split("_")
        who = "pcap" if kind == "ours" else kind
        found[f"{who}_{rate}_{flows}_flows_ns"] = Value(median(cost for cost, *_ in runs), "ns")
        lost = max(lost for _, lost, *_ in runs)
        demanded = kind == "ours" and rate != "600kpps"
        found[f"{who}_{rate}_{flows}_flows_lost_packets"] = Value(lost, "packets", 0 if demanded else None)
    for flows, rate in (("10", "300kpps"), ("10000", "80percent")):
        ours, bare = (found[f"{who}_{rate}_{flows}_flows_ns"].value for who in ("pcap", "bare"))
        found[f"pcap_known_{flows}_flows_ns"] = Value(ours, "ns")
        found[f"bare_known_{flows}_flows_ns"] = Value(bare, "ns")
        found[f"pcap_known_{flows}_flows_ratio"] = Value(ours / bare, "ratio", RATIO)
    found["pcap_80percent_10000_flows_rate"] = Value(
        median(rate for _, _, rate, _ in costs["80percent_10000_ours"]), "pps"
    )
    return found
