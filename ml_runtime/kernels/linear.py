"""Linear scores, the averaged perceptron, and scores turned into shares.

Source: docs/spec/ml.md §2, §4.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.scalars import clamp, divide_rounded, exp2_q16, log2_q16

__all__ = [
    "averaged_weights",
    "log_losses",
    "log_sum2",
    "score_averages_sparse",
    "score_dense",
    "score_sparse",
    "sigmoid_shares",
    "softmax2",
    "train_perceptron_dense",
    "train_perceptron_sparse",
]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_TABLE = "Array(int64, 1, 'C', readonly=True)"


@njit(f"void({_MATRIX}, {_MATRIX}, int64, {_MATRIX})", **_OPTIONS)
def averaged_weights(weights: Any, changes: Any, steps: int, out: Any) -> None:
    """Write the mean of the weights over all steps: (steps · weights - changes) / steps."""
    for row in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            total = steps * weights[row, column] - changes[row, column]
            out[row, column] = divide_rounded(total, steps)


@njit(f"void({_MATRIX}, {_VECTOR}, {_MATRIX}, {_MATRIX})", **_OPTIONS)
def score_dense(weights: Any, offsets: Any, features: Any, out: Any) -> None:
    """Write offsets + features · weightsᵀ for every sample, Q16."""
    for sample in range(features.shape[0]):
        for row in range(weights.shape[0]):
            total = 0
            for column in range(features.shape[1]):
                total += weights[row, column] * features[sample, column]
            out[sample, row] = offsets[row] + ((total + 32768) >> 16)


@njit(f"void({_MATRIX}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_MATRIX})", **_OPTIONS)
def score_sparse(
    weights: Any, offsets: Any, row_starts: Any, indices: Any, values: Any, out: Any
) -> None:
    """Write what :func:`score_dense` does, for sparse samples."""
    for sample in range(len(row_starts) - 1):
        for row in range(weights.shape[0]):
            total = 0
            for entry in range(np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])):
                total += weights[row, np.uint64(indices[entry])] * values[entry]
            out[sample, row] = offsets[row] + ((total + 32768) >> 16)


@njit(
    f"void({_MATRIX}, {_MATRIX}, int64, int64, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_MATRIX})",
    **_OPTIONS,
)
def score_averages_sparse(
    weights: Any,
    changes: Any,
    steps: int,
    bias: int,
    row_starts: Any,
    indices: Any,
    values: Any,
    out: Any,
) -> None:
    """Write the scores under the averaged weights, averaging only those that samples touch."""
    last = weights.shape[1] - 1
    for row in range(weights.shape[0]):
        mean = divide_rounded(steps * weights[row, last] - changes[row, last], steps)
        offset = (mean * bias + 32768) >> 16
        for sample in range(len(row_starts) - 1):
            total = 0
            for entry in range(np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])):
                column = np.uint64(indices[entry])
                mean = divide_rounded(steps * weights[row, column] - changes[row, column], steps)
                total += mean * values[entry]
            out[sample, row] = offset + ((total + 32768) >> 16)


@njit(f"void({_MATRIX}, {_MATRIX}, uint64, uint64, int64, int64, int64)", **_OPTIONS)
def _move_weight(
    weights: Any, changes: Any, row: Any, column: Any, amount: int, step: int, limit: int
) -> None:
    """Add to a weight, clamp it, and book the change with the step at which it happened."""
    before = weights[row, column]
    after = clamp(before + amount, limit)
    weights[row, column] = after
    changes[row, column] += step * (after - before)


@njit(
    f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, {_MATRIX}, {_VECTOR}, int64, int64, int64)", **_OPTIONS
)
def train_perceptron_dense(
    weights: Any,
    changes: Any,
    steps: Any,
    features: Any,
    labels: Any,
    bias: int,
    limit: int,
    margin: int,
) -> None:
    """Run the multi-class perceptron over the samples in order; the last column is the bias.

    A sample is learnt from unless its class leads every other by the margin, Q32.
    """
    columns = features.shape[1]
    for sample in range(features.shape[0]):
        label = labels[sample]
        best_score = -9223372036854775807
        best, own = 0, 0
        for row in range(weights.shape[0]):
            total = weights[row, columns] * bias
            for column in range(columns):
                total += weights[row, column] * features[sample, column]
            if row == label:
                own = total
            elif total > best_score:
                best_score = total
                best = row
        step = steps[0]
        # Without a margin the lower class wins a tie, as it does when it is asked.
        if own - margin < best_score or (own == best_score and best < label):
            for column in range(columns):
                amount = features[sample, column]
                _move_weight(weights, changes, label, column, amount, step, limit)
                _move_weight(weights, changes, best, column, -amount, step, limit)
            _move_weight(weights, changes, label, columns, bias, step, limit)
            _move_weight(weights, changes, best, columns, -bias, step, limit)
        steps[0] = step + 1


@njit(
    f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, int64,"
    " int64, int64)",
    **_OPTIONS,
)
def train_perceptron_sparse(
    weights: Any,
    changes: Any,
    steps: Any,
    row_starts: Any,
    indices: Any,
    values: Any,
    labels: Any,
    bias: int,
    limit: int,
    margin: int,
) -> None:
    """Do what :func:`train_perceptron_dense` does, for sparse samples."""
    columns = weights.shape[1] - 1
    for sample in range(len(row_starts) - 1):
        start, end = np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])
        label = labels[sample]
        best_score = -9223372036854775807
        best, own = 0, 0
        for row in range(weights.shape[0]):
            total = weights[row, columns] * bias
            for entry in range(start, end):
                total += weights[row, np.uint64(indices[entry])] * values[entry]
            if row == label:
                own = total
            elif total > best_score:
                best_score = total
                best = row
        step = steps[0]
        # Without a margin the lower class wins a tie, as it does when it is asked.
        if own - margin < best_score or (own == best_score and best < label):
            for entry in range(start, end):
                column, amount = np.uint64(indices[entry]), values[entry]
                _move_weight(weights, changes, label, column, amount, step, limit)
                _move_weight(weights, changes, best, column, -amount, step, limit)
            _move_weight(weights, changes, label, columns, bias, step, limit)
            _move_weight(weights, changes, best, columns, -bias, step, limit)
        steps[0] = step + 1


@njit(f"void({_MATRIX}, int64, {_TABLE}, {_MATRIX})", **_OPTIONS)
def softmax2(scores: Any, sharpness: int, table: Any, out: Any) -> None:
    """Write 2^(sharpness · score) of each row, Q16, divided by the row's sum."""
    for row in range(scores.shape[0]):
        highest = scores[row].max()
        total = 0
        for column in range(scores.shape[1]):
            # Beyond 2^-32 nothing is left, and the product must not overflow.
            difference = max(scores[row, column] - highest, -(1 << 40))
            power = exp2_q16((difference * sharpness + 32768) >> 16, table)
            out[row, column] = power
            total += power
        for column in range(scores.shape[1]):
            out[row, column] = divide_rounded(out[row, column] << 16, total)


@njit(f"void({_MATRIX}, {_TABLE}, {_MATRIX})", **_OPTIONS)
def sigmoid_shares(scores: Any, table: Any, out: Any) -> None:
    """Write 1 / (1 + e^-score) of each score, Q16, divided by the row's sum."""
    for row in range(scores.shape[0]):
        total = 0
        for column in range(scores.shape[1]):
            distance = max(-abs(scores[row, column]), -(1 << 40))
            power = exp2_q16((distance * 94548 + 32768) >> 16, table)
            share = divide_rounded(1 << 32, 65536 + power)
            if scores[row, column] < 0:
                share = 65536 - share
            # Nobody is quite impossible: so the sum is never zero.
            share = max(share, 1)
            out[row, column] = share
            total += share
        for column in range(scores.shape[1]):
            out[row, column] = divide_rounded(out[row, column] << 16, total)


@njit(f"void({_MATRIX}, {_TABLE}, {_TABLE}, {_VECTOR})", **_OPTIONS)
def log_sum2(scores: Any, powers: Any, logarithms: Any, out: Any) -> None:
    """Write log2 Σ 2^score of each row, Q16."""
    for row in range(scores.shape[0]):
        highest = scores[row].max()
        total = 0
        for column in range(scores.shape[1]):
            total += exp2_q16(max(scores[row, column] - highest, -(1 << 40)), powers)
        out[row] = highest + log2_q16(total, logarithms) - (16 << 16)


@njit(f"void({_MATRIX}, {_VECTOR}, {_TABLE}, {_VECTOR})", **_OPTIONS)
def log_losses(shares: Any, labels: Any, table: Any, out: Any) -> None:
    """Write -log2 of the probability that each sample's class was given, Q16; at most 16 bits."""
    for row in range(shares.shape[0]):
        out[row] = (16 << 16) - log2_q16(max(shares[row, labels[row]], 1), table)
