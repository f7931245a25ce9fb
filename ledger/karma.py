"""Karma is earned here and nowhere else: by what transactions find to be good or bad work."""

from __future__ import annotations

from ledger.model_records import karma_key, overall_karma_key, read_karma
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import AccountId

__all__ = ["credit_karma"]


def credit_karma(
    context: ExecutionContext, account: AccountId, model: str, *, points: int, valid: int
) -> None:
    """Give an account karma, on a model and overall.

    Parameters
    ----------
    account : that did good work.
    model : name of the model that it did it on.
    points : of karma, ≥ 0.
    valid : samples of its own that were found good, ≥ 0.
    """
    for key in (karma_key(account, model), overall_karma_key(account)):
        context.put(key, read_karma(context, key).add(points, valid))
