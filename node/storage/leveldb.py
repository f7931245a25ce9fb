"""The ledger's key-value store on LevelDB, through plyvel.

One process may open a folder at a time; LevelDB keeps a lock file for that. Passes the same
contract suite as `ledger.key_value.MemoryKeyValueStore`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import plyvel

from ledger.key_value import KeyValueReader
from primitives.errors import CorruptStateError

__all__ = ["LevelKeyValueStore"]

WRITE_BUFFER_BYTES = 16 * 1024 * 1024
CACHE_BYTES = 32 * 1024 * 1024

Pair = tuple[bytes, bytes]


class _LevelReader:
    """Reading from a database or from a snapshot of one."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None."""
        value: bytes | None = self._source.get(key)
        return value

    def iterate(
        self, start: bytes | None = None, stop: bytes | None = None, reverse: bool = False
    ) -> Iterator[Pair]:
        """Return the pairs with start ≤ key < stop, ascending unless ``reverse``."""
        with self._source.iterator(start=start, stop=stop, reverse=reverse) as pairs:
            yield from pairs

    def close(self) -> None:
        """Give back what is held."""
        self._source.close()


class LevelKeyValueStore(_LevelReader):
    """An ordered key-value store in one folder.

    Parameters
    ----------
    folder
        Made when it is missing.

    Raises
    ------
    CorruptStateError
        The folder is no database, does not read back, or another process has it open.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            database = plyvel.DB(
                str(folder),
                create_if_missing=True,
                paranoid_checks=True,
                write_buffer_size=WRITE_BUFFER_BYTES,
                lru_cache_size=CACHE_BYTES,
                bloom_filter_bits=10,
            )
        except (plyvel.Error, OSError) as error:
            raise CorruptStateError(
                f"the database in {folder} cannot be opened; is another node using this home?"
                f" ({error})"
            ) from error
        super().__init__(database)

    def write(self, puts: Sequence[Pair], deletes: Sequence[bytes], sync: bool) -> None:
        """Change several keys together; durable on return if ``sync``."""
        with self._source.write_batch(transaction=False, sync=sync) as batch:
            for key, value in puts:
                batch.put(key, value)
            for key in deletes:
                batch.delete(key)

    def snapshot(self) -> KeyValueReader:
        """Return the store as it is now, whatever is written later."""
        return _LevelReader(self._source.snapshot())
