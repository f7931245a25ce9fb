"""Account identifiers and the text that people see.

An identifier is fixed by the account's first public key and survives key rotation.
Source: docs/spec/encoding.md §6.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NewType

from primitives.bech32 import bech32m_decode, bech32m_encode
from primitives.errors import InvalidInputError

__all__ = [
    "ACCOUNT_ID_BYTES",
    "ACCOUNT_PREFIX",
    "AccountId",
    "account_from_text",
    "account_id_from_public_key",
    "account_to_text",
]

AccountId = NewType("AccountId", bytes)
"""The 20 bytes that name an account on the ledger."""

ACCOUNT_ID_BYTES = 20
ACCOUNT_PREFIX = "qr"


def account_id_from_public_key(public_key: bytes) -> AccountId:
    """Return the identifier of the account whose first key is `public_key`."""
    return AccountId(sha256(public_key).digest()[:ACCOUNT_ID_BYTES])


def account_to_text(account: AccountId) -> str:
    """Return an account as ``qr1…``, 41 characters."""
    return bech32m_encode(ACCOUNT_PREFIX, account)


_SHOWN_CHARACTERS = 64
"""Of a text that is no account; a true one has fewer."""


def account_from_text(text: str) -> AccountId:
    """Return the account that ``qr1…`` names.

    Raises
    ------
    InvalidInputError
        ``malformed`` if the text is not bech32m, has another prefix or not 20 bytes;
        ``too_large`` if it is far too long.
    """
    try:
        prefix, data = bech32m_decode(text)
    except InvalidInputError as error:
        raise InvalidInputError(
            error.code,
            f"{text[:_SHOWN_CHARACTERS]!r} is no account, {ACCOUNT_PREFIX}1…: {error.message}",
            field="account",
            value=text[:_SHOWN_CHARACTERS],
            limit=error.limit,
        ) from error
    if prefix != ACCOUNT_PREFIX or len(data) != ACCOUNT_ID_BYTES:
        raise InvalidInputError(
            "malformed",
            f"account must start with {ACCOUNT_PREFIX}1 and hold {ACCOUNT_ID_BYTES} bytes, "
            f"found {prefix}1 and {len(data)}",
            field="account",
            value=text,
            limit=ACCOUNT_ID_BYTES,
        )
    return AccountId(data)
