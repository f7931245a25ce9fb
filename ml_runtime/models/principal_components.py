"""How far a sample lies from the plane in which most others lie: an outlier score.

The state holds the count, the sums of features and of their products; the axes of the largest
spread follow from them by orthogonal iteration with a fixed number of sweeps, from a fixed start.
The score is the squared distance to the plane through the mean. Twin: the squared reconstruction
error of scikit-learn's ``PCA``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.family import Parameter, State, check_bound, check_parameters
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import exact
from ml_runtime.models.class_sums import SAMPLES_MIN
from ml_runtime.models.moments import INTERVAL_MAX, Moments, to_q12
from ml_runtime.samples import Integers, Samples, get_features, sample_count
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = ["PrincipalComponents"]

FEATURES_MAX: Final = 512
"""More would take more compute units for the axes than one account may use in a block."""


class PrincipalComponents(Moments):
    """The family ``principal_components``; dense; outlier scores."""

    name = "principal_components"
    tasks = ("outliers",)
    parameters = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 19),
        Parameter("components", "axes of the plane", 8, 1, 64),
        Parameter("sweeps", "times that the axes are moved and made orthogonal", 30, 1, 200),
        Parameter("interval", "samples after which axes are computed again", 1, 1, INTERVAL_MAX),
        Parameter("agreement_limit", "a higher score is not agreed with, Q16", 1 << 40, 0, 1 << 40),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse more axes than features, too many features, or sums that could leave int64."""
        check_parameters(self, spec)
        components = spec.get("components", 8)
        if components >= spec.feature_count or spec.feature_count > FEATURES_MAX:
            raise InvalidInputError(
                "invalid_spec",
                f"{self.name} needs more features than its {components} components and at most"
                f" {FEATURES_MAX}, found {spec.feature_count}",
                field="spec.feature_count",
                value=spec.feature_count,
                limit=FEATURES_MAX,
            )
        check_bound(spec, "a centred product", 4 * self.limit(spec) ** 2 * SAMPLES_MIN)

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the sums, and of mean and axes that follow from them."""
        size = spec.feature_count
        return {
            "counts": (1,),
            "sums": (size,),
            "products": (size, size),
            "mean": (size,),
            "axes": (spec.get("components", 8), size),
        }

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: products of features, moving the axes, scores."""
        size, axes = spec.feature_count, spec.get("components", 8)
        moving = spec.get("sweeps", 30) * axes * size * (size + 2 * axes + 20)
        return samples * size * size // 2 + moving + 2 * (axes + 1) * (entries + samples)

    def to_columns(self, _spec: ModelSpec, samples: Samples, _targets: Integers) -> State:
        """Return features in Q12."""
        return {"sums": to_q12(samples)}

    def derive(self, spec: ModelSpec, state: State) -> None:
        """Compute mean and axes, in place."""
        count, sums = int(state["counts"][0]), state["sums"]
        if not count:
            state["mean"][:], state["axes"][:] = 0, 0
            return
        mean = (sums + count // 2) // count
        around = np.multiply.outer(mean, sums)
        centred = state["products"] - around - around.T + count * np.multiply.outer(mean, mean)
        covariance = (centred + count // 2) // count
        state["mean"][:] = mean
        exact.principal_axes(covariance, state["axes"], spec.get("sweeps", 30))

    def scores(self, _spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the squared distances to the plane, int64[n, 1], Q16."""
        out = np.empty(sample_count(samples), dtype=np.int64)
        exact.residuals(state["mean"], state["axes"], get_features(samples), out)
        return out[:, np.newaxis]
