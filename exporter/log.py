"""Log lines on standard error: for people on a terminal, JSON otherwise.

The two formats are functions of the standard library alone, for the supervisor loads nothing else; `configure` sets
structlog and the standard `logging` on them for all other processes. An event is a short sentence in lower case, what
varies is in its keys: `log.warning("interface is gone", interface="eth0")`. No value can break out of its line.
"""

import json
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import structlog

__all__ = ["LEVELS", "choose", "configure", "console", "get", "jsonline"]

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


def configure(level: str = "info", form: str = "auto", component: str = "") -> None:
    """Set structlog and `logging` on one format; `component` says which process speaks."""
    import logging  # noqa: PLC0415  (the supervisor imports this module, and needs neither)

    import structlog  # noqa: PLC0415

    render = choose(form, sys.stderr)

    def finish(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        return render({"timestamp": now(), "component": component, **event})

    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, finish],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

    class Forward(logging.Handler):
        """What libraries say goes the same way."""

        def emit(self, record: logging.LogRecord) -> None:
            structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name)

    logging.basicConfig(handlers=[Forward()], level=max(LEVELS[level], LEVELS["warning"]), force=True)


def get() -> "structlog.typing.FilteringBoundLogger":
    """Give the logger of this process."""
    import structlog  # noqa: PLC0415  (see `configure`)

    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
