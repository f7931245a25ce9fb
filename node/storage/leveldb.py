"""The ledger's key-value store on LevelDB, through plyvel.

One process may open a folder at a time; LevelDB keeps a lock file for that. Passes the same
contract suite as `ledger.key_value.MemoryKeyValueStore`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import plyvel

from ledger.key_value import KeyValueReader
from node.storage.durable_files import make_folder
from primitives.errors import CorruptStateError, InvalidInputError

__all__ = ["LevelKeyValueStore"]

WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
CACHE_BYTES: Final = 32 * 1024 * 1024

Pair = tuple[bytes, bytes]


class _LevelReader:
    """Reading from a database or from a snapshot of one; checksums are always verified."""

    def __init__(self, source: Any, folder: Path) -> None:
        self._source = source
        self._folder = folder

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None.

        Raises
        ------
        CorruptStateError
            The disk does not give back what was written.
        """
        with _naming_damage(self._folder):
            value: bytes | None = self._source.get(key, verify_checksums=True)
        return value

    def iterate(
        self, start: bytes | None = None, stop: bytes | None = None, reverse: bool = False
    ) -> Iterator[Pair]:
        """Return the pairs with start ≤ key < stop, as they are now, ascending unless ``reverse``.

        Raises
        ------
        CorruptStateError
            The disk does not give back what was written.
        """
        with _naming_damage(self._folder):
            pairs = self._source.iterator(
                # Going backwards, plyvel 1.5 misses the only key of a range if it equals its start.
                start=None if reverse else start,
                stop=stop,
                reverse=reverse,
                verify_checksums=True,
            )
        return _walk(pairs, start if reverse else None, self._folder)

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
    InvalidInputError
        ``home_in_use``: another process, or this one, has the folder open.
    CorruptStateError
        The folder is no database or does not read back.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        with _naming_damage(folder):
            super().__init__(_open(folder), folder)

    def write(self, puts: Sequence[Pair], deletes: Sequence[bytes], sync: bool) -> None:
        """Change several keys together; durable on return if ``sync``.

        Raises
        ------
        CorruptStateError
            The disk did not take the changes.
        """
        batch = self._source.write_batch(sync=sync)
        for key, value in puts:
            batch.put(key, value)
        for key in deletes:
            batch.delete(key)
        with _naming_damage(self._folder):
            batch.write()

    def snapshot(self) -> KeyValueReader:
        """Return the store as it is now, whatever is written later."""
        return _LevelReader(self._source.snapshot(), self._folder)


def _open(folder: Path) -> Any:
    try:
        return plyvel.DB(
            str(folder),
            create_if_missing=True,
            paranoid_checks=True,
            write_buffer_size=WRITE_BUFFER_BYTES,
            lru_cache_size=CACHE_BYTES,
            bloom_filter_bits=10,
        )
    except plyvel.IOError as error:
        # LevelDB tells this from other failures by its text alone.
        if f"lock {folder}/LOCK" not in str(error):
            raise
        raise InvalidInputError(
            "home_in_use",
            f"the database in {folder} is open already, most likely in another node process",
            field="home",
            value=str(folder),
        ) from error


def _walk(pairs: Any, floor: bytes | None, folder: Path) -> Iterator[Pair]:
    """Yield pairs to the end, or to the first key below a floor."""
    with pairs, _naming_damage(folder):
        for key, value in pairs:
            if floor is not None and key < floor:
                return
            yield key, value


@contextlib.contextmanager
def _naming_damage(folder: Path) -> Iterator[None]:
    """Turn the failures of LevelDB into ours."""
    try:
        yield
    except (plyvel.Error, OSError) as error:
        raise CorruptStateError(f"the database in {folder} does not answer: {error}") from error
