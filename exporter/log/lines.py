"""The two formats of a log line, as functions of the standard library alone: the supervisor loads nothing else."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

__all__ = ["LEVELS", "Format", "choose", "console", "jsonline", "now"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Names of the configuration → numbers of the standard `logging`."""
FIRST = ("timestamp", "level", "component", "event")

Event = Mapping[str, object]
Format = Callable[[Event], str]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(value: object) -> str:
    """Quote what has spaces, quotes or control characters: names on the network are other people's."""
    text = value if isinstance(value, str) else str(value)
    plain = text.isprintable() and text and not any(c in text for c in ' "=')
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())


def console(event: Event) -> str:
    """`11:57:03 warning worker-0: interface is gone interface=eth0`."""
    rest = {k: v for k, v in event.items() if k not in FIRST and k != "exception"}
    head = str(event.get("timestamp", ""))[11:19]
    component = f"{event['component']}: " if event.get("component") else ""
    text = str(event.get("event", ""))
    text = text if text.isprintable() else json.dumps(text)
    words = "".join(f" {key}={_word(value)}" for key, value in rest.items())
    trace = f"\n{event['exception']}" if event.get("exception") else ""
    return f"{head} {event.get('level', 'info'):<7} {component}{text}{words}{trace}"


def jsonline(event: Event) -> str:
    """One JSON object, the four keys that all events have first."""
    ordered = {key: event[key] for key in FIRST if key in event}
    return json.dumps(ordered | dict(event), default=str)


def choose(name: str, stream: TextIO) -> Format:
    """Give the format of that name; `auto` looks at the stream."""
    return console if name == "console" or (name == "auto" and stream.isatty()) else jsonline
