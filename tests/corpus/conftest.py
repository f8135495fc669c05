"""How the tests here run the command that a user runs."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).with_name("netproc-exporter")
MEASURE = Path(__file__).with_name("measure.py")
LIMIT = 10
"""Seconds that one file may take."""

Replays = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def replays() -> Replays:
    """Replay many files, two at a time; give status, time, memory, and what was said, of each."""

    def run(files: Iterable[Path], *flags: str) -> list[dict[str, Any]]:
        names = "\n".join(map(str, files))
        command = [sys.executable, MEASURE, str(LIMIT), "2", PROGRAM, "replay", *flags]
        done = subprocess.run(command, input=names, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run
