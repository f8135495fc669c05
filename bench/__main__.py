"""Run the benchmarks, print a table and write `bench/results.json`: {name: {value, unit}}.

`python -m bench [--short] [NAME ...]`; names are those of the files in bench/. The status is 1 if one of them failed,
and with `--strict` also if a figure is over its budget.
"""

import argparse
import importlib
import json
import os
import pkgutil
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import bench
from bench.support.value import Value

RESULTS = Path(__file__).with_name("results.json")
OTHERS = {"__main__"}


def modules() -> list[str]:
    found = pkgutil.iter_modules(bench.__path__)
    return sorted(one.name for one in found if not one.ispkg and one.name not in OTHERS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run the benchmarks.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which; default all: {', '.join(modules())}"
    )
    parser.add_argument("--short", action="store_true", help="the short form, as CI runs it")
    parser.add_argument("--strict", action="store_true", help="fail if a figure is over its budget")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(modules())):
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(modules())}")
    given.short = given.short or bool(os.environ.get("SHORT") or os.environ.get("NETPROC_SHORT"))
    return given


def lines(values: dict[str, Value]) -> Iterator[str]:
    """Lay figures out as a table."""
    width = max(map(len, values), default=0)
    for name, (value, unit, limit) in sorted(values.items()):
        text = f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.3g}"
        budget = "" if limit is None else f"  {'ok' if value <= limit else 'OVER'}, budget {limit:g}"
        yield f"  {name:<{width}}  {text:>12} {unit:<8}{budget}".rstrip()


def _run(name: str, *, short: bool) -> dict[str, Value] | None:
    print(f"{name} ...", flush=True)
    began = time.monotonic()
    try:
        values: dict[str, Value] = importlib.import_module(f"bench.{name}").run(short)
    except Exception:  # noqa: BLE001 - one broken benchmark must not hide the others
        traceback.print_exc()
        return None
    print(*lines(values), f"  ({time.monotonic() - began:.0f} s)", sep="\n", flush=True)
    return values


def main() -> int:
    given = _arguments()
    values: dict[str, Value] = {}
    failed = []
    for name in given.names or modules():
        if (found := _run(name, short=given.short)) is None:
            failed.append(name)
        else:
            values |= found
    kept = json.loads(RESULTS.read_text()) if given.names and RESULTS.exists() else {}
    kept |= {name: {"value": value, "unit": unit} for name, (value, unit, _) in values.items()}
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    over = [name for name, one in values.items() if one.limit is not None and one.value > one.limit]
    for text, names in (("failed", failed), ("over budget", over)):
        if names:
            print(f"{text}: {', '.join(names)}")
    return 1 if failed or (given.strict and over) else 0


if __name__ == "__main__":
    sys.exit(main())
