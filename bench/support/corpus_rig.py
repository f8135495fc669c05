"""A corpus of captures through the engine: with all protocols, with the first three, with none; and a bare loop.

Prints JSON, microseconds for a packet; {} where there is no corpus. The bare loop reads with pypcap what it can read.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from struct import Struct

import pcap

from bench.support.space import ROOT, pin
from exporter import dpi
from exporter.app.replay import FileClock
from exporter.capture.file import CaptureFile
from exporter.config import Config
from exporter.dissector import Dissector
from exporter.engine import Engine
from exporter.errors import FileFormatError
from exporter.ledger import Ledger
from exporter.model import Frame

FIRST = frozenset({"http", "tls", "dns"})
HEAD = Struct(">12xHBxH2xHxB2x12s")


def frames(path: Path) -> list[Frame]:
    """Give a capture's frames, as far as it is whole."""
    found: list[Frame] = []
    try:
        with CaptureFile(str(path)) as capture:
            found.extend(capture)
    except FileFormatError:
        pass
    return found


def replay(captures: list[list[Frame]], dissectors: tuple[Dissector, ...]) -> None:
    config = Config()
    for capture in captures:
        engine = Engine(config, dissectors, Ledger(config.metrics), None)
        clock = FileClock(engine)
        for frame in capture:
            clock.advance(frame)
            engine.frame(frame)
        clock.finish()


def bare(paths: list[Path]) -> int:
    """Do what there must be at the least: pypcap, a struct, a dictionary; give how many packets there were."""
    packets = 0
    for path in paths:
        table: dict[bytes, list[float]] = {}
        reader = pcap.pcap(str(path))
        for now, data in reader:
            packets += 1
            if len(data) < HEAD.size:
                continue
            _, _, size, _, _, key = HEAD.unpack_from(data)
            entry = table.setdefault(key, [0, 0, 0.0])
            entry[0] += 1
            entry[1] += size
            entry[2] = now
    return packets


def readable(path: Path) -> bool:
    try:
        for _ in pcap.pcap(str(path)):
            pass
    except Exception:  # noqa: BLE001 - what pypcap raises is its own affair
        return False
    return True


def least(work: Callable[[], object], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1e6


def main() -> None:
    pin(1)
    corpus = Path(os.environ.get("NETPROC_CORPUS") or ROOT.parent / "shared" / "corpus") / "pcap"
    paths = sorted(path for path in corpus.rglob("*") if path.is_file()) if corpus.is_dir() else []
    captures = [found for path in paths if (found := frames(path))]
    if not captures:
        print("{}")
        return
    rounds = 3 if sys.argv[1] == "short" else 7
    packets = sum(map(len, captures))
    known = dpi.load()
    sets = {"all": known, "three": tuple(one for one in known if one.name in FIRST), "none": ()}
    costs = {name: least(partial(replay, captures, these), rounds) / packets for name, these in sets.items()}
    plain = [path for path in paths if readable(path)]
    costs["bare"] = least(partial(bare, plain), rounds) / bare(plain)
    print(json.dumps(costs | {"packets": packets}))


if __name__ == "__main__":
    main()
