"""Twin of ml_runtime/kernels/network.py: layers as matrices of integers of any size."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_runtime.kernels.reference.gradient import errors_of, learning_rate
from ml_runtime.samples import Integers

__all__ = ["train_network"]

ACTIVATION_LIMIT: Final = 1 << 22
WEIGHT_LIMIT: Final = 1 << 38
BLAME_LIMIT: Final = 1 << 24
STEP_LIMIT: Final = 1 << 37
ONE: Final = 1 << 16

Exact: TypeAlias = NDArray[np.object_]


def train_network(
    weights: Integers,
    velocity: Integers,
    sizes: Integers,
    steps: Integers,
    features: Integers,
    targets: Integers,
    settings: Integers,
    table: Integers,
) -> None:
    """Learn the samples in order, in place."""
    loss, rate, schedule, span, penalty, momentum, _, limit = (int(each) for each in settings)
    layers = _cut(weights, sizes)
    speeds = _cut(velocity, sizes) if momentum else [layer * 0 for layer in layers]
    for sample, target in zip(features, targets, strict=True):
        active = _forward(layers, sample.astype(object))
        scores = [int(score) for score in active[-1]]
        errors = errors_of(loss, scores, int(target), limit, table)
        blame: Exact = np.array(errors, dtype=object)
        now = learning_rate(rate, schedule, span, int(steps[0]))
        for number in range(len(layers) - 1, -1, -1):
            layer, given = layers[number], active[number]
            rounded = (layer + 32768) // ONE
            amounts = np.clip((now * blame + 32768) // ONE, -STEP_LIMIT, STEP_LIMIT)
            blame = np.clip((blame @ rounded[:, :-1] + 32768) // ONE, -BLAME_LIMIT, BLAME_LIMIT) * (
                (given > 0) & (given < ACTIVATION_LIMIT)
            )
            change = -((np.multiply.outer(amounts, np.append(given, ONE)) + 32768) // ONE)
            if momentum:
                change += (momentum * speeds[number] + 32768) // ONE
                change = np.clip(change, -WEIGHT_LIMIT, WEIGHT_LIMIT)
                speeds[number] = change
            decay = np.full(layer.shape[1], now * penalty >> 32, dtype=object)
            decay[-1] = 0
            shrunk = layer - (rounded * decay + 32768) // ONE
            layers[number] = np.clip(shrunk + change, -WEIGHT_LIMIT, WEIGHT_LIMIT)
        steps[0] += 1
    weights[:] = np.concatenate([layer.reshape(-1) for layer in layers]).astype(np.int64)
    if momentum:
        velocity[:] = np.concatenate([each.reshape(-1) for each in speeds]).astype(np.int64)


def _cut(vector: Integers, sizes: Integers) -> list[Exact]:
    layers, place = [], 0
    for width, units in pairwise(int(size) for size in sizes):
        end = place + units * (width + 1)
        layers.append(vector[place:end].reshape(units, width + 1).astype(object))
        place = end
    return layers


def _forward(layers: list[Exact], sample: Exact) -> list[Exact]:
    active = [sample]
    for number, layer in enumerate(layers):
        rounded = (layer + 32768) // ONE
        given = (rounded @ np.append(active[-1], ONE) + 32768) // ONE
        last = number == len(layers) - 1
        active.append(given if last else np.clip(given, 0, ACTIVATION_LIMIT))
    return active
