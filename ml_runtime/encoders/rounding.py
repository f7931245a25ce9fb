"""From rows of binary64 numbers to Q16 integers and back, in an order that every language keeps.

Each step is one operation of IEEE 754, rounded to nearest, so that another language which does the
same steps reaches the same integers. Never run where validators must agree.
Source: docs/spec/ml.md §8.1.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_runtime.encoders.encoder import VALUE_MAX, make_count_refusal, make_range_refusal
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import Integers
from primitives.errors import InvalidInputError

__all__ = ["Numbers", "check_finite", "from_q16", "read_numbers", "read_rows", "round_scaled"]

Numbers: TypeAlias = NDArray[np.float64]


def read_numbers(features: Any) -> Numbers:
    """Return an array-like as finite numbers; refuses ``malformed``, ``feature_not_finite``."""
    numbers = _to_numbers(features)
    check_finite(numbers)
    return numbers


def read_rows(features: Any, feature_count: int) -> Numbers:
    """Return an array-like as finite numbers, float64[n, feature_count].

    Raises
    ------
    InvalidInputError
        ``malformed``, ``wrong_feature_count`` or ``feature_not_finite``, looked for in this order.
    """
    numbers = _to_numbers(features)
    if numbers.ndim == 1 and not numbers.size:
        numbers = numbers.reshape(0, feature_count)
    if numbers.ndim != 2:
        raise InvalidInputError(
            "malformed",
            f"features must be rows of numbers, found {numbers.ndim} dimensions",
            field="features",
            value=numbers.ndim,
            limit=2,
        )
    if numbers.shape[1] != feature_count:
        raise make_count_refusal("features", int(numbers.shape[1]), feature_count)
    check_finite(numbers)
    return numbers


def check_finite(numbers: Numbers) -> None:
    """Refuse NaN and infinity with ``feature_not_finite``, naming the first."""
    finite = np.isfinite(numbers)
    if finite.all():
        return
    position = tuple(int(each) for each in np.argwhere(~finite)[0])
    raise InvalidInputError(
        "feature_not_finite",
        f"feature {list(position)} is {numbers[position]}, features must be finite",
        field=f"features{list(position)}",
        value=str(numbers[position]),
    )


def round_scaled(scaled: Numbers, numbers: Numbers) -> Integers:
    """Return ⌊scaled + ½⌋ as integers, in C order.

    Parameters
    ----------
    scaled
        In Q16, not rounded yet; may have become infinite.
    numbers
        What was given, for the refusal.

    Raises
    ------
    InvalidInputError
        ``feature_out_of_range`` beyond 2^48.
    """
    rounded = np.floor(scaled + 0.5)
    if rounded.size and float(np.abs(rounded).max()) > VALUE_MAX:
        raise make_range_refusal("features", float(np.abs(numbers).max()))
    return rounded.astype(np.int64, order="C")


def from_q16(numbers: Integers) -> Numbers:
    """Return Q16 integers as floats, for people."""
    return numbers / float(ONE)


def _to_numbers(features: Any) -> Numbers:
    try:
        return np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            "malformed", f"features must be numbers: {error}", field="features"
        ) from error
