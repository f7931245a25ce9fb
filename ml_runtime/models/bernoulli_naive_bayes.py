"""Bernoulli naive Bayes: which features are there and which are not, in logarithms to base 2.

score(c) = log2 N_c + Σ_f log2 p_cf if x_f > threshold, else log2 (1 - p_cf), with
p_cf = (n_cf + α) / (N_c + 2α), where n_cf of the N_c samples of class c have feature f.
Twin: scikit-learn's ``BernoulliNB``.
"""

from __future__ import annotations

import numpy as np

from ml_runtime.family import SHARE_UNITS, Parameter, State, check_bound, check_parameters
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import bayes, linear
from ml_runtime.models.class_sums import LOG2_LARGEST, PRIOR_UNITS, ClassSums, log_counts
from ml_runtime.samples import DenseSamples, Integers, Samples, sample_count
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import LOG2_TABLE
from primitives.errors import InvalidInputError

__all__ = ["BernoulliNaiveBayes"]

SAMPLES_MAX = 1 << 40
"""Samples that the bounds cover: a count in Q16 stays below 2^57."""


class BernoulliNaiveBayes(ClassSums):
    """The family ``bernoulli_naive_bayes``; dense and sparse."""

    name = "bernoulli_naive_bayes"
    sharpness = ONE
    parameters = (
        Parameter("feature_limit", "largest absolute feature, Q16", 256 * ONE, ONE, 1 << 32),
        Parameter("smoothing", "added to every count, Q16", ONE, 1, 1024 * ONE),
        Parameter("threshold", "a feature above it is there, Q16", 0, -(1 << 32), 1 << 32),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a threshold that sparse samples cannot have; raises ``invalid_spec``."""
        check_parameters(self, spec)
        threshold = spec.get("threshold", 0)
        if spec.layout == "sparse" and threshold < 0:
            raise InvalidInputError(
                "invalid_spec",
                f"{self.name}.threshold must not be negative for sparse samples, whose absent"
                " features are 0",
                field="spec.parameters.threshold",
                value=threshold,
                limit=0,
            )
        check_bound(spec, "a score", 2 * LOG2_LARGEST * (spec.feature_count + 1))

    def samples_covered(self, _spec: ModelSpec) -> int:
        """Return how many samples the bounds cover."""
        return SAMPLES_MAX

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 256 * ONE)
        return -limit, limit

    def sum_range(self, _spec: ModelSpec) -> tuple[int, int]:
        """Return what one sample can add to a sum."""
        return 0, 1

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: two logarithms for each parameter, products for each entry."""
        parameters = (64 * spec.feature_count + PRIOR_UNITS) * spec.class_count
        shares = SHARE_UNITS * samples * spec.class_count
        return parameters + (entries + samples) * (spec.class_count + 2) + shares

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return log2 of the joint probability, int64[n, classes], Q16."""
        sums, counts = state["sums"], state["counts"]
        gains, offsets = np.empty_like(sums), np.empty_like(counts)
        smoothing, threshold = spec.get("smoothing", ONE), spec.get("threshold", 0)
        bayes.bernoulli_terms(sums, counts, smoothing, LOG2_TABLE, gains, offsets)
        offsets += log_counts(counts)
        out = np.empty((sample_count(samples), spec.class_count), dtype=np.int64)
        if isinstance(samples, DenseSamples):
            present = (samples.features > threshold).astype(np.int64) * ONE
            linear.score_dense(gains, offsets, present, out)
        else:
            row_starts, indices, values = samples.arrays
            present = (values > threshold).astype(np.int64) * ONE
            linear.score_sparse(gains, offsets, row_starts, indices, present, out)
        return out

    def add(
        self, spec: ModelSpec, state: State, samples: Samples, labels: Integers, sign: int
    ) -> None:
        """Add a batch to the counts, or take it away."""
        sums, counts, threshold = state["sums"], state["counts"], spec.get("threshold", 0)
        if isinstance(samples, DenseSamples):
            bayes.sum_present_dense(sums, counts, samples.features, labels, threshold, sign)
        else:
            bayes.sum_present_sparse(sums, counts, *samples.arrays, labels, threshold, sign)
