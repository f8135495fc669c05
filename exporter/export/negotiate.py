"""What a client wants, from its headers and query.

As prometheus_client's `choose_encoder`, but with the weights (`q=`) that it ignores, and only the versions that we
write. Our names need no escaping, so that every escaping scheme is served by naming it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from exporter.export.text import base_name
from exporter.metrics import Family

__all__ = ["Wish", "accepts_gzip", "wish"]

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
PLAIN_1 = "text/plain; version=1.0.0; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ESCAPINGS = frozenset({"allow-utf-8", "underscores", "dots", "values"})
LONGEST = 1_000
"""So much of a header is read."""


class Wish(NamedTuple):
    """A format, and the families asked for (none: all)."""

    openmetrics: bool = False
    content_type: str = PLAIN
    names: frozenset[str] = frozenset()

    def wants(self, family: Family) -> bool:
        if not self.names:
            return True
        base = base_name(family)
        suffixes = ("_bucket", "_count", "_sum", "_created")
        return not self.names.isdisjoint((family.name, base, *(base + suffix for suffix in suffixes)))


def wish(accept: str, names: Sequence[str] = ()) -> Wish:
    """Choose the format that weighs most; of equal ones the first; 0.0.4 where nothing fits."""
    best, chosen = 0.0, (False, PLAIN)
    for kind, parameters, weight in _items(accept):
        offer = _offer(kind, parameters)
        if offer is not None and weight > best:
            best, chosen = weight, offer
    return Wish(*chosen, frozenset(names))


def accepts_gzip(accept: str) -> bool:
    """Read Accept-Encoding."""
    weights = {kind: weight for kind, _, weight in _items(accept)}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _items(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for item in header[:LONGEST].split(","):
        kind, *rest = (part.strip() for part in item.lower().split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            continue
        yield kind, parameters, weight


def _offer(kind: str, parameters: dict[str, str]) -> tuple[bool, str] | None:
    version = parameters.get("version", "")
    asked = parameters.get("escaping", "")
    escaping = f"; escaping={asked}" if version == "1.0.0" and asked in ESCAPINGS else ""
    if kind == "application/openmetrics-text" and version in ("", "1.0.0"):
        return True, OPENMETRICS + escaping
    if kind == "text/plain" and version == "1.0.0":
        return False, PLAIN_1 + escaping
    if kind in ("text/plain", "text/*", "*/*") and version in ("", "0.0.4"):
        return False, PLAIN
    return None
