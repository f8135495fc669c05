"""What the HTTP server answers."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from exporter.config import Web
from exporter.export.negotiate import accepts_gzip, wish
from exporter.export.web.page import landing
from exporter.export.web.scrapes import Scrapes

__all__ = ["application"]

NAMES = 1_000
"""So many `name[]` of a query are read."""


def application(web: Web, scrapes: Scrapes) -> Starlette:
    """Make the application."""

    async def metrics(request: Request) -> Response:
        if scrapes.active >= web.max_requests:
            busy = f"Limit of concurrent requests reached ({web.max_requests}), try again later.\n"
            return PlainTextResponse(busy, 503)
        scrapes.active += 1
        try:
            return await _metrics(request, scrapes)
        finally:
            scrapes.active -= 1

    async def root(_: Request) -> Response:
        return HTMLResponse(landing(web.telemetry_path))

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("netproc-exporter is healthy.\n")

    async def ready(_: Request) -> Response:
        missing = await scrapes.unready()
        if missing:
            return PlainTextResponse(f"netproc-exporter is not ready: {missing}.\n", 503)
        return PlainTextResponse("netproc-exporter is ready.\n")

    made = Starlette(
        routes=[
            Route(web.telemetry_path, metrics),
            Route("/", root),
            Route("/-/healthy", healthy),
            Route("/-/ready", ready),
        ]
    )
    made.router.redirect_slashes = False
    return made


async def _metrics(request: Request, scrapes: Scrapes) -> Response:
    names = request.query_params.getlist("name[]")[:NAMES]
    wanted = wish(request.headers.get("accept", ""), names)
    gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
    body = await scrapes.get(wanted, gzip=gzip)
    headers = {"content-type": wanted.content_type, "vary": "Accept, Accept-Encoding"}
    if gzip:
        headers["content-encoding"] = "gzip"
    return Response(body, headers=headers)
