"""The REST application: routes, one form of error, the height of every answer, and OpenAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.api import (
    inference_v2,
    routes_accounts,
    routes_blocks,
    routes_campaigns,
    routes_consensus,
    routes_contributions,
    routes_downloads,
    routes_exchanges,
    routes_families,
    routes_governance,
    routes_metrics,
    routes_models,
    routes_recognition,
    routes_stakes,
    routes_status,
    routes_transactions,
    routes_versions,
)
from node.api.follower import Follower
from node.api.openapi import make_openapi
from node.api.problems import add_problem_handlers, make_problem
from node.api.service import ApiService
from primitives.errors import InvalidInputError

__all__ = ["API_VERSION", "make_app"]

API_VERSION = "1.0.0"
"""Version of the interface, not of the software: it changes when an answer changes its meaning."""

REQUESTS_MAX = 4_096
"""Requests under way at one time; most of them wait for a transaction to become final."""

HEIGHT_HEADER = "Block-Height"

HEALTH_PATHS = frozenset({"/livez", "/readyz", "/startupz", "/v2/health/live", "/v2/health/ready"})
"""Load balancers ask these with HEAD; the answer is that to GET without its body."""

STATE_PATHS = (
    "/api/v1/accounts/",
    "/api/v1/blocks",
    "/api/v1/campaigns",
    "/api/v1/exchanges",
    "/api/v1/leaderboard",
    "/api/v1/models",
    "/api/v1/rewards",
    "/api/v1/stakes",
    "/api/v1/supply",
)
"""What is read below these is a function of the last final block."""

_DESCRIPTION = """\
Reads, submissions and free predictions of one node. Amounts and nonces are strings of digits,
hashes are hexadecimal, accounts are `qr1…`. Every answer carries `Block-Height`, the height of the
final block that the node has reached. Errors are RFC 9457 problem details with a stable `code`.
"""


def make_app(service: ApiService) -> FastAPI:
    """Return the application over a service.

    Parameters
    ----------
    service
        Follower, feed and inference. The application runs the feed as long as it runs itself,
        and closes the follower when it ends.
    """
    app = FastAPI(
        title="Quorate",
        version=API_VERSION,
        description=_DESCRIPTION,
        # The pages that FastAPI would serve load scripts from a foreign host.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A path with a slash too many is answered with 404 as problem details, not redirected.
        redirect_slashes=False,
        lifespan=_run_feed,
    )
    app.state.service = service
    add_problem_handlers(app)
    for routes in (
        inference_v2,
        routes_status,
        routes_consensus,
        routes_metrics,
        routes_blocks,
        routes_transactions,
        routes_accounts,
        routes_governance,
        routes_models,
        routes_versions,
        routes_downloads,
        routes_families,
        routes_contributions,
        routes_campaigns,
        routes_exchanges,
        routes_stakes,
        routes_recognition,
    ):
        app.include_router(routes.router)
    app.add_middleware(_HeadOfHealth)
    app.add_middleware(_RequestLimit)
    app.add_middleware(_StateHeaders, follower=service.follower)
    # Made now, so that a mistake in it shows at the start and not at the first request for it.
    description = JSONResponse(make_openapi(app))

    async def get_openapi(_request: Request) -> Response:
        return description

    app.add_route("/openapi.json", get_openapi, include_in_schema=False)
    return app


@asynccontextmanager
async def _run_feed(app: FastAPI) -> AsyncIterator[None]:
    """Follow the node for as long as the application runs."""
    service: ApiService = app.state.service
    following = asyncio.create_task(service.feed.run(), name="feed")
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        service.follower.close()


class _StateHeaders:
    """Adds to answers which state they were made from, and spares those that did not change.

    ``Block-Height`` is on every answer. Answers that are a function of the final state alone carry
    its block's id as ``ETag``; who shows that tag again is told 304 before any work is done.
    """

    def __init__(self, app: ASGIApp, follower: Follower) -> None:
        self._app = app
        self._follower = follower

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer with more headers."""
        position = self._follower.get_position() if scope["type"] == "http" else None
        if position is None:
            await self._app(scope, receive, send)
            return
        height, block_id = position
        is_read = scope["method"] == "GET" and scope["path"].startswith(STATE_PATHS)
        tag = f'"{block_id.hex()}"'.encode("ascii")
        if is_read and tag in dict(scope["headers"]).get(b"if-none-match", b""):
            headers = {"ETag": tag.decode("ascii"), HEIGHT_HEADER: str(height)}
            await Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)(
                scope, receive, send
            )
            return

        async def send_with_state(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                reached = self._follower.get_position()
                headers[HEIGHT_HEADER] = str(height if reached is None else reached[0])
                # Only if no block came in between: then it is not known which state was read.
                if is_read and message["status"] == HTTPStatus.OK and reached == position:
                    headers.setdefault("ETag", tag.decode("ascii"))
            await send(message)

        await self._app(scope, receive, send_with_state)


class _HeadOfHealth:
    """Answers HEAD on the pages of ``HEALTH_PATHS`` as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, HEAD as if it were GET."""
        if (
            scope["type"] != "http"
            or scope["method"] != "HEAD"
            or scope["path"] not in HEALTH_PATHS
        ):
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)


class _RequestLimit:
    """Refuses requests beyond those that may be under way, before anything of them is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with ``too_many_requests``."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._under_way >= REQUESTS_MAX:
            error = InvalidInputError(
                "too_many_requests",
                f"{self._under_way} requests are under way, the limit is {REQUESTS_MAX}",
                field="requests",
                value=self._under_way,
                limit=REQUESTS_MAX,
            )
            await make_problem(Request(scope), error)(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
