"""Damaged captures: each ends well or with one line, in little time and memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.corpus, pytest.mark.slow]

SECONDS = 10
MIB = 300
LEAST = 300
"""Files that the corpus has at least."""


def fault(run: dict[str, Any]) -> str:
    """Say what is wrong with how a replay ended; "" if nothing is."""
    lines = run["stderr"].splitlines()
    if run["status"] is None or run["seconds"] >= SECONDS:
        return f"took {run['seconds']:.1f} s"
    if run["mib"] >= MIB:
        return f"took {run['mib']:.0f} MiB"
    if "Traceback" in run["stderr"]:
        return f"traceback: {lines[-1]}"
    if run["status"] not in {0, 1, 2}:
        return f"exit status {run['status']}"
    if run["status"] and len(lines) != 1:
        return f"exit status {run['status']} with {len(lines)} lines on standard error: {lines[:3]}"
    return ""


@pytest.mark.parametrize(
    ("status", "stderr", "wrong"),
    [
        (0, "", False),
        (1, "netproc-exporter: x.pcap: not a capture\n", False),
        (1, "", True),
        (1, "one\ntwo\n", True),
        (0, "Traceback (most recent call last):\n", True),
        (-11, "", True),
        (None, "", True),
    ],
)
def test_what_counts_as_a_fault(status: int | None, stderr: str, wrong: bool) -> None:
    assert bool(fault({"status": status, "stderr": stderr, "seconds": 1, "mib": 1})) is wrong


def test_hostile_captures(corpus: Path, replays: Callable[..., list[dict[str, Any]]]) -> None:
    files = sorted((corpus / "hostile").iterdir())
    assert len(files) >= LEAST
    runs = replays(files, "--format", "jsonl")
    assert len(runs) == len(files)
    slowest, largest = max(runs, key=lambda r: r["seconds"]), max(runs, key=lambda r: r["mib"])
    failed = sum(run["status"] != 0 for run in runs)
    print(f"{len(runs)} files, {failed} of them ended with an error line")
    for run in (slowest, largest):
        print(f"{run['seconds']:.2f} s, {run['mib']:.0f} MiB: {Path(run['name']).name}")
    assert {Path(run["name"]).name: why for run in runs if (why := fault(run))} == {}
