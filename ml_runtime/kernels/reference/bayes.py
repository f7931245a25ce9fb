"""Twins of ml_runtime/kernels/bayes.py."""

from __future__ import annotations

import numpy as np

from ml_runtime.fixed_point import divide_rounded, shift_right_rounded
from ml_runtime.kernels.reference.scalars import log2_q16, to_dense
from ml_runtime.samples import Integers

__all__ = [
    "bernoulli_terms",
    "gaussian_terms",
    "score_gaussian",
    "sum_moments",
    "sum_present_dense",
    "sum_present_sparse",
]


def sum_present_dense(
    sums: Integers,
    counts: Integers,
    features: Integers,
    labels: Integers,
    threshold: int,
    sign: int,
) -> None:
    """Count by class the features above the threshold."""
    np.add.at(counts, labels, sign)
    np.add.at(sums, labels, sign * (features > threshold).astype(np.int64))


def sum_present_sparse(
    sums: Integers,
    counts: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    labels: Integers,
    threshold: int,
    sign: int,
) -> None:
    """Do what :func:`sum_present_dense` does, for sparse samples."""
    dense = to_dense(row_starts, indices, values, sums.shape[1])
    sum_present_dense(sums, counts, dense, labels, threshold, sign)


def bernoulli_terms(
    sums: Integers,
    counts: Integers,
    smoothing: int,
    table: Integers,
    gains: Integers,
    offsets: Integers,
) -> None:
    """Write what each present feature adds, and the score without any, Q16."""
    for row, count in enumerate(counts):
        whole = int(count) << 16
        present = [int(each) << 16 for each in sums[row]]
        absent = [log2_q16(whole - each + smoothing, table) for each in present]
        gains[row] = [
            log2_q16(each + smoothing, table) - without
            for each, without in zip(present, absent, strict=True)
        ]
        offsets[row] = sum(absent) - len(absent) * log2_q16(whole + 2 * smoothing, table)


def sum_moments(
    sums: Integers,
    squares: Integers,
    counts: Integers,
    features: Integers,
    labels: Integers,
    sign: int,
) -> None:
    """Add the features of each sample, in Q12, and their squares, Q24."""
    values = (features + 8) >> 4
    np.add.at(counts, labels, sign)
    np.add.at(sums, labels, sign * values)
    np.add.at(squares, labels, sign * values * values)


def gaussian_terms(
    sums: Integers,
    squares: Integers,
    counts: Integers,
    floor: int,
    table: Integers,
    means: Integers,
    weights: Integers,
    offsets: Integers,
) -> None:
    """Write means, Q12, ½·log2(e) / variance, Q16, and -½ Σ log2 variance, Q16."""
    for row in range(len(sums)):
        count = max(int(counts[row]), 1)
        logarithms = 0
        for column, total in enumerate(int(each) for each in sums[row]):
            mean = divide_rounded(total, count)
            spread = int(squares[row, column]) - 2 * mean * total + count * mean**2
            variance = max(spread // count, 0) + floor
            means[row, column] = mean
            weights[row, column] = divide_rounded(47274 << 24, variance)
            logarithms += log2_q16(variance, table)
        offsets[row] = -(logarithms // 2)


def score_gaussian(
    means: Integers, weights: Integers, offsets: Integers, features: Integers, out: Integers
) -> None:
    """Write the logarithm of each class's density at each sample, Q16, up to a constant."""
    for place in np.ndindex(out.shape):
        sample, row = place
        values = (features[sample] + 8) >> 4
        terms = [
            shift_right_rounded(int(distance) ** 2 * int(weight), 24)
            for distance, weight in zip(values - means[row], weights[row], strict=True)
        ]
        out[place] = int(offsets[row]) - sum(terms)
