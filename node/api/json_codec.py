"""How values look in JSON: hashes and keys as hexadecimal, accounts as ``qr1…``, money as strings.

Amounts and nonces are unsigned 64-bit numbers, which JavaScript would round, so they are strings
of digits. Heights, versions and counts stay far below 2^53 and are numbers. Times are RFC 3339 in
UTC, from the milliseconds of block headers.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from fastapi import Request

from primitives.accounts import AccountId, account_from_text, account_to_text
from primitives.errors import InvalidInputError
from primitives.hashing import HASH_BYTES

__all__ = [
    "account_or_none",
    "decode_bytes",
    "format_time",
    "parse_account",
    "parse_hash",
    "read_body",
]


LAST_TIME_MS = 253_402_300_799_000
"""The last second of the year 9999."""


def format_time(timestamp_ms: int) -> str:
    """Return a block's time as RFC 3339, UTC, milliseconds."""
    # Later than the calendar of this format goes: a wait of thousands of years.
    time = datetime.fromtimestamp(min(timestamp_ms, LAST_TIME_MS) / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def account_or_none(account: AccountId | None) -> str | None:
    """Return ``qr1…``, or None."""
    return None if account is None else account_to_text(account)


def parse_account(text: str) -> AccountId:
    """Return the account that a path or query names; raises ``malformed_request``."""
    try:
        return account_from_text(text)
    except InvalidInputError as error:
        raise InvalidInputError(
            "malformed_request", error.message, field="account", value=text, limit=error.limit
        ) from error


def parse_hash(text: str, field: str) -> bytes:
    """Return the 32 bytes that 64 hexadecimal digits name; raises ``malformed_request``."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES or len(text) != 2 * HASH_BYTES:
        raise InvalidInputError(
            "malformed_request",
            f"{field} must be {2 * HASH_BYTES} hexadecimal digits, found {len(text)} characters",
            field=field,
            value=text,
            limit=2 * HASH_BYTES,
        )
    return value


def decode_bytes(text: str, encoding: str, field: str) -> bytes:
    """Return the bytes of hexadecimal or base64 text; raises ``malformed_request``."""
    try:
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        return binascii.unhexlify(text)
    except ValueError as error:
        raise InvalidInputError(
            "malformed_request", f"{field} is no {encoding}: {error}", field=field
        ) from error


async def read_body(request: Request, bytes_max: int) -> bytes:
    """Return the body of a request without ever holding more than ``bytes_max`` of it.

    Raises
    ------
    InvalidInputError
        ``too_large``.
    """
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdigit() else 0
    pieces: list[bytes] = []
    if size <= bytes_max:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > bytes_max:
                break
            pieces.append(piece)
    if size > bytes_max:
        raise InvalidInputError(
            "too_large",
            f"a body of {size} bytes or more is above the limit {bytes_max}",
            field="body",
            value=size,
            limit=bytes_max,
        )
    return b"".join(pieces)
