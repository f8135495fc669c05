"""From the id of a cgroup to its path, also of one that is gone: what a process that ended leaves of its container.

An id is the inode number of the cgroup's folder. The tree is walked when an unknown id is asked for, as often as takes
a twentieth of a core at most: a new container's first processes may be over soon. What was found is kept until there
are too many, and the longest unasked goes first.
"""

import os
import time
from pathlib import Path

__all__ = ["Cgroups"]

LEAST, REST = 0.02, 19
"""Seconds between two walks at least, and how many times as long as a walk took."""
CAP = 8192


class Cgroups:
    """The paths below the root of cgroup v2, as `/proc/<pid>/cgroup` writes them."""

    def __init__(self, root: Path) -> None:
        """Look at nothing yet."""
        self._root = root
        self._paths: dict[int, str] = {}
        self._due = float("-inf")

    def path(self, number: int, now: float) -> str:
        """Give a cgroup's path, "" where it is not known (any more). `now` is a monotonic time."""
        found = self._paths.pop(number, None)
        if found is None and number and now >= self._due:
            begun = time.perf_counter()
            self._walk()
            took = time.perf_counter() - begun
            self._due = now + max(LEAST, took * (1 + REST))
            found = self._paths.pop(number, None)
        if found is None:
            return ""
        self._paths[number] = found
        return found

    def _walk(self) -> None:
        self._paths[self._root.stat().st_ino] = "/"
        for folder, names, _ in os.walk(self._root):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118  (thousands of folders)
                try:
                    self._paths[os.lstat(path).st_ino] = path.removeprefix(str(self._root))
                except OSError:
                    continue
        while len(self._paths) > CAP:
            del self._paths[next(iter(self._paths))]
