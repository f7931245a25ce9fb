"""Ridge regression by exact solution, for numbers and for classes.

The state holds XᵀX and XᵀY of the features with a constant one appended. The weights are the exact
rational solution of (XᵀX + λ·I)·W = XᵀY, rounded once; the intercept is not penalised. For classes,
Y is 1 for a sample's class and -1 for the others. Twins: scikit-learn's ``Ridge`` and
``RidgeClassifier``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.exact_solve import primes_needed, solve_rounded
from ml_runtime.family import (
    SHARE_UNITS,
    TARGET_LIMIT,
    TOLERANCE,
    Parameter,
    State,
    check_bound,
    check_parameters,
)
from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.kernels import linear
from ml_runtime.models.class_sums import SAMPLES_MIN
from ml_runtime.models.moments import INTERVAL_MAX, Moments, to_q12
from ml_runtime.samples import Integers, Samples, get_features, sample_count
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = ["Ridge"]

WEIGHT_LIMIT: Final = 1 << 28
"""Clamp of a weight: 4,096 in Q16."""

ONE_Q12: Final = 1 << 12
TARGET_SHIFT: Final = 4

SOLVE_UNITS_MAX: Final = 180_000_000
"""Compute units that solving may take: less than what one account may use in a block."""

ENTRY_BITS: Final = 62


class Ridge(Moments):
    """The family ``ridge``; dense; classification and regression."""

    name = "ridge"
    tasks = ("classification", "regression")
    parameters = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 22),
        Parameter("l2", "penalty λ on squared weights, Q16", ONE, 1, 1 << 32),
        Parameter("interval", "samples after which weights are computed again", 1, 1, INTERVAL_MAX),
        TOLERANCE,
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64, or that takes too long to solve."""
        check_parameters(self, spec)
        largest = max(self.sum_limits(spec).values())
        check_bound(spec, "a sum of products", largest * SAMPLES_MIN + (1 << 40))
        feature_limit = self.feature_range(spec)[1]
        check_bound(spec, "a score", WEIGHT_LIMIT * (feature_limit * spec.feature_count + ONE))
        units = _solving_units(spec)
        if units > SOLVE_UNITS_MAX:
            raise InvalidInputError(
                "invalid_spec",
                f"{self.name} with {spec.feature_count} features and {spec.class_count} classes"
                f" would take {units} compute units to solve, the limit is {SOLVE_UNITS_MAX}; use"
                " fewer features",
                field="spec.feature_count",
                value=units,
                limit=SOLVE_UNITS_MAX,
            )

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def sum_limits(self, spec: ModelSpec) -> dict[str, int]:
        """Return the most that one sample can add to products and cross products, Q24."""
        limit = max(self.limit(spec), ONE_Q12)
        targets = ONE_Q12 if spec.class_count else TARGET_LIMIT >> TARGET_SHIFT
        return {"products": limit * limit, "cross": limit * targets}

    def samples_covered(self, spec: ModelSpec) -> int:
        """Return how many samples keep the sums, with the penalty, below 2^62."""
        return (INT64_SAFE - 1 - (1 << 40)) // max(self.sum_limits(spec).values())

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of count, products, and the weights that follow from them."""
        columns, rows = spec.feature_count + 1, max(spec.class_count, 1)
        return {
            "counts": (1,),
            "products": (columns, columns),
            "cross": (columns, rows),
            "weights": (rows, columns),
        }

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: products of features, the solution, scores."""
        columns, rows = spec.feature_count + 1, max(spec.class_count, 1)
        products = samples * columns * (columns + rows) // 2
        scoring = rows * (2 * entries + (2 + SHARE_UNITS) * samples)
        return products + scoring + _solving_units(spec)

    def to_columns(self, spec: ModelSpec, samples: Samples, targets: Integers) -> State:
        """Return features with a constant appended, and targets, Q12."""
        features = to_q12(samples)
        constant = np.full((len(features), 1), ONE_Q12, dtype=np.int64)
        if spec.class_count:
            classes = np.arange(spec.class_count)
            cross = np.where(targets[:, np.newaxis] == classes, ONE_Q12, -ONE_Q12)
        else:
            cross = ((targets + 8) >> TARGET_SHIFT)[:, np.newaxis]
        return {"sums": np.concatenate([features, constant], axis=1), "cross": cross}

    def derive(self, spec: ModelSpec, state: State) -> None:
        """Solve for the weights, in place."""
        if not int(state["counts"][0]):
            state["weights"][:] = 0
            return
        matrix = state["products"].copy()
        places = np.arange(spec.feature_count)
        # λ in the Q24 of the products; the constant's weight is the intercept.
        matrix[places, places] += spec.get("l2", ONE) << 8
        state["weights"][:] = solve_rounded(matrix, state["cross"], 16, WEIGHT_LIMIT).T

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the linear scores, int64[n, rows], Q16; a number lies within ±1,024."""
        weights = state["weights"]
        offsets = np.ascontiguousarray(weights[:, -1])
        out = np.empty((sample_count(samples), len(weights)), dtype=np.int64)
        features = np.ascontiguousarray(weights[:, :-1])
        linear.score_dense(features, offsets, get_features(samples), out)
        if not spec.class_count:
            np.clip(out, -TARGET_LIMIT, TARGET_LIMIT, out=out)
        return out


def _solving_units(spec: ModelSpec) -> int:
    """Return compute units of one exact solution: elimination modulo each prime."""
    columns, rows = spec.feature_count + 1, max(spec.class_count, 1)
    primes = primes_needed(columns, ENTRY_BITS)
    return primes * (columns**3 // 3 + columns * columns * rows + 200 * columns * rows)
