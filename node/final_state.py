"""The final state as functions of the ledger want to read it."""

from __future__ import annotations

from collections.abc import Callable

from ledger.reader import LedgerReader
from ledger.schema import RecordT

__all__ = ["FinalState"]


class FinalState:
    """The final state as the ledger's metering wants to read it; any thread may.

    Parameters
    ----------
    reader
        Of the database.
    """

    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader

    def get(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        """Return the record under a state key, or None if there is none."""
        return self._reader.read(key, decode)
