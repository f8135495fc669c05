"""Memory (the sum of PSS, rings included, BPF maps apart) with open connections, and after a flood of 5-tuples."""

from bench.support.space import inside
from bench.support.value import Value

__all__ = ["run"]

MIB = 1 << 20
BUDGETS = {"10000": 120}
A_CONNECTION = 1536
"""Bytes (DESIGN section 6)."""
GIVEN_BACK = 120
"""MiB after a flood: no more than what 10,000 connections may take."""


def run(short: bool) -> dict[str, Value]:
    sizes: dict[str, int] = inside("bench.support.memory_rig", "short" if short else "full")
    found = {
        f"memory_{count}_connections_mib": Value(sizes[count] / MIB, "MiB", BUDGETS.get(count))
        for count in ("0", "10000", "100000")
    }
    grown = sizes["100000"] - sizes["0"]
    found["memory_per_connection_bytes"] = Value(grown / sizes["open"], "B", A_CONNECTION)
    found["memory_bpf_mapped_mib"] = Value(sizes["bpf"] / MIB, "MiB")
    found["memory_flood_most_mib"] = Value(sizes["most"] / MIB, "MiB")
    found["memory_after_flood_mib"] = Value(sizes["after"] / MIB, "MiB", GIVEN_BACK)
    return found
