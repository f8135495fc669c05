"""The real supervisor, with children that do nothing (`fake_child.py`)."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Config, dump

HERE = Path(__file__).parent


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


class Run:
    """A supervisor and what its children wrote down."""

    def __init__(
        self, folder: Path, plan: dict[str, str], config: Config, prefix: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        path = folder / "config.json"
        path.write_bytes(dump(config))
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-P", str(HERE / "fake_supervisor.py"), str(path)],
            env={**os.environ, "OUT": str(folder), "PLAN": json.dumps(plan)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""

    def starts(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, text: str, seconds: float = 5) -> str:
        """Read what the supervisor says until it says this."""
        end = time.monotonic() + seconds
        while text not in self.said:
            assert self.process.stderr
            left = end - time.monotonic()
            assert left > 0, self.said
            if select.select([self.process.stderr], [], [], left)[0]:
                self.said += os.read(self.process.stderr.fileno(), 1 << 16).decode()
        return next(line for line in self.said.splitlines() if text in line)

    def pids(self) -> list[int]:
        """Give all children that now run."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in listed]

    def end(self, number: int = signal.SIGTERM, seconds: float = 2) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    running: list[Run] = []

    def begin(plan: dict[str, str] | None = None, *, config: Config, **options: Any) -> Run:
        folder = options.pop("folder", tmp_path)
        running.append(Run(folder, plan or {}, config, **options))
        return running[-1]

    yield begin
    for run in running:
        left = run.pids() if run.process.poll() is None else []
        run.process.kill()
        run.process.wait()
        run.process.stderr.close()
        eventually(lambda left=left: not any(map(alive, left)), 1)
