"""Labels that are there only where they are asked for, and the names that become their values: a bounded number."""

from exporter.config import Config

__all__ = ["OTHER", "Top", "wanted"]

OTHER = "other"
TOP = 50
"""How many values a label has at most, where the user says nothing."""


def wanted(config: Config, label: str) -> int:
    """Give how many values of a label are asked for; 0: it is not."""
    for word in config.labels:
        name, _, more = word.partition(":")
        if name == label:
            return int(more.rpartition("=")[2]) if more else TOP
    return 0


class Top:
    """Admits values until there are so many; what comes then is `other`.

    A value goes when no connection has used it for the time after which its series are dropped too.
    """

    __slots__ = ("_expiry", "_free", "_held", "_limit")

    def __init__(self, limit: int, expiry: float) -> None:
        """Admit nothing yet. `expiry`: seconds."""
        self._limit = limit
        self._expiry = expiry
        self._held: dict[str, int] = {}
        """By value: how many rows use it."""
        self._free: dict[str, float] = {}
        """By value that none uses: since when; the longest unused first."""

    def fold(self, value: str, now: float) -> str:
        """Give the value itself, if it has a place or can get one, else `other`."""
        if value in self._held or value in self._free:
            return value
        if len(self._held) + len(self._free) >= self._limit:
            oldest = next(iter(self._free), None)
            if oldest is None or now - self._free[oldest] < self._expiry:
                return OTHER
            del self._free[oldest]
        self._free[value] = now
        return value

    def hold(self, value: str) -> None:
        """Note that one row more uses a value that has a place."""
        if value in self._free:
            del self._free[value]
            self._held[value] = 1
        elif value in self._held:
            self._held[value] += 1

    def release(self, value: str, now: float) -> None:
        """Note that a row uses it no longer."""
        rows = self._held.pop(value, 0)
        if rows > 1:
            self._held[value] = rows - 1
        elif rows:
            self._free[value] = now
