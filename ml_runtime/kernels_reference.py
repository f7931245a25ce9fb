"""The kernels again, in plain Python and numpy: what they must compute, bit for bit.

Slow and obvious. The tests hold ``ml_runtime.kernels`` to these on random and adversarial input, on
every processor they run on; a second implementation can be written from them.
Source: docs/spec/ml.md §2, §5.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.fixed_point import clamp, divide_rounded, shift_right_rounded
from ml_runtime.samples import Integers

__all__ = [
    "averaged_weights",
    "centroids",
    "exp2_q16",
    "log2_q16",
    "log_probabilities",
    "score_averages_sparse",
    "score_dense",
    "score_distances_dense",
    "score_distances_sparse",
    "score_logs_sparse",
    "score_sparse",
    "softmax2",
    "sum_dense",
    "sum_sparse",
    "train_perceptron_dense",
    "train_perceptron_sparse",
]

MANTISSA_BITS: Final = 24
EXPONENT_MAX: Final = 32
DIFFERENCE_MAX: Final = 1 << 40


def log2_q16(value: int, table: Integers) -> int:
    """Return log2 of an integer, Q16; what is below 1 counts as 1."""
    value = max(value, 1)
    exponent = value.bit_length() - 1
    mantissa = value << MANTISSA_BITS >> exponent
    step, rest = (mantissa >> 16) - 256, mantissa & 65535
    low, high = int(table[step]), int(table[step + 1])
    return (exponent << 16) + low + shift_right_rounded((high - low) * rest, 16)


def exp2_q16(value: int, table: Integers) -> int:
    """Return 2^(value / 65536) in Q16 for value ≤ 0."""
    whole = -(value >> 16)
    if whole > EXPONENT_MAX:
        return 0
    step, rest = (value & 65535) >> 8, value & 255
    low, high = int(table[step]), int(table[step + 1])
    return shift_right_rounded(low + shift_right_rounded((high - low) * rest, 8), whole)


def averaged_weights(weights: Integers, changes: Integers, steps: int, out: Integers) -> None:
    """Write the mean of the weights over all steps."""
    for place in np.ndindex(weights.shape):
        out[place] = divide_rounded(steps * int(weights[place]) - int(changes[place]), steps)


def score_dense(weights: Integers, offsets: Integers, features: Integers, out: Integers) -> None:
    """Write offsets + features · weightsᵀ, Q16."""
    out[:] = offsets + ((features @ weights.T + 32768) >> 16)


def score_sparse(
    weights: Integers,
    offsets: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    out: Integers,
) -> None:
    """Write what :func:`score_dense` does, for sparse samples."""
    score_dense(weights, offsets, _to_dense(row_starts, indices, values, weights.shape[1]), out)


def score_averages_sparse(
    weights: Integers,
    changes: Integers,
    steps: int,
    bias: int,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    out: Integers,
) -> None:
    """Write the scores under the averaged weights."""
    mean = np.empty_like(weights)
    averaged_weights(weights, changes, steps, mean)
    offsets = (mean[:, -1] * bias + 32768) >> 16
    score_sparse(mean[:, :-1], offsets, row_starts, indices, values, out)


def train_perceptron_dense(
    weights: Integers,
    changes: Integers,
    steps: Integers,
    features: Integers,
    labels: Integers,
    bias: int,
    limit: int,
) -> None:
    """Run the multi-class perceptron over the samples in order."""
    for sample, label in zip(features, labels, strict=True):
        row = np.append(sample, bias)
        best = int(np.argmax(weights @ row))
        step = int(steps[0])
        if best != label:
            _move(weights, changes, int(label), row, step, limit)
            _move(weights, changes, best, -row, step, limit)
        steps[0] = step + 1


def train_perceptron_sparse(
    weights: Integers,
    changes: Integers,
    steps: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    labels: Integers,
    bias: int,
    limit: int,
) -> None:
    """Do what :func:`train_perceptron_dense` does, for sparse samples."""
    dense = _to_dense(row_starts, indices, values, weights.shape[1] - 1)
    train_perceptron_dense(weights, changes, steps, dense, labels, bias, limit)


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
    sum_dense(sums, counts, _to_dense(row_starts, indices, values, sums.shape[1]), labels, sign)


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
    norms[:] = (out * out).sum(axis=1)


def score_distances_dense(
    means: Integers, norms: Integers, features: Integers, out: Integers
) -> None:
    """Write minus the squared distance to every mean, Q32, less the sample's own square."""
    out[:] = 2 * (features @ means.T) - norms


def score_distances_sparse(
    means: Integers,
    norms: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    out: Integers,
) -> None:
    """Do what :func:`score_distances_dense` does, for sparse samples."""
    dense = _to_dense(row_starts, indices, values, means.shape[1])
    score_distances_dense(means, norms, dense, out)


def softmax2(scores: Integers, sharpness: int, table: Integers, out: Integers) -> None:
    """Write 2^(sharpness · score) of each row, Q16, divided by the row's sum."""
    for row, given in enumerate(scores):
        highest = int(given.max())
        powers = [
            exp2_q16(
                shift_right_rounded(max(int(each) - highest, -DIFFERENCE_MAX) * sharpness, 16),
                table,
            )
            for each in given
        ]
        total = sum(powers)
        out[row] = [divide_rounded(power << 16, total) for power in powers]


def _move(
    weights: Integers, changes: Integers, row: int, amounts: Integers, step: int, limit: int
) -> None:
    """Add to the weights of a class, clamp them, and book the changes with the step."""
    for column, amount in enumerate(amounts):
        before = int(weights[row, column])
        after = clamp(before + int(amount), limit)
        weights[row, column] = after
        changes[row, column] += step * (after - before)


def _to_dense(row_starts: Integers, indices: Integers, values: Integers, columns: int) -> Integers:
    dense = np.zeros((len(row_starts) - 1, columns), dtype=np.int64)
    rows = np.repeat(np.arange(len(row_starts) - 1), np.diff(row_starts))
    dense[rows, indices] = values
    return dense
