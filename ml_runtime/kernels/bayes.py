"""Bernoulli and Gaussian naive Bayes: sums, and the logarithms scored from them.

Gaussian sums are kept in Q12 (features) and Q24 (their squares), so that the spread around a mean,
Σx² - 2mΣx + n·m², is exact in int64 for 2^30 samples of features up to ±8.
Source: docs/spec/ml.md §4.5, §4.6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.scalars import divide_rounded, log2_q16

__all__ = [
    "bernoulli_terms",
    "gaussian_terms",
    "score_gaussian",
    "sum_moments",
    "sum_present_dense",
    "sum_present_sparse",
]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_TABLE = "Array(int64, 1, 'C', readonly=True)"


@njit(f"void({_MATRIX}, {_VECTOR}, {_MATRIX}, {_VECTOR}, int64, int64)", **_OPTIONS)
def sum_present_dense(
    sums: Any, counts: Any, features: Any, labels: Any, threshold: int, sign: int
) -> None:
    """Count by class the features above the threshold; ``sign`` -1 takes them away."""
    for sample in range(features.shape[0]):
        label = labels[sample]
        counts[label] += sign
        for column in range(features.shape[1]):
            if features[sample, column] > threshold:
                sums[label, column] += sign


@njit(
    f"void({_MATRIX}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, int64, int64)",
    **_OPTIONS,
)
def sum_present_sparse(
    sums: Any,
    counts: Any,
    row_starts: Any,
    indices: Any,
    values: Any,
    labels: Any,
    threshold: int,
    sign: int,
) -> None:
    """Do what :func:`sum_present_dense` does, for sparse samples; the threshold is not negative."""
    for sample in range(len(row_starts) - 1):
        label = labels[sample]
        counts[label] += sign
        for entry in range(np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])):
            if values[entry] > threshold:
                sums[label, np.uint64(indices[entry])] += sign


@njit(f"void({_MATRIX}, {_VECTOR}, int64, {_TABLE}, {_MATRIX}, {_VECTOR})", **_OPTIONS)
def bernoulli_terms(
    sums: Any, counts: Any, smoothing: int, table: Any, gains: Any, offsets: Any
) -> None:
    """Write what each present feature adds to a class's score, and its score without any, Q16."""
    for row in range(sums.shape[0]):
        count = counts[row] << 16
        log_all = log2_q16(count + 2 * smoothing, table)
        offsets[row] = 0
        for column in range(sums.shape[1]):
            present = sums[row, column] << 16
            without = log2_q16(count - present + smoothing, table)
            gains[row, column] = log2_q16(present + smoothing, table) - without
            offsets[row] += without - log_all


@njit(f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, {_MATRIX}, {_VECTOR}, int64)", **_OPTIONS)
def sum_moments(
    sums: Any, squares: Any, counts: Any, features: Any, labels: Any, sign: int
) -> None:
    """Add the features of each sample, in Q12, and their squares, Q24, to those of its class."""
    for sample in range(features.shape[0]):
        label = labels[sample]
        counts[label] += sign
        for column in range(features.shape[1]):
            value = (features[sample, column] + 8) >> 4
            sums[label, column] += sign * value
            squares[label, column] += sign * value * value


@njit(
    f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, int64, {_TABLE}, {_MATRIX}, {_MATRIX}, {_VECTOR})",
    **_OPTIONS,
)
def gaussian_terms(
    sums: Any,
    squares: Any,
    counts: Any,
    floor: int,
    table: Any,
    means: Any,
    weights: Any,
    offsets: Any,
) -> None:
    """Write means, Q12, ½·log2(e) / variance, Q16, and -½ Σ log2 variance, Q16, of every class."""
    for row in range(sums.shape[0]):
        count = max(counts[row], 1)
        offset = 0
        for column in range(sums.shape[1]):
            total = sums[row, column]
            mean = divide_rounded(total, count)
            spread = squares[row, column] - 2 * mean * total + count * mean * mean
            variance = max(spread // count, 0) + floor
            means[row, column] = mean
            weights[row, column] = divide_rounded(47274 << 24, variance)
            offset += log2_q16(variance, table)
        offsets[row] = -(offset >> 1)


@njit(f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, {_MATRIX}, {_MATRIX})", **_OPTIONS)
def score_gaussian(means: Any, weights: Any, offsets: Any, features: Any, out: Any) -> None:
    """Write the logarithm of each class's density at each sample, Q16, up to a constant.

    A feature counts for at most 2^45, so that any number of features fits.
    """
    columns = features.shape[1]
    values = np.empty(columns, dtype=np.int64)
    for sample in range(features.shape[0]):
        for column in range(columns):
            values[column] = (features[sample, column] + 8) >> 4
        for row in range(means.shape[0]):
            total = 0
            for column in range(columns):
                distance = values[column] - means[row, column]
                total += (distance * distance * weights[row, column] + 8388608) >> 24
            out[sample, row] = offsets[row] - total
