"""A mixture of Gaussians with diagonal covariances: how unusual a sample is, and new samples.

The state is sums of responsibilities, of features and of their squares for every component.
Components begin among the first samples by k-means++ and a fixed number of steps of expectation
maximisation, then learn every sample once, with parameters that are computed again whenever the
number of samples passes a multiple of ``interval``. Twin: scikit-learn's ``GaussianMixture`` with
``covariance_type="diag"``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.family import Parameter, State, check_bound, check_parameters
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import clusters, linear, sums
from ml_runtime.models.seeding import SEED_PARAMETERS, SeededGroups
from ml_runtime.samples import Integers, Samples, get_features, sample_count
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import EXP2_TABLE, LOG2_TABLE
from primitives.errors import InvalidInputError

__all__ = ["GaussianMixture"]

SAMPLES_MAX: Final = 1 << 24
"""Samples that the bounds cover; beyond, nothing more is learnt."""

WEIGHT_LARGEST: Final = 47_274 << 24
FLOOR_SHIFT: Final = 8
SAMPLES_DRAWN_MAX: Final = 4_096


class GaussianMixture(SeededGroups):
    """The family ``gaussian_mixture``; dense; unlabelled contributions."""

    name = "gaussian_mixture"
    tasks = ("outliers",)
    has_responsibilities = True
    parameters = (
        *SEED_PARAMETERS,
        Parameter("variance_floor", "added to every variance, Q16", ONE // 1000, 1, ONE),
        Parameter("steps", "of expectation maximisation at the beginning", 20, 1, 100),
        Parameter("interval", "samples after which parameters are computed again", 64, 1, 1 << 20),
        Parameter("agreement_limit", "a higher score is not agreed with, Q16", 1 << 40, 0, 1 << 40),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        self.check_groups(spec)
        limit = (self.feature_range(spec)[1] >> 4) + 1
        floor = spec.get("variance_floor", ONE // 1000) << FLOOR_SHIFT
        check_bound(spec, "a sum of squares", limit * limit * SAMPLES_MAX << 7)
        distance = 4 * limit * limit * (WEIGHT_LARGEST // floor)
        check_bound(spec, "a squared distance over a variance", distance)
        check_bound(spec, "a score", 4 * ((distance >> 24) + (64 * ONE)) * spec.feature_count)

    def samples_left(self, _spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(SAMPLES_MAX - int(state["seen"][0]) - int(state["learnt"][0]), 0)

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the sums, of the parameters in use, and of waiting samples."""
        groups, size = spec.get("groups", 8), spec.feature_count
        return {
            "shares": (groups,),
            "sums": (groups, size),
            "squares": (groups, size),
            "means": (groups, size),
            "variances": (groups, size),
            "offsets": (groups,),
            "waiting": (spec.get("seed_samples", 256), size),
            "seen": (1,),
            "learnt": (1,),
        }

    def score_count(self, _spec: ModelSpec) -> int:
        """Return 1: how unusual a sample is."""
        return 1

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: densities and sums of every component; the beginning."""
        groups, interval = spec.get("groups", 8), spec.get("interval", 64)
        deriving = 80 * groups * spec.feature_count * (samples // interval + 1)
        learning = 8 * groups * (entries + 10 * samples)
        return learning + deriving + self.beginning_units(spec)

    def beginning_units(self, spec: ModelSpec) -> int:
        """Return compute units of the first means, and of the steps that follow."""
        groups, size = spec.get("groups", 8), spec.feature_count
        step = spec.get("seed_samples", 256) * (size + 12) + 60 * size
        return super().beginning_units(spec) + spec.get("steps", 20) * groups * step

    def begin(self, spec: ModelSpec, state: State) -> None:
        """Choose the components among the samples that waited."""
        waiting = state["waiting"]
        means, counts = np.zeros_like(state["means"]), np.zeros_like(state["shares"])
        clusters.seed_clusters(waiting, means, counts)
        scores = np.empty((len(waiting), len(counts)), dtype=np.int64)
        kept = np.arange(len(waiting))
        # The first responsibilities are all or nothing: to the nearest mean.
        sums.score_distances_dense(means, (means * means).sum(axis=1), waiting, scores)
        nearest = scores.argmax(axis=1)
        scores[:] = -(1 << 40)
        scores[kept, nearest] = 0
        for _ in range(spec.get("steps", 20)):
            for name in ("shares", "sums", "squares"):
                state[name][:] = 0
            self._add(state, scores, waiting)
            self._derive(spec, state)
            scores = self._component_scores(state, waiting)

    def go_on(self, spec: ModelSpec, state: State, features: Integers) -> None:
        """Add samples to the components, computing parameters again when they are due."""
        interval = spec.get("interval", 64)
        start = 0
        while start < len(features):
            learnt = int(state["learnt"][0])
            end = min(start + interval - learnt % interval, len(features))
            part = np.ascontiguousarray(features[start:end])
            self._add(state, self._component_scores(state, part), part)
            state["learnt"][0] += end - start
            if (learnt + end - start) % interval == 0:
                self._derive(spec, state)
            start = end

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return minus log2 of the density up to a constant, int64[n, 1], Q16."""
        count = sample_count(samples)
        if not self.is_begun(spec, state):
            return np.zeros((count, 1), dtype=np.int64)
        scores = self._component_scores(state, get_features(samples))
        out = np.empty(count, dtype=np.int64)
        linear.log_sum2(scores, EXP2_TABLE, LOG2_TABLE, out)
        return -out[:, np.newaxis]

    def probabilities(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the responsibilities, int64[n, groups], Q16: whose a sample is."""
        out = np.zeros((sample_count(samples), spec.get("groups", 8)), dtype=np.int64)
        if not self.is_begun(spec, state):
            out[:, 0] = ONE
            return out
        scores = self._component_scores(state, get_features(samples))
        linear.softmax2(scores, ONE, EXP2_TABLE, out)
        return out

    def generate(self, spec: ModelSpec, state: State, seed: bytes, count: int) -> Integers:
        """Return new samples, int64[count, features], Q16, within the range of features.

        Parameters
        ----------
        seed
            Of at least 8 bytes, of which the first 8 count.
        count
            1 to 4,096.

        Raises
        ------
        InvalidInputError
            ``too_many_samples``, or ``not_learnt`` before the components have begun.
        """
        if not 1 <= count <= SAMPLES_DRAWN_MAX:
            raise InvalidInputError(
                "too_many_samples",
                f"1 to {SAMPLES_DRAWN_MAX} samples can be drawn, asked for {count}",
                field="count",
                value=count,
                limit=SAMPLES_DRAWN_MAX,
            )
        if not self.is_begun(spec, state):
            raise InvalidInputError(
                "not_learnt",
                f"the components begin with {spec.get('seed_samples', 256)} samples, the model has"
                f" seen {int(state['seen'][0])}",
                field="model",
            )
        out = np.empty((count, spec.feature_count), dtype=np.int64)
        number = np.uint64(int.from_bytes(seed[:8], "little"))
        clusters.draw_samples(state["shares"], state["means"], state["variances"], number, out)
        low, high = self.feature_range(spec)
        drawn: Integers = np.clip(out, low, high)
        return drawn

    def _derive(self, spec: ModelSpec, state: State) -> None:
        floor = spec.get("variance_floor", ONE // 1000) << FLOOR_SHIFT
        added = (state["shares"], state["sums"], state["squares"])
        terms = (state["means"], state["variances"], state["offsets"])
        clusters.mixture_terms(*added, floor, LOG2_TABLE, *terms)

    def _component_scores(self, state: State, features: Integers) -> Integers:
        out = np.empty((len(features), len(state["shares"])), dtype=np.int64)
        terms = (state["means"], state["variances"], state["offsets"])
        clusters.score_mixture(*terms, features, out)
        return out

    def _add(self, state: State, scores: Integers, features: Integers) -> None:
        added = (state["shares"], state["sums"], state["squares"])
        clusters.add_responsibilities(scores, features, EXP2_TABLE, *added)
