"""What each player of a cooperative game is worth: exact, sampled, and by leaving one out.

Utilities are integers and values exact fractions. The Shapley value of a player is what it adds to
those before it, averaged over all orders in which the players can come. It is the one value that
shares out what all players reach together (*efficiency*), treats equal players equally
(*symmetry*), gives nothing to who adds nothing (*dummy*) and adds up over games (*linearity*);
Shapley, "A Value for n-Person Games", 1953. Where there are too many coalitions, orders are drawn,
each with its reverse, which takes out a part of the chance (Mitchell et al., "Sampling Permutations
for Shapley Value Estimation", JMLR 2022). Source: docs/spec/incentives.md §8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import factorial
from typing import Final

from primitives.hashing import Tag, tagged_hash

__all__ = [
    "draw_order",
    "exact_values",
    "leave_one_out_values",
    "members_of",
    "pay_by_value",
    "sampled_values",
]

PERCENT: Final = 100
_WORD_BYTES: Final = 8
_WORDS: Final = 1 << 64


def members_of(coalition: int) -> tuple[int, ...]:
    """Return the players of a coalition, ascending: player i is bit i of its number.

    Examples
    --------
    >>> members_of(0b1010)
    (1, 3)
    """
    return tuple(player for player in range(coalition.bit_length()) if coalition >> player & 1)


def exact_values(players: int, utilities: Sequence[int]) -> tuple[Fraction, ...]:
    """Return the Shapley value of each player.

    Parameters
    ----------
    players
        How many, n.
    utilities
        Of all 2^n coalitions by their numbers, that of nobody first.

    Examples
    --------
    >>> exact_values(2, [0, 3, 1, 6])
    (Fraction(4, 1), Fraction(2, 1))
    """
    totals = [0] * players
    # n! times the share of orders in which a player comes right after a coalition of this size.
    weights = [factorial(size) * factorial(players - 1 - size) for size in range(players)]
    for coalition in range(1 << players):
        weight = weights[coalition.bit_count()] if coalition.bit_count() < players else 0
        for player in range(players):
            if not coalition >> player & 1:
                gain = utilities[coalition | 1 << player] - utilities[coalition]
                totals[player] += weight * gain
    return tuple(Fraction(total, factorial(players)) for total in totals)


def sampled_values(
    players: int, before: int, walks: Iterable[tuple[Sequence[int], Sequence[int]]]
) -> tuple[Fraction, ...]:
    """Return the mean of what each player added in some orders.

    Parameters
    ----------
    players
        How many.
    before
        Utility of nobody.
    walks
        Orders, at least one, with the utility after each of their players; a walk that was cut
        short says nothing of the last players, who then added 0.
    """
    totals, count = [0] * players, 0
    for order, utilities in walks:
        count += 1
        last = before
        # Shorter than the order where the walk was cut.
        for player, utility in zip(order, utilities, strict=False):
            totals[player] += utility - last
            last = utility
    return tuple(Fraction(total, count) for total in totals)


def leave_one_out_values(everybody: int, without: Sequence[int]) -> tuple[Fraction, ...]:
    """Return what is missing when each player alone is left out.

    Notes
    -----
    Two players who do the same are both worth nothing to it.
    """
    return tuple(Fraction(everybody - utility) for utility in without)


def draw_order(seed: bytes, number: int, players: int) -> tuple[int, ...]:
    """Return an order of the players; every one is equally likely.

    The last of the places that are left is given to one of the players that are left, by numbers
    that are drawn with SHA-256 in counter mode and thrown away where they would favour anybody.

    Parameters
    ----------
    seed
        Whatever nobody chose.
    number
        Which order of this seed, below 2^64.
    players
        How many.
    """
    words = _draw_words(seed, number)
    order = list(range(players))
    for last in range(players - 1, 0, -1):
        count = last + 1
        word = next(words)
        while word >= _WORDS - _WORDS % count:
            word = next(words)
        chosen = word % count
        order[last], order[chosen] = order[chosen], order[last]
    return tuple(order)


def pay_by_value(pool: int, values: Sequence[Fraction], clip_percent: int) -> tuple[int, ...]:
    """Return what each player gets of a pool, in proportion to what it is worth if that is above 0.

    Remainders of divisions go to the first player with a positive value; then nobody gets more than
    `clip_percent` of the pool. What is left is the pool's.

    Examples
    --------
    >>> pay_by_value(100, [Fraction(2), Fraction(-1), Fraction(1)], 100)
    (67, 0, 33)
    """
    positive = [max(value, Fraction(0)) for value in values]
    total = sum(positive)
    if not total:
        return (0,) * len(values)
    shares = [int(pool * value // total) for value in positive]
    first = next(player for player, value in enumerate(positive) if value)
    shares[first] += pool - sum(shares)
    most = pool * clip_percent // PERCENT
    return tuple(min(share, most) for share in shares)


def _draw_words(seed: bytes, number: int) -> Iterator[int]:
    """Yield numbers of 64 bits, four from each hash."""
    start = seed + number.to_bytes(_WORD_BYTES, "big")
    counter = 0
    while True:
        block = tagged_hash(Tag.PERMUTATION, start + counter.to_bytes(_WORD_BYTES, "big"))
        for place in range(0, len(block), _WORD_BYTES):
            yield int.from_bytes(block[place : place + _WORD_BYTES], "big")
        counter += 1
