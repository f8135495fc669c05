"""TCP packets at a steady rate, from a small C program that is built when it is needed."""

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.support.space import pin

__all__ = ["OPENING", "Generator"]

SOURCE = Path(__file__).resolve().parent.parent / "traffic.c"
OPENING = 5
"""Packets that open a connection."""


class Generator:
    """Sends packets of so many connections into an interface."""

    def __init__(self, interface: str, connections: int, core: int = 0) -> None:
        """Build and start the program on a core of its own."""
        self.connections = connections
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "traffic"
            subprocess.run(["gcc", "-O2", "-Wall", "-o", program, SOURCE], check=True)
            self._process = subprocess.Popen(
                [program, interface, str(connections)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: pin(core),  # noqa: PLW1509 - no threads here
            )
            self._ask("send 0 0")

    def _ask(self, command: str) -> tuple[int, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(command, file=self._process.stdin, flush=True)
        sent, seconds = self._process.stdout.readline().split()
        return int(sent), float(seconds)

    def open(self, rate: int = 10_000) -> int:
        """Open all connections; give how many packets that took."""
        return self._ask(f"open {rate}")[0]

    def send(self, rate: int, count: int) -> tuple[int, float]:
        """Send so many packets of random connections, `rate` a second; give how many and the seconds that it took."""
        return self._ask(f"send {rate} {count}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
