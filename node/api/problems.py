"""Errors as RFC 9457 problem details: one table from stable code to status, one form for all.

Every answer that is not a success, whoever noticed it (a route, FastAPI's validation, Starlette's
router, or nobody), has the same members: ``type``, ``title``, ``status``, ``detail``, ``instance``
and ``code``, with ``field``, ``value`` and ``limit`` where they are known. Below ``/v2`` there is
also ``error``, the one string that clients of the Open Inference Protocol look for.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from node.api.feed_client import NodeUnreachableError
from primitives.errors import InvalidInputError

__all__ = [
    "STATUS_OF_CODE",
    "Problem",
    "add_problem_handlers",
    "get_status",
    "make_problem",
    "problem_responses",
]

_log = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
"""What an overloaded or absent node tells clients to wait; its buckets refill every second."""

VALUE_CHARACTERS_MAX = 200
"""Longest echo of an offending value."""

STATUS_OF_CODE: dict[str, HTTPStatus] = {
    # There is no such thing.
    "not_found": HTTPStatus.NOT_FOUND,
    "unknown_account": HTTPStatus.NOT_FOUND,
    "unknown_block": HTTPStatus.NOT_FOUND,
    "unknown_campaign": HTTPStatus.NOT_FOUND,
    "unknown_contribution": HTTPStatus.NOT_FOUND,
    "unknown_exchange": HTTPStatus.NOT_FOUND,
    "unknown_height": HTTPStatus.NOT_FOUND,
    "pruned": HTTPStatus.GONE,
    "unknown_model": HTTPStatus.NOT_FOUND,
    "unknown_proposal": HTTPStatus.NOT_FOUND,
    "unknown_transaction": HTTPStatus.NOT_FOUND,
    "unknown_version": HTTPStatus.NOT_FOUND,
    "version_retired": HTTPStatus.GONE,
    "payload_not_held": HTTPStatus.NOT_FOUND,
    "payloads_not_served": HTTPStatus.FORBIDDEN,
    # The request is well formed, but the state says no.
    "already_claimed": HTTPStatus.CONFLICT,
    "duplicate": HTTPStatus.CONFLICT,
    "model_exists": HTTPStatus.CONFLICT,
    "nonce_gap": HTTPStatus.CONFLICT,
    "nonce_used": HTTPStatus.CONFLICT,
    "insufficient_balance": HTTPStatus.UNPROCESSABLE_ENTITY,
    "insufficient_deposit": HTTPStatus.UNPROCESSABLE_ENTITY,
    "model_agrees": HTTPStatus.UNPROCESSABLE_ENTITY,
    "model_disagrees": HTTPStatus.UNPROCESSABLE_ENTITY,
    "no_valid_contributions": HTTPStatus.UNPROCESSABLE_ENTITY,
    "not_owner": HTTPStatus.UNPROCESSABLE_ENTITY,
    "own_contribution": HTTPStatus.UNPROCESSABLE_ENTITY,
    "too_early": HTTPStatus.UNPROCESSABLE_ENTITY,
    # Too much.
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_many_samples": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "sender_full": HTTPStatus.TOO_MANY_REQUESTS,
    "too_many_requests": HTTPStatus.TOO_MANY_REQUESTS,
    # Not now.
    "mempool_full": HTTPStatus.SERVICE_UNAVAILABLE,
    "node_unreachable": HTTPStatus.SERVICE_UNAVAILABLE,
    "not_ready": HTTPStatus.SERVICE_UNAVAILABLE,
    # Not this way.
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "unsupported_media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "internal_error": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Codes whose status is not 400; every other refusal is a plain bad request."""

_CODE_OF_STATUS = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}
_RETRY_STATUSES = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(
        description="Identifies the kind of problem.", examples=["urn:quorate:nonce_gap"]
    )
    title: str = Field(description="The kind of problem, for people.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="This problem: names field, value and limit.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="Stable identifier of the rule that was broken, for programs.")
    field: str | None = Field(default=None, description="The offending field.")
    value: str | None = Field(default=None, description="What was found there.")
    limit: str | None = Field(default=None, description="What the rule allows.")
    error: str | None = Field(default=None, description="Below /v2 only: the same as detail.")


def get_status(code: str) -> HTTPStatus:
    """Return the status that goes with a code."""
    return STATUS_OF_CODE.get(code, HTTPStatus.BAD_REQUEST)


def problem_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return what a route declares in OpenAPI for the given codes; 400 and 500 always."""
    statuses: dict[int, list[str]] = {
        HTTPStatus.BAD_REQUEST: [],
        HTTPStatus.INTERNAL_SERVER_ERROR: [],
    }
    for code in codes:
        statuses.setdefault(get_status(code), []).append(code)
    return {
        int(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(named)}"
            if named
            else HTTPStatus(status).phrase,
            "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, named in sorted(statuses.items())
    }


def make_problem(request: Request, error: InvalidInputError) -> Response:
    """Return the answer to a request that broke a rule."""
    status = get_status(error.code)
    path = request.url.path
    members: dict[str, object] = {
        "type": f"urn:quorate:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": int(status),
        "detail": error.message,
        "instance": path,
        "code": error.code,
    }
    for name, member in (("field", error.field), ("value", error.value), ("limit", error.limit)):
        if member is not None:
            members[name] = _show(member)
    if path == "/v2" or path.startswith("/v2/"):
        members["error"] = error.message
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in _RETRY_STATUSES else {}
    return Response(
        json.dumps(members).encode(), status, headers=headers, media_type=PROBLEM_MEDIA_TYPE
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Let every error of ``app`` leave it as problem details."""

    async def on_invalid_input(request: Request, error: Exception) -> Response:
        return make_problem(request, cast(InvalidInputError, error))

    async def on_node_unreachable(request: Request, error: Exception) -> Response:
        return make_problem(request, InvalidInputError("node_unreachable", str(error)))

    async def on_validation_error(request: Request, error: Exception) -> Response:
        return make_problem(request, _describe_validation(cast(RequestValidationError, error)))

    async def on_http_exception(request: Request, error: Exception) -> Response:
        http_error = cast(HTTPException, error)
        code = _CODE_OF_STATUS.get(HTTPStatus(http_error.status_code), "bad_request")
        response = make_problem(
            request,
            InvalidInputError(code, f"{request.method} {request.url.path}: {http_error.detail}"),
        )
        response.headers.update(http_error.headers or {})
        return response

    async def on_uncaught(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return make_problem(
            request,
            InvalidInputError("internal_error", "this is a fault of the node, see its log"),
        )

    app.add_exception_handler(InvalidInputError, on_invalid_input)
    app.add_exception_handler(NodeUnreachableError, on_node_unreachable)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_uncaught)


def _describe_validation(error: RequestValidationError) -> InvalidInputError:
    """Return the first thing that FastAPI found wrong with a request."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    value = _show(first.get("input"))
    return InvalidInputError(
        "malformed_request",
        f"{field}: {first['msg']}, found {value}",
        field=field,
        value=value,
        limit=_find_limit(first.get("ctx") or {}),
    )


def _find_limit(context: dict[str, Any]) -> object:
    for name in ("le", "lt", "ge", "gt", "max_length", "min_length", "pattern"):
        if name in context:
            return context[name]
    return None


def _show(value: object) -> str:
    """Return a value as text of bounded length; bytes as hexadecimal."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    if len(text) > VALUE_CHARACTERS_MAX:
        return text[:VALUE_CHARACTERS_MAX] + "…"
    return text
