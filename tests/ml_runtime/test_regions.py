"""Regions of feature space: the same for a sample however it is written, and never overflowing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_runtime.kernels.scalars import mix64
from ml_runtime.regions import REGIONS, VALUE_MAX, find_regions
from ml_runtime.samples import DenseSamples, SparseSamples

VALUES = st.one_of(st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1))


def make_sparse(rows: list[list[int]]) -> SparseSamples:
    dense = np.array(rows, dtype=np.int64)
    starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum((dense != 0).sum(axis=1), out=starts[1:])
    indices = np.concatenate([np.flatnonzero(row) for row in dense])
    return SparseSamples(starts, indices, dense[dense != 0], dense.shape[1])


def find_plainly(row: list[int]) -> int:
    """Return the region of a sample as the specification says it, number by number."""
    region = 0
    for bit in range(6):
        total = 0
        for feature, value in enumerate(row):
            bounded = max(-VALUE_MAX, min(value, VALUE_MAX))
            total += bounded if int(mix64(feature)) >> bit & 1 else -bounded
        region |= int(total >= 0) << bit
    return region


@given(st.lists(st.lists(VALUES, min_size=5, max_size=5), min_size=1, max_size=6))
def test_dense_and_sparse_samples_lie_where_the_specification_says(rows: list[list[int]]) -> None:
    expected = [find_plainly(row) for row in rows]
    assert find_regions(DenseSamples(np.array(rows, dtype=np.int64))).tolist() == expected
    assert find_regions(make_sparse(rows)).tolist() == expected


def test_sums_of_the_widest_samples_do_not_overflow() -> None:
    """2^38 for each of 2^24 features: half of the range of int64."""
    features = np.arange(1 << 20, dtype=np.int64)
    values = np.full(len(features), np.iinfo(np.int64).max, dtype=np.int64)
    starts = np.array([0, len(features)], dtype=np.int64)
    region = int(find_regions(SparseSamples(starts, features, values, 1 << 24))[0])
    signs = [int(mix64(feature)) for feature in range(1 << 12)]
    dense = find_regions(DenseSamples(values[None, : 1 << 12]))
    for bit in range(6):
        ones = sum(sign >> bit & 1 for sign in signs)
        assert int(dense[0]) >> bit & 1 == (2 * ones >= len(signs))
    assert 0 <= region < REGIONS


def test_varied_samples_reach_every_region() -> None:
    rng = np.random.default_rng(7)
    samples = rng.integers(-(2**16), 2**16, size=(2_000, 64))
    assert len(set(find_regions(DenseSamples(samples)).tolist())) == REGIONS
