"""Keys of the store that exist only where a ledger began with a snapshot.

::

    m/base              height of the snapshot, u64; below it nothing of the chain is held
    m/imported          id of the snapshot whose state is in the store already, but not yet all else
    s/ transaction id   envelope of a transaction below the base whose payload is held
"""

from __future__ import annotations

from typing import Final

__all__ = ["BASE_KEY", "IMPORTED_KEY", "kept_envelope_key"]

BASE_KEY: Final = b"m/base"
IMPORTED_KEY: Final = b"m/imported"


def kept_envelope_key(transaction_id: bytes) -> bytes:
    """Return where an envelope is whose block is not held."""
    return b"s/" + transaction_id
