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
    if left.size * right.shape[1] >= WORTHWHILE and _bound(left, right, inner) < EXACT_MAX:
        return (left.astype(np.float64) @ right.astype(np.float64)).astype(np.int64)
    product: Integers = left @ right
    return product


def _bound(left: Integers, right: Integers, inner: int) -> int:
    """Return what no sum of products can exceed in absolute value."""
    largest = max(int(left.max()), -int(left.min()))
    return inner * largest * max(int(right.max()), -int(right.min()))
