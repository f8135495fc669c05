"""Prometheus' text format 0.0.4 and OpenMetrics 1.0.0: how names, labels and numbers are written."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import isinf, isnan

from exporter.metrics import Family, Kind

__all__ = ["base_name", "header", "histogram_values", "label_text", "lines", "number", "prefixes"]

_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})


def number(value: float) -> str:
    """Write a number; whole ones exactly and without a point."""
    if value.is_integer():
        return str(int(value))
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if isnan(value) else repr(value)


def label_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Write labels as they stand between the braces, sorted by name."""
    return ",".join(f'{name}="{value.translate(_LABEL)}"' for name, value in sorted(pairs))


def base_name(family: Family) -> str:
    """Give OpenMetrics' name of the family: without the suffix that its samples have."""
    if family.kind is Kind.COUNTER:
        return family.name.removesuffix("_total")
    return family.name.removesuffix("_info") if family.kind is Kind.INFO else family.name


def header(family: Family, *, openmetrics: bool) -> str:
    """Write what stands before a family's samples."""
    if not openmetrics:
        kind = "gauge" if family.kind is Kind.INFO else str(family.kind)
        return f"# HELP {family.name} {family.help.translate(_HELP)}\n# TYPE {family.name} {kind}\n"
    name = base_name(family)
    unit = f"# UNIT {name} {family.unit_name}\n" if family.unit_name else ""
    return f"# HELP {name} {family.help.translate(_LABEL)}\n# TYPE {name} {family.kind}\n{unit}"


def prefixes(family: Family, labels: str) -> list[str]:
    """Write all of a row's lines but the numbers."""
    name = family.name
    if family.kind is not Kind.HISTOGRAM:
        return [f"{name}{{{labels}}} " if labels else f"{name} "]
    comma = "," if labels else ""
    bounds = [*(repr(float(bound)) for bound in family.buckets), "+Inf"]
    braces = f"{{{labels}}}" if labels else ""
    return [
        *(f'{name}_bucket{{{labels}{comma}le="{bound}"}} ' for bound in bounds),
        f"{name}_count{braces} ",
        f"{name}_sum{braces} ",
    ]


def histogram_values(values: Sequence[float]) -> list[float]:
    """Turn a row's values (a count per bucket, then the sum) into those of its lines."""
    counts = list(accumulate(values[:-1]))
    return [*counts, counts[-1], values[-1]]


def lines(before: Sequence[str], values: Iterable[float]) -> list[str]:
    """Write samples. This is where a scrape's time goes: whole finite numbers take the short way."""
    return [
        f"{prefix}{int(value)}\n" if value.is_integer() else f"{prefix}{number(value)}\n"
        for prefix, value in zip(before, values, strict=True)
    ]
