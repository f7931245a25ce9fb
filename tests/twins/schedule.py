"""A rotation of leaders whose first turns a test chooses."""

from __future__ import annotations

from consensus.leader import LeaderSchedule

__all__ = ["ChosenLeaders"]


class ChosenLeaders(LeaderSchedule):
    """The core's own rotation, but for the first views.

    Parameters
    ----------
    count : validators.
    first : leaders of views 1, 2, …; then the rotation goes on as always.
    """

    __slots__ = ("_first",)

    def __init__(self, count: int, first: tuple[int, ...]) -> None:
        super().__init__(count)
        self._first = first

    def leader(self, view: int) -> int:
        """Return the index of the validator that leads a view."""
        if 1 <= view <= len(self._first):
            return self._first[view - 1]
        return super().leader(view)
