"""Multinomial naive Bayes, in logarithms to base 2.

score(c) = log2 N_c + Σ_f x_f · (log2(S_cf + α) - log2(T_c + α·V)), with N_c the samples of class c,
S_cf the sum of feature f over them, T_c the sum of all features and V the number of features. A
class that was never seen is never predicted while another was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ml_runtime import kernels
from ml_runtime.family import Parameter, State, check_bound, check_parameters
from ml_runtime.fixed_point import ONE
from ml_runtime.models.class_sums import SAMPLES_MAX, ClassSums
from ml_runtime.samples import DenseSamples, Integers, Samples, sample_count
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import EXP2_TABLE, LOG2_TABLE

__all__ = ["MultinomialNaiveBayes"]

UNSEEN: Final = -(1 << 60)
"""Score of a class without samples: below every other."""

LOG2_LARGEST: Final = 64 * ONE
"""No logarithm of an int64 is larger, Q16."""


class MultinomialNaiveBayes(ClassSums):
    """The family ``multinomial_naive_bayes``; dense and sparse; features are counts, ≥ 0."""

    name = "multinomial_naive_bayes"
    parameters: Sequence[Parameter] = (
        Parameter("feature_limit", "largest feature, Q16", 256 * ONE, ONE, 1 << 32),
        Parameter("smoothing", "added to every count, Q16", ONE, 1, 1024 * ONE),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec whose sums could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        limit, smoothing = spec.get("feature_limit", 256 * ONE), spec.get("smoothing", ONE)
        total = spec.feature_count * (limit * SAMPLES_MAX + smoothing)
        check_bound(spec, "the sum of a class", total)
        check_bound(spec, "a score", 2 * LOG2_LARGEST * limit * spec.feature_count)

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        return 0, spec.get("feature_limit", 256 * ONE)

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: two logarithms for each parameter, one product for each entry."""
        return 32 * spec.class_count * spec.feature_count + (entries + samples) * (
            spec.class_count + 1
        )

    def predict(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the class with the highest score, int64[n]."""
        scores = self.scores(spec, state, samples)
        best: Integers = np.argmax(scores, axis=1).astype(np.int64)
        return best

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return log2 of the joint probability up to a constant, int64[n, classes], Q16."""
        sums, counts = state["sums"], state["counts"]
        logs = np.empty_like(sums)
        kernels.log_probabilities(sums, spec.get("smoothing", ONE), LOG2_TABLE, logs)
        priors = np.array(
            [kernels.log2_q16(int(n), LOG2_TABLE) if n else UNSEEN for n in counts], dtype=np.int64
        )
        out = np.empty((sample_count(samples), spec.class_count), dtype=np.int64)
        if isinstance(samples, DenseSamples):
            kernels.score_dense(logs, priors, samples.features, out)
        else:
            entries = (samples.row_starts, samples.indices, samples.values)
            kernels.score_sparse(logs, priors, *entries, out)
        return out

    def probabilities(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the posterior probabilities, int64[n, classes], Q16."""
        scores = self.scores(spec, state, samples)
        out = np.empty_like(scores)
        kernels.softmax2(scores, ONE, EXP2_TABLE, out)
        return out
