"""Twins of ml_runtime/kernels/linear.py."""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.fixed_point import clamp, divide_rounded, shift_right_rounded
from ml_runtime.kernels.reference.scalars import exp2_q16, log2_q16, to_dense
from ml_runtime.samples import Integers

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

DIFFERENCE_MAX: Final = 1 << 40


def averaged_weights(weights: Integers, changes: Integers, steps: int, out: Integers) -> None:
    """Write the mean of the weights over all steps."""
    for place in np.ndindex(weights.shape):
        out[place] = divide_rounded(steps * int(weights[place]) - int(changes[place]), steps)


def score_dense(weights: Integers, offsets: Integers, features: Integers, out: Integers) -> None:
    """Write offsets + features · weightsᵀ, Q16."""
    products = features.astype(object) @ weights.T.astype(object)
    out[:] = offsets + (products + 32768) // 65536


def score_sparse(
    weights: Integers,
    offsets: Integers,
    row_starts: Integers,
    indices: Integers,
    values: Integers,
    out: Integers,
) -> None:
    """Write what :func:`score_dense` does, for sparse samples."""
    score_dense(weights, offsets, to_dense(row_starts, indices, values, weights.shape[1]), out)


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
    margin: int,
) -> None:
    """Run the multi-class perceptron over the samples in order."""
    for sample, label in zip(features, labels, strict=True):
        row = np.append(sample, bias)
        scores = [int(score) for score in weights.astype(object) @ row.astype(object)]
        own = scores[label]
        # Of the others, the lowest of those with the highest score.
        others = [each for each in range(len(scores)) if each != label]
        best = max(others, key=lambda each: (scores[each], -each))
        step = int(steps[0])
        if own - margin < scores[best] or (own == scores[best] and best < label):
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
    margin: int,
) -> None:
    """Do what :func:`train_perceptron_dense` does, for sparse samples."""
    dense = to_dense(row_starts, indices, values, weights.shape[1] - 1)
    train_perceptron_dense(weights, changes, steps, dense, labels, bias, limit, margin)


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


def sigmoid_shares(scores: Integers, table: Integers, out: Integers) -> None:
    """Write 1 / (1 + e^-score) of each score, Q16, divided by the row's sum."""
    for row, given in enumerate(scores):
        shares = []
        for score in given:
            distance = max(-abs(int(score)), -DIFFERENCE_MAX)
            power = exp2_q16(shift_right_rounded(distance * 94548, 16), table)
            share = divide_rounded(1 << 32, 65536 + power)
            shares.append(max(share if score >= 0 else 65536 - share, 1))
        out[row] = [divide_rounded(share << 16, sum(shares)) for share in shares]


def log_losses(shares: Integers, labels: Integers, table: Integers, out: Integers) -> None:
    """Write -log2 of the probability that each sample's class was given, Q16."""
    for row, label in enumerate(labels):
        out[row] = (16 << 16) - log2_q16(max(int(shares[row, label]), 1), table)


def log_sum2(scores: Integers, powers: Integers, logarithms: Integers, out: Integers) -> None:
    """Write log2 Σ 2^score of each row, Q16."""
    for row, given in enumerate(scores):
        highest = int(given.max())
        total = sum(exp2_q16(max(int(each) - highest, -DIFFERENCE_MAX), powers) for each in given)
        out[row] = highest + log2_q16(total, logarithms) - (16 << 16)


def _move(
    weights: Integers, changes: Integers, row: int, amounts: Integers, step: int, limit: int
) -> None:
    """Add to the weights of a class, clamp them, and book the changes with the step."""
    for column, amount in enumerate(amounts):
        before = int(weights[row, column])
        after = clamp(before + int(amount), limit)
        weights[row, column] = after
        changes[row, column] += step * (after - before)
