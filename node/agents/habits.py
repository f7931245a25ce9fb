"""What an agent has and does by habit: money, patience, mistakes; all drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from primitives.errors import InvalidInputError

__all__ = ["HABIT_NAMES", "Habits", "draw_deposit", "draw_wait_ms"]

_REDRAWS_MAX: Final = 1_000
SECOND_MS: Final = 1_000

_LIMITS: Final = {
    "balance": (0.0, 1e9),
    "deposit_mean": (0.0, 1e9),
    "deposit_sd": (0.0, 1e9),
    "wait_mean_s": (1.0, 1e7),
    "wait_sd_s": (0.0, 1e7),
    "mistakes": (0.0, 1.0),
    "batch": (1.0, 100.0),
    "accounts": (1.0, 64.0),
}


@dataclass(frozen=True, slots=True)
class Habits:
    """Habits of one kind of agents.

    Parameters
    ----------
    balance
        Money at first, in coins, shared among the accounts.
    deposit_mean, deposit_sd
        Coins that it is willing to deposit for a sample; it skips a turn when the price is above.
    wait_mean_s, wait_sd_s
        Seconds between two turns.
    mistakes
        Probability of a wrong label, in [0, 1].
    batch
        Samples in one contribution.
    accounts
        Among which it splits its work.
    """

    balance: float = 10_000
    deposit_mean: float = 50
    deposit_sd: float = 10
    wait_mean_s: float = 600
    wait_sd_s: float = 120
    mistakes: float = 0.0001
    batch: int = 1
    accounts: int = 1

    def change(self, name: str, value: float) -> Habits:
        """Return habits of which one is different.

        Raises
        ------
        InvalidInputError
            ``malformed`` for an unknown name, ``out_of_range``.
        """
        if name not in _LIMITS:
            raise InvalidInputError(
                "malformed",
                f"no habit is named {name!r}; known are {', '.join(HABIT_NAMES)}",
                field="habit",
                value=name,
            )
        low, high = _LIMITS[name]
        # Written so that what is no number is refused too.
        if not low <= value <= high:
            raise InvalidInputError(
                "out_of_range",
                f"{name} must lie in [{low:g}, {high:g}], found {value:g}",
                field=name,
                value=value,
                limit=low if value < low else high,
            )
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        known[name] = int(value) if name in ("batch", "accounts") else float(value)
        return Habits(**known)


HABIT_NAMES: Final = tuple(field.name for field in fields(Habits))


def draw_deposit(habits: Habits, chance: np.random.Generator) -> float:
    """Return what an agent would deposit for a sample this time, in coins, above 0."""
    for _ in range(_REDRAWS_MAX):
        deposit = float(chance.normal(habits.deposit_mean, habits.deposit_sd))
        if deposit > 0:
            return deposit
    return 0.0


def draw_wait_ms(habits: Habits, chance: np.random.Generator) -> int:
    """Return how long an agent waits for its next turn, at least a second."""
    wait_s = float(chance.normal(habits.wait_mean_s, habits.wait_sd_s))
    return max(SECOND_MS, round(wait_s * SECOND_MS))
