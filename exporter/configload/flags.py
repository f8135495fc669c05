"""Flags, made from the settings."""

import argparse
from typing import Any

from msgspec import inspect

from exporter.configload.settings import Setting, settings

__all__ = ["ALIASES", "SHORTCUTS", "add_flags"]

ALIASES: dict[str, tuple[str, ...]] = {
    "capture.interface": ("-i", "--interface"),
    "capture.filter": ("-f", "--filter", "--bpf-filter"),
    "capture.count_as": ("--count-as",),
    "dpi.protocols": ("--dpi-protocols",),
    "log.level": ("-l", "--log-level"),
    "web.config_file": ("--web.config.file",),
}
"""Further names of flags: RustNet's, and exporter-toolkit's where it does not follow its own grammar."""

SHORTCUTS: dict[str, tuple[str, object, str]] = {
    "--no-dpi": ("dpi.enabled", False, "do not look into payloads"),
    "--no-localhost": ("capture.loopback", False, "leave the loopback interface out"),
    "--no-sandbox": ("process.sandbox", "off", "as --process.sandbox off"),
    "--sandbox-strict": ("process.sandbox", "strict", "as --process.sandbox strict"),
}
"""Flags of RustNet that stand for a value."""


def _metavar(setting: Setting) -> str:
    match setting.kind:
        case inspect.LiteralType(values=values):
            return "{" + ",".join(map(str, values)) + "}"
        case inspect.IntType() | inspect.UnionType():
            return "N"
        case inspect.FloatType():
            return "SECONDS"
    return setting.path[-1].rpartition("_")[2].upper()


def _help(setting: Setting) -> str:
    default = setting.default
    shown = ", ".join(default) if isinstance(default, tuple) else str(default)
    words = setting.description or setting.path[-1].replace("_", " ")
    repeat = " (repeatable, or with commas)" if isinstance(setting.kind, inspect.VarTupleType) else ""
    known = f" (default: {shown})" if shown and not isinstance(default, bool) else ""
    return f"{words}{repeat}{known}".replace("%", "%%")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a command the flags of all settings; only those that were given are in its namespace, under their keys."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for setting in settings().values():
        if not setting.plain:
            continue
        if setting.section not in groups:
            title = ".".join(setting.path[:-1]) or "general"
            groups[setting.section] = parser.add_argument_group(title, setting.section)
        names = (*(n for n in ALIASES.get(setting.key, ()) if len(n) == 2), setting.flag)  # noqa: PLR2004  (-i)
        names += tuple(n for n in ALIASES.get(setting.key, ()) if n not in names)
        keys: dict[str, Any] = {"dest": setting.key, "default": argparse.SUPPRESS, "help": _help(setting)}
        if isinstance(setting.kind, inspect.BoolType):
            groups[setting.section].add_argument(*names, action=argparse.BooleanOptionalAction, **keys)
        else:
            action = "append" if isinstance(setting.kind, inspect.VarTupleType) else "store"
            groups[setting.section].add_argument(*names, action=action, metavar=_metavar(setting), **keys)
    short = parser.add_argument_group("shortcuts", "As in RustNet.")
    for name, (key, value, words) in SHORTCUTS.items():
        short.add_argument(
            name, dest=key, action="store_const", const=value, default=argparse.SUPPRESS, help=words
        )
