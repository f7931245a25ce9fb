"""Products of integer matrices at the speed of the machine's linear algebra, when they are exact.

A float64 holds every integer up to 2^53. If Σ |a|·|b| of a product stays below that, each partial
sum is such an integer, so no rounding happens, in whatever order, with fused operations or with
many threads: the result is the integer one. Where that is not proven, integers are multiplied as
integers. This file is the only one in which a replicated path meets a float.
Source: docs/spec/ml.md §5.1.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.samples import Integers

__all__ = ["EXACT_MAX", "multiply"]

EXACT_MAX: Final = 1 << 53
"""Below this every integer is a float64."""

WORTHWHILE: Final = 1 << 14
"""Products in all; fewer are done sooner than the arrays are converted."""


def multiply(left: Integers, right: Integers) -> Integers:
    """Return left · right, int64, exactly.

    Parameters
    ----------
    left, right
        int64[n, m] and int64[m, k]; no entry of the product may reach 2^63.
    """
    inner = left.shape[1]
    if left.size * right.shape[1] >= WORTHWHILE:
        largest, other = _largest(left), inner * _largest(right)
        if largest * other < EXACT_MAX:
            return _multiply_as_floats(left, right)
        # Too large at once, but not in two halves: left = high · 2^half + low, low ≥ 0.
        half = (largest.bit_length() + 1) // 2
        if max(1 << half, (largest >> half) + 1) * other < EXACT_MAX:
            high = left >> half
            products = _multiply_as_floats(high, right) << half
            products += _multiply_as_floats(left - (high << half), right)
            return products
    product: Integers = left @ right
    return product


def _multiply_as_floats(left: Integers, right: Integers) -> Integers:
    return (left.astype(np.float64) @ right.astype(np.float64)).astype(np.int64)


def _largest(matrix: Integers) -> int:
    return max(int(matrix.max()), -int(matrix.min()))
