"""Conservation: nobody pays what was not there, nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from incentives.book import Book
from incentives.mechanism import Outcome
from incentives.staking import SharePool
from incentives.support import SupportPot, SupportShare
from primitives.errors import InvariantViolationError

__all__ = [
    "split_karma",
    "verify_collection",
    "verify_movement",
    "verify_outcome",
    "verify_pool_change",
    "verify_settlement",
    "verify_split",
]


def split_karma(before: Book, outcome: Outcome, *, is_refund: bool) -> tuple[int, int]:
    """Return the points of karma that an outcome returns to the contributor, and those lost.

    A refund returns those of the untouched samples that it validates; whatever else the book holds
    less than before is lost. So no more points return than were staked.
    """
    if not before.karma_share:
        return 0, 0
    validated = outcome.samples & before.untouched if is_refund else 0
    returned = validated.bit_count() * before.karma_share
    return returned, before.karma_held - outcome.book.karma_held - returned


def verify_collection(pot: SupportPot, share: SupportShare) -> None:
    """Verify that a pot holds what an account is owed from it (U1 of ``incentives.support``).

    Raises
    ------
    InvariantViolationError
        Somebody's validated samples changed without being settled; the node stops rather than pay.
    """
    if not 0 <= share.owed <= pot.held:
        raise InvariantViolationError(f"{share.owed} is owed, the pot holds {pot.held}")


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


def verify_pool_change(
    before: SharePool, after: SharePool, *, came_in: int = 0, went_out: int = 0
) -> None:
    """Verify that a pool of shares neither made nor lost money, and that who stays lost nothing.

    Not for a slash, which is there to take from those who stay.

    Raises
    ------
    InvariantViolationError
        The arithmetic is wrong; the node stops rather than pay.
    """
    is_conserved = after.tokens == before.tokens + came_in - went_out
    is_negative = min(after.tokens, after.shares, came_in, went_out) < 0
    is_cheaper = after.tokens * before.shares < before.tokens * after.shares
    if not is_conserved or is_negative or is_cheaper or (after.tokens and not after.shares):
        raise InvariantViolationError(
            f"a pool went from {before} to {after}, with {came_in} in and {went_out} out"
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


def verify_split(amount: int, parts: Sequence[int]) -> None:
    """Verify that parts of an amount are not negative and not more than it together.

    Raises
    ------
    InvariantViolationError
        The arithmetic is wrong; the node stops rather than pay.
    """
    if sum(parts) > amount or min(parts, default=0) < 0:
        raise InvariantViolationError(f"{amount} was split into {list(parts)}")
