"""One file per application protocol and nothing else; the file's name is the protocol's label.

A module that declares `DISSECTOR` is a dissector: there is no list to be edited.
"""

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

from exporter.dissector import Dissector

__all__ = ["load", "select"]


def load() -> tuple[Dissector, ...]:
    """Import every module beside this one, and give its dissector, in the order of their names."""
    found: list[Dissector] = []
    for info in sorted(iter_modules(__path__), key=lambda info: info.name):
        dissector = getattr(import_module(f"{__name__}.{info.name}"), "DISSECTOR", None)
        if not isinstance(dissector, Dissector):
            raise TypeError(f"exporter/dpi/{info.name}.py declares no DISSECTOR")
        if dissector.name != info.name:
            raise ValueError(f"exporter/dpi/{info.name}.py declares {dissector.name!r}")
        found.append(dissector)
    return tuple(found)


def select(protocols: Iterable[str] = ()) -> tuple[Dissector, ...]:
    """Give the dissectors named; with a leading `-`, all but those; all, if none is named."""
    known = {dissector.name: dissector for dissector in load()}
    wanted = set(protocols)
    refused = {name[1:] for name in wanted if name.startswith("-")}
    allowed = {name for name in wanted if not name.startswith("-")} or known.keys()
    if unknown := sorted((refused | allowed) - known.keys()):
        raise ValueError(f"no such protocol: {', '.join(unknown)}; known are: {', '.join(known)}")
    return tuple(known[name] for name in known if name in allowed and name not in refused)
