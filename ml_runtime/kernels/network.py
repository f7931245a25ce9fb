"""A network of rectified layers, trained one sample at a time by back-propagation.

All layers lie one after another in a vector of Q32 masters: layer by layer, row by row, the weight
of the constant one last in each row. ``sizes`` are the widths from features to outputs,
``settings`` as in ml_runtime/kernels/gradient.py. Source: docs/spec/ml.md §4.9.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.gradient import errors_of, learning_rate
from ml_runtime.kernels.scalars import clamp

__all__ = ["ACTIVATION_LIMIT", "WEIGHT_LIMIT", "train_network"]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
# gradient.py bc74cd4e1a8a
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_TABLE = "Array(int64, 1, 'C', readonly=True)"

ACTIVATION_LIMIT = 1 << 22
"""Clamp of what a unit gives on, Q16: 64."""

WEIGHT_LIMIT = 1 << 38
"""Clamp of a weight, Q32: 64."""

_BLAME_LIMIT = 1 << 24
_STEP_LIMIT = 1 << 37


@njit(f"void({_VECTOR}, {_VECTOR}, {_VECTOR}, {_MATRIX})", **_OPTIONS)
def _forward(weights: Any, sizes: Any, features: Any, active: Any) -> None:
    """Write what every layer gives on, Q16; the last is not rectified."""
    active[0, : sizes[0]] = features
    place = 0
    last = len(sizes) - 2
    for layer in range(len(sizes) - 1):
        width = sizes[layer]
        for unit in range(sizes[layer + 1]):
            total = ((weights[place + width] + 32768) >> 16) << 16
            for column in range(width):
                total += ((weights[place + column] + 32768) >> 16) * active[layer, column]
            score = (total + 32768) >> 16
            if layer < last:
                score = min(max(score, 0), ACTIVATION_LIMIT)
            active[layer + 1, unit] = score
            place += width + 1


@njit(f"void({_VECTOR}, {_VECTOR}, {_VECTOR}, int64, int64, int64, int64)", **_OPTIONS)
def _move_unit(
    weights: Any, velocity: Any, given: Any, place: int, amount: int, decay: int, momentum: int
) -> None:
    """Take one step with the weights of one unit; the last belongs to the constant one."""
    width = len(given)
    for column in range(width + 1):
        change, share = -amount, 0
        if column < width:
            change, share = -((amount * given[column] + 32768) >> 16), decay
        if momentum:
            change += (momentum * velocity[place + column] + 32768) >> 16
            change = min(max(change, -WEIGHT_LIMIT), WEIGHT_LIMIT)
            velocity[place + column] = change
        weight = weights[place + column]
        weight -= (((weight + 32768) >> 16) * share + 32768) >> 16
        weights[place + column] = min(max(weight + change, -WEIGHT_LIMIT), WEIGHT_LIMIT)


@njit(
    f"void({_VECTOR}, {_VECTOR}, {_VECTOR}, {_MATRIX}, {_MATRIX}, int64, int64, int64)", **_OPTIONS
)
def _backward(
    weights: Any,
    velocity: Any,
    sizes: Any,
    active: Any,
    blame: Any,
    rate: int,
    decay: int,
    momentum: int,
) -> None:
    """Send the blame of each layer to the one before, then take the step of its weights."""
    end = len(weights)
    for layer in range(len(sizes) - 2, -1, -1):
        width, units = sizes[layer], sizes[layer + 1]
        start = end - units * (width + 1)
        if layer:
            blame[layer, :width] = 0
            for unit in range(units):
                place = start + unit * (width + 1)
                share = blame[layer + 1, unit]
                for column in range(width):
                    blame[layer, column] += ((weights[place + column] + 32768) >> 16) * share
            for column in range(width):
                given = (blame[layer, column] + 32768) >> 16
                # A unit that was silent, or that gave its most, is not to blame.
                heard = 0 < active[layer, column] < ACTIVATION_LIMIT
                blame[layer, column] = clamp(given, _BLAME_LIMIT) if heard else 0
        for unit in range(units):
            place = start + unit * (width + 1)
            amount = clamp((rate * blame[layer + 1, unit] + 32768) >> 16, _STEP_LIMIT)
            if momentum == 0 and decay == 0:
                for column in range(width):
                    change = (amount * active[layer, column] + 32768) >> 16
                    moved = weights[place + column] - change
                    weights[place + column] = min(max(moved, -WEIGHT_LIMIT), WEIGHT_LIMIT)
                moved = weights[place + width] - amount
                weights[place + width] = min(max(moved, -WEIGHT_LIMIT), WEIGHT_LIMIT)
            else:
                given = active[layer, :width]
                _move_unit(weights, velocity, given, place, amount, decay, momentum)
        end = start


@njit(
    f"void({_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_MATRIX}, {_VECTOR}, {_VECTOR}, {_TABLE})",
    **_OPTIONS,
)
def train_network(
    weights: Any,
    velocity: Any,
    sizes: Any,
    steps: Any,
    features: Any,
    targets: Any,
    settings: Any,
    table: Any,
) -> None:
    """Learn the samples in order, in place; ``velocity`` is empty where there is no momentum."""
    layers, widest = len(sizes), sizes.max()
    active = np.zeros((layers, widest), dtype=np.int64)
    blame = np.zeros((layers, widest), dtype=np.int64)
    outputs = sizes[layers - 1]
    for sample in range(features.shape[0]):
        _forward(weights, sizes, features[sample], active)
        blame[layers - 1, :outputs] = active[layers - 1, :outputs]
        last = blame[layers - 1, :outputs]
        errors_of(settings[0], last, targets[sample], settings[7], table)
        rate = learning_rate(settings[1], settings[2], settings[3], steps[0])
        decay = (rate * settings[4]) >> 32
        _backward(weights, velocity, sizes, active, blame, rate, decay, settings[5])
        steps[0] += 1
