"""Reads the configuration: flags before environment variables before the YAML file before defaults.

Every value is checked where it stands, also one that another place overrides, and an error names that place:
`netproc.yaml: capture.snaplne: unknown key (did you mean snaplen?)`.
"""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from exporter.config import Config
from exporter.configload.environment import FILE_VARIABLE, Found, from_environment
from exporter.configload.flags import add_flags
from exporter.configload.settings import Setting, settings
from exporter.configload.values import check_rules, convert
from exporter.configload.words import suggest

__all__ = ["Setting", "add_flags", "load", "settings", "suggest"]


def load(flags: Mapping[str, object], environ: Mapping[str, str] | None = None, file: str = "") -> Config:
    """Put together what flags (by key), the environment and the file say; raise ConfigError at the first mistake."""
    environ = os.environ if environ is None else environ
    found: list[Found] = [from_environment(environ)]
    if path := file or environ.get(FILE_VARIABLE, ""):
        from exporter.configload.yamlfile import from_yaml  # noqa: PLC0415  (PyYAML loads slowly)

        found.insert(0, from_yaml(path))
    found.append({key: (_parts(value), settings()[key].flag) for key, value in flags.items()})
    tree: dict[str, Any] = {}
    for place in found:
        for key, (value, where) in place.items():
            setting = settings()[key]
            checked = convert(setting, value, where)
            if not setting.plain:
                check_rules(checked, where)  # type: ignore[arg-type]  # the only ones that are not plain
            _put(tree, setting.path, checked)
    return msgspec.convert(msgspec.to_builtins(tree), Config)


def _parts(value: object) -> object:
    """Let a flag be given several times, or once with commas, as its environment variable."""
    if not isinstance(value, list):
        return value
    return [part.strip() for word in value for part in str(word).split(",")]


def _put(tree: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value
