"""Products by float64, in one part or two, are those of integers."""

import numpy as np
import pytest

from ml_runtime.exact_products import EXACT_MAX, multiply


@pytest.mark.parametrize(
    ("left_limit", "right_limit"),
    [(1 << 8, 1 << 8), (1 << 24, 1 << 24), (1 << 33, 1 << 19), (1 << 40, 1 << 16), (1, 1 << 55)],
)
def test_products_are_those_of_integers(left_limit: int, right_limit: int) -> None:
    random = np.random.default_rng(3)
    left = random.integers(-left_limit, left_limit + 1, (40, 64))
    right = random.integers(-right_limit, right_limit + 1, (64, 30))
    left[0], left[1] = left_limit, -left_limit
    right[:, 0], right[:, 1] = right_limit, -right_limit
    expected = (left.astype(object) @ right.astype(object)).astype(np.int64)
    assert np.array_equal(multiply(left, right), expected)


def test_the_largest_sum_that_a_float_holds_is_not_rounded() -> None:
    inner = 1 << 12
    left = np.full((8, inner), (EXACT_MAX // inner >> 20) - 1, dtype=np.int64)
    right = np.full((inner, 8), 1 << 20, dtype=np.int64)
    right[0] = (1 << 20) - 1
    expected = (left.astype(object) @ right.astype(object)).astype(np.int64)
    assert np.array_equal(multiply(left, right), expected)
