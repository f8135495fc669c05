"""What inspection costs: each dissector's probe and messages, connections that nobody knows, a corpus of captures.

Processor time, the least of several rounds. All that is read is the vectors' and the captures' own bytes.
"""

import json
import subprocess
import sys
from typing import Any

from bench.support.space import ROOT
from bench.support.value import Value

__all__ = ["run"]

PROBE, MESSAGE, UNKNOWN = 1, 60, 40
"""Microseconds: a probe, a segment or datagram, and a connection that is given up.

A probe's figure is the median over openings of all protocols: each asks nearly all that comes. What it takes for an
opening of its own, once in a connection, is shown beside it.
"""
SLOWER = 1 / 0.6
"""With all protocols a replay takes at most so many times as long as with the three that were there first."""


def run(short: bool) -> dict[str, Value]:
    form = "short" if short else "full"
    found: dict[str, Value] = {}
    for name, (probe, own, message, segment) in _rig("dissectors_rig", form).items():
        found[f"dissector_{name}_probe_us"] = Value(probe, "µs", PROBE)
        found[f"dissector_{name}_own_opening_us"] = Value(own, "µs")
        found[f"dissector_{name}_message_us"] = Value(message, "µs", MESSAGE)
        if segment:
            found[f"dissector_{name}_full_segment_us"] = Value(segment, "µs")
    for name, cost in _rig("unknown_rig", form).items():
        found[f"unknown_{name}_connection_us"] = Value(cost, "µs", UNKNOWN)
    if corpus := _rig("corpus_rig", form):
        for name in ("all", "three", "none", "bare"):
            found[f"corpus_{name}_packet_us"] = Value(corpus[name], "µs")
        found["corpus_packets"] = Value(corpus["packets"], "packets")
        found["corpus_ratio_to_bare"] = Value(corpus["all"] / corpus["bare"], "ratio")
        found["corpus_ratio_to_three_protocols"] = Value(corpus["all"] / corpus["three"], "ratio", SLOWER)
    return found


def _rig(module: str, form: str) -> Any:
    command = [sys.executable, "-m", f"bench.support.{module}", form]
    return json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
