"""A scrape of 10,000 and of 50,000 series: whole HTTP requests with gzip, every counter moved since the last one.

And capture meanwhile: how late a packet is read (99th percentile) without scrapes and with ten a second.
"""

from bench.support.space import inside
from bench.support.value import Value

__all__ = ["run"]

BUDGETS = {"10000": 15, "50000": 80}
"""Milliseconds (DESIGN section 6)."""


def run(short: bool) -> dict[str, Value]:
    rig: dict[str, dict[str, float]] = inside("bench.support.scrape_rig", "short" if short else "full")
    delays = rig.pop("delays")
    found: dict[str, Value] = {}
    for count, figures in rig.items():
        found[f"scrape_{count}_series_ms"] = Value(figures["ms"], "ms", BUDGETS[count])
        found[f"scrape_{count}_series_most_ms"] = Value(figures["most"], "ms")
        found[f"scrape_{count}_series_exact"] = Value(figures["series"], "series")
        found[f"publish_{count}_series_ms"] = Value(figures["publish"], "ms")
    found["scrape_none_capture_delay_ms"] = Value(delays["alone"], "ms")
    found["scrape_10000_series_capture_delay_ms"] = Value(delays["scraped"], "ms")
    return found
