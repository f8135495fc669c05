"""`make fuzz`: run every target for a while. A target is a module beside this one with NAME and run()."""

import argparse
import importlib
import os
import pkgutil
import random
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SHOWN = 10


def targets():
    for info in pkgutil.iter_modules([str(HERE)]):
        if not info.name.startswith("_"):
            module = importlib.import_module(f"tests.fuzz.{info.name}")
            if hasattr(module, "run"):
                yield module


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, help="for each target (60; with --short 5)")
    parser.add_argument("--short", action="store_true", help="the form that the tests run")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run")
    parser.add_argument("--target", action="append", help="only these")
    arguments = parser.parse_args()
    seconds = arguments.seconds or (5 if arguments.short else 60)
    seed = time.time_ns() & 0xFFFFFFFF if arguments.seed is None else arguments.seed
    corpus = Path(os.environ.get("NETPROC_CORPUS") or HERE.parents[2] / "shared" / "corpus")
    for target in targets():
        if arguments.target and target.NAME not in arguments.target:
            continue
        done = target.run(random.Random(seed), seconds, corpus if corpus.is_dir() else None)
        print(
            f"{target.NAME}: {done.executions} executions in {seconds:g} s, seed {seed}, no fault,"
            f" memory +{done.grown / (1 << 20):.1f} MiB once warm"
        )
        for name, (took, size) in sorted(done.slowest.items(), key=lambda one: -one[1][0])[:SHOWN]:
            print(f"  slowest {name:<14} {took * 1000:6.2f} ms of processor time, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
