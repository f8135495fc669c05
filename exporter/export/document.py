"""The table of metrics, written out: what `netproc-exporter metrics` prints and the README shows."""

from exporter.metrics import ALL, Family, Scope

__all__ = ["markdown", "table"]

IDENTITY = {
    Scope.FULL: ("process", "container"),
    Scope.COARSE: ("process",),
    Scope.NONE: (),
}
NOTE = (
    "With Kubernetes' names, `namespace`, `pod` and `workload` are further labels of what has `container`, "
    "and the histograms have `namespace` and `workload`. `server_address` is there where `--labels` asks for it."
)


def _labels(family: Family) -> tuple[str, ...]:
    return (*IDENTITY[family.scope], *family.labels)


def markdown() -> str:
    """Write a Markdown table."""
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{name}`' for name in _labels(one))} | {one.help} |"
        for one in ALL
    ]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows, "", NOTE, ""])


def table() -> str:
    """Write text for a terminal: a line that names the metric and its labels, and one that explains it."""
    parts = []
    for one in ALL:
        labels = ", ".join(_labels(one))
        braces = f"{{{labels}}}" if labels else ""
        buckets = f" Buckets: {', '.join(f'{bound:g}' for bound in one.buckets)}." if one.buckets else ""
        parts.append(f"{one.name}{braces} ({one.kind})\n    {one.help}{buckets}\n")
    return "\n".join(parts)
