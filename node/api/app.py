"""The REST application: routes, one form of error, the height of every answer, and OpenAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.api import (
    routes_accounts,
    routes_blocks,
    routes_status,
    routes_transactions,
)
from node.api.follower import Follower
from node.api.problems import Problem, add_problem_handlers, make_problem
from node.api.service import ApiService
from primitives.errors import InvalidInputError

__all__ = ["API_VERSION", "make_app"]

API_VERSION = "1.0.0"
"""Version of the interface, not of the software: it changes when an answer changes its meaning."""

REQUESTS_MAX = 4_096
"""Requests under way at one time; most of them wait for a transaction to become final."""

HEIGHT_HEADER = b"block-height"

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
        openapi_url="/openapi.json",
        # A path with a slash too many is answered with 404 as problem details, not redirected.
        redirect_slashes=False,
        lifespan=_run_feed,
    )
    app.state.service = service
    add_problem_handlers(app)
    for routes in (
        routes_status,
        routes_blocks,
        routes_transactions,
        routes_accounts,
    ):
        app.include_router(routes.router)
    app.add_middleware(_RequestLimit)
    app.add_middleware(_HeightHeader, follower=service.follower)
    app.openapi = lambda: _make_openapi(app)  # type: ignore[method-assign]
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


class _HeightHeader:
    """Adds the height that the node has reached to every answer."""

    def __init__(self, app: ASGIApp, follower: Follower) -> None:
        self._app = app
        self._follower = follower

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer with one more header."""

        async def send_with_height(message: Message) -> None:
            if message["type"] == "http.response.start":
                position = self._follower.get_position()
                if position is not None:
                    value = str(position[0]).encode("ascii")
                    message["headers"] = [*message.get("headers", ()), (HEIGHT_HEADER, value)]
            await send(message)

        await self._app(scope, receive, send_with_height if scope["type"] == "http" else send)


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


def _make_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description of the interface; made once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            description=app.description,
            routes=app.routes,
            servers=[{"url": "/", "description": "this node"}],
        )
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        # Errors are made by handlers that FastAPI does not see, so it does not list their form.
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for methods in schema["paths"].values():
            for operation in methods.values():
                # What fails FastAPI's validation is answered with 400, as problem details.
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        app.openapi_schema = schema
    return app.openapi_schema
