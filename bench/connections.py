"""New connections to their end: TLS, and short HTTP ones at 2,000 a second. All of the exporter; the engine alone."""

from bench.support.space import inside
from bench.support.value import Value

__all__ = ["run"]

BUDGETS = {"http": 150, "tls": 250, "tls12": 250}
"""Microseconds of processor time (DESIGN section 6). `tls12` shows its certificate; `tls_seldom`: 50 a second."""
NAMES = {"tls13": "tls"}


def run(short: bool) -> dict[str, Value]:
    form = "short" if short else "full"
    found: dict[str, Value] = {}
    costs: dict[str, dict[str, float]] = inside("bench.support.connections_rig", form)
    for case, figures in costs.items():
        name = NAMES.get(case, case)
        for key, value in figures.items():
            if key.endswith("_us"):
                found[f"pcap_{name}_connection_{key}"] = Value(value, "µs")
        found[f"pcap_{name}_connection_us"] = Value(figures["us"], "µs", BUDGETS.get(name))
        found[f"pcap_{name}_connection_rate"] = Value(figures["rate"], "/s")
        found[f"pcap_{name}_connection_lost_packets"] = Value(figures["lost"], "packets", 0)
    engine: dict[str, float] = inside("bench.support.engine_rig", form)
    for case, value in engine.items():
        found[f"engine_{NAMES.get(case, case)}_connection_us"] = Value(value, "µs")
    return found
