"""The YAML file; an error names the file and the key, or the line."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from exporter.configload.environment import Found
from exporter.configload.settings import settings
from exporter.configload.words import shown, suggest
from exporter.errors import ConfigError

__all__ = ["from_yaml"]


class Loader(yaml.SafeLoader):
    """A loader that takes a key given twice for the mistake that it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  (PyYAML's own signature)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.id == "scalar" and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


def _read(path: str) -> object:
    name = Path(path).name
    try:
        return yaml.load(Path(path).read_bytes(), Loader)  # noqa: S506  (derives from SafeLoader)
    except OSError as error:
        raise ConfigError(f"--config.file: {path}: {(error.strerror or str(error)).lower()}") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{name}: {line}{error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: not YAML: {str(error).splitlines()[0]}") from None


def _take(node: object, at: tuple[str, ...], name: str, found: Found) -> None:
    """Walk down to the settings and collect what is given for each."""
    key = ".".join(at)
    if key in settings():
        found[key] = (node, f"{name}: {key}")
        return
    known = settings().values()
    if not any(s.path[: len(at)] == at for s in known):
        siblings = {s.path[len(at) - 1] for s in known if s.path[: len(at) - 1] == at[:-1]}
        raise ConfigError(f"{name}: {key}: unknown key{suggest(at[-1], siblings)}")
    if not isinstance(node, Mapping | None):
        raise ConfigError(f"{name}: {key or 'the file'}: expected keys and values, not {shown(node)}")
    for word, value in (node or {}).items():
        _take(value, (*at, str(word)), name, found)


def from_yaml(path: str) -> Found:
    found: Found = {}
    _take(_read(path), (), Path(path).name, found)
    return found
