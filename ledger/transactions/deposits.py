"""The deposit of a contribution: its price, in money and karma, and who may pay it."""

from __future__ import annotations

from incentives.deposit import split_price
from incentives.registry import get_mechanism
from ledger.errors import TransactionFailedError
from ledger.karma import count_sponsored, stake_karma
from ledger.model_records import Model, ModelProgress
from ledger.transactions.kind import ExecutionContext

__all__ = ["take_deposit"]


def take_deposit(
    context: ExecutionContext,
    model: Model,
    progress: ModelProgress,
    *,
    samples: int,
    max_deposit: int,
    karma: int,
) -> tuple[int, int]:
    """Hold the deposit of a batch, of money from the payer and karma from the sender.

    Parameters
    ----------
    context : the transaction.
    model, progress : what is contributed to.
    samples : in the batch, at least 1.
    max_deposit : most money for the whole batch.
    karma : most points of the sender's karma on the model for the whole batch.

    Returns
    -------
    The money and the points of each sample.

    Raises
    ------
    TransactionFailedError
        ``insufficient_deposit``, ``insufficient_karma``, ``sponsor_limit`` or
        ``insufficient_balance``, in this order.
    """
    terms = model.description.terms
    name = model.description.name
    seconds = (context.timestamp_ms - progress.last_update_ms) // 1000
    price = get_mechanism(terms.mechanism).compute_price(terms, seconds)
    share, karma_share = split_price(terms, price, karma // samples)
    deposit = share * samples
    if deposit > max_deposit:
        raise TransactionFailedError(
            "insufficient_deposit",
            f"{samples} samples at {share} need a deposit of {deposit}, max_deposit is"
            f" {max_deposit}",
        )
    if karma_share:
        stake_karma(context, context.sender, name, karma_share * samples)
    if deposit:
        if context.payer != context.sender:
            limit = terms.sponsored_samples_max
            count_sponsored(context, context.sender, name, samples, limit)
        context.hold(context.payer, deposit)
    return share, karma_share
