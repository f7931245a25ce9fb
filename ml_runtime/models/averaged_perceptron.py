"""Averaged multi-class perceptron.

A sample that the current weights get wrong, or right by less than a margin, is added to the weights
of its class and taken from those of the class that won or came next. Predictions use the mean of
the weights over all steps, which makes the result depend little on the last few samples (Freund &
Schapire, Machine Learning 37, 1999; the lazily kept mean is Daumé's). Batches only group samples:
any split gives the same bits.

Bounds: a weight is clamped to ±``weight_limit``. With W ≤ L in absolute value, the booked changes
are at most 2·steps·L (summation by parts), so steps ≤ 2^32 and L ≤ 2^28 keep everything in int64.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.family import (
    SHARE_UNITS,
    ModelFamily,
    Parameter,
    State,
    check_bound,
    check_parameters,
    take_covered,
)
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import linear
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples, sample_count
from ml_runtime.spec import ModelSpec

__all__ = ["AveragedPerceptron"]

WEIGHT_LIMIT: Final = 1 << 28
"""Clamp of a weight: 4,096 in Q16."""

STEPS_MAX: Final = 1 << 32
"""Samples that the bounds cover; beyond, nothing more is learnt."""


class AveragedPerceptron(ModelFamily):
    """The family ``averaged_perceptron``; dense and sparse."""

    name = "averaged_perceptron"
    parameters = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 24),
        Parameter("bias", "value of the constant feature, Q16; 0 learns no intercept", ONE, 0, ONE),
        Parameter("margin", "by which the right class has to lead, Q16", 0, 0, 1 << 26),
    )
    grows_classes = True
    grows_features = True

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        limit = spec.get("feature_limit", 8 * ONE)
        check_bound(spec, "a score", WEIGHT_LIMIT * (limit * spec.feature_count + ONE))

    def samples_left(self, _spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(STEPS_MAX - int(state["steps"][0]), 0)

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of weights, booked changes and the number of steps."""
        shape = (spec.class_count, spec.feature_count + 1)
        return {"weights": shape, "changes": shape, "steps": (1,)}

    def initial_state(self, spec: ModelSpec) -> State:
        """Return zero weights after one step; the last column belongs to the constant feature."""
        state = super().initial_state(spec)
        state["steps"][0] = 1
        return state

    def parameter_ranges(self, _spec: ModelSpec) -> dict[str, tuple[int, int]]:
        """Return the clamp of the weights; a pretrained model says that it took one step."""
        limit = (-WEIGHT_LIMIT, WEIGHT_LIMIT)
        return {"weights": limit, "changes": (0, 0), "steps": (1, 1)}

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: averaging the weights, scoring twice, at most one update."""
        touched = entries + samples
        # A few sparse samples need the averages of the weights they touch, not of all.
        averaged = spec.feature_count + 1
        if spec.layout == "sparse":
            averaged = min(averaged, touched)
        return (4 * (averaged + touched) + SHARE_UNITS * samples) * spec.class_count

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the scores under the averaged weights, int64[n, classes], Q16."""
        weights, changes, steps = state["weights"], state["changes"], int(state["steps"][0])
        bias = spec.get("bias", ONE)
        out = np.empty((sample_count(samples), spec.class_count), dtype=np.int64)
        if isinstance(samples, SparseSamples) and len(samples.indices) < spec.feature_count:
            linear.score_averages_sparse(weights, changes, steps, bias, *samples.arrays, out)
            return out
        mean = np.empty_like(weights)
        linear.averaged_weights(weights, changes, steps, mean)
        offsets = (mean[:, -1] * bias + (1 << 15)) >> 16
        features = np.ascontiguousarray(mean[:, :-1])
        if isinstance(samples, DenseSamples):
            linear.score_dense(features, offsets, samples.features, out)
        else:
            linear.score_sparse(features, offsets, *samples.arrays, out)
        return out

    def update(self, spec: ModelSpec, state: State, samples: Samples, labels: Integers) -> None:
        """Learn the samples one after another, in place."""
        samples, labels = take_covered(samples, labels, self.samples_left(spec, state))
        bias, margin = spec.get("bias", ONE), spec.get("margin", 0) << 16
        arrays = (state["weights"], state["changes"], state["steps"])
        if isinstance(samples, DenseSamples):
            linear.train_perceptron_dense(
                *arrays, samples.features, labels, bias, WEIGHT_LIMIT, margin
            )
        else:
            linear.train_perceptron_sparse(
                *arrays, *samples.arrays, labels, bias, WEIGHT_LIMIT, margin
            )
