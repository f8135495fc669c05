"""uvicorn on sockets that are already bound; certificates change without a restart."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

import uvicorn
from uvicorn.config import Config as UvicornConfig

from exporter.config import Web
from exporter.export.prometheus import Renderer
from exporter.export.web.app import application
from exporter.export.web.connection import Connection
from exporter.export.web.guard import Guard
from exporter.export.web.live import Live
from exporter.export.web.scrapes import Scrapes

__all__ = ["Server"]

KEEP_ALIVE = 130
"""Seconds: longer than two scrapes of a minute."""
HEAD_BYTES = 32_768
HANDSHAKE = 10.0
BACKLOG = 128
PARTING = 0.5
"""Seconds for answers to end after SIGTERM."""
TICKS = 10
"""uvicorn's ticks a second."""
REFRESH = 10
"""Seconds between two looks at the ledgers when nobody scrapes."""


class Server(uvicorn.Server):
    """The exporter's HTTP server."""

    def __init__(self, web: Web, live: Live, renderer: Renderer, sockets: Sequence[socket.socket]) -> None:
        self._live = live
        self._sockets = sockets
        self._scrapes = Scrapes(renderer)
        self._context: ssl.SSLContext | None = None
        protocol = type("Connection", (Connection,), {"live": live})
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what strangers send is no news
        super().__init__(
            UvicornConfig(
                Guard(application(web, self._scrapes), live),
                http=protocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                h11_max_incomplete_event_size=HEAD_BYTES,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  (ours are given)
        """Listen."""
        await self.lifespan.startup()
        self.servers: list[asyncio.base_events.Server] = []
        await self._listen()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        await self._scrapes.refresh()
        self.started = True

    def _stop(self) -> None:
        self.should_exit = True

    async def _listen(self) -> None:
        """Listen with the TLS of now. Connections that are open go on, and none is refused meanwhile."""
        for server in self.servers:
            server.close()
        self._context = self._live.context
        loop = asyncio.get_running_loop()
        extra: dict[str, Any] = {"ssl_handshake_timeout": HANDSHAKE} if self._context else {}
        self.servers = [
            await loop.create_server(
                self._protocol, sock=one.dup(), ssl=self._context, backlog=BACKLOG, **extra
            )
            for one in self._sockets
        ]

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # ours is no WebSocket
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def on_tick(self, counter: int) -> bool:
        """Look after the files each second, and after the ledgers now and then."""
        if counter % TICKS == 0:
            self._live.check()
            if self._live.context is not self._context:
                await self._listen()
        if counter % (TICKS * REFRESH) == TICKS // 2:
            await self._scrapes.refresh()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  (ours are given)
        """Let answers end that are being given, for a moment, and cut the rest."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        until = monotonic() + PARTING
        while self.server_state.connections and monotonic() < until:  # noqa: ASYNC110  (as uvicorn does)
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the loop: ours end with status 0."""
        yield
