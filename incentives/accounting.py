"""Conservation: what a mechanism pays is what its book holds less than before."""

from __future__ import annotations

from incentives.book import Book
from incentives.mechanism import Outcome
from primitives.errors import InvariantViolationError

__all__ = ["verify_outcome"]


def verify_outcome(before: Book, outcome: Outcome) -> None:
    """Verify that an outcome neither makes nor loses money, and opens nothing.

    Raises
    ------
    InvariantViolationError
        The mechanism is wrong; the node stops rather than pay.
    """
    after = outcome.book
    if outcome.paid < 0 or before.held != after.held + outcome.paid:
        raise InvariantViolationError(
            f"a mechanism held {before.held}, paid {outcome.paid} and holds {after.held}"
        )
    if after.open_samples & ~before.open_samples:
        raise InvariantViolationError("a mechanism opened a sample that was closed")
