"""Twins of ml_runtime/kernels/gradient.py: one sample after another, on integers of any size."""

from __future__ import annotations

from math import isqrt
from typing import Final

import numpy as np

from ml_runtime.fixed_point import clamp, divide_rounded, shift_right_rounded
from ml_runtime.kernels.reference.scalars import exp2_q16, to_dense
from ml_runtime.samples import Integers

__all__ = ["errors_of", "learning_rate", "train_gradient_dense", "train_gradient_sparse"]

WEIGHT_LIMIT: Final = 1 << 44
STEP_LIMIT: Final = 1 << 37
SCORE_RANGE: Final = 1 << 40
LOG2_E: Final = 94548
ONE: Final = 1 << 16


def learning_rate(rate: int, schedule: int, span: int, step: int) -> int:
    """Return the rate of a step, Q32."""
    return (
        rate << 16,
        (rate << 16) * span // (span + step),
        rate * isqrt((span << 32) // (span + step)),
    )[schedule]


def train_gradient_dense(
    weights: Integers,
    velocity: Integers,
    steps: Integers,
    features: Integers,
    targets: Integers,
    settings: Integers,
    table: Integers,
) -> None:
    """Learn the samples in order, in place."""
    loss, rate, schedule, span, penalty, momentum, bias, limit = (int(each) for each in settings)
    masters = weights.astype(object)
    speeds = velocity.astype(object)
    for sample, target in zip(features, targets, strict=True):
        row = np.append(sample, bias).astype(object)
        rounded = (masters + 32768) // ONE
        scores = [shift_right_rounded(int(total), 16) for total in rounded @ row]
        errors = errors_of(loss, scores, int(target), limit, table)
        now = learning_rate(rate, schedule, span, int(steps[0]))
        decay = np.full(len(row), now * penalty >> 32, dtype=object)
        decay[-1] = 0
        for number, error in enumerate(errors):
            amount = clamp(shift_right_rounded(now * error, 16), STEP_LIMIT)
            change = -((amount * row + 32768) // ONE)
            if momentum:
                change = np.clip(
                    change + (momentum * speeds[number] + 32768) // ONE, -WEIGHT_LIMIT, WEIGHT_LIMIT
                )
                speeds[number] = change
            shrunk = masters[number] - (rounded[number] * decay + 32768) // ONE
            masters[number] = np.clip(shrunk + change, -WEIGHT_LIMIT, WEIGHT_LIMIT)
        steps[0] += 1
    weights[:] = masters.astype(np.int64)
    velocity[:] = speeds.astype(np.int64)


def train_gradient_sparse(
    weights: Integers,
    steps: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    targets: Integers,
    settings: Integers,
    table: Integers,
) -> None:
    """Do what :func:`train_gradient_dense` does, for sparse samples."""
    dense = to_dense(row_starts, indices, values, weights.shape[1] - 1)
    none = np.zeros((0, weights.shape[1]), dtype=np.int64)
    train_gradient_dense(weights, none, steps, dense, targets, settings, table)


def errors_of(loss: int, scores: list[int], target: int, limit: int, table: Integers) -> list[int]:
    """Return the gradient of a sample's loss by its scores, Q16."""
    if loss == 0:
        return [clamp(scores[0] - target, limit)]
    if loss == 1:
        shares = [_sigmoid(score, table) for score in scores]
    else:
        highest = max(scores)
        powers = [_power(max(score - highest, -SCORE_RANGE), table) for score in scores]
        shares = [divide_rounded(power << 16, sum(powers)) for power in powers]
    shares[target] -= ONE
    return shares


def _sigmoid(score: int, table: Integers) -> int:
    share = divide_rounded(1 << 32, ONE + _power(max(-abs(score), -SCORE_RANGE), table))
    return share if score >= 0 else ONE - share


def _power(difference: int, table: Integers) -> int:
    return exp2_q16(shift_right_rounded(difference * LOG2_E, 16), table)
