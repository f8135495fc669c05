"""One child of the supervisor: how it is started, how it ended, when it may start again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["MISUSED", "REFUSED", "Child", "End", "Launch", "program"]

ENVIRONMENT = {"identity": {"PYTHONMALLOC": "malloc"}}
"""Python's own allocator keeps a flood's memory for ever: a few objects pin each of its arenas (66 MiB in place of 23,
measured). Identity can do without its speed."""
REFUSED = 3
"""Exit status of a child that cannot start and has said why: starting it again would say it again."""
MISUSED = 2
"""The same, where the request itself is wrong."""
FIRST_DELAY, LONGEST_DELAY, HEALTHY = 0.1, 30.0, 60.0

Program = Callable[[str], list[str]]
"""Role → command; its flags are added."""


def program(role: str) -> list[str]:
    return [sys.executable, "-P", "-m", f"exporter.app.{role}"]


class Launch(NamedTuple):
    """What a start needs: flags, and the descriptors that they name."""

    flags: tuple[str, ...]
    descriptors: tuple[int, ...]


class End(NamedTuple):
    """How a child ended."""

    code: int
    reason: str
    """`signal` or `exit`, as it is counted."""
    words: str


class Child:
    """A process that is to run, and the back-off between its starts: doubled each time, forgotten after a minute."""

    def __init__(
        self, role: str, index: int, argv: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.role = role
        self.index = index
        self.name = f"{role}-{index}" if role == "worker" else role
        self.due: float | None = None
        """When to start it (again); None: it runs, or is not wanted yet."""
        self._argv = list(argv)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._failures = 0

    @property
    def pid(self) -> int:
        """The process id; 0 when it does not run."""
        return self._process.pid if self._process else 0

    def start(self, launch: Launch) -> None:
        """Start it in a session of its own: the terminal's Ctrl-C is the supervisor's business."""
        self.due = None
        self._started = self._clock()
        self._process = subprocess.Popen(
            [*self._argv, *launch.flags],
            stdin=subprocess.DEVNULL,
            pass_fds=launch.descriptors,
            start_new_session=True,
            env=os.environ | ENVIRONMENT.get(self.role, {}),
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs; PermissionError where the supervisor has no KILL."""
        if self._process:
            os.kill(self._process.pid, number)

    def ended(self, code: int) -> End:
        """Take note of its end (already waited for) and set when it is due again."""
        if self._process:
            self._process.returncode = code
            self._process = None
        now = self._clock()
        if now - self._started >= HEALTHY:
            self._failures = 0
        self.due = now + self.delay()
        self._failures += 1
        if code >= 0:
            return End(code, "exit", f"ended with status {code}")
        known = {number.value: number.name for number in signal.Signals}  # the real-time ones have no names
        return End(code, "signal", f"was killed by {known.get(-code, f'signal {-code}')}")

    def delay(self) -> float:
        return min(LONGEST_DELAY, FIRST_DELAY * (1 << min(self._failures, 16)))
