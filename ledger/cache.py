"""A bounded memory of what was read or written last."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class BoundedCache(Generic[KeyT, ValueT]):
    """Key → value up to a total weight; what was put longest ago goes first.

    Parameters
    ----------
    weight_max : most weight of all values together. A heavier value is not kept.
    weigh : weight of a value, always the same for the same value; 1 for each if left out.

    Notes
    -----
    Order of insertion, not of use: a read costs one dictionary look-up and nothing else, and what
    is used much is written much in a ledger.
    """

    def __init__(self, weight_max: int, weigh: Callable[[ValueT], int] | None = None) -> None:
        self._weight_max = weight_max
        self._weigh = weigh
        self._weight = 0
        self._values: dict[KeyT, ValueT] = {}
        self.get = self._values.get
        """Return the value under a key, or the second argument, None if left out."""

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: KeyT, value: ValueT) -> None:
        """Keep a value, and drop the oldest ones if it gets too much."""
        values = self._values
        self.discard(key)
        values[key] = value
        self._weight += self._weight_of(value)
        while self._weight > self._weight_max:
            self.discard(next(iter(values)))

    def discard(self, key: KeyT) -> None:
        """Forget a key; nothing happens if it is not there."""
        if key in self._values:
            self._weight -= self._weight_of(self._values.pop(key))

    def _weight_of(self, value: ValueT) -> int:
        return 1 if self._weigh is None else self._weigh(value)
