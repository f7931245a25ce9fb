"""Which family learns which data, with which settings: one case for each row of the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ml_runtime.fixed_point import ONE

__all__ = ["CASES", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One family on one data set.

    Parameters
    ----------
    family, data
        By name.
    scaling
        Of `benchmarks.models.data.SCALINGS`; texts are encoded in one way only.
    settings
        What a spec names; the twin's hyper-parameters are computed from it.
    passes
        Over the learning part, for both.
    reason
        Why a target is missed, where it is known to be.
    """

    family: str
    data: str
    scaling: str = "standardise"
    settings: dict[str, int] = field(default_factory=dict)
    passes: int = 1
    reason: str = ""


L2: Final = {"l2": (1 << 32) // 10_000}
"""scikit-learn's default penalty, 0.0001."""

L2_FALLING: Final = {**L2, "schedule": 2, "schedule_samples": 1}
"""The same, with a rate that falls as 1/√t."""

NO_CONSTANT: Final = {"bias": 0}
"""On texts: scikit-learn slows the intercept of sparse samples down by a rule of its own."""

CASES: Final = (
    Case("averaged_perceptron", "digits", "unit", passes=3),
    Case("averaged_perceptron", "breast cancer", passes=3),
    Case("averaged_perceptron", "wine", passes=3),
    Case("averaged_perceptron", "topics", settings={**NO_CONSTANT, "margin": 20 * ONE}, passes=3),
    Case("linear_regression", "diabetes", "standardise", {"rate": ONE // 20, **L2_FALLING}, 5),
    Case("logistic_regression", "digits", "unit", {"rate": ONE // 10, **L2}, 3),
    Case("logistic_regression", "breast cancer", "standardise", {"rate": ONE // 100, **L2}, 3),
    Case("logistic_regression", "wine", "standardise", {"rate": ONE // 20, **L2_FALLING}, 3),
    Case("logistic_regression", "topics", settings={"rate": ONE // 20, **NO_CONSTANT}, passes=3),
    Case("softmax_regression", "digits", "unit", {"rate": ONE // 10}, 3),
    Case("softmax_regression", "breast cancer", settings={"rate": ONE // 100}, passes=3),
    Case("softmax_regression", "wine", settings={"rate": ONE // 50}, passes=3),
    Case("softmax_regression", "topics", settings={"rate": ONE // 20, **NO_CONSTANT}, passes=3),
    Case("multinomial_naive_bayes", "digits", "raw"),
    Case("multinomial_naive_bayes", "breast cancer", "raw", {"feature_limit": 8192 * ONE}),
    Case("multinomial_naive_bayes", "wine", "raw", {"feature_limit": 8192 * ONE}),
    Case("multinomial_naive_bayes", "topics"),
    Case("bernoulli_naive_bayes", "digits", "unit", {"threshold": ONE // 4}),
    Case("bernoulli_naive_bayes", "breast cancer"),
    Case("bernoulli_naive_bayes", "wine"),
    Case("bernoulli_naive_bayes", "topics"),
    Case("gaussian_naive_bayes", "digits", "unit"),
    Case("gaussian_naive_bayes", "breast cancer"),
    Case("gaussian_naive_bayes", "wine"),
    Case("nearest_centroid", "digits", "unit"),
    Case("nearest_centroid", "breast cancer"),
    Case("nearest_centroid", "wine"),
    Case("nearest_centroid", "topics"),
    Case("ridge", "digits", "unit"),
    Case("ridge", "breast cancer"),
    Case("ridge", "wine"),
    Case("ridge", "diabetes"),
    Case("nearest_neighbours", "digits", "unit", {"capacity": 2_048}),
    Case("nearest_neighbours", "breast cancer"),
    Case("nearest_neighbours", "wine"),
    Case("nearest_neighbours", "diabetes"),
    Case("multilayer_perceptron", "digits", "unit", {"rate": ONE // 33}, 10),
    Case("multilayer_perceptron", "breast cancer", settings={"rate": ONE // 100}, passes=10),
    Case("multilayer_perceptron", "wine", settings={"rate": ONE // 100}, passes=10),
    Case("multilayer_perceptron", "diabetes", settings={"rate": ONE // 500}, passes=10),
    Case("hoeffding_tree", "digits", "unit", {"low": 0, "high": ONE}),
    Case("hoeffding_tree", "breast cancer"),
    Case("hoeffding_tree", "wine"),
)
