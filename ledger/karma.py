"""Karma is earned, staked and lost here and nowhere else: by what transactions find of work.

Points on a model fade with the half-life of its terms, points overall with the governed one. What
was done is counted beside them, and decides badges in the same transaction.

Whoever calls `credit_karma` with validated samples leaves the model's count of them to it: that
count is what voluntary fees are shared by, so the two must never come apart.
Source: docs/spec/incentives.md §5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from incentives.badges import Deserts, Scope, list_deserved
from incentives.karma import PARTS_PER_POINT, halve
from ledger.badge_records import EarnedBadge, badge_key, decode_earned_badge
from ledger.deeds import NO_DEEDS, Deeds
from ledger.errors import TransactionFailedError
from ledger.karma_records import (
    current_points,
    karma_key,
    overall_karma_key,
    read_karma,
)
from ledger.model_records import (
    Model,
    decode_model,
    model_key,
    model_progress_key,
)
from ledger.support_records import read_pot, settle_support
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import get_progress
from primitives.accounts import AccountId

__all__ = ["charge_karma", "count_sponsored", "credit_karma", "settle_staked_karma", "stake_karma"]

_OVERALL: Final = ""


def credit_karma(
    context: ExecutionContext,
    account: AccountId,
    model: str,
    *,
    points: int,
    valid: int,
    deeds: Deeds = NO_DEEDS,
) -> None:
    """Give an account karma, on a model and overall, and the badges that it then deserves.

    Parameters
    ----------
    context : the transaction.
    account : that did good work.
    model : name of the model that it did it on.
    points : of karma, ≥ 0.
    valid : samples of its own that were found good, ≥ 0; the model's count rises by as many, so
        there must be such a model unless this is 0.
    deeds : what else the work shows.
    """
    found = context.get(model_key(model), decode_model)
    now_ms = context.timestamp_ms
    before = read_karma(context, karma_key(account, model))
    if valid:
        _count_valid(context, account, model, valid, before.valid)
    on_model = before.change_points(points, now_ms, _half_life(found)).note(valid, deeds)
    on_model = replace(on_model, models=int(on_model.valid > 0))
    class_count = 0 if found is None else found.description.spec.class_count
    earned = _award(context, account, model, on_model.to_deserts(class_count))
    context.put(karma_key(account, model), replace(on_model, badges=on_model.badges + earned))

    overall = read_karma(context, overall_karma_key(account))
    overall = overall.change_points(points, now_ms, context.parameters.karma_half_life_ms)
    # Classes and regions are numbered by each model for itself: together they mean nothing.
    overall = overall.note(valid, replace(deeds, classes=0, regions=0))
    overall = replace(overall, models=overall.models + on_model.models - before.models)
    earned += _award(context, account, _OVERALL, overall.to_deserts(0))
    context.put(overall_karma_key(account), replace(overall, badges=overall.badges + earned))


def charge_karma(context: ExecutionContext, account: AccountId, model: str, points: int) -> None:
    """Take karma for harm, on a model and overall; nobody falls below 0.

    Parameters
    ----------
    context : the transaction.
    account : that did harm.
    model : name of the model that it did it to.
    points : of karma, ≥ 0.
    """
    for key, half_life_ms in _both(context, account, model):
        karma = read_karma(context, key)
        context.put(key, karma.change_points(-points, context.timestamp_ms, half_life_ms))


def stake_karma(context: ExecutionContext, account: AccountId, model: str, points: int) -> None:
    """Take points out of an account's karma on a model, for the caller's records to keep.

    Karma overall stays: it only falls if the points are lost.

    Raises
    ------
    TransactionFailedError
        ``insufficient_karma``.
    """
    half_life_ms = _half_life(context.get(model_key(model), decode_model))
    karma = read_karma(context, karma_key(account, model))
    owned = current_points(karma, context.timestamp_ms, half_life_ms)
    if owned < points:
        raise TransactionFailedError(
            "insufficient_karma", f"{points} points on {model!r} are to be staked, {owned} are left"
        )
    staked = karma.change_points(-points, context.timestamp_ms, half_life_ms)
    context.put(karma_key(account, model), staked)


def settle_staked_karma(
    context: ExecutionContext,
    account: AccountId,
    model: str,
    *,
    returned: int,
    lost: int,
    since_ms: int,
) -> None:
    """Give staked points back, or take them from karma overall for good.

    Both have faded as if they had not been staked: a stake is no shelter from time.

    Parameters
    ----------
    context : the transaction.
    account : that staked them.
    model : on which.
    returned, lost : points, ≥ 0.
    since_ms : when they were staked.
    """
    now_ms = context.timestamp_ms
    for (key, half_life_ms), points in zip(
        _both(context, account, model), (returned, -lost), strict=True
    ):
        if points:
            faded = halve(abs(points) * PARTS_PER_POINT, now_ms - since_ms, half_life_ms)
            parts = faded if points > 0 else -faded
            karma = read_karma(context, key).change_parts(parts, now_ms, half_life_ms)
            context.put(key, karma)


def count_sponsored(
    context: ExecutionContext, account: AccountId, model: str, samples: int, samples_max: int
) -> None:
    """Count samples whose deposit somebody else pays.

    Raises
    ------
    TransactionFailedError
        ``sponsor_limit``: they would be more than the model allows one contributor.
    """
    karma = read_karma(context, karma_key(account, model))
    total = karma.sponsored + samples
    if total > samples_max:
        raise TransactionFailedError(
            "sponsor_limit",
            f"deposits of {karma.sponsored} samples were sponsored, {samples} more would exceed the"
            f" {samples_max} that {model!r} allows one contributor",
        )
    context.put(karma_key(account, model), replace(karma, sponsored=total))


def _count_valid(
    context: ExecutionContext, account: AccountId, model: str, valid: int, valid_before: int
) -> None:
    """Count validated samples for the model, after settling what they have no part in."""
    pot = read_pot(context, model)
    if pot is not None:
        settle_support(context, pot, account, model, valid_before)
    progress = get_progress(context, model)
    context.put(model_progress_key(model), replace(progress, valid=progress.valid + valid))


def _award(context: ExecutionContext, account: AccountId, model: str, done: Deserts) -> int:
    """Write the badges that are deserved and not there yet; return how many."""
    scope: Scope = "model" if model else "overall"
    earned = 0
    for badge in list_deserved(scope, done):
        key = badge_key(account, badge.badge_id, model)
        if context.get(key, decode_earned_badge) is None:
            context.put(key, EarnedBadge(context.height, context.timestamp_ms))
            earned += 1
    return earned


def _both(
    context: ExecutionContext, account: AccountId, model: str
) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
    """Return key and half-life of an account's karma on a model, and overall."""
    half_life_ms = _half_life(context.get(model_key(model), decode_model))
    return (
        (karma_key(account, model), half_life_ms),
        (overall_karma_key(account), context.parameters.karma_half_life_ms),
    )


def _half_life(model: Model | None) -> int:
    return 0 if model is None else model.description.terms.karma_half_life_ms
