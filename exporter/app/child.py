"""How every child begins and ends: flags, configuration, log lines, and one line for what the user can mend."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from exporter import config, log
from exporter.app.children import REFUSED
from exporter.errors import UserError

__all__ = ["Begun", "begin", "main"]


class Begun(NamedTuple):
    """What the supervisor handed over."""

    config: config.Config
    flags: dict[str, str]
    """By name without hyphens in front: `index`, `ledger-fd` ..."""

    def numbers(self, name: str) -> list[int]:
        """Read a comma separated list of numbers (descriptors)."""
        return [int(word) for word in self.flags[name].split(",") if word]

    def number(self, name: str) -> int:
        return int(self.flags[name])


def begin(role: str, arguments: Sequence[str]) -> Begun:
    """Read the flags (`--name value` pairs that the supervisor wrote) and the configuration; set the log."""
    flags = {
        name.removeprefix("--"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)
    }
    descriptor = int(flags["config-fd"])
    settings = config.load(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    os.close(descriptor)
    component = f"{role}-{flags['index']}" if "index" in flags else role
    log.configure(settings.log.level, settings.log.format, component)
    return Begun(settings, flags)


def main(role: str, body: Callable[[Begun], None]) -> NoReturn:
    """Run a child: `if __name__ == "__main__": child.main("worker", run)`. SIGTERM ends it by its default action."""
    try:
        body(begin(role, sys.argv[1:]))
    except UserError as error:
        print(f"netproc-exporter: {error}", file=sys.stderr)  # noqa: T201  (what a command says)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        sys.exit(0)
    sys.exit(0)
