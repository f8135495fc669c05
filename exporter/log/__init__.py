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


def configure(level: str = "info", form: str = "auto", component: str = "") -> None:
    """Set structlog and `logging` on one format; `component` says which process speaks."""
    import logging  # noqa: PLC0415  (the supervisor imports this package, and needs neither)

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
