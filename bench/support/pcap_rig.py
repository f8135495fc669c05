"""The pcap benchmark inside of its namespaces: prints the figures of every run as JSON."""

import json
import sys
from collections import defaultdict
from statistics import median

from bench.support.generator import Generator
from bench.support.meter import KINDS, Cost, measure
from bench.support.space import veth

FEW, MANY = 10, 10_000
SHARE = 0.8
"""Of a core that the reader may use while it must lose nothing."""
Runs = dict[str, list[Cost]]


def _rounds(name: str, kinds: tuple[str, ...], connections: int, rate: int, form: tuple[int, float]) -> Runs:
    """Measure the readers in turn, so that what disturbs the machine disturbs all of them."""
    runs: Runs = defaultdict(list)
    rounds, seconds = form
    with Generator("traffic0", connections) as generator:
        for _ in range(rounds):
            for kind in kinds:
                cost = measure(kind, "traffic1", generator, rate, seconds)
                print(
                    f"    {name} {kind}: {cost.nanoseconds:.0f} ns, lost {cost.lost}, waited {cost.waited:.1%}",
                    file=sys.stderr,
                )
                runs[f"{name}_{kind}"].append(cost)
    return runs


def main() -> None:
    short = sys.argv[1] == "short"
    form = (2, 1.0) if short else (5, 2.0)
    veth("traffic0", "traffic1")
    runs = _rounds("100kpps_10", KINDS, FEW, 100_000, form)
    runs |= _rounds("300kpps_10", KINDS, FEW, 300_000, form)
    first = _rounds("first", ("ours",), MANY, 300_000, (2, 2.0))["first_ours"]
    rate = int(SHARE * 1e9 / median(cost.nanoseconds for cost in first))
    runs |= _rounds("80percent_10000", KINDS, MANY, rate, form)
    if not short:
        runs |= _rounds("600kpps_10", KINDS, FEW, 600_000, (2, 1.0))
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
