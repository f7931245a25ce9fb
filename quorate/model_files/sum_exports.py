"""Exports of models that keep sums, samples or groups: naive Bayes, centroids, neighbours, axes.

Classes that were never seen are never predicted here; they are left out of what is exported, since
the logarithm of their share is infinite. Groups keep their numbers, so empty ones are moved far
away.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ml_runtime.fixed_point import FRACTION_BITS, ONE
from ml_runtime.kernels import bayes
from ml_runtime.tables import LOG2_TABLE
from primitives.errors import InvalidInputError
from quorate.model_files.exported_model import (
    ExportedModel,
    build_estimator,
    make_estimator,
    to_floats,
)
from quorate.model_files.imported_model import Floats

__all__ = [
    "export_bernoulli",
    "export_centroids",
    "export_gaussian",
    "export_groups",
    "export_mixture",
    "export_multinomial",
    "export_neighbours",
    "export_principal_components",
]

Q12: Final = 12
Q20: Final = 20
Q24: Final = 24
FLOOR_SHIFT: Final = 8
FLOOR_DEFAULT: Final = ONE // 1000
UNUSED: Final = -(1 << 49)
"""Below it lies the offset of a component of a mixture that nothing belongs to."""


def export_multinomial(model: ExportedModel) -> Any:
    """Return a ``MultinomialNB``."""
    alpha = model.spec.get("smoothing", ONE) / ONE
    fitted = _make_counted(model)
    sums = to_floats(model.state["sums"], FRACTION_BITS)[model.get_seen(model.state["counts"])]
    smoothed = sums + alpha
    fitted["feature_count_"] = sums
    fitted["feature_log_prob_"] = np.log(smoothed) - np.log(smoothed.sum(axis=1, keepdims=True))
    return build_estimator("naive_bayes", "MultinomialNB", {"alpha": alpha}, fitted)


def export_bernoulli(model: ExportedModel) -> Any:
    """Return a ``BernoulliNB``."""
    alpha = model.spec.get("smoothing", ONE) / ONE
    fitted = _make_counted(model)
    sums = to_floats(model.state["sums"], 0)[model.get_seen(model.state["counts"])]
    counts = fitted["class_count_"]
    fitted["feature_count_"] = sums
    fitted["feature_log_prob_"] = np.log(sums + alpha) - np.log(counts + 2 * alpha)[:, np.newaxis]
    settings = {"alpha": alpha, "binarize": model.spec.get("threshold", 0) / ONE}
    return build_estimator("naive_bayes", "BernoulliNB", settings, fitted)


def export_gaussian(model: ExportedModel) -> Any:
    """Return a ``GaussianNB`` with the means and variances that the model scores with."""
    sums, counts = model.state["sums"], model.state["counts"]
    means, weights = np.empty_like(sums), np.empty_like(sums)
    floor = model.spec.get("variance_floor", FLOOR_DEFAULT) << FLOOR_SHIFT
    squares = model.state["squares"]
    offsets = np.empty_like(counts)
    bayes.gaussian_terms(sums, squares, counts, floor, LOG2_TABLE, means, weights, offsets)
    each = np.maximum(counts, 1)[:, np.newaxis]
    spread = squares - 2 * means * sums + each * means * means
    seen = model.get_seen(counts)
    fitted = _make_counted(model)
    del fitted["class_log_prior_"]
    fitted["class_prior_"] = fitted["class_count_"] / fitted["class_count_"].sum()
    fitted["theta_"] = to_floats(means, Q12)[seen]
    fitted["var_"] = to_floats(np.maximum(spread // each, 0) + floor, Q24)[seen]
    fitted["epsilon_"] = floor / (1 << Q24)
    return build_estimator("naive_bayes", "GaussianNB", {}, fitted)


def export_centroids(model: ExportedModel) -> Any:
    """Return a ``NearestCentroid`` with equal priors and deviations, so that distance decides."""
    counts = model.state["counts"]
    seen = model.get_seen(counts)
    means = _divide(model.state["sums"], counts)[seen]
    size = means.shape[1]
    fitted = {
        "centroids_": means,
        "classes_": model.classes[seen],
        "class_prior_": np.full(len(means), 1 / len(means)),
        "within_class_std_dev_": np.ones(size),
        "n_features_in_": size,
    }
    return build_estimator("neighbors", "NearestCentroid", {}, fitted)


def export_neighbours(model: ExportedModel) -> Any:
    """Return a ``KNeighborsClassifier`` or ``KNeighborsRegressor`` of the samples kept."""
    spec, state = model.spec, model.state
    kept = min(int(state["seen"][0]), spec.get("capacity", 1_024))
    model.get_seen(state["seen"])
    features = to_floats(state["features"][:kept], FRACTION_BITS)
    settings = {"n_neighbors": min(spec.get("neighbours", 5), kept), "algorithm": "brute"}
    targets = state["targets"][:kept]
    if not spec.class_count:
        regressor = make_estimator("neighbors", "KNeighborsRegressor", **settings)
        return regressor.fit(features, to_floats(targets, FRACTION_BITS))
    classifier = make_estimator("neighbors", "KNeighborsClassifier", **settings)
    classifier.fit(features, targets)
    # Fitted with numbers, since names would be sorted and ties then decided otherwise.
    classifier.classes_ = model.classes[classifier.classes_]
    return classifier


def export_groups(model: ExportedModel) -> Any:
    """Return a ``KMeans`` with the means of the groups, numbered as they are."""
    counts = model.state["counts"]
    seen = model.get_seen(counts)
    means = _divide(model.state["sums"], counts)
    means[~seen] = model.get_far()
    fitted = {
        "cluster_centers_": means,
        "n_features_in_": means.shape[1],
        "_n_threads": 1,
        "n_iter_": 0,
    }
    return build_estimator("cluster", "KMeans", {"n_clusters": len(means), "n_init": 1}, fitted)


def export_principal_components(model: ExportedModel) -> Any:
    """Return a ``PCA`` with mean and axes; squared errors of its reconstruction are our scores."""
    state = model.state
    count = int(state["counts"][0])
    model.get_seen(state["counts"])
    axes, mean = to_floats(state["axes"], Q20), to_floats(state["mean"], Q12)
    middle = to_floats(state["sums"], Q12) / count
    covariance = to_floats(state["products"], Q24) / count - np.outer(middle, middle)
    covariance *= count / max(count - 1, 1)
    variances = np.einsum("ij,jk,ik->i", axes, covariance, axes)
    total = float(np.trace(covariance))
    fitted = {
        "components_": axes,
        "mean_": mean,
        "n_components_": len(axes),
        "n_features_in_": axes.shape[1],
        "n_samples_": count,
        "explained_variance_": variances,
        "explained_variance_ratio_": variances / (total or 1.0),
        "singular_values_": np.sqrt(np.maximum(variances, 0) * max(count - 1, 1)),
        "noise_variance_": max(total - variances.sum(), 0.0) / max(axes.shape[1] - len(axes), 1),
    }
    return build_estimator("decomposition", "PCA", {"n_components": len(axes)}, fitted)


def export_mixture(model: ExportedModel) -> Any:
    """Return a ``GaussianMixture`` of diagonal covariances, as the model scores with."""
    state = model.state
    if not state["variances"].all():
        raise InvalidInputError(
            "not_learnt",
            f"the components begin with {model.spec.get('seed_samples', 256)} samples, the model"
            f" has seen {int(state['seen'][0])}",
            field="model",
        )
    means, variances = to_floats(state["means"], Q12), to_floats(state["variances"], Q24)
    used = state["offsets"] > UNUSED
    # The offset is log2 of the share less half of those of the variances, which in Q24 are larger
    # by 24 each. Shares may have grown since; the offset is what samples are scored with.
    halves = (np.log2(variances) + Q24).sum(axis=1) / 2
    logs = np.where(used, to_floats(state["offsets"], FRACTION_BITS) + halves, -np.inf)
    weights = np.exp2(logs)
    weights = np.maximum(weights / weights.sum(), np.finfo(np.float64).tiny)
    means[~used] = model.get_far()
    deviations = 1 / np.sqrt(variances)
    fitted = {
        "weights_": weights,
        "means_": means,
        "covariances_": variances,
        "precisions_": deviations**2,
        "precisions_cholesky_": deviations,
        "n_features_in_": means.shape[1],
        "converged_": True,
        "n_iter_": 0,
        "lower_bound_": -np.inf,
    }
    settings = {"n_components": len(means), "covariance_type": "diag"}
    return build_estimator("mixture", "GaussianMixture", settings, fitted)


def _make_counted(model: ExportedModel) -> dict[str, Any]:
    """Return what the three kinds of naive Bayes have in common, of the classes that were seen."""
    seen = model.get_seen(model.state["counts"])
    counts = to_floats(model.state["counts"], 0)[seen]
    return {
        "classes_": model.classes[seen],
        "class_count_": counts,
        "class_log_prior_": np.log(counts) - np.log(counts.sum()),
        "n_features_in_": model.spec.feature_count,
    }


def _divide(sums: Any, counts: Any) -> Floats:
    """Return means as the family rounds them, in natural units."""
    each = np.maximum(counts, 1)[:, np.newaxis]
    return to_floats((sums + each // 2) // each, FRACTION_BITS)
