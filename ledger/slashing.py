"""What a stake pays for a broken vote rule. Source: docs/spec/ledger.md §16.

A pool is slashed once and *tombstoned* with it, for good. One fault, a validator restored from an
old backup say, leaves contradictions in several epochs before anybody can stop it; so the cap makes
what delegators risk a known number, and what is left backs nobody any more.

Invariant: evidence is taken for fewer epochs than unbonding lasts, so all money that stood behind
the validator in the epoch of the evidence is still in its pool or on the way out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from incentives.staking import slash_pool
from ledger.stake_records import (
    decode_unbonding_pool,
    read_stake_pool,
    stake_key,
    unbonding_pool_key,
)
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import AccountId

__all__ = ["slash_validator"]

PERCENT: Final = 100


def slash_validator(
    context: ExecutionContext, culprit: AccountId, epoch: int, reporter: AccountId | None
) -> tuple[int, int]:
    """Take the governed part of a validator's stake, and of what began to leave it since.

    Parameters
    ----------
    context : of the transaction that brought the evidence.
    culprit : account of the validator.
    epoch : of the evidence, this one or one of a few before.
    reporter : paid its part of what is taken, or None if all of that burns.

    Returns
    -------
    tuple of int
        What was taken, and what of it was paid to the reporter; zeros if it was slashed before.
    """
    stake = read_stake_pool(context, culprit)
    if stake.is_tombstoned:
        return 0, 0
    percent = context.parameters.slash_percent
    pool, taken = slash_pool(stake.pool, percent)
    for began in range(epoch, context.parameters.epoch_of(context.height) + 1):
        key = unbonding_pool_key(culprit, began)
        unbonding = context.get(key, decode_unbonding_pool)
        if unbonding is not None:
            left, more = slash_pool(unbonding.pool, percent)
            taken += more
            context.put(key, replace(unbonding, pool=left))
    context.put(
        stake_key(culprit),
        replace(stake, pool=pool, is_tombstoned=True, slashed=stake.slashed + taken),
    )
    paid = _pay(context, reporter, taken)
    if taken > paid:
        context.release(None, taken - paid)
    return taken, paid


def _pay(context: ExecutionContext, reporter: AccountId | None, taken: int) -> int:
    """Pay the reporter its part of what was taken, if it is anything."""
    part = taken * context.parameters.slash_reporter_percent // PERCENT
    if reporter is None or part == 0:
        return 0
    context.release(reporter, part)
    return part
