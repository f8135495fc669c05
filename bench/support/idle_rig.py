"""What open connections cost while nothing moves: percent of a core by process of the exporter, and memory in MiB.

Prints JSON.
"""

import json
import sys
import time

from bench.support.exporter import SOCKETS, Exporter
from bench.support.sockets import Held

COUNTS = {
    ("pcap", "short"): (10_000, 50_000),
    ("pcap", "full"): (10_000, 50_000),
    ("ebpf", "short"): (10_000,),
    ("ebpf", "full"): (10_000, 50_000, 100_000),
}
SOURCES = {
    "pcap": ("lo",),
    "ebpf": (SOCKETS, "--flow.limit", "131072", "--ebpf.flows", "262144", "--ebpf.budgets", "262144"),
}
"""Both ends of each connection are sockets: the kernel counts twice as many."""
SETTLE = 3.0
MIB = 1 << 20
PATIENCE = {"short": 15, "full": 90}
"""Seconds until the last question about an owner is answered; what is asked without end is not."""


def _percent(exporter: Exporter, seconds: float) -> dict[str, float]:
    before, start = exporter.spent(), time.monotonic()
    time.sleep(seconds)
    after, took = exporter.spent(), time.monotonic() - start
    return {role: 100 * (spent - before[role]) / took for role, spent in after.items()}


def _memory(exporter: Exporter) -> dict[str, float]:
    print(f"    MiB: {exporter.shares()}", file=sys.stderr)
    return {"mib": exporter.memory() / MIB, "maps_mib": exporter.maps() / MIB}


def _settle(exporter: Exporter, count: int, patience: float) -> None:
    """Wait until all are in the table and their owners are known."""
    start = time.monotonic()
    while True:
        time.sleep(SETTLE)
        sums = exporter.sums()
        there, pending = sums["netproc_table_connections"], sums["netproc_identity_pending"]
        waited = time.monotonic() - start
        if (there >= count and not pending) or waited > patience:
            break
    print(f"    {there:.0f} connections, {pending:.0f} asked for after {waited:.0f} s", file=sys.stderr)
    time.sleep(SETTLE)  # what was asked again at a later time is due once more
    if there < count:
        raise RuntimeError(f"{count} are open and {there:.0f} in the table")


def main() -> None:
    form, source = sys.argv[1:]
    seconds = 10 if form == "short" else 30
    found = {}
    with Exporter(*SOURCES[source]) as exporter, Held() as held:
        time.sleep(3)
        found["0"] = _percent(exporter, 5) | _memory(exporter)
        for count in COUNTS[source, form]:
            held.grow(count)
            _settle(exporter, count, PATIENCE[form])
            found[str(count)] = _percent(exporter, seconds) | _memory(exporter)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
