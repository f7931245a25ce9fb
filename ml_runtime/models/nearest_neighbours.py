"""The k nearest of the samples that were kept, for classes and numbers.

The newest ``capacity`` samples are kept, as they are: whoever reads the model reads them. They vote
with the square of their Euclidean distance, which is exact. Twins: scikit-learn's
``KNeighborsClassifier`` and ``KNeighborsRegressor``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.exact_products import multiply
from ml_runtime.family import (
    SHARE_UNITS,
    TARGET_LIMIT,
    TOLERANCE,
    ModelFamily,
    Parameter,
    State,
    check_bound,
    check_parameters,
    check_range,
    check_shapes,
    take_covered,
)
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import neighbours
from ml_runtime.samples import Integers, Samples, get_features, sample_count
from ml_runtime.spec import ModelSpec

__all__ = ["NearestNeighbours"]

SAMPLES_MAX: Final = 1 << 40
"""Samples that are counted; beyond, nothing more is learnt."""

PRODUCTS_MAX: Final = 1 << 18
"""Of asked with kept samples that are in memory at once: 2 MiB, whatever is asked together."""


class NearestNeighbours(ModelFamily):
    """The family ``nearest_neighbours``; dense; classification and regression."""

    name = "nearest_neighbours"
    tasks = ("classification", "regression")
    layouts = ("dense",)
    grows_classes = True
    parameters = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 24),
        Parameter("neighbours", "how many are asked", 5, 1, 64),
        Parameter("capacity", "samples that are kept, the newest", 1_024, 1, 65_536),
        TOLERANCE,
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose distances could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        limit = self.feature_range(spec)[1]
        check_bound(spec, "a squared distance", 4 * limit * limit * spec.feature_count)

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what is kept, and of how many samples were seen."""
        capacity = spec.get("capacity", 1_024)
        return {"features": (capacity, spec.feature_count), "targets": (capacity,), "seen": (1,)}

    def check_state(self, spec: ModelSpec, state: State) -> None:
        """Check kept samples that come from elsewhere; as many count as there are places."""
        check_shapes(self, spec, state)
        low, high = self.feature_range(spec)
        check_range(self.name, "features", state["features"], low, high)
        targets = (0, spec.class_count - 1) if spec.class_count else (-TARGET_LIMIT, TARGET_LIMIT)
        check_range(self.name, "targets", state["targets"], *targets)
        check_range(self.name, "seen", state["seen"], 0, spec.get("capacity", 1_024))

    def samples_left(self, _spec: ModelSpec, state: State) -> int:
        """Return how many more samples are counted."""
        return max(SAMPLES_MAX - int(state["seen"][0]), 0)

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: a product for each kept feature; places among the nearest."""
        kept = spec.get("capacity", 1_024)
        # At worst each kept sample is nearer than all before it and moves them all.
        places = kept * samples * (3 + spec.get("neighbours", 5))
        shares = SHARE_UNITS * samples * spec.class_count
        return entries + kept * (spec.feature_count + entries) + places + shares

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the votes for every class, or the mean of the neighbours' numbers, Q16."""
        out = np.zeros((sample_count(samples), self.score_count(spec)), dtype=np.int64)
        kept = min(int(state["seen"][0]), spec.get("capacity", 1_024))
        if not kept or not len(out):
            return out
        features, targets = state["features"][:kept], state["targets"][:kept]
        given, turned = get_features(samples), np.ascontiguousarray(features.T)
        norms = np.einsum("ij,ij->i", features, features)
        asked = spec.get("neighbours", 5)
        rows = max(PRODUCTS_MAX // kept, 1)
        for start in range(0, len(given), rows):
            products = multiply(given[start : start + rows], turned)
            neighbours.ask_neighbours(products, norms, targets, asked, out[start : start + rows])
            # The next products take the place of these, not one beside it.
            del products
        return out

    def shares(self, _spec: ModelSpec, scores: Integers) -> Integers:
        """Return the share of the votes, int64[n, classes], Q16; equal shares if nobody votes."""
        votes = scores.copy()
        totals = votes.sum(axis=1, keepdims=True)
        votes[totals[:, 0] == 0] = ONE
        totals = votes.sum(axis=1, keepdims=True)
        shares: Integers = ((votes << 16) + totals // 2) // totals
        return shares

    def update(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Keep the samples, each in the place of the oldest."""
        samples, targets = take_covered(samples, targets, self.samples_left(spec, state))
        capacity = spec.get("capacity", 1_024)
        seen = int(state["seen"][0])
        # Of more samples than there are places only the last ones stay.
        skipped = max(len(targets) - capacity, 0)
        places = np.arange(seen + skipped, seen + len(targets)) % capacity
        state["features"][places] = get_features(samples)[skipped:]
        state["targets"][places] = targets[skipped:]
        state["seen"][0] += len(targets)
