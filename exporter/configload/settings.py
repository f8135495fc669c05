"""The settings one by one, derived from the declarations in `config.py`."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, inspect

from exporter.config import Config

__all__ = ["PREFIX", "Setting", "extra", "settings"]

PREFIX = "NETPROC_"


class Setting(NamedTuple):
    """One value that can be set."""

    path: tuple[str, ...]
    annotation: Any
    default: Any
    section: str
    """What its section says of itself."""

    @property
    def key(self) -> str:
        """The dotted name, as in YAML and in error messages."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(self.path).upper()

    @property
    def kind(self) -> inspect.Type:
        info = inspect.type_info(self.annotation)
        return info.type if isinstance(info, inspect.Metadata) else info

    @property
    def description(self) -> str:
        return str(extra(inspect.type_info(self.annotation)).get("description", ""))

    @property
    def plain(self) -> bool:
        """Can be written as text: by flag and in the environment."""
        return not (
            isinstance(self.kind, inspect.VarTupleType)
            and isinstance(self.kind.item_type, inspect.StructType)
        )


def extra(info: inspect.Type) -> dict[str, Any]:
    return (info.extra_json_schema or {}) if isinstance(info, inspect.Metadata) else {}


def _walk(struct: type[Struct], path: tuple[str, ...]) -> Iterator[Setting]:
    for item in msgspec.structs.fields(struct):
        here = (*path, item.encode_name)
        if isinstance(item.type, type) and issubclass(item.type, Struct):
            yield from _walk(item.type, here)
        else:
            yield Setting(here, item.type, item.default, (struct.__doc__ or "").strip())


@cache
def settings() -> dict[str, Setting]:
    """Give all that can be set, by key."""
    return {setting.key: setting for setting in _walk(Config, ())}
