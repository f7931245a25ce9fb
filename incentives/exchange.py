"""Exchanges: who wins a bounty for a model, and who gets what is held.

An organiser holds out a bounty for the best model on a test set that nobody knows; each submission
puts in the same stake. The best measure that meets the threshold wins the whole bounty, ties go to
the earliest submission. Stakes return to whoever opened what was submitted; the others' go to the
winner, or to the organiser if nobody wins. An organiser that does not show its test set loses the
bounty to those who opened theirs.

How measures come about is not known here. Source: docs/spec/incentives.md §9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from primitives.errors import InvalidInputError

__all__ = [
    "LOSS_THRESHOLD_MAX",
    "METRICS",
    "PARTS_PER_MILLION",
    "Entry",
    "Offer",
    "Settlement",
    "check_offer",
    "meets_threshold",
    "settle_judged",
    "settle_unshown",
]

METRICS: Final = ("accuracy", "loss")
"""``accuracy`` counts right answers; ``loss`` is minus the losses of all samples together, Q16."""

PARTS_PER_MILLION: Final = 1_000_000

LOSS_THRESHOLD_MAX: Final = 1 << 40
"""No sample's loss is larger, Q16: with this threshold every model is good enough."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What an organiser promises.

    Parameters
    ----------
    metric
        One of `METRICS`.
    threshold
        Accuracy: least share of right answers, in parts per million. Loss: greatest mean, Q16.
    bounty
        At least 1, in the smallest unit of money.
    stake
        Of every submission, at least 0.
    """

    metric: str
    threshold: int
    bounty: int
    stake: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One submission, when all is over.

    Parameters
    ----------
    account
        Who gets what is paid for it.
    is_opened
        Whether it was opened: its stake returns.
    measure
        The higher, the better; None for one that was not judged.
    """

    account: bytes
    is_opened: bool
    measure: int | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """Who gets what.

    Parameters
    ----------
    winner
        Place of the entry that won, or None.
    payouts
        ``(account, amount)``, each account once, no amount 0; together all that is held.
    """

    winner: int | None
    payouts: tuple[tuple[bytes, int], ...]


def check_offer(offer: Offer) -> None:
    """Check ranges that depend on the metric.

    Raises
    ------
    InvalidInputError
        ``invalid_exchange``: an unknown metric, or a threshold that it does not have.
    """
    if offer.metric not in METRICS:
        raise InvalidInputError(
            "invalid_exchange",
            f"exchange.metric must be one of {', '.join(METRICS)}, found {offer.metric!r}",
            field="exchange.metric",
            value=offer.metric,
            limit=", ".join(METRICS),
        )
    limit = PARTS_PER_MILLION if offer.metric == "accuracy" else LOSS_THRESHOLD_MAX
    if not 0 <= offer.threshold <= limit:
        raise InvalidInputError(
            "invalid_exchange",
            f"exchange.threshold must lie in [0, {limit}] for {offer.metric}, found"
            f" {offer.threshold}",
            field="exchange.threshold",
            value=offer.threshold,
            limit=limit,
        )


def meets_threshold(offer: Offer, measure: int, samples: int) -> bool:
    """Return whether a measure over so many samples is good enough, exactly.

    Examples
    --------
    >>> meets_threshold(Offer("accuracy", 666_667, 1, 0), 2, 3)
    False
    >>> meets_threshold(Offer("loss", 10, 1, 0), -30, 3)
    True
    """
    if offer.metric == "accuracy":
        return measure * PARTS_PER_MILLION >= offer.threshold * samples
    return measure >= -offer.threshold * samples


def settle_judged(
    offer: Offer, organiser: bytes, entries: Sequence[Entry], samples: int
) -> Settlement:
    """Return who gets what after everything that was opened has been judged.

    Parameters
    ----------
    organiser
        Gets the bounty, and stakes that were not earned back, if nobody wins.
    entries
        In the order in which they were submitted.
    samples
        Of the whole test set.
    """
    winner = _find_winner(offer, entries, samples)
    receiver = organiser if winner is None else entries[winner].account
    forfeited = offer.stake * sum(not entry.is_opened for entry in entries)
    returned = [(entry.account, offer.stake) for entry in entries if entry.is_opened]
    return Settlement(winner, _add_up([*returned, (receiver, offer.bounty + forfeited)]))


def settle_unshown(offer: Offer, organiser: bytes, entries: Sequence[Entry]) -> Settlement:
    """Return who gets what if the organiser did not show its test set in time.

    All stakes return. Those whose submission was opened share the bounty equally, the earliest has
    the remainder; the organiser gets it back if there is none.
    """
    opened = [entry.account for entry in entries if entry.is_opened]
    payments = [(entry.account, offer.stake) for entry in entries]
    if opened:
        share, remainder = divmod(offer.bounty, len(opened))
        payments += [(account, share) for account in opened]
        payments.append((opened[0], remainder))
    else:
        payments.append((organiser, offer.bounty))
    return Settlement(None, _add_up(payments))


def _find_winner(offer: Offer, entries: Sequence[Entry], samples: int) -> int | None:
    """Return the earliest of those with the best measure that is good enough."""
    winner: int | None = None
    best = 0
    for place, entry in enumerate(entries):
        measure = entry.measure
        if measure is None or not meets_threshold(offer, measure, samples):
            continue
        if winner is None or measure > best:
            winner, best = place, measure
    return winner


def _add_up(payments: Sequence[tuple[bytes, int]]) -> tuple[tuple[bytes, int], ...]:
    """Return one payment for each account, in the order of the first; none of 0."""
    sums: dict[bytes, int] = {}
    for account, amount in payments:
        sums[account] = sums.get(account, 0) + amount
    return tuple((account, amount) for account, amount in sums.items() if amount)
