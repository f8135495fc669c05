"""An HTTP connection that nobody can hold: a head, an answer taken, and silence each have their time."""

import asyncio
from time import monotonic
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from exporter.export.web import tls
from exporter.export.web.live import Live

__all__ = ["Connection"]

HEAD = 10.0
"""Seconds for a request's head, from the connection's beginning or the request's first byte."""
ANSWER = 30.0
"""Seconds for a request to be read, answered, and the answer taken by the client."""
MOST = 512
"""Connections at a time; a further one takes the place of the one that waits longest."""


class Connection(H11Protocol):
    """uvicorn's protocol over h11 with deadlines."""

    live: Live
    """The web configuration, set by the server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (whatever uvicorn hands over)
        super().__init__(*args, **kwargs)
        self.since = monotonic()
        self._asked = False
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Whether no request is being answered."""
        return not self._asked or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        secure = self.live.config.tls_server_config
        session = transport.get_extra_info("ssl_object")
        if secure and session and not tls.allowed(session.getpeercert(), secure.client_allowed_sans):
            transport.abort()
            return
        self._make_room()
        self._within(HEAD)

    def _make_room(self) -> None:
        if len(self.connections) <= MOST:
            return
        others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
        longest = min(others, key=lambda one: (not one.waiting, one.since))
        self.connections.discard(longest)
        longest.transport.abort()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        fresh = self.waiting and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.cycle is not before:
            self._asked = True
            self._within(ANSWER)
        elif fresh and self._asked:
            self._within(HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _within(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.since = monotonic()
        self._deadline = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        """Cut the connection, unless its last request is answered and the answer taken."""
        idle = self._asked and self.waiting and self.conn.their_state is h11.IDLE
        unread = self.transport.get_write_buffer_size() or self.conn.trailing_data[0]
        if not idle or unread or self.transport.is_closing():
            self.transport.abort()
