"""Nearest centroid: the class whose mean is closest.

The state is sums and counts, never a running mean, so that the order of samples does not matter and
a batch can be taken back exactly. Means are rounded to Q16 once, when they are used.
"""

from __future__ import annotations

import numpy as np

from ml_runtime.family import SHARE_UNITS, Parameter, State, check_bound, check_parameters
from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.kernels import sums as kernels
from ml_runtime.models.class_sums import SAMPLES_MIN, UNSEEN, ClassSums
from ml_runtime.samples import DenseSamples, Integers, Samples, sample_count
from ml_runtime.spec import ModelSpec

__all__ = ["NearestCentroid"]


class NearestCentroid(ClassSums):
    """The family ``nearest_centroid``; dense and sparse."""

    name = "nearest_centroid"
    parameters = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 28),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        limit = spec.get("feature_limit", 8 * ONE)
        check_bound(spec, "a sum", limit * SAMPLES_MIN)
        # The distance must also stay above the score of a class that was never seen.
        check_bound(spec, "a squared distance", 16 * limit * limit * spec.feature_count)

    def samples_covered(self, spec: ModelSpec) -> int:
        """Return how many samples keep a sum below 2^62."""
        return int((INT64_SAFE - 1) // spec.get("feature_limit", 8 * ONE))

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: one division for each parameter, one product for each entry."""
        parameters = 10 * spec.class_count * (spec.feature_count + 1)
        shares = SHARE_UNITS * samples * spec.class_count
        return parameters + (entries + samples) * (spec.class_count + 1) + shares

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return minus the squared distances less the sample's own square, [n, classes], Q16."""
        sums, counts = state["sums"], state["counts"]
        means = np.empty_like(sums)
        norms = np.empty_like(counts)
        kernels.centroids(sums, counts, means, norms)
        out = np.empty((sample_count(samples), spec.class_count), dtype=np.int64)
        if isinstance(samples, DenseSamples):
            kernels.score_distances_dense(means, norms, samples.features, out)
        else:
            kernels.score_distances_sparse(means, norms, *samples.arrays, out)
        out[:, counts == 0] = UNSEEN
        scores: Integers = (out + (1 << 15)) >> 16
        return scores
