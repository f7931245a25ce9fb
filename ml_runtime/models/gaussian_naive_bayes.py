"""Gaussian naive Bayes: a mean and a variance for each class and feature.

score(c) = log2 N_c - ½ Σ_f log2 v_cf - ½ log2 e Σ_f (x_f - m_cf)² / v_cf. The state is counts, sums
and sums of squares in Q12 and Q24, which subtract exactly; means and variances are computed when
they are used. Twin: scikit-learn's ``GaussianNB``.
"""

from __future__ import annotations

import numpy as np

from ml_runtime.family import SHARE_UNITS, Parameter, State, check_bound, check_parameters
from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.kernels import bayes
from ml_runtime.models.class_sums import LOG2_LARGEST, SAMPLES_MIN, ClassSums, log_counts
from ml_runtime.samples import Integers, Samples, get_features, sample_count
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import LOG2_TABLE

__all__ = ["GaussianNaiveBayes"]

FLOOR_SHIFT = 8
"""From Q16 to the Q24 of a variance."""

WEIGHT_LARGEST = 47_274 << 24


class GaussianNaiveBayes(ClassSums):
    """The family ``gaussian_naive_bayes``; dense."""

    name = "gaussian_naive_bayes"
    sharpness = ONE
    layouts = ("dense",)
    grows_features = False
    parameters = (
        Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 22),
        Parameter("variance_floor", "added to every variance, Q16", ONE // 1000, 1, ONE),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        limit = self._limit(spec)
        floor = spec.get("variance_floor", ONE // 1000) << FLOOR_SHIFT
        check_bound(spec, "a spread", 4 * limit * limit * SAMPLES_MIN)
        distance = 4 * limit * limit * (WEIGHT_LARGEST // floor)
        check_bound(spec, "a squared distance over a variance", distance)
        # The score must also stay above that of a class that was never seen.
        largest = (distance >> 24) + 1 + LOG2_LARGEST
        check_bound(spec, "a score", 4 * largest * (spec.feature_count + 1))

    def samples_covered(self, spec: ModelSpec) -> int:
        """Return how many samples keep a spread below 2^62."""
        return int((INT64_SAFE - 1) // (4 * self._limit(spec) ** 2))

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def sum_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q12."""
        return -self._limit(spec), self._limit(spec)

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of sums, squares and counts."""
        shapes = super().shapes(spec)
        return {**shapes, "squares": shapes["sums"]}

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: a logarithm and two divisions for each parameter, and products."""
        parameters = 80 * spec.class_count * (spec.feature_count + 1)
        shares = SHARE_UNITS * samples * spec.class_count
        return parameters + (2 * entries + samples) * (spec.class_count + 2) + shares

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return log2 of the joint density up to a constant, int64[n, classes], Q16."""
        sums, squares, counts = state["sums"], state["squares"], state["counts"]
        means, weights = np.empty_like(sums), np.empty_like(sums)
        offsets = np.empty_like(counts)
        floor = spec.get("variance_floor", ONE // 1000) << FLOOR_SHIFT
        bayes.gaussian_terms(sums, squares, counts, floor, LOG2_TABLE, means, weights, offsets)
        offsets += log_counts(counts)
        out = np.empty((sample_count(samples), spec.class_count), dtype=np.int64)
        bayes.score_gaussian(means, weights, offsets, get_features(samples), out)
        return out

    def add(
        self, _spec: ModelSpec, state: State, samples: Samples, labels: Integers, sign: int
    ) -> None:
        """Add a batch to the moments, or take it away."""
        moments = (state["sums"], state["squares"], state["counts"])
        bayes.sum_moments(*moments, get_features(samples), labels, sign)

    def is_possible(self, spec: ModelSpec, state: State) -> bool:
        """Say whether some samples can have given these sums and squares."""
        if not super().is_possible(spec, state):
            return False
        largest = self._limit(spec) ** 2 * state["counts"][:, np.newaxis]
        squares = state["squares"]
        return bool(((squares >= _least_squares(state)) & (squares <= largest)).all())

    def decay(self, spec: ModelSpec, state: State, shift: int) -> None:
        """Forget one part in 2^shift of every class, in place.

        Sums and squares are rounded each for itself, which can take the squares below what the
        sums ask for; they are raised to that. It is at most the largest feature squared for each
        sample, as the means are at most the largest feature, so the state stays possible.

        Raises
        ------
        InvalidInputError
            ``shift_out_of_range``; nothing changes.
        """
        super().decay(spec, state, shift)
        np.maximum(state["squares"], _least_squares(state), out=state["squares"])

    def _limit(self, spec: ModelSpec) -> int:
        """Return the largest absolute feature, Q12."""
        return (spec.get("feature_limit", 8 * ONE) >> 4) + 1


def _least_squares(state: State) -> Integers:
    """Return how small sums of squares can be, given the sums."""
    counts = state["counts"][:, np.newaxis]
    # The mean of squares is at least the square of the mean (Cauchy-Schwarz).
    means = np.abs(state["sums"]) // np.maximum(counts, 1)
    least: Integers = means * means * counts
    return least
