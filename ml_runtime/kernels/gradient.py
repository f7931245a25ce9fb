"""Stochastic gradient descent on linear scores, one sample at a time.

Weights are Q32 ("masters": a step below 2⁻¹⁶ must not vanish) and are rounded to Q16 where they
meet a feature. The vector ``settings`` holds, in this order: loss, rate (Q16), schedule, samples
of the schedule, L2 (Q32), momentum (Q16), bias (Q16), clamp of an error (Q16).
Source: docs/spec/ml.md §4.4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.scalars import clamp, divide_rounded, exp2_q16, square_root

__all__ = [
    "SCHEDULE_CONSTANT",
    "SCHEDULE_INVERSE",
    "SIGMOID",
    "SOFTMAX",
    "SQUARES",
    "errors_of",
    "learning_rate",
    "train_gradient_dense",
    "train_gradient_sparse",
]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_TABLE = "Array(int64, 1, 'C', readonly=True)"

SQUARES, SIGMOID, SOFTMAX = 0, 1, 2
SCHEDULE_CONSTANT, SCHEDULE_INVERSE = 0, 1

_WEIGHT_LIMIT = 1 << 44
_STEP_LIMIT = 1 << 37
_LOG2_E = 94548


@njit("int64(int64, int64, int64, int64)", **_OPTIONS)
def learning_rate(rate: int, schedule: int, span: int, step: int) -> Any:
    """Return the rate of a step, Q32: constant, or falling as 1/t or as 1/√t from ``span`` on."""
    if schedule == SCHEDULE_CONSTANT:
        return rate << 16
    if schedule == SCHEDULE_INVERSE:
        return (rate << 16) * span // (span + step)
    return rate * square_root((span << 32) // (span + step))


@njit(f"void(int64, {_VECTOR}, int64, int64, {_TABLE})", **_OPTIONS)
def errors_of(loss: int, scores: Any, target: int, limit: int, table: Any) -> None:
    """Replace the scores of a sample by the gradient of its loss, Q16."""
    if loss == SQUARES:
        scores[0] = clamp(scores[0] - target, limit)
        return
    if loss == SIGMOID:
        for row in range(len(scores)):
            score = scores[row]
            distance = max(-abs(score), -(1 << 40))
            power = exp2_q16((distance * _LOG2_E + 32768) >> 16, table)
            share = divide_rounded(1 << 32, 65536 + power)
            scores[row] = share if score >= 0 else 65536 - share
    else:
        highest = scores.max()
        total = 0
        for row in range(len(scores)):
            difference = max(scores[row] - highest, -(1 << 40))
            scores[row] = exp2_q16((difference * _LOG2_E + 32768) >> 16, table)
            total += scores[row]
        for row in range(len(scores)):
            scores[row] = divide_rounded(scores[row] << 16, total)
    scores[target] -= 65536


@njit("int64(int64, int64)", **_OPTIONS)
def _decayed(weight: int, decay: int) -> Any:
    """Return a weight, Q32, less its share of the L2 penalty."""
    return weight - ((((weight + 32768) >> 16) * decay + 32768) >> 16)


@njit(f"void({_VECTOR}, {_VECTOR}, {_VECTOR}, int64, int64, int64, int64)", **_OPTIONS)
def _move_row(
    weights: Any, velocity: Any, features: Any, amount: int, decay: int, momentum: int, bias: int
) -> None:
    """Take one step with the weights of one row; the last belongs to the bias, without decay."""
    columns = len(features)
    if momentum == 0 and decay == 0:
        for column in range(columns):
            moved = weights[column] - ((amount * features[column] + 32768) >> 16)
            weights[column] = min(max(moved, -_WEIGHT_LIMIT), _WEIGHT_LIMIT)
    else:
        for column in range(columns):
            change = -((amount * features[column] + 32768) >> 16)
            if momentum:
                change += (momentum * velocity[column] + 32768) >> 16
                change = clamp(change, _WEIGHT_LIMIT)
                velocity[column] = change
            weights[column] = clamp(_decayed(weights[column], decay) + change, _WEIGHT_LIMIT)
    change = -((amount * bias + 32768) >> 16)
    if momentum:
        change += (momentum * velocity[columns] + 32768) >> 16
        change = clamp(change, _WEIGHT_LIMIT)
        velocity[columns] = change
    weights[columns] = clamp(weights[columns] + change, _WEIGHT_LIMIT)


@njit(
    f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, {_MATRIX}, {_VECTOR}, {_VECTOR}, {_TABLE})", **_OPTIONS
)
def train_gradient_dense(
    weights: Any,
    velocity: Any,
    steps: Any,
    features: Any,
    targets: Any,
    settings: Any,
    table: Any,
) -> None:
    """Learn the samples in order, in place; ``velocity`` has no rows where there is no momentum."""
    rows, columns = weights.shape[0], features.shape[1]
    momentum, bias = settings[5], settings[6]
    scores = np.empty(rows, dtype=np.int64)
    nothing = np.empty(0, dtype=np.int64)
    for sample in range(features.shape[0]):
        for row in range(rows):
            total = ((weights[row, columns] + 32768) >> 16) * bias
            for column in range(columns):
                total += ((weights[row, column] + 32768) >> 16) * features[sample, column]
            scores[row] = (total + 32768) >> 16
        errors_of(settings[0], scores, targets[sample], settings[7], table)
        rate = learning_rate(settings[1], settings[2], settings[3], steps[0])
        decay = (rate * settings[4]) >> 32
        for row in range(rows):
            amount = clamp((rate * scores[row] + 32768) >> 16, _STEP_LIMIT)
            moving = velocity[row] if momentum else nothing
            _move_row(weights[row], moving, features[sample], amount, decay, momentum, bias)
        steps[0] += 1


@njit(
    f"void({_MATRIX}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_TABLE})",
    **_OPTIONS,
)
def train_gradient_sparse(
    weights: Any,
    steps: Any,
    row_starts: Any,
    indices: Any,
    values: Any,
    targets: Any,
    settings: Any,
    table: Any,
) -> None:
    """Do what :func:`train_gradient_dense` does, for sparse samples without decay or momentum."""
    rows, columns = weights.shape[0], weights.shape[1] - 1
    bias = settings[6]
    scores = np.empty(rows, dtype=np.int64)
    for sample in range(len(row_starts) - 1):
        start, end = np.uint64(row_starts[sample]), np.uint64(row_starts[sample + 1])
        for row in range(rows):
            total = ((weights[row, columns] + 32768) >> 16) * bias
            for entry in range(start, end):
                weight = weights[row, np.uint64(indices[entry])]
                total += ((weight + 32768) >> 16) * values[entry]
            scores[row] = (total + 32768) >> 16
        errors_of(settings[0], scores, targets[sample], settings[7], table)
        rate = learning_rate(settings[1], settings[2], settings[3], steps[0])
        for row in range(rows):
            amount = clamp((rate * scores[row] + 32768) >> 16, _STEP_LIMIT)
            for entry in range(start, end):
                column = np.uint64(indices[entry])
                moved = weights[row, column] - ((amount * values[entry] + 32768) >> 16)
                weights[row, column] = clamp(moved, _WEIGHT_LIMIT)
            moved = weights[row, columns] - ((amount * bias + 32768) >> 16)
            weights[row, columns] = clamp(moved, _WEIGHT_LIMIT)
        steps[0] += 1
