"""`make fuzz`: run every target for a while. A target is a module beside this one with NAME and run()."""

import argparse
import importlib
import os
import pkgutil
import random
import resource
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


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
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        count = target.run(random.Random(seed), seconds, corpus if corpus.is_dir() else None)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"{target.NAME}: {count} executions in {seconds:g} s, seed {seed}, memory +{grown // 1024} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
