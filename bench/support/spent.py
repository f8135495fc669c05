"""Processor time of a piece of work, as far as others on the machine let it be known."""

import time
from collections.abc import Callable

__all__ = ["microseconds"]

LEAST = 0.0005
"""Seconds that are measured at once: a clock's reading must not count."""


def microseconds(work: Callable[[], object], rounds: int) -> float:
    """Give the least of so many rounds."""
    clock = time.process_time
    times = 1
    while True:
        began = clock()
        for _ in range(times):
            work()
        took = clock() - began
        if took >= LEAST:
            break
        times *= 2
    best = took / times
    for _ in range(rounds - 1):
        began = clock()
        for _ in range(times):
            work()
        best = min(best, (clock() - began) / times)
    return best * 1e6
