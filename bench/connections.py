"""New connections to their end: TLS, and short HTTP ones. All of the exporter, with either source; the engine alone."""

from bench.support.space import beside, inside
from bench.support.value import Value

__all__ = ["run"]

BUDGETS = {"http": 150, "tls13": 250, "tls12": 250}
"""Microseconds of processor time (DESIGN section 6). `tls12` shows its certificate; `tls_seldom`: 50 a second."""
NAMES = {"tls13": "tls"}
SOURCES = {
    "pcap": (inside, ("http", "tls13", "tls12", "tls_seldom"), ()),
    "ebpf": (beside, ("http", "http_5000", "tls13"), ("tls12", "tls_seldom")),
}
"""Which cases, and which more in the full form. eBPF counts both ends, as connections of their own: each costs this."""


def run(short: bool) -> dict[str, Value]:
    form = "short" if short else "full"
    found: dict[str, Value] = {}
    for source, (run_it, short_cases, more) in SOURCES.items():
        cases = short_cases if short else (*short_cases, *more)
        costs: dict[str, dict[str, float]] = run_it("bench.support.connections_rig", form, source, *cases)
        for case, figures in costs.items():
            found |= _figures(f"{source}_{NAMES.get(case, case)}_connection", figures, BUDGETS.get(case))
    engine: dict[str, float] = inside("bench.support.engine_rig", form)
    for case, value in engine.items():
        found[f"engine_{NAMES.get(case, case)}_connection_us"] = Value(value, "µs")
    return found


def _figures(name: str, figures: dict[str, float], budget: float | None) -> dict[str, Value]:
    found = {f"{name}_{key}": Value(value, "µs") for key, value in figures.items() if key.endswith("_us")}
    return found | {
        f"{name}_us": Value(figures["us"], "µs", budget),
        f"{name}_rate": Value(figures["rate"], "/s"),
        f"{name}_lost_packets": Value(figures["lost"], "packets", 0),
        f"{name}_missing_connections": Value(figures["missing"], "", 0),
    }
