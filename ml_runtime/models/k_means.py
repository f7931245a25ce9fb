"""K-means: groups around means, one sample after another.

The state is sums and counts of every group. A sample joins the group whose mean is nearest and
moves that mean (MacQueen 1967); groups begin among the first samples by k-means++ and Lloyd's.
Twin: scikit-learn's ``MiniBatchKMeans``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.family import SHARE_UNITS, Parameter, State, check_bound, check_parameters
from ml_runtime.kernels import clusters
from ml_runtime.kernels import sums as kernels
from ml_runtime.models.class_sums import UNSEEN
from ml_runtime.models.seeding import SEED_PARAMETERS, SeededGroups
from ml_runtime.samples import Integers, Samples, get_features, sample_count
from ml_runtime.spec import ModelSpec

__all__ = ["KMeans"]

LONG: Final = 1 << 40
SAMPLES_MAX: Final = 1 << 32
"""Samples that the bounds cover; beyond, nothing more is learnt."""


class KMeans(SeededGroups):
    """The family ``k_means``; dense; unlabelled contributions."""

    name = "k_means"
    tasks = ("clustering",)
    parameters = (
        *SEED_PARAMETERS,
        Parameter(
            "agreement_limit",
            "a longer squared distance is not agreed with, Q16",
            1 << 40,
            0,
            1 << 40,
        ),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        self.check_groups(spec)
        check_bound(spec, "a sum", 2 * self.feature_range(spec)[1] * SAMPLES_MAX)

    def samples_left(self, _spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(SAMPLES_MAX - int(state["seen"][0]) - int(state["learnt"][0]), 0)

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of sums, counts and waiting samples."""
        groups, size = spec.get("groups", 8), spec.feature_count
        return {
            "sums": (groups, size),
            "counts": (groups,),
            "waiting": (spec.get("seed_samples", 256), size),
            "seen": (1,),
            "learnt": (1,),
        }

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: distances to every group, twice; means; the beginning."""
        groups = spec.get("groups", 8)
        learning = 2 * entries * (groups + 10) + (4 + SHARE_UNITS) * groups * samples
        return learning + 8 * groups * spec.feature_count + self.beginning_units(spec)

    def begin(self, _spec: ModelSpec, state: State) -> None:
        """Choose the groups among the samples that waited."""
        means = np.zeros_like(state["sums"])
        clusters.seed_clusters(state["waiting"], means, state["counts"])
        state["sums"][:] = means * state["counts"][:, np.newaxis]

    def go_on(self, _spec: ModelSpec, state: State, features: Integers) -> None:
        """Add samples to the nearest groups."""
        clusters.train_clusters(state["sums"], state["counts"], features)
        state["learnt"][0] += len(features)

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return minus the squared distance to every group's mean, int64[n, groups], Q16."""
        sums, counts = state["sums"], state["counts"]
        out = np.zeros((sample_count(samples), len(counts)), dtype=np.int64)
        if not self.is_begun(spec, state):
            return out
        means, norms = np.empty_like(sums), np.empty_like(counts)
        kernels.centroids(sums, counts, means, norms)
        features = get_features(samples)
        kernels.score_distances_dense(means, norms, features, out)
        own = np.einsum("ij,ij->i", features, features)
        distances: Integers = (out - own[:, np.newaxis] + (1 << 15)) >> 16
        distances[:, counts == 0] = UNSEEN
        return distances
