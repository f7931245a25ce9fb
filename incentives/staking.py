"""Stakes: money that stands behind a validator, held in share pools, and what an epoch pays.

Theory of operation
-------------------
A pool holds T tokens that belong to S shares; who puts tokens in gets shares. A reward raises T, a
slash lowers it, and no delegator has to be touched for either. The price of a share, T / S, begins
at 1. Every division rounds in favour of the pool, that is of those who stay in it.

Whoever buys into a pool pays what its whole shares cost, rounded up, and keeps the rest. So a pool
with few and dear shares, the first depositor's trick, takes nothing from who comes later: whatever
the price, buying and selling at once loses less than one unit of money.

Invariants:

(S1) Tokens are conserved: a pool has what it had, plus what came in, less what went out.
(S2) Nothing but a slash lowers the price of a share.
(S3) A pool without shares has no tokens: who leaves last takes all.
(S4) Before its first slash a pool has no more shares than tokens, so both stay below 2^63.

Source: docs/spec/incentives.md §10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from incentives.mechanism import RefusedError

__all__ = [
    "BASIS_POINTS",
    "EMPTY_POOL",
    "SHARES_MAX",
    "STAKE_TOO_LARGE",
    "STAKE_TOO_SMALL",
    "Purchase",
    "SharePool",
    "Work",
    "add_reward",
    "buy_shares",
    "compute_uptime_karma",
    "sell_shares",
    "slash_pool",
    "split_commission",
    "split_epoch_reward",
]

PERCENT: Final = 100
BASIS_POINTS: Final = 10_000

SHARES_MAX: Final = 2**63 - 1
"""Largest number of shares, and of tokens, of one pool; both are stored as counters."""

STAKE_TOO_SMALL: Final = "stake_too_small"
STAKE_TOO_LARGE: Final = "stake_too_large"


@dataclass(frozen=True, slots=True)
class SharePool:
    """Tokens that belong to shares.

    Parameters
    ----------
    tokens
        In the smallest unit of money, [0, 2^63 - 1].
    shares
        All there are, [0, 2^63 - 1].
    """

    tokens: int = 0
    shares: int = 0

    def value_of(self, shares: int) -> int:
        """Return what some of its shares are worth, rounded down; 0 for a pool without any."""
        return self.tokens * shares // self.shares if self.shares else 0


EMPTY_POOL: Final = SharePool()


@dataclass(frozen=True, slots=True)
class Purchase:
    """What an amount of money bought.

    Parameters
    ----------
    pool
        Afterwards.
    shares
        That were made, ≥ 1.
    paid
        What they cost, at most what was offered.
    """

    pool: SharePool
    shares: int
    paid: int


def buy_shares(pool: SharePool, amount: int) -> Purchase:
    """Buy as many whole shares as an amount pays for.

    Shares are ⌊amount · S / T⌋, one for each token in an empty pool; they cost ⌈shares · T / S⌉.

    Parameters
    ----------
    pool
        To buy into.
    amount
        Most that may be paid, ≥ 1.

    Raises
    ------
    RefusedError
        ``stake_too_small`` if that is no share, or the shares are worth nothing;
        ``stake_too_large`` above :data:`SHARES_MAX` tokens or shares.

    Examples
    --------
    >>> buy_shares(SharePool(tokens=300, shares=200), 100)
    Purchase(pool=SharePool(tokens=399, shares=266), shares=66, paid=99)
    """
    shares = amount
    paid = amount
    if pool.shares:
        shares = amount * pool.shares // pool.tokens if pool.tokens else 0
        paid = -(-shares * pool.tokens // pool.shares)
    if shares < 1:
        raise RefusedError(
            STAKE_TOO_SMALL,
            f"{amount} buys no share of a pool with {pool.tokens} for {pool.shares} shares",
        )
    after = SharePool(pool.tokens + paid, pool.shares + shares)
    if max(after.tokens, after.shares) > SHARES_MAX:
        raise RefusedError(
            STAKE_TOO_LARGE,
            f"a pool has at most {SHARES_MAX} tokens and shares, this would make it"
            f" {after.tokens} and {after.shares}",
        )
    return Purchase(after, shares, paid)


def sell_shares(pool: SharePool, shares: int) -> tuple[SharePool, int]:
    """Return a pool without some of its shares, and the ⌊shares · T / S⌋ tokens that leave it.

    Parameters
    ----------
    pool
        With at least so many shares.
    shares
        ≥ 1.
    """
    tokens = pool.value_of(shares)
    return SharePool(pool.tokens - tokens, pool.shares - shares), tokens


def slash_pool(pool: SharePool, percent: int) -> tuple[SharePool, int]:
    """Return a pool after a slash, and the ⌊T · percent / 100⌋ tokens that were taken."""
    taken = pool.tokens * percent // PERCENT
    return SharePool(pool.tokens - taken, pool.shares), taken


def add_reward(pool: SharePool, amount: int) -> SharePool:
    """Return a pool, which must have shares, after a reward: all of them are worth more."""
    return SharePool(pool.tokens + amount, pool.shares)


def split_commission(reward: int, basis_points: int) -> tuple[int, int]:
    """Return a validator's commission on a reward, rounded down, and what is left for its pool."""
    commission = reward * basis_points // BASIS_POINTS
    return commission, reward - commission


@dataclass(frozen=True, slots=True)
class Work:
    """What one validator did in an epoch.

    Parameters
    ----------
    blocks
        That it proposed and that became part of the chain.
    stake
        Tokens in its pool.
    """

    blocks: int
    stake: int


def split_epoch_reward(amount: int, stake_percent: int, work: Sequence[Work]) -> list[int]:
    """Share an epoch's reward among validators by what they did; together at most the amount.

    ⌊amount · stake_percent / 100⌋ is shared by blocks times stake, the rest by blocks; if nobody
    with a block has a stake, everything by blocks. Every share is rounded down by itself.

    Parameters
    ----------
    amount
        To share, ≥ 0.
    stake_percent
        [0, 100].
    work
        Of each validator.

    Examples
    --------
    >>> split_epoch_reward(1_000, 50, [Work(6, 300), Work(3, 100), Work(1, 0), Work(0, 900)])
    [728, 221, 50, 0]
    """
    blocks = sum(each.blocks for each in work)
    if blocks == 0:
        return [0] * len(work)
    weights = [each.blocks * each.stake for each in work]
    weight = sum(weights)
    by_stake = amount * stake_percent // PERCENT if weight else 0
    by_blocks = amount - by_stake
    return [
        by_stake * own // max(weight, 1) + by_blocks * each.blocks // blocks
        for own, each in zip(weights, work, strict=True)
    ]


def compute_uptime_karma(blocks: int, epoch_length: int, validators: int) -> int:
    """Return a validator's karma for an epoch: its blocks, if they are half of its fair share.

    The fair share is ⌊epoch_length / validators⌋ blocks.
    """
    return blocks if 2 * blocks >= epoch_length // validators else 0
