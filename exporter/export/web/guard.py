"""What stands before the application: rate limit, authentication and security headers, as the web file says now."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from exporter.export.web.auth import Gate, credentials

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from exporter.export.web.config import RateLimit
    from exporter.export.web.live import Live

__all__ = ["Guard"]


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: "ASGIApp", live: "Live") -> None:
        self._app = app
        self._live = live
        self._gate = Gate()
        self._thread = ThreadPoolExecutor(1, "bcrypt")
        self._tokens = 0.0
        self._filled = float("-inf")

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request, or hand it on."""
        self._live.check()
        config = self._live.config
        extra = config.http_server_config.headers.pairs()

        async def send_more(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        app: ASGIApp = self._app
        if not self._within(config.rate_limit):
            app = PlainTextResponse("Too many requests.\n", 429)
        elif config.basic_auth_users and not await self._known(Headers(scope=scope)):
            app = PlainTextResponse("Unauthorized\n", 401, {"www-authenticate": "Basic"})
        await app(scope, receive, send_more)

    def _within(self, limit: "RateLimit") -> bool:
        """Take a token, if there is one."""
        if not limit.seconds:
            return True
        now = monotonic()
        self._tokens = min(float(limit.burst), self._tokens + (now - self._filled) / limit.seconds)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _known(self, headers: Headers) -> bool:
        given = credentials(headers.get("authorization", ""))
        if given is None:
            return False
        users = self._live.config.basic_auth_users
        answer = self._gate.remembered(users, *given)
        if answer is None:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._thread, self._gate.check, users, *given)
        return answer
