"""What iperf3 gets through a veth pair, with the kernel counting and without the exporter."""

from statistics import median

from bench.support.space import beside
from bench.support.value import Value

__all__ = ["run"]

LESS = 3
"""Percent at most (issue 5)."""


def run(short: bool) -> dict[str, Value]:
    pairs: list[list[float]] = beside("bench.support.iperf_rig", "short" if short else "full")
    without, counted = map(median, zip(*pairs, strict=True))
    # By pairs: what a run gets changes threefold from one minute to the next.
    share = median(one[1] / one[0] for one in pairs)
    return {
        "ebpf_iperf3_without_gbps": Value(without / 1e9, "Gbit/s"),
        "ebpf_iperf3_gbps": Value(counted / 1e9, "Gbit/s"),
        "ebpf_iperf3_less_percent": Value(100 * (1 - share), "%", LESS),
    }
