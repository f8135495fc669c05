"""What error messages say: what was expected, what was found, what was perhaps meant."""

import difflib
from collections.abc import Iterable

from msgspec import inspect

from exporter.configload.settings import extra

__all__ = ["expected", "shown", "suggest"]

WIDTH = 60
"""Characters of a value that are shown."""


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Give ` (did you mean ...?)`, or nothing where nothing is near."""
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def _range(low: float | None, high: float | None, above: float | None) -> str:
    if above is not None:
        return f" above {above:.0f}" + (f" and at most {high:.0f}" if high is not None else "")
    return f" from {low} to {high}" if low is not None else ""


def expected(info: inspect.Type) -> str:
    """Say what a type wants."""
    if "title" in (more := extra(info)):
        return str(more["title"])
    match info:
        case inspect.Metadata(type=inner):
            words = expected(inner)
        case inspect.IntType():
            words = f"a whole number{_range(info.ge, info.le, info.gt)}"
        case inspect.FloatType():
            words = f"a number{_range(info.ge, info.le, info.gt)}"
        case inspect.BoolType():
            words = "true or false"
        case inspect.LiteralType(values=values):
            words = ("one of " if len(values) > 1 else "") + ", ".join(map(str, values))
        case inspect.UnionType(types=types):
            words = " or ".join(expected(t) for t in types)
        case inspect.VarTupleType(item_type=item):
            words = f"a list ({expected(item)})"
        case inspect.StructType():
            words = "rules with " + ", ".join(field.encode_name for field in info.fields)
        case _:
            words = "text"
    return words


def shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
