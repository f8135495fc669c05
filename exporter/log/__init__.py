"""Log lines on standard error: for people on a terminal, JSON otherwise.

An event is a short sentence in lower case, what varies is in its keys: `log.get().warning("interface is gone",
interface="eth0")`. No value can break out of its line.
"""

import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from exporter.log.lines import LEVELS, choose, console, jsonline, now

if TYPE_CHECKING:
    import structlog

__all__ = ["LEVELS", "choose", "configure", "console", "get", "jsonline", "now"]


_chosen = ["info", "auto", ""]
"""Level, format and component, until structlog is needed: it takes 5 MiB, and most processes never say a word."""


def configure(level: str = "info", form: str = "auto", component: str = "") -> None:
    """Choose level and format; `component` says which process speaks. What libraries log goes the same way."""
    _chosen[:] = (level, form, component)
    if "logging" in sys.modules:
        import logging  # noqa: PLC0415  (where no library logs, nobody pays for it)

        class Forward(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                get().log(record.levelno, record.getMessage(), logger=record.name)

        logging.basicConfig(handlers=[Forward()], level=max(LEVELS[level], LEVELS["warning"]), force=True)


def _set_up() -> None:
    """Set structlog on the chosen format."""
    import structlog  # noqa: PLC0415  (see `_chosen`)

    level, form, component = _chosen
    render = choose(form, sys.stderr)

    def finish(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        return render({"timestamp": now(), "component": component, **event})

    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, finish],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def get() -> "structlog.typing.FilteringBoundLogger":
    """Give the logger of this process."""
    import structlog  # noqa: PLC0415  (see `_chosen`)

    if not structlog.is_configured():
        _set_up()
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
