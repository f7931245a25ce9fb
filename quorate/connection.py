"""HTTP to one node: JSON in and out, problems into exceptions, patience with an absent node.

A request is repeated only where that cannot do anything twice: reads, predictions, and
submissions, whose bytes are signed once and have one id however often they are sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, cast

import httpx

from quorate.errors import NotFoundError, RefusedError, UnreachableError

__all__ = ["Connection"]

ATTEMPTS_MAX = 5
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 2.0
HEIGHT_HEADER = "Block-Height"

_RETRY_STATUSES = frozenset({429, 503})

Json = dict[str, Any]


class Connection:
    """Requests to one node.

    Parameters
    ----------
    url : of the node, ``http://127.0.0.1:8080``.
    timeout_s : seconds to wait for an answer, beyond what a request itself asks to wait.
    transport : replaces the network, for tests and for programs that bring their own.
    pause : sleeps for some seconds between attempts.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.Client(base_url=url, timeout=timeout_s, transport=transport)
        self._pause = pause
        self.height = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._http.close()

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Json:
        """Return the JSON object at a path; raises as :meth:`post`."""
        return self._read(self._request("GET", path, parameters, None))

    def get_bytes(self, path: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """Return the bytes at a path; raises as :meth:`post`."""
        response = self._request("GET", path, parameters, None)
        if not response.is_success:
            self._read(response)
        return response.content

    def post(self, path: str, body: Json, parameters: Mapping[str, Any] | None = None) -> Json:
        """Send a JSON object and return the answer.

        Raises
        ------
        UnreachableError
            No node answered, after several attempts.
        RefusedError
            The node answered with a problem; ``NotFoundError`` if it has no such thing.
        """
        return self._read(self._request("POST", path, parameters, body))

    def _request(
        self, method: str, path: str, parameters: Mapping[str, Any] | None, body: Json | None
    ) -> httpx.Response:
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        timeout_s = self._timeout_s + float(given.get("timeout", 0))
        pause_s = PAUSE_FIRST_S
        for attempt in range(1, ATTEMPTS_MAX + 1):
            is_last = attempt == ATTEMPTS_MAX
            try:
                response = self._http.request(
                    method, path, params=given, json=body, timeout=timeout_s
                )
            except httpx.TransportError as error:
                if is_last:
                    raise UnreachableError(
                        f"no answer from {self._http.base_url}: {error or type(error).__name__}"
                    ) from error
            else:
                if is_last or response.status_code not in _RETRY_STATUSES:
                    return response
            self._pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
        raise UnreachableError(f"no answer from {self._http.base_url}")

    def _read(self, response: httpx.Response) -> Json:
        """Return the JSON object of an answer, or raise what it says."""
        height = response.headers.get(HEIGHT_HEADER, "")
        if height.isdigit():
            self.height = max(self.height, int(height))
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise UnreachableError(
                f"{response.request.url} answered {response.status_code} without a JSON object; "
                "is it a node?"
            )
        if response.is_success:
            return cast(Json, body)
        raise _make_refusal(response.status_code, body)


def _make_refusal(status: int, body: Json) -> RefusedError:
    kind = NotFoundError if status == 404 else RefusedError
    return kind(
        status,
        str(body.get("code", "unknown")),
        str(body.get("detail", body)),
        field=body.get("field"),
        value=body.get("value"),
        limit=body.get("limit"),
    )
