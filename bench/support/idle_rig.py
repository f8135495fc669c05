"""What open connections cost while nothing moves: percent of a core by process of the exporter. Prints JSON."""

import json
import sys
import time

from bench.support.exporter import Exporter
from bench.support.sockets import Held

COUNTS = (10_000, 50_000)
SETTLE = 3.0
PATIENCE = {"short": 15, "full": 90}
"""Seconds until the last question about an owner is answered; what is asked without end is not."""


def _percent(exporter: Exporter, seconds: float) -> dict[str, float]:
    before, start = exporter.spent(), time.monotonic()
    time.sleep(seconds)
    after, took = exporter.spent(), time.monotonic() - start
    return {role: 100 * (spent - before[role]) / took for role, spent in after.items()}


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
    seconds = 10 if sys.argv[1] == "short" else 30
    found = {}
    with Exporter("lo") as exporter, Held() as held:
        time.sleep(3)
        found["0"] = _percent(exporter, 5)
        for count in COUNTS:
            held.grow(count)
            _settle(exporter, count, PATIENCE[sys.argv[1]])
            found[str(count)] = _percent(exporter, seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
