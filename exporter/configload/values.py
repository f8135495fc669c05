"""From what a place says to a checked value, or to one line that says what is wrong with it."""

import re
from collections.abc import Iterable

import msgspec
from msgspec import inspect

from exporter.config import GroupRule
from exporter.configload.settings import Setting, extra
from exporter.configload.words import expected, shown, suggest
from exporter.errors import ConfigError

__all__ = ["check_rules", "convert"]

WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def _plain(value: object) -> object:
    """Let YAML's numbers stand for text, and the words that people write stand for true and false."""
    if isinstance(value, str):
        return WORDS.get(value.lower(), value)
    return value


def convert(setting: Setting, value: object, place: str) -> object:
    kind = setting.kind
    candidate: object = value
    if isinstance(kind, inspect.VarTupleType):
        items = value if isinstance(value, list | tuple) else [value]
        texts = isinstance(kind.item_type, inspect.StrType) or "title" in extra(kind.item_type)
        candidate = [str(i) if texts and type(i) in {int, float} else i for i in items]
    elif isinstance(kind, inspect.StrType):
        candidate = str(value) if type(value) in {int, float} else value
    elif isinstance(kind, inspect.BoolType):
        candidate = _plain(value)
    elif isinstance(value, bool) or value != value:  # noqa: PLR0124  (not a number)
        raise ConfigError(f"{place}: expected {expected(kind)}, not {shown(value)}")
    try:
        return msgspec.convert(candidate, setting.annotation, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(setting, value, place, str(error))) from None


def _explain(setting: Setting, value: object, place: str, message: str) -> str:
    """Rules have an inside: say where in there, and what of it."""
    if setting.plain:
        return f"{place}: expected {expected(inspect.type_info(setting.annotation))}, not {shown(value)}"
    what, _, where = message.partition(" - at `$")
    names = [field.encode_name for field in msgspec.structs.fields(GroupRule)]
    if (unknown := re.search(r"unknown field `(.*)`", what)) is not None:
        return f"{place}{where.rstrip('`')}: unknown key {unknown[1]}{suggest(unknown[1], names)}"
    if (lacking := re.search(r"missing required field `(.*)`", what)) is not None:
        return f"{place}{where.rstrip('`')}: {lacking[1]} is missing"
    return f"{place}{where.rstrip('`')}: expected {expected(setting.kind)}"


def check_rules(rules: Iterable[GroupRule], place: str) -> None:
    for index, rule in enumerate(rules):
        for name in ("executable", "command", "unit"):
            try:
                re.compile(getattr(rule, name))
            except re.error as error:
                text = f"{place}[{index}].{name}: not a regular expression: {error}"
                raise ConfigError(text) from None
