"""Fixed-point numbers: what every replicated computation is made of.

A real x is the integer round(x · 2^16), called Q16 and held in int64 (Q47.16). There is one
rounding function; a bare shift would round towards minus infinity and bias every sum. Nothing
wraps: bounds are proven when a model is created (``check_bound`` in ml_runtime/family.py) and what
may exceed them is clamped.
Source: docs/spec/ml.md §1.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "FRACTION_BITS",
    "INT64_SAFE",
    "ONE",
    "clamp",
    "divide_rounded",
    "integer_square_root",
    "shift_right_rounded",
]

FRACTION_BITS: Final = 16
ONE: Final = 1 << FRACTION_BITS
"""The number 1 in Q16."""

INT64_SAFE: Final = 1 << 62
"""No sum or product in a kernel may reach this; proven at the creation of a model."""


def shift_right_rounded(value: int, bits: int) -> int:
    """Return value / 2^bits, rounded to nearest, halves up.

    Examples
    --------
    >>> [shift_right_rounded(value, 1) for value in (-3, -2, -1, 0, 1, 2, 3)]
    [-1, -1, 0, 0, 1, 1, 2]
    """
    return (value + (1 << bits >> 1)) >> bits


def divide_rounded(value: int, divisor: int) -> int:
    """Return value / divisor rounded to nearest, halves up; divisor > 0.

    Examples
    --------
    >>> [divide_rounded(value, 2) for value in (-3, -1, 1, 3)]
    [-1, 0, 1, 2]
    """
    return (value + divisor // 2) // divisor


def clamp(value: int, limit: int) -> int:
    """Return the nearest number to value in [-limit, limit]."""
    return max(-limit, min(limit, value))


def integer_square_root(value: int) -> int:
    """Return the largest integer whose square is at most value; value ≥ 0."""
    root = value
    following = (root + 1) // 2
    while following < root:
        root = following
        following = (root + value // root) // 2
    return root
