"""A benchmark's figure."""

from typing import NamedTuple

__all__ = ["Value"]


class Value(NamedTuple):
    """A figure with its unit; `limit` is DESIGN's budget for it, where there is one."""

    value: float
    unit: str
    limit: float | None = None
