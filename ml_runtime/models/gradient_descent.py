"""Linear, logistic and softmax regression by stochastic gradient descent, one sample at a time.

Weights are held in Q32, so that small steps add up, and rounded to Q16 where they meet a feature.
Batches only group samples: any split gives the same bits. Twins: scikit-learn's ``SGDRegressor``
and ``SGDClassifier(loss="log_loss")``, river's ``SoftmaxRegression``.

Bounds: a weight is clamped to ±2^44 (4,096 in Q32), so a rounded one to ±2^28; the step of a row
to ±2^37, times a feature of at most 2^24.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

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
from ml_runtime.kernels import gradient, linear
from ml_runtime.samples import DenseSamples, Integers, Samples, sample_count
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import EXP2_TABLE
from primitives.errors import InvalidInputError

__all__ = ["LinearRegression", "LogisticRegression", "SoftmaxRegression"]

WEIGHT_LIMIT: Final = 1 << 44
"""Clamp of a weight: 4,096 in Q32."""

STEPS_MAX: Final = 1 << 32
"""Samples that the bounds cover; beyond, nothing more is learnt."""

SPAN_MAX: Final = 1 << 24
L2_MAX: Final = 1 << 25
ERROR_LIMIT_MAX: Final = 1 << 24


class GradientDescent(ModelFamily):
    """What the three share; they differ in the gradient of their loss."""

    loss: ClassVar[int]
    """``SQUARES``, ``SIGMOID`` or ``SOFTMAX`` of ml_runtime/kernels/gradient.py, by its number: a
    class must not load the kernels."""

    grows_features = True
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 24),
        Parameter("bias", "value of the constant feature, Q16; 0 learns no intercept", ONE, 0, ONE),
        Parameter("rate", "learning rate, Q16", ONE // 100, 1, 16 * ONE),
        Parameter("schedule", "the rate is 0: constant, 1: falling as 1/t, 2: as 1/√t", 0, 0, 2),
        Parameter("schedule_samples", "samples after which it falls", 1_000, 1, SPAN_MAX),
        Parameter("l2", "penalty on squared weights, in 2⁻³²; dense samples only", 0, 0, L2_MAX),
        Parameter("momentum", "share of the last step, Q16; dense only", 0, 0, ONE - 1),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        for name in ("l2", "momentum"):
            value = spec.get(name, 0)
            if spec.layout == "sparse" and value:
                raise InvalidInputError(
                    "invalid_spec",
                    f"{self.name}.{name} changes every weight with every sample, which a sparse"
                    " model must not; it must be 0",
                    field=f"spec.parameters.{name}",
                    value=value,
                    limit=0,
                )
        limit = spec.get("feature_limit", 8 * ONE)
        check_bound(spec, "a score", (WEIGHT_LIMIT >> 16) * (limit * spec.feature_count + ONE))

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of weights and steps, and of the velocity if there is momentum."""
        shape = (max(spec.class_count, 1), spec.feature_count + 1)
        shapes: dict[str, tuple[int, ...]] = {"weights": shape, "steps": (1,)}
        if spec.get("momentum", 0):
            shapes["velocity"] = shape
        return shapes

    def parameter_ranges(self, spec: ModelSpec) -> dict[str, tuple[int, int]]:
        """Return the clamp of the weights; a pretrained model has taken no steps here."""
        ranges = {"weights": (-WEIGHT_LIMIT, WEIGHT_LIMIT), "steps": (0, 0), "velocity": (0, 0)}
        return {name: ranges[name] for name in self.shapes(spec)}

    def samples_left(self, _spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(STEPS_MAX - int(state["steps"][0]), 0)

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: rounding the weights, scoring twice, one step for each sample."""
        rows = max(spec.class_count, 1)
        return rows * (spec.feature_count + 5 * entries + 150 * samples)

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the linear scores, int64[n, rows], Q16."""
        rounded = (state["weights"] + (1 << 15)) >> 16
        bias = spec.get("bias", ONE)
        offsets = (rounded[:, -1] * bias + (1 << 15)) >> 16
        features = np.ascontiguousarray(rounded[:, :-1])
        out = np.empty((sample_count(samples), len(rounded)), dtype=np.int64)
        if isinstance(samples, DenseSamples):
            linear.score_dense(features, offsets, samples.features, out)
        else:
            linear.score_sparse(features, offsets, *samples.arrays, out)
        return out

    def update(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Learn the samples one after another, in place."""
        samples, targets = take_covered(samples, targets, self.samples_left(spec, state))
        values = [spec.get(each.name, each.default) for each in self.parameters]
        _, bias, rate, schedule, span, penalty, momentum, *rest = values
        limit = rest[0] if rest else ONE
        settings = np.array(
            [self.loss, rate, schedule, span, penalty, momentum, bias, limit], dtype=np.int64
        )
        weights, steps = state["weights"], state["steps"]
        if isinstance(samples, DenseSamples):
            velocity = state.get("velocity", weights[:0])
            gradient.train_gradient_dense(
                weights, velocity, steps, samples.features, targets, settings, EXP2_TABLE
            )
        else:
            gradient.train_gradient_sparse(
                weights, steps, *samples.arrays, targets, settings, EXP2_TABLE
            )


class LinearRegression(GradientDescent):
    """The family ``linear_regression``: least squares; dense and sparse."""

    name = "linear_regression"
    tasks = ("regression",)
    loss = 0
    parameters = (
        *GradientDescent.parameters,
        Parameter(
            "error_limit", "clamp of an error before its step, Q16", 8 * ONE, ONE, ERROR_LIMIT_MAX
        ),
        TOLERANCE,
    )

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the predicted numbers, int64[n, 1], Q16, at most ±1,024."""
        scores: Integers = np.clip(
            super().scores(spec, state, samples), -TARGET_LIMIT, TARGET_LIMIT
        )
        return scores


class LogisticRegression(GradientDescent):
    """The family ``logistic_regression``: one class against the others; dense and sparse."""

    name = "logistic_regression"
    loss = 1
    grows_classes = True

    def shares(self, _spec: ModelSpec, scores: Integers) -> Integers:
        """Return each class's probability against the others, scaled to one, int64[n, C], Q16."""
        out = np.empty_like(scores)
        linear.sigmoid_shares(scores, EXP2_TABLE, out)
        return out


class SoftmaxRegression(GradientDescent):
    """The family ``softmax_regression``: all classes at once; dense and sparse."""

    name = "softmax_regression"
    loss = 2
    grows_classes = True
