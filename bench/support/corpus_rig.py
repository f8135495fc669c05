"""A corpus of captures through the engine: with all protocols, with the first three, with none; and a bare loop.

Prints JSON, microseconds for a packet; {} where there is no corpus. The bare loop reads with pypcap what it can read.
"""

import json
import os
import sys
import time
from math import inf
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


def replay(captures: list[list[Frame]], dissectors: tuple[Dissector, ...]) -> float:
    """Give the processor time; what an engine takes to begin, which is once, is not in it."""
    config = Config()
    engines = [Engine(config, dissectors, Ledger(config.metrics), None) for _ in captures]
    began = time.process_time()
    for engine, capture in zip(engines, captures, strict=True):
        clock = FileClock(engine)
        for frame in capture:
            clock.advance(frame)
            engine.frame(frame)
        clock.finish()
    return time.process_time() - began


def bare(paths: list[Path]) -> float:
    """Do what there must be at the least: pypcap, a struct, a dictionary; give the microseconds for a packet."""
    packets = 0
    began = time.process_time()
    for path in paths:
        table: dict[bytes, list[float]] = {}
        for now, data in pcap.pcap(str(path)):
            packets += 1
            if len(data) < HEAD.size:
                continue
            _, _, size, _, _, key = HEAD.unpack_from(data)
            entry = table.setdefault(key, [0, 0, 0.0])
            entry[0] += 1
            entry[1] += size
            entry[2] = now
    return 1e6 * (time.process_time() - began) / max(1, packets)


def readable(path: Path) -> bool:
    try:
        for _ in pcap.pcap(str(path)):
            pass
    except Exception:  # noqa: BLE001 - what pypcap raises is its own affair
        return False
    return True


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
    plain = [path for path in paths if readable(path)]
    costs: dict[str, float] = {}
    for _ in range(rounds):  # in turn, so that what disturbs the machine disturbs all
        for name, these in sets.items():
            costs[name] = min(costs.get(name, inf), 1e6 * replay(captures, these) / packets)
        costs["bare"] = min(costs.get("bare", inf), bare(plain))
    print(json.dumps(costs | {"packets": packets}))


if __name__ == "__main__":
    main()
