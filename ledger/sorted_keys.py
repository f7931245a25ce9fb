"""Keys in order, in memory: added, removed and walked through at a cost that hardly grows.

A sorted list of short sorted lists. One long list would be moved as a whole by every insertion: a
chain of tens of thousands of blocks has a million keys.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["SortedKeys"]

_BUCKET_KEYS_MAX: Final = 1_024


class SortedKeys:
    """A set of keys that knows their order.

    Parameters
    ----------
    buckets : of sorted keys, ascending, none of them empty; copied.

    Examples
    --------
    >>> keys = SortedKeys()
    >>> for key in (b"c", b"a", b"b"):
    ...     keys.add(key)
    >>> list(keys.iterate(b"a", b"c", reverse=True))
    [b'b', b'a']
    """

    __slots__ = ("_buckets", "_lasts")

    def __init__(self, buckets: Iterable[Iterable[bytes]] = ()) -> None:
        self._buckets = [list(bucket) for bucket in buckets]
        self._lasts = [bucket[-1] for bucket in self._buckets]

    def copy(self) -> SortedKeys:
        """Return an independent copy."""
        return SortedKeys(self._buckets)

    def add(self, key: bytes) -> None:
        """Add a key that is not there."""
        if not self._buckets:
            self._buckets.append([key])
            self._lasts.append(key)
            return
        place = min(bisect_left(self._lasts, key), len(self._lasts) - 1)
        bucket = self._buckets[place]
        insort(bucket, key)
        if len(bucket) > _BUCKET_KEYS_MAX:
            upper = bucket[_BUCKET_KEYS_MAX // 2 :]
            del bucket[_BUCKET_KEYS_MAX // 2 :]
            self._buckets.insert(place + 1, upper)
            self._lasts.insert(place + 1, upper[-1])
        self._lasts[place] = bucket[-1]

    def remove(self, key: bytes) -> None:
        """Remove a key that is there."""
        place = bisect_left(self._lasts, key)
        bucket = self._buckets[place]
        del bucket[bisect_left(bucket, key)]
        if bucket:
            self._lasts[place] = bucket[-1]
        else:
            del self._buckets[place]
            del self._lasts[place]

    def iterate(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[bytes]:
        """Yield the keys with start ≤ key < stop; nothing may be added or removed meanwhile."""
        return self._descend(start, stop) if reverse else self._ascend(start, stop)

    def _ascend(self, start: bytes | None, stop: bytes | None) -> Iterator[bytes]:
        first = 0 if start is None else bisect_left(self._lasts, start)
        for place in range(first, len(self._buckets)):
            bucket = self._buckets[place]
            low = 0 if start is None else bisect_left(bucket, start)
            high = len(bucket) if stop is None else bisect_left(bucket, stop)
            yield from bucket[low:high]
            if high < len(bucket):
                return

    def _descend(self, start: bytes | None, stop: bytes | None) -> Iterator[bytes]:
        last = len(self._lasts) if stop is None else bisect_left(self._lasts, stop) + 1
        for place in range(min(last, len(self._buckets)) - 1, -1, -1):
            bucket = self._buckets[place]
            low = 0 if start is None else bisect_left(bucket, start)
            high = len(bucket) if stop is None else bisect_left(bucket, stop)
            yield from reversed(bucket[low:high])
            if low:
                return
