"""What a fetch has still to get: each item once, again if it fails, from whom has not said no."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Generic, TypeVar

__all__ = ["FetchQueue"]

ItemT = TypeVar("ItemT", int, bytes)

_AGAIN_MAX: Final = 1_024
"""Above so many items that somebody lacked, nobody is given new ones before they are had."""


class FetchQueue(Generic[ItemT]):
    """Items to fetch.

    Parameters
    ----------
    items
        Taken from as needed, never all at once.
    """

    def __init__(self, items: Iterable[ItemT]) -> None:
        self._fresh: Iterator[ItemT] = iter(items)
        self._has_fresh = True
        self._again: deque[ItemT] = deque()
        self._absent: dict[ItemT, set[int]] = {}
        self._open_count = 0
        self.done_count = 0

    def check_done(self) -> bool:
        """Return whether nothing is left, neither to ask for nor to wait for."""
        if self._has_fresh and not self._again:
            self._again.extend(self._take_fresh(1))
        return not (self._again or self._open_count)

    def take(self, peer: int, count_max: int) -> list[ItemT]:
        """Return items to ask a peer for, as many as there are up to a bound."""
        taken = [item for item in self._again if peer not in self._absent.get(item, ())]
        del taken[count_max:]
        for item in taken:
            self._again.remove(item)
        if len(self._again) < _AGAIN_MAX:
            taken += self._take_fresh(count_max - len(taken))
        self._open_count += len(taken)
        return taken

    def finish(self, item: ItemT) -> None:
        """Take note that an item that was taken is had, or is done without."""
        self._open_count -= 1
        self._absent.pop(item, None)
        self.done_count += 1

    def give_back(self, items: Sequence[ItemT]) -> None:
        """Ask for items again that were taken."""
        self._open_count -= len(items)
        self._again.extendleft(reversed(items))

    def note_absent(self, item: ItemT, peer: int) -> int:
        """Give an item back that a peer does not hold; return how many peers do not."""
        self._absent.setdefault(item, set()).add(peer)
        self.give_back([item])
        return len(self._absent[item])

    def drop(self, item: ItemT) -> None:
        """Do without an item that was given back."""
        self._again.remove(item)
        self._open_count += 1
        self.finish(item)

    def _take_fresh(self, count: int) -> list[ItemT]:
        taken = list(islice(self._fresh, count))
        # A fetch of an exact multiple finds out with the next one.
        self._has_fresh = self._has_fresh and len(taken) == count
        return taken
