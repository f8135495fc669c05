"""What a target's run gives back."""

import gc
from mmap import PAGESIZE
from pathlib import Path
from typing import NamedTuple


class Done(NamedTuple):
    """Executions, the slowest input by name (seconds of processor time, bytes), and bytes by which memory grew."""

    executions: int
    slowest: dict[str, tuple[float, int]]
    grown: int


class Memory:
    """How much larger the process is at the end than when it was warm."""

    WARM = 0.25
    """Share of the run after which caches are full."""

    def __init__(self) -> None:
        self._warm = 0

    def note(self, share: float) -> None:
        """Look at it once, when so much of the run is over."""
        if not self._warm and share >= self.WARM:
            self._warm = _resident()

    @property
    def grown(self) -> int:
        return max(0, _resident() - self._warm) if self._warm else 0


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGESIZE
