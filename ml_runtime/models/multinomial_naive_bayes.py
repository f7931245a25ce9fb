"""Multinomial naive Bayes, in logarithms to base 2.

score(c) = log2 N_c + Σ_f x_f · (log2(S_cf + α) - log2(T_c + α·V)), with N_c the samples of class c,
S_cf the sum of feature f over them, T_c the sum of all features and V the number of features. A
class that was never seen is never predicted while another was.
"""

from __future__ import annotations

import numpy as np

from ml_runtime.family import SHARE_UNITS, Parameter, State, check_bound, check_parameters
from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.kernels import linear
from ml_runtime.kernels import sums as kernels
from ml_runtime.models.class_sums import (
    LOG2_LARGEST,
    PRIOR_UNITS,
    SAMPLES_MIN,
    ClassSums,
    log_counts,
)
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples, sample_count
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import LOG2_TABLE

__all__ = ["MultinomialNaiveBayes"]


class MultinomialNaiveBayes(ClassSums):
    """The family ``multinomial_naive_bayes``; dense and sparse; features are counts, ≥ 0."""

    name = "multinomial_naive_bayes"
    sharpness = ONE
    parameters = (
        Parameter("feature_limit", "largest feature, Q16", 256 * ONE, ONE, 1 << 32),
        Parameter("smoothing", "added to every count, Q16", ONE, 1, 1024 * ONE),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        limit, smoothing = spec.get("feature_limit", 256 * ONE), spec.get("smoothing", ONE)
        total = spec.feature_count * (limit * SAMPLES_MIN + smoothing)
        check_bound(spec, "the sum of a class", total)
        check_bound(spec, "a score", 2 * LOG2_LARGEST * limit * spec.feature_count)

    def samples_covered(self, spec: ModelSpec) -> int:
        """Return how many samples keep the sum of a class, smoothed, below 2^62."""
        limit, smoothing = spec.get("feature_limit", 256 * ONE), spec.get("smoothing", ONE)
        return ((INT64_SAFE - 1) // spec.feature_count - smoothing) // limit

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        return 0, spec.get("feature_limit", 256 * ONE)

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: sums, a logarithm for each parameter, products for each entry."""
        # A few sparse samples need the logarithms of the sums they touch, not of all.
        logarithms = spec.feature_count
        if spec.layout == "sparse":
            logarithms = min(logarithms, entries)
        parameters = (spec.feature_count + 31 * logarithms + PRIOR_UNITS) * spec.class_count
        shares = SHARE_UNITS * samples * spec.class_count
        return parameters + (entries + samples) * (spec.class_count + 1) + shares

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return log2 of the joint probability up to a constant, int64[n, classes], Q16."""
        sums, counts = state["sums"], state["counts"]
        smoothing = spec.get("smoothing", ONE)
        priors = log_counts(counts)
        out = np.empty((sample_count(samples), spec.class_count), dtype=np.int64)
        if isinstance(samples, SparseSamples) and len(samples.indices) < spec.feature_count:
            kernels.score_logs_sparse(sums, smoothing, priors, LOG2_TABLE, *samples.arrays, out)
            return out
        logs = np.empty_like(sums)
        kernels.log_probabilities(sums, smoothing, LOG2_TABLE, logs)
        if isinstance(samples, DenseSamples):
            linear.score_dense(logs, priors, samples.features, out)
        else:
            linear.score_sparse(logs, priors, *samples.arrays, out)
        return out
