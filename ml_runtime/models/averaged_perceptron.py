"""Averaged multi-class perceptron.

A sample that the current weights get wrong is added to the weights of its class and taken from
those of the class that won. Predictions use the mean of the weights over all steps, which makes the
result depend little on the last few samples (Freund & Schapire, Machine Learning 37, 1999;
the lazily kept mean is Daumé's). Batches only group samples: any split gives the same bits.

Bounds: a weight is clamped to ±``weight_limit``. With W ≤ L in absolute value, the booked changes
are at most 2·steps·L (summation by parts), so steps ≤ 2^32 and L ≤ 2^28 keep everything in int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ml_runtime import kernels
from ml_runtime.family import Parameter, State, check_bound, check_parameters, take_covered
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples, sample_count
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import EXP2_TABLE
from primitives.errors import InvalidInputError

__all__ = ["AveragedPerceptron"]

WEIGHT_LIMIT: Final = 1 << 28
"""Clamp of a weight: 4,096 in Q16."""

STEPS_MAX: Final = 1 << 32
"""Samples that the bounds cover; beyond, nothing more is learnt."""

LOG2_E: Final = 94548
"""log2(e) in Q16: turns the exponential of a softmax into a power of two."""


class AveragedPerceptron:
    """The family ``averaged_perceptron``; dense and sparse."""

    name = "averaged_perceptron"
    parameters: Sequence[Parameter] = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 24),
        Parameter("bias", "value of the constant feature, Q16; 0 learns no intercept", ONE, 0, ONE),
    )
    supports_unlearn = False
    supports_merge = False

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

    def initial_state(self, spec: ModelSpec) -> State:
        """Return zero weights; the last column belongs to the constant feature."""
        shape = (spec.class_count, spec.feature_count + 1)
        return {
            "weights": np.zeros(shape, dtype=np.int64),
            "changes": np.zeros(shape, dtype=np.int64),
            "steps": np.ones(1, dtype=np.int64),
        }

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: averaging the weights, scoring twice, at most one update."""
        touched = entries + samples
        # A few sparse samples need the averages of the weights they touch, not of all.
        averaged = spec.feature_count + 1
        if spec.layout == "sparse":
            averaged = min(averaged, touched)
        return 4 * (averaged + touched) * spec.class_count

    def predict(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the class with the highest score, int64[n]."""
        scores = self.scores(spec, state, samples)
        best: Integers = np.argmax(scores, axis=1).astype(np.int64)
        return best

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the scores under the averaged weights, int64[n, classes], Q16."""
        weights, changes, steps = state["weights"], state["changes"], int(state["steps"][0])
        bias = spec.get("bias", ONE)
        out = np.empty((sample_count(samples), spec.class_count), dtype=np.int64)
        if isinstance(samples, SparseSamples) and len(samples.indices) < spec.feature_count:
            kernels.score_averages_sparse(weights, changes, steps, bias, *samples.arrays, out)
            return out
        mean = np.empty_like(weights)
        kernels.averaged_weights(weights, changes, steps, mean)
        offsets = (mean[:, -1] * bias + (1 << 15)) >> 16
        features = np.ascontiguousarray(mean[:, :-1])
        if isinstance(samples, DenseSamples):
            kernels.score_dense(features, offsets, samples.features, out)
        else:
            kernels.score_sparse(features, offsets, *samples.arrays, out)
        return out

    def probabilities(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the softmax of the scores, int64[n, classes], Q16."""
        scores = self.scores(spec, state, samples)
        out = np.empty_like(scores)
        kernels.softmax2(scores, LOG2_E, EXP2_TABLE, out)
        return out

    def update(self, spec: ModelSpec, state: State, samples: Samples, labels: Integers) -> None:
        """Learn the samples one after another, in place."""
        samples, labels = take_covered(samples, labels, self.samples_left(spec, state))
        bias = spec.get("bias", ONE)
        arrays = (state["weights"], state["changes"], state["steps"])
        if isinstance(samples, DenseSamples):
            kernels.train_perceptron_dense(*arrays, samples.features, labels, bias, WEIGHT_LIMIT)
        else:
            kernels.train_perceptron_sparse(*arrays, *samples.arrays, labels, bias, WEIGHT_LIMIT)

    def unlearn(
        self, _spec: ModelSpec, _state: State, _samples: Samples, _labels: Integers
    ) -> None:
        """Refuse: what came after depended on these samples; replay without them instead."""
        raise InvalidInputError("unsupported", f"{self.name} unlearns by replay only")

    def merge(self, _spec: ModelSpec, _states: Sequence[State]) -> State:
        """Refuse: two perceptrons do not add up to one that saw both."""
        raise InvalidInputError("unsupported", f"{self.name} cannot be merged")
