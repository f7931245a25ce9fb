"""Sums and counts by class, and what is scored from them.

Source: docs/spec/ml.md §4.2, §4.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.scalars import divide_rounded, log2_q16

__all__ = [
    "centroids",
    "log_probabilities",
    "score_distances_dense",
    "score_distances_sparse",
    "score_logs_sparse",
    "sum_dense",
    "sum_sparse",
]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_TABLE = "Array(int64, 1, 'C', readonly=True)"


@njit(f"void({_MATRIX}, {_VECTOR}, {_MATRIX}, {_VECTOR}, int64)", **_OPTIONS)
def sum_dense(sums: Any, counts: Any, features: Any, labels: Any, sign: int) -> None:
    """Add every sample to the sums and the count of its class; ``sign`` -1 takes it away."""
    for sample in range(features.shape[0]):
        label = labels[sample]
        counts[label] += sign
        for column in range(features.shape[1]):
            sums[label, column] += sign * features[sample, column]


@njit(f"void({_MATRIX}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, int64)", **_OPTIONS)
def sum_sparse(
    sums: Any, counts: Any, row_starts: Any, indices: Any, values: Any, labels: Any, sign: int
) -> None:
    """Do what :func:`sum_dense` does, for sparse samples."""
    for sample in range(len(row_starts) - 1):
        label = labels[sample]
        counts[label] += sign
        for entry in range(np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])):
            sums[label, np.uint64(indices[entry])] += sign * values[entry]


@njit(f"void({_MATRIX}, int64, {_TABLE}, {_MATRIX})", **_OPTIONS)
def log_probabilities(sums: Any, smoothing: int, table: Any, out: Any) -> None:
    """Write log2((sum + smoothing) / (class total + smoothing · features)), Q16."""
    columns = sums.shape[1]
    for row in range(sums.shape[0]):
        total = smoothing * columns
        for column in range(columns):
            total += sums[row, column]
        log_total = log2_q16(total, table)
        for column in range(columns):
            out[row, column] = log2_q16(sums[row, column] + smoothing, table) - log_total


@njit(
    f"void({_MATRIX}, int64, {_VECTOR}, {_TABLE}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_MATRIX})",
    **_OPTIONS,
)
def score_logs_sparse(
    sums: Any,
    smoothing: int,
    offsets: Any,
    table: Any,
    row_starts: Any,
    indices: Any,
    values: Any,
    out: Any,
) -> None:
    """Write the scores under :func:`log_probabilities`, of what samples touch only."""
    columns = sums.shape[1]
    for row in range(sums.shape[0]):
        whole = smoothing * columns
        for column in range(columns):
            whole += sums[row, column]
        log_whole = log2_q16(whole, table)
        for sample in range(len(row_starts) - 1):
            total = 0
            for entry in range(np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])):
                part = sums[row, np.uint64(indices[entry])] + smoothing
                total += (log2_q16(part, table) - log_whole) * values[entry]
            out[sample, row] = offsets[row] + ((total + 32768) >> 16)


@njit(f"void({_MATRIX}, {_VECTOR}, {_MATRIX}, {_VECTOR})", **_OPTIONS)
def centroids(sums: Any, counts: Any, out: Any, norms: Any) -> None:
    """Write the mean of every class, and the square of its length in Q32."""
    for row in range(sums.shape[0]):
        count = max(counts[row], 1)
        norm = 0
        for column in range(sums.shape[1]):
            mean = divide_rounded(sums[row, column], count)
            out[row, column] = mean
            norm += mean * mean
        norms[row] = norm


@njit(f"void({_MATRIX}, {_VECTOR}, {_MATRIX}, {_MATRIX})", **_OPTIONS)
def score_distances_dense(means: Any, norms: Any, features: Any, out: Any) -> None:
    """Write minus the squared distance to every mean, Q32, less the sample's own square."""
    for sample in range(features.shape[0]):
        for row in range(means.shape[0]):
            product = 0
            for column in range(features.shape[1]):
                product += means[row, column] * features[sample, column]
            out[sample, row] = 2 * product - norms[row]


@njit(f"void({_MATRIX}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_MATRIX})", **_OPTIONS)
def score_distances_sparse(
    means: Any, norms: Any, row_starts: Any, indices: Any, values: Any, out: Any
) -> None:
    """Do what :func:`score_distances_dense` does, for sparse samples."""
    for sample in range(len(row_starts) - 1):
        for row in range(means.shape[0]):
            product = 0
            for entry in range(np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])):
                product += means[row, np.uint64(indices[entry])] * values[entry]
            out[sample, row] = 2 * product - norms[row]
