"""The inner loops, compiled by numba: int64 in, int64 out, no allocation of objects.

All kernels and everything they call are in this one module, because the compiler's cache looks at
nothing else; tables and constants come in as arguments for the same reason. Each has a plain twin
in ``kernels_reference.py`` that gives the same bits. Signatures are explicit, so that a call costs
microseconds and compilation happens when the module is loaded, once for each machine. Integer
arithmetic does not depend on the processor, the order of loops or the number of threads.

Places in the sparse loops are unsigned, because the compiler tests a signed index for being
negative at every access, which costs more than the multiplication. Such a number must never meet a
signed one in arithmetic: the result would be a float.
Source: docs/spec/ml.md §2, §5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

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

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_TABLE = "Array(int64, 1, 'C', readonly=True)"


@njit("int64(int64, int64)", **_OPTIONS)
def _divide_rounded(value: int, divisor: int) -> int:
    return (value + divisor // 2) // divisor


@njit(f"int64(int64, {_TABLE})", **_OPTIONS)
def log2_q16(value: int, table: Any) -> Any:
    """Return log2 of a positive integer, Q16; linear between 256 steps of an octave."""
    # Below 1 there is no logarithm, and the table would be read outside of itself.
    value = max(value, 1)
    exponent = 0
    for bits in (32, 16, 8, 4, 2, 1):
        if value >> (exponent + bits) > 0:
            exponent += bits
    # The mantissa in Q24, in [2^24, 2^25).
    mantissa = value << (24 - exponent) if exponent <= 24 else value >> (exponent - 24)
    step = (mantissa >> 16) - 256
    rest = mantissa & 65535
    low = table[step]
    return (exponent << 16) + low + (((table[step + 1] - low) * rest + 32768) >> 16)


@njit(f"int64(int64, {_TABLE})", **_OPTIONS)
def exp2_q16(value: int, table: Any) -> Any:
    """Return 2^(value / 65536) in Q16 for value ≤ 0; below 2^-32 it is 0."""
    whole = -(value >> 16)
    if whole > 32:
        return 0
    fraction = value & 65535
    step = fraction >> 8
    low = table[step]
    power = low + (((table[step + 1] - low) * (fraction & 255) + 128) >> 8)
    return (power + ((1 << whole) >> 1)) >> whole


@njit(f"void({_MATRIX}, {_MATRIX}, int64, {_MATRIX})", **_OPTIONS)
def averaged_weights(weights: Any, changes: Any, steps: int, out: Any) -> None:
    """Write the mean of the weights over all steps: (steps · weights - changes) / steps."""
    for row in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            total = steps * weights[row, column] - changes[row, column]
            out[row, column] = _divide_rounded(total, steps)


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
        mean = _divide_rounded(steps * weights[row, last] - changes[row, last], steps)
        offset = (mean * bias + 32768) >> 16
        for sample in range(len(row_starts) - 1):
            total = 0
            for entry in range(np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])):
                column = np.uint64(indices[entry])
                mean = _divide_rounded(steps * weights[row, column] - changes[row, column], steps)
                total += mean * values[entry]
            out[sample, row] = offset + ((total + 32768) >> 16)


@njit("int64(int64, int64)", **_OPTIONS)
def _clamp(value: int, limit: int) -> int:
    if value > limit:
        return limit
    if value < -limit:
        return -limit
    return value


@njit(f"void({_MATRIX}, {_MATRIX}, uint64, uint64, int64, int64, int64)", **_OPTIONS)
def _move_weight(
    weights: Any, changes: Any, row: Any, column: Any, amount: int, step: int, limit: int
) -> None:
    """Add to a weight, clamp it, and book the change with the step at which it happened."""
    before = weights[row, column]
    after = _clamp(before + amount, limit)
    weights[row, column] = after
    changes[row, column] += step * (after - before)


@njit(f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, {_MATRIX}, {_VECTOR}, int64, int64)", **_OPTIONS)
def train_perceptron_dense(
    weights: Any, changes: Any, steps: Any, features: Any, labels: Any, bias: int, limit: int
) -> None:
    """Run the multi-class perceptron over the samples in order; the last column is the bias."""
    columns = features.shape[1]
    for sample in range(features.shape[0]):
        best_score = -9223372036854775807
        best = 0
        for row in range(weights.shape[0]):
            total = weights[row, columns] * bias
            for column in range(columns):
                total += weights[row, column] * features[sample, column]
            if total > best_score:
                best_score = total
                best = row
        step = steps[0]
        label = labels[sample]
        if best != label:
            for column in range(columns):
                amount = features[sample, column]
                _move_weight(weights, changes, label, column, amount, step, limit)
                _move_weight(weights, changes, best, column, -amount, step, limit)
            _move_weight(weights, changes, label, columns, bias, step, limit)
            _move_weight(weights, changes, best, columns, -bias, step, limit)
        steps[0] = step + 1


@njit(
    f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, int64,"
    " int64)",
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
) -> None:
    """Do what :func:`train_perceptron_dense` does, for sparse samples."""
    columns = weights.shape[1] - 1
    for sample in range(len(row_starts) - 1):
        start, end = np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])
        best_score = -9223372036854775807
        best = 0
        for row in range(weights.shape[0]):
            total = weights[row, columns] * bias
            for entry in range(start, end):
                total += weights[row, np.uint64(indices[entry])] * values[entry]
            if total > best_score:
                best_score = total
                best = row
        step = steps[0]
        label = labels[sample]
        if best != label:
            for entry in range(start, end):
                column, amount = np.uint64(indices[entry]), values[entry]
                _move_weight(weights, changes, label, column, amount, step, limit)
                _move_weight(weights, changes, best, column, -amount, step, limit)
            _move_weight(weights, changes, label, columns, bias, step, limit)
            _move_weight(weights, changes, best, columns, -bias, step, limit)
        steps[0] = step + 1


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
            mean = _divide_rounded(sums[row, column], count)
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
            out[row, column] = _divide_rounded(out[row, column] << 16, total)
