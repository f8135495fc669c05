"""Open connections with nothing moving: real ones over loopback, so that both ends of each are ours."""

from bench.support.space import inside
from bench.support.value import Value

__all__ = ["run"]

BUDGETS = {"10000": 1, "50000": 3}
"""Percent of a core (DESIGN section 6)."""


def run(short: bool) -> dict[str, Value]:
    found: dict[str, Value] = {}
    costs: dict[str, dict[str, float]] = inside("bench.support.idle_rig", "short" if short else "full")
    for count, shares in costs.items():
        for role in ("worker", "identity", "exporter"):
            found[f"idle_{count}_connections_{role}_percent"] = Value(shares[role], "%")
        found[f"idle_{count}_connections_percent"] = Value(sum(shares.values()), "%", BUDGETS.get(count))
    return found
