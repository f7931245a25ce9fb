"""On how many days, and how many in a row, an account did work that was validated.

Contributions are validated in any order, so the days of the last while are kept as a set: bit i of
``recent`` stands for the i-th day before the last one. A day that is older than the set reaches is
not counted, and no streak is longer than the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DAY_MS", "WINDOW_DAYS", "ActiveDays"]

DAY_MS: Final = 24 * 3600 * 1000

WINDOW_DAYS: Final = 64
"""Days that are told apart; also the longest streak that is counted."""

_WINDOW: Final = (1 << WINDOW_DAYS) - 1


@dataclass(frozen=True, slots=True)
class ActiveDays:
    """Days, counted from 1970 in UTC, of contributions that were validated.

    Parameters
    ----------
    count
        How many different ones.
    longest_streak
        Most of them in a row, at most ``WINDOW_DAYS``.
    last
        The latest of them; 0 before the first.
    recent
        Set of the last ``WINDOW_DAYS`` days: bit i stands for the day ``last`` − i.
    """

    count: int = 0
    longest_streak: int = 0
    last: int = 0
    recent: int = 0

    def note(self, day: int) -> ActiveDays:
        """Return the days with one more, unless it is counted or too long ago."""
        last = max(self.last, day) if self.recent else day
        ahead = last - self.last
        recent = self.recent << ahead & _WINDOW if ahead < WINDOW_DAYS else 0
        age = last - day
        if age >= WINDOW_DAYS or recent >> age & 1:
            return self
        recent |= 1 << age
        streak = max(self.longest_streak, _count_run(recent, age))
        return ActiveDays(self.count + 1, streak, last, recent)

    def compute_streak(self, today: int) -> int:
        """Return how many days in a row led up to today, or to yesterday."""
        return _count_run(self.recent, 0) if today - self.last <= 1 else 0


def _count_run(days: int, place: int) -> int:
    """Return the length of the run of set bits around a place."""
    first = last = place
    while first and days >> (first - 1) & 1:
        first -= 1
    while days >> last & 1:
        last += 1
    return last - first
