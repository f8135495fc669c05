"""Open connections with nothing moving: real ones over loopback, so that both ends of each are ours."""

from bench.support.space import beside, inside
from bench.support.value import Value

__all__ = ["run"]

BUDGETS = {"10000": 1, "50000": 3}
"""Percent of a core (DESIGN section 6)."""


def run(short: bool) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for source, run_it in (("", inside), ("ebpf_", beside)):
        costs: dict[str, dict[str, float]] = run_it(
            "bench.support.idle_rig", "short" if short else "full", source.strip("_") or "pcap"
        )
        for count, figures in costs.items():
            name = f"{source}idle_{count}_connections"
            roles = ("supervisor", "worker", "identity", "exporter")
            found |= {f"{name}_{role}_percent": Value(figures[role], "%") for role in roles[1:]}
            found[f"{name}_percent"] = Value(sum(figures[role] for role in roles), "%", BUDGETS.get(count))
            if source:
                found |= {f"{name}_{what}": Value(figures[what], "MiB") for what in ("mib", "maps_mib")}
    return found
