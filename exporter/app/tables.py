"""What the commands print that only describe: metrics, protocols, the configuration."""

import json
from collections.abc import Sequence

import msgspec
import yaml

from exporter.config import Config

__all__ = ["attributes", "configuration", "metrics", "protocols", "schema", "table"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns; the last one may be as long as it likes."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]])
        for line in lines
    )


def metrics() -> str:
    """Document every family: name, type, meaning, labels."""
    from exporter.metrics import ALL, OPTIONAL_LABELS, Scope

    identity = {
        Scope.FULL: ("process", "container", "(namespace, pod, workload)"),
        Scope.COARSE: ("process", "(or namespace, workload)"),
        Scope.NONE: (),
    }
    blocks = []
    for family in ALL:
        own = (f"[{label}]" if label in OPTIONAL_LABELS else label for label in family.labels)
        labels = ", ".join((*identity[family.scope], *own))
        lines = [
            f"{family.name} ({family.kind})",
            f"    {family.help}",
            f"    labels: {labels}" if labels else "",
        ]
        blocks.append("\n".join(filter(None, lines)))
    blocks.append(
        "Labels in (round) brackets: in Kubernetes only; in [square] ones: where --labels asks for them."
    )
    return "\n".join(blocks)


def protocols() -> str:
    from exporter import dpi

    rows = [
        (d.name, ", ".join(sorted(d.transports)), d.reads, d.specification)
        for d in sorted(dpi.load(), key=lambda d: d.name)
    ]
    return table(("PROTOCOL", "TRANSPORTS", "READ", "SPECIFICATION"), rows)


def attributes() -> str:
    """List what messages can tell beside their labels, and whether it is kept by default."""
    from exporter import dpi
    from exporter.dissector import known_attributes

    known = sorted(known_attributes(dpi.load()).items())
    rows = [(name, "yes" if one.safe else "if asked", one.meaning) for name, one in known]
    return table(("ATTRIBUTE", "KEPT", "MEANING"), rows)


def _tidy(value: object) -> object:
    """Write 5.0 as 5, as a person would."""
    if isinstance(value, dict):
        return {key: _tidy(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def configuration(config: Config) -> str:
    return yaml.safe_dump(_tidy(msgspec.to_builtins(config)), sort_keys=False, allow_unicode=True)


def schema() -> str:
    """Give the JSON schema of the YAML file, for editors."""
    return json.dumps(msgspec.json.schema(Config), indent=2) + "\n"
