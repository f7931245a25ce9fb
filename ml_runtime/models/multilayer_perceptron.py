"""A multilayer perceptron: one or two hidden layers of rectified units.

Trained by stochastic gradient descent, one sample at a time, on softmax or least squares. Weights
are Q32 masters, rounded to Q16 where they meet what a layer gives on. The hidden layers begin with
numbers that look random and depend on the setting ``seed`` alone, the last layer with zeros.
Twins: scikit-learn's ``MLPClassifier`` and ``MLPRegressor`` with ``solver="sgd"``.
"""

from __future__ import annotations

from itertools import pairwise
from math import isqrt
from typing import Final

import numpy as np

from ml_runtime.exact_products import multiply
from ml_runtime.family import (
    TARGET_LIMIT,
    TOLERANCE,
    ModelFamily,
    Parameter,
    State,
    check_bound,
    check_parameters,
    take_covered,
)
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import gradient, network
from ml_runtime.samples import Integers, Samples, get_features
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import EXP2_TABLE

__all__ = ["MultilayerPerceptron"]

STEPS_MAX: Final = 1 << 32
WIDTH_MAX: Final = 1_024
ERROR_LIMIT: Final = 8 * ONE
"""Clamp of a number's error before its step, Q16."""


class MultilayerPerceptron(ModelFamily):
    """The family ``multilayer_perceptron``; dense; classification and regression."""

    name = "multilayer_perceptron"
    tasks = ("classification", "regression")
    layouts = ("dense",)
    parameters = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 64 * ONE),
        Parameter("hidden1", "units of the first hidden layer", 32, 1, WIDTH_MAX),
        Parameter("hidden2", "units of the second hidden layer; 0: there is none", 0, 0, WIDTH_MAX),
        Parameter("rate", "learning rate, Q16", ONE // 50, 1, ONE),
        Parameter("schedule", "the rate is 0: constant, 1: falling as 1/t, 2: as 1/√t", 0, 0, 2),
        Parameter("schedule_samples", "samples after which it falls", 1_000, 1, 1 << 24),
        Parameter("l2", "penalty on squared weights, in 2⁻³²", 0, 0, 1 << 25),
        Parameter("momentum", "share of the last step, Q16", 0, 0, ONE - 1),
        Parameter("seed", "of the first weights", 1, 0, 1 << 32),
        TOLERANCE,
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        widest = max(self.widths(spec)[:-1]) + 1
        weight = network.WEIGHT_LIMIT >> 16
        check_bound(spec, "a score", weight * network.ACTIVATION_LIMIT * widest)
        check_bound(spec, "a unit's blame", weight * (1 << 24) * max(self.widths(spec)))

    def widths(self, spec: ModelSpec) -> list[int]:
        """Return how wide the layers are, from features to outputs."""
        hidden = [spec.get("hidden1", 32), spec.get("hidden2", 0)]
        return [spec.feature_count, *(each for each in hidden if each), max(spec.class_count, 1)]

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of weights and steps, and of the velocity if there is momentum."""
        widths = self.widths(spec)
        count = sum((width + 1) * units for width, units in pairwise(widths))
        shapes: dict[str, tuple[int, ...]] = {"weights": (count,), "steps": (1,)}
        if spec.get("momentum", 0):
            shapes["velocity"] = (count,)
        return shapes

    def parameter_ranges(self, spec: ModelSpec) -> dict[str, tuple[int, int]]:
        """Return the clamp of the weights; a pretrained model has taken no steps here."""
        limit = network.WEIGHT_LIMIT
        ranges = {"weights": (-limit, limit), "steps": (0, 0), "velocity": (0, 0)}
        return {name: ranges[name] for name in self.shapes(spec)}

    def initial_state(self, spec: ModelSpec) -> State:
        """Return hidden weights uniform by the seed, as Glorot and Bengio advise, and zeros after.

        The weights of a layer lie within ±√(6 / (width before + units)).
        """
        state = super().initial_state(spec)
        weights, widths = state["weights"], self.widths(spec)
        seed, place = spec.get("seed", 1) << 31, 0
        for width, units in pairwise(widths[:-1]):
            end = place + units * (width + 1)
            drawn = _mix64(seed, np.arange(place, end)) - (1 << 31)
            # In two parts, since reach may have 34 bits: ⌊drawn · reach / 2^31⌋.
            high, low = divmod(isqrt((6 << 64) // (width + units)), 1 << 16)
            weights[place:end] = (drawn * high + ((drawn * low) >> 16)) >> 15
            weights[place + width : end : width + 1] = 0
            place = end
        return state

    def samples_left(self, _spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(STEPS_MAX - int(state["steps"][0]), 0)

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: each weight is met four times for each sample."""
        count = self.shapes(spec)["weights"][0]
        return count + entries + samples * (5 * count + 60 * max(spec.class_count, 1))

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return what the last layer gives, int64[n, outputs], Q16; a number within ±1,024."""
        active, weights = get_features(samples), state["weights"]
        widths, place = self.widths(spec), 0
        for layer, (width, units) in enumerate(pairwise(widths)):
            end = place + units * (width + 1)
            rounded = (weights[place:end].reshape(units, width + 1) + (1 << 15)) >> 16
            turned = np.ascontiguousarray(rounded[:, :-1].T)
            sums = multiply(active, turned) + (rounded[:, -1] << 16)
            active = (sums + (1 << 15)) >> 16
            if layer < len(widths) - 2:
                np.clip(active, 0, network.ACTIVATION_LIMIT, out=active)
            place = end
        if not spec.class_count:
            np.clip(active, -TARGET_LIMIT, TARGET_LIMIT, out=active)
        return active

    def update(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Learn the samples one after another, in place."""
        samples, targets = take_covered(samples, targets, self.samples_left(spec, state))
        loss = gradient.SOFTMAX if spec.class_count else gradient.SQUARES
        named = ("rate", "schedule", "schedule_samples", "l2", "momentum")
        defaults = {each.name: each.default for each in self.parameters}
        values = [spec.get(name, defaults[name]) for name in named]
        settings = np.array([loss, *values, ONE, ERROR_LIMIT], dtype=np.int64)
        weights, steps = state["weights"], state["steps"]
        velocity = state.get("velocity", weights[:0])
        sizes = np.array(self.widths(spec), dtype=np.int64)
        features = get_features(samples)
        network.train_network(
            weights, velocity, sizes, steps, features, targets, settings, EXP2_TABLE
        )


def _mix64(first: int, places: Integers) -> Integers:
    """Return the upper 32 bits of mix64(first + place) for every place."""
    mixed = (places.astype(np.uint64) + np.uint64(first + 1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    drawn: Integers = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)).astype(np.int64)
    return drawn
