"""Pages of long lists: how many items, from where on, and at which height."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import Query

from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX

__all__ = [
    "PAGE_LIMIT_DEFAULT",
    "CursorQuery",
    "HeightQuery",
    "LimitQuery",
    "decode_cursor",
    "encode_cursor",
]

PAGE_LIMIT_DEFAULT = 50
PAGE_LIMIT_MAX = 200
CURSOR_CHARACTERS_MAX = 512

LimitQuery = Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX, description="Most items of a page.")]
CursorQuery = Annotated[
    str | None, Query(description="`next_cursor` of the page before, as it was; opaque.")
]
HeightQuery = Annotated[
    int | None,
    Query(ge=0, le=COUNTER_MAX, description="Answer as of this final block; the last if absent."),
]


def encode_cursor(position: bytes) -> str:
    """Return an opaque cursor; clients hand it back unread."""
    return base64.urlsafe_b64encode(position).rstrip(b"=").decode("ascii")


def decode_cursor(cursor: str | None) -> bytes | None:
    """Return the position that a cursor stands for; raises ``malformed_request``."""
    if cursor is None:
        return None
    try:
        if len(cursor) > CURSOR_CHARACTERS_MAX:
            raise ValueError("too long")
        data = cursor.encode("ascii")
        return base64.b64decode(data + b"=" * (-len(data) % 4), b"-_", validate=True)
    except ValueError as error:
        raise InvalidInputError(
            "malformed_request",
            "cursor is none that this service gave out",
            field="cursor",
            value=cursor,
        ) from error
