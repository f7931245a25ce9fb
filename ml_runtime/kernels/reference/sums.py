"""Twins of ml_runtime/kernels/sums.py."""

from __future__ import annotations

import numpy as np

from ml_runtime.fixed_point import divide_rounded
from ml_runtime.kernels.reference.linear import score_sparse
from ml_runtime.kernels.reference.scalars import log2_q16, to_dense
from ml_runtime.samples import Integers

__all__ = [
    "centroids",
    "log_probabilities",
    "score_distances_dense",
    "score_distances_sparse",
    "score_logs_sparse",
    "sum_dense",
    "sum_sparse",
]


def sum_dense(
    sums: Integers, counts: Integers, features: Integers, labels: Integers, sign: int
) -> None:
    """Add every sample to the sums and the count of its class, or take it away."""
    np.add.at(counts, labels, sign)
    np.add.at(sums, labels, sign * features)


def sum_sparse(
    sums: Integers,
    counts: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    labels: Integers,
    sign: int,
) -> None:
    """Do what :func:`sum_dense` does, for sparse samples."""
    sum_dense(sums, counts, to_dense(row_starts, indices, values, sums.shape[1]), labels, sign)


def log_probabilities(sums: Integers, smoothing: int, table: Integers, out: Integers) -> None:
    """Write log2((sum + smoothing) / (class total + smoothing · features)), Q16."""
    for row, column in np.ndindex(sums.shape):
        total = int(sums[row].sum()) + smoothing * sums.shape[1]
        part = int(sums[row, column]) + smoothing
        out[row, column] = log2_q16(part, table) - log2_q16(total, table)


def score_logs_sparse(
    sums: Integers,
    smoothing: int,
    offsets: Integers,
    table: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    out: Integers,
) -> None:
    """Write the scores under :func:`log_probabilities`."""
    logs = np.empty_like(sums)
    log_probabilities(sums, smoothing, table, logs)
    score_sparse(logs, offsets, row_starts, indices, values, out)


def centroids(sums: Integers, counts: Integers, out: Integers, norms: Integers) -> None:
    """Write the mean of every class, and the square of its length in Q32."""
    for row, column in np.ndindex(sums.shape):
        out[row, column] = divide_rounded(int(sums[row, column]), max(int(counts[row]), 1))
    norms[:] = (out.astype(object) ** 2).sum(axis=1)


def score_distances_dense(
    means: Integers, norms: Integers, features: Integers, out: Integers
) -> None:
    """Write minus the squared distance to every mean, Q32, less the sample's own square."""
    out[:] = 2 * (features.astype(object) @ means.T.astype(object)) - norms


def score_distances_sparse(
    means: Integers,
    norms: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    out: Integers,
) -> None:
    """Do what :func:`score_distances_dense` does, for sparse samples."""
    dense = to_dense(row_starts, indices, values, means.shape[1])
    score_distances_dense(means, norms, dense, out)
