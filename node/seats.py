"""Who sits where: members by number, as the network knows them, and by validator index.

A member's number is its place in the registry and never changes; a validator index is a place in
the validator set of one epoch. Consensus speaks of indices, the network of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Seats"]


class Seats:
    """The members of one epoch.

    Parameters
    ----------
    numbers
        Of the validators, by validator index.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = tuple(numbers)
        self._indices = {number: index for index, number in enumerate(self._numbers)}

    def index_of(self, number: int) -> int:
        """Return what consensus calls a member: its index, or a number no validator has."""
        index = self._indices.get(number)
        return len(self._numbers) + number if index is None else index

    def number_of(self, index: int) -> int:
        """Return the number of the member that consensus calls by ``index``."""
        count = len(self._numbers)
        return self._numbers[index] if index < count else index - count
