"""The ordered key-value store that the ledger needs, as a protocol, and its twin in memory.

The durable one (LevelDB) is outside this package and passes the same contract suite.
Source: docs/spec/ledger.md §11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakSet

from ledger.sorted_keys import SortedKeys

__all__ = ["KeyValueReader", "KeyValueStore", "MemoryKeyValueStore", "WriteBatch"]

Pair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """Changes that take effect together or not at all.

    Parameters
    ----------
    puts : keys and their new values; a key occurs once.
    deletes : keys that go away; disjoint from the keys of `puts`.
    """

    puts: Sequence[Pair]
    deletes: Sequence[bytes] = ()


class KeyValueReader(Protocol):
    """Reading from an ordered key-value store; keys are compared byte by byte."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None."""
        ...

    def iterate(
        self, start: bytes | None = None, stop: bytes | None = None, reverse: bool = False
    ) -> Iterator[Pair]:
        """Return the pairs with start ≤ key < stop, as they are now, ascending unless `reverse`.

        Parameters
        ----------
        start, stop : bounds; None is open.
        reverse : descending from just below `stop`.
        """
        ...

    def close(self) -> None:
        """Give back what the store holds; it must not be used any more."""
        ...


class KeyValueStore(KeyValueReader, Protocol):
    """An ordered key-value store."""

    def write(self, puts: Sequence[Pair], deletes: Sequence[bytes], sync: bool) -> None:
        """Change several keys together.

        Parameters
        ----------
        puts, deletes : as in `WriteBatch`.
        sync : return only once the changes survive a loss of power.
        """
        ...

    def snapshot(self) -> KeyValueReader:
        """Return the store as it is now, whatever is written later."""
        ...


class _Iteration:
    """An iteration under way over keys and values that nobody changes meanwhile."""

    __slots__ = ("__weakref__", "_keys", "_values")

    def __init__(self, keys: Iterator[bytes], values: Mapping[bytes, bytes]) -> None:
        self._keys = keys
        self._values = values

    def __iter__(self) -> Iterator[Pair]:
        return self

    def __next__(self) -> Pair:
        key = next(self._keys)
        return key, self._values[key]


class MemoryKeyValueStore:
    """A key-value store in memory, for tests, the simulator and replays."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys = SortedKeys()
        self._iterations: WeakSet[_Iteration] = WeakSet()

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None."""
        return self._values.get(key)

    def iterate(
        self, start: bytes | None = None, stop: bytes | None = None, reverse: bool = False
    ) -> Iterator[Pair]:
        """Return the pairs with start ≤ key < stop, as they are now, ascending unless `reverse`."""
        iteration = _Iteration(self._keys.iterate(start, stop, reverse=reverse), self._values)
        self._iterations.add(iteration)
        return iteration

    def write(self, puts: Sequence[Pair], deletes: Sequence[bytes], sync: bool) -> None:
        """Change several keys together; there is nothing to sync."""
        del sync
        if self._iterations:
            # Those under way keep what they started with.
            self._values = dict(self._values)
            self._keys = self._keys.copy()
            self._iterations.clear()
        values = self._values
        for key in deletes:
            if values.pop(key, None) is not None:
                self._keys.remove(key)
        for key, value in puts:
            if key not in values:
                self._keys.add(key)
            values[key] = value

    def snapshot(self) -> MemoryKeyValueStore:
        """Return an independent copy."""
        copy = MemoryKeyValueStore()
        copy._values = dict(self._values)
        copy._keys = self._keys.copy()
        return copy

    def close(self) -> None:
        """Keep everything: a test may open the same store again after a simulated crash."""
