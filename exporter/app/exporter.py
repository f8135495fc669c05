"""The exporter process: reads the ledgers, answers scrapes. No capabilities at all.

    python -m exporter.app.exporter --config-fd N --listen-fds 7,8 --ledger-fds 9,10 --status-fd 12 --lifeline-fd 13

The last ledger is the identity process'.
"""

import argparse
import asyncio
import gc
import mmap
import os
import socket
import sys
from collections.abc import Sequence

from exporter import log
from exporter.app import kernel, sandbox
from exporter.app.children import REFUSED
from exporter.config import Config, load
from exporter.errors import ConfigError, UserError
from exporter.export.names import ShortNames
from exporter.export.prometheus import Renderer
from exporter.export.web.live import Live
from exporter.export.web.server import Server

__all__ = ["main"]

LONGEST = 1 << 20
"""Bytes of a configuration."""


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="exporter.app.exporter")
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--listen-fds", type=_numbers, required=True)
    parser.add_argument("--ledger-fds", type=_numbers, required=True)
    parser.add_argument("--status-fd", type=int, default=-1)
    parser.add_argument("--lifeline-fd", type=int, default=-1)
    return parser.parse_args(argv)


def _map(descriptor: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))


async def _serve(server: Server, lifeline: int) -> None:
    if lifeline >= 0:
        asyncio.get_running_loop().add_reader(lifeline, os._exit, 0)
    await server.serve()


def run(config: Config, given: argparse.Namespace) -> None:
    """Set up with what privileges there are, give them up, serve."""
    live = Live(config.web.config_file)
    ledgers = [_map(one) for one in given.ledger_fds]
    renderer = Renderer(config, ledgers, ShortNames(), given.status_fd)
    server = Server(config.web, live, renderer, [socket.socket(fileno=one) for one in given.listen_fds])
    renderer.degraded = sandbox.enter("exporter", config, given.lifeline_fd, live.places())
    gc.collect()
    kernel.trim()  # what reading the code took
    gc.freeze()
    asyncio.run(_serve(server, given.lifeline_fd))


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; give the exit status."""
    given = _arguments(argv)
    config = load(os.pread(given.config_fd, LONGEST, 0))
    log.configure(config.log.level, config.log.format, "exporter")
    try:
        run(config, given)
    except UserError as error:
        log.get().error(str(error))
        return error.status if error.status == ConfigError.status else REFUSED
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # waits for no thread: a password may be just being checked
