"""Versions of a model by number or alias, and their parameters: stored, or computed again.

What a validator let go is computed again from the checkpoint before and from the contributions
since, whose payloads the node is asked for. Source: docs/spec/ledger.md §11.1.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import anyio

from ledger.model_records import model_key
from ledger.model_tensors import decode_model_tensors, tensors_key
from ledger.model_versions import LATEST, aliases_key, decode_aliases
from ledger.payload import Payload
from ledger.reader import LedgerReader
from ledger.version_replay import Replay
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX

__all__ = ["FetchPayload", "fetch_payloads", "resolve_version"]

FetchPayload = Callable[[bytes], Awaitable[Payload | None]]
"""Asks the node for the payload of a transaction."""

NUMBER = re.compile("[0-9]{1,19}", re.ASCII)
ATTEMPTS_MAX = 50
PAYLOAD_BYTES_MAX = 256 * 1024 * 1024
"""Payloads of one replay, which are in memory together."""

PAUSE_S = 0.2


def resolve_version(ledger: LedgerReader, name: str, text: str) -> int:
    """Return the number of a version that is named by number or alias.

    Raises
    ------
    InvalidInputError
        ``unknown_model``, ``unknown_version``, or ``malformed_request`` for a number that none has.
    """
    if NUMBER.fullmatch(text):
        number = int(text)
        if number > COUNTER_MAX:
            raise InvalidInputError(
                "malformed_request",
                f"version must be a whole number up to {COUNTER_MAX} or an alias, found {text}",
                field="version",
                value=text,
                limit=COUNTER_MAX,
            )
        return number
    tensors = ledger.read(tensors_key(name), decode_model_tensors)
    if tensors is None or ledger.get(model_key(name)) is None:
        raise InvalidInputError(
            "unknown_model", f"there is no model {name!r}", field="model", value=name
        )
    if text == LATEST:
        return tensors.version
    aliases = ledger.read(aliases_key(name), decode_aliases)
    version = None if aliases is None else aliases.get(text)
    if version is None:
        raise InvalidInputError(
            "unknown_version",
            f"model {name!r} has no version called {text[:40]!r}",
            field="version",
            value=text[:40],
        )
    return version


async def fetch_payloads(replay: Replay, fetch: FetchPayload) -> dict[bytes, bytes]:
    """Return the payloads that a replay needs, as far as the node holds them.

    The node answers so many a second only; what it puts off is asked for again.

    Raises
    ------
    InvalidInputError
        ``too_large``: they would not fit into memory; ``too_many_requests`` for too long.
    """
    found: dict[bytes, bytes] = {}
    left = PAYLOAD_BYTES_MAX
    for transaction_id in replay.transaction_ids:
        for attempt in range(ATTEMPTS_MAX):
            try:
                payload = await fetch(transaction_id)
            except InvalidInputError as error:
                if error.code != "too_many_requests" or attempt == ATTEMPTS_MAX - 1:
                    raise
                await anyio.sleep(PAUSE_S)
                continue
            if payload is not None:
                found[transaction_id] = payload.data
                left -= len(payload.data)
            break
        if left < 0:
            raise InvalidInputError(
                "too_large",
                f"version {replay.version} of {replay.name!r} needs more than {PAYLOAD_BYTES_MAX}"
                " bytes of contributions to be learnt again",
                field="version",
                value=replay.version,
                limit=PAYLOAD_BYTES_MAX,
            )
    return found
