"""Karma fades: points halve in a given time, in whole numbers, the same on every validator.

Points are kept in parts of 2^-20 with the time as of which they hold. Whole half-lives are shifts;
the rest of one is a fraction f in [0, 1) of 62 bits, and 2^-f is the product of a constant for each
bit of f that is set. Everything is rounded down with 128 bits, far finer than a step of f moves the
product, so more time never leaves more points.

Bound: points that were carried forward in n steps differ from those carried forward in one by less
than n + 1 parts of 2^-20, as long as they are below 2^62 parts. Each step rounds down by less than
one part, and f is cut by less than 2^-62 of a half-life, which is worth less than one part.
Source: docs/spec/incentives.md §5.1.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

__all__ = ["PARTS_MAX", "PARTS_PER_POINT", "add_points", "halve", "to_points"]

PARTS_PER_POINT: Final = 1 << 20
"""Points are kept in so small parts that rounding a million times costs one point."""

PARTS_MAX: Final = 1 << 62
"""Most that an account holds on a model, 2^42 points; more is not counted."""

_FRACTION_BITS: Final = 62
_PRECISION_BITS: Final = 128
_ONE: Final = 1 << _PRECISION_BITS


def _compute_factors() -> tuple[int, ...]:
    """Return 2^(-1/2), 2^(-1/4), 2^(-1/8) … as Q128, each the square root of the one before."""
    factors = []
    factor = _ONE >> 1
    for _ in range(_FRACTION_BITS):
        factor = isqrt(factor << _PRECISION_BITS)
        factors.append(factor)
    return tuple(factors)


_FACTORS: Final = _compute_factors()


def halve(parts: int, elapsed_ms: int, half_life_ms: int) -> int:
    """Return what is left of points after some time.

    Parameters
    ----------
    parts
        Points in parts of 2^-20, 0 to ``PARTS_MAX``.
    elapsed_ms
        Time that has passed; none if it is negative.
    half_life_ms
        They halve in so much time; 0 if they last for ever.

    Examples
    --------
    >>> [halve(1_000 * PARTS_PER_POINT, ms, 100) // PARTS_PER_POINT for ms in (0, 50, 100, 200)]
    [1000, 707, 500, 250]
    """
    if half_life_ms == 0 or elapsed_ms <= 0:
        return parts
    halvings, rest_ms = divmod(elapsed_ms, half_life_ms)
    if halvings > PARTS_MAX.bit_length():
        return 0
    fraction = (rest_ms << _FRACTION_BITS) // half_life_ms
    factor = _ONE
    for place, constant in enumerate(_FACTORS, start=1):
        if fraction >> (_FRACTION_BITS - place) & 1:
            factor = factor * constant >> _PRECISION_BITS
    return parts * factor >> (_PRECISION_BITS + halvings)


def add_points(parts: int, points: int) -> int:
    """Return parts after whole points were added, or taken if negative; never below 0."""
    return max(0, min(parts + points * PARTS_PER_POINT, PARTS_MAX))


def to_points(parts: int) -> int:
    """Return whole points, rounded down."""
    return parts // PARTS_PER_POINT
