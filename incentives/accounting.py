"""Conservation: nobody pays what was not there, nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Iterable

from incentives.book import Book
from incentives.mechanism import Outcome
from primitives.errors import InvariantViolationError

__all__ = ["verify_movement", "verify_outcome", "verify_settlement"]


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


def verify_movement(*, balances: int, held: int, burnt: int, minted: int) -> None:
    """Verify that money only moved: what balances, deposits and ashes gained was minted.

    Parameters
    ----------
    balances, held, burnt : by how much each grew in one transaction; negative if it shrank.
    minted : new money.

    Raises
    ------
    InvariantViolationError
        Money was made or lost; the node stops rather than go on with it.
    """
    if balances + held + burnt != minted:
        raise InvariantViolationError(
            f"balances grew by {balances}, held money by {held}, burnt money by {burnt},"
            f" of which {minted} was minted"
        )


def verify_settlement(held: int, payouts: Iterable[int], burnt: int = 0) -> None:
    """Verify that a settlement pays out or burns exactly what is held.

    Parameters
    ----------
    held
        Bounty and stakes together.
    payouts
        To accounts.
    burnt
        What nobody gets.

    Raises
    ------
    InvariantViolationError
        The settlement is wrong; the node stops rather than pay.
    """
    amounts = tuple(payouts)
    if min((*amounts, burnt)) < 0 or sum(amounts) + burnt != held:
        raise InvariantViolationError(
            f"a settlement of {held} pays {sum(amounts)} in {len(amounts)} parts and burns {burnt}"
        )
