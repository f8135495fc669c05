"""Scrapes side by side: one renders at a time, in a thread, and those that come meanwhile share its answer."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

from exporter.export.negotiate import Wish
from exporter.export.prometheus import Renderer, compress

__all__ = ["Scrapes"]

T = TypeVar("T")

FRESH = 0.05
"""So many seconds an answer holds for others, too."""


class Scrapes:
    """Guards the renderer, which is for one caller at a time."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._thread = ThreadPoolExecutor(1, "render")
        self._lock = asyncio.Lock()
        self._wish: tuple[Wish, bool] | None = None
        self._body = b""
        self._until = 0.0
        self.active = 0

    async def get(self, wish: Wish, *, gzip: bool) -> bytes:
        """Give the answer to a scrape."""
        async with self._lock:
            if self._wish != (wish, gzip) or monotonic() > self._until:
                self._body = await self._run(lambda: self._make(wish, gzip=gzip))
                self._wish = (wish, gzip)
                self._until = monotonic() + FRESH
            return self._body

    async def refresh(self) -> None:
        """Keep up with the ledgers when nobody scrapes, and give back the last answer's memory."""
        async with self._lock:
            self._wish, self._body = None, b""
            await self._run(self._renderer.refresh)

    async def unready(self) -> str:
        async with self._lock:
            return await self._run(self._fresh)

    def _fresh(self) -> str:
        self._renderer.refresh()
        return self._renderer.unready()

    def _make(self, wish: Wish, *, gzip: bool) -> bytes:
        body = self._renderer.render(wish)
        return compress(body) if gzip else body

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
