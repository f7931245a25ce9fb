"""Imports of estimators that remember samples or their means, and of networks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np

from ml_runtime.fixed_point import ONE
from ml_runtime.kernels.network import ACTIVATION_LIMIT, WEIGHT_LIMIT
from ml_runtime.registry import get_family
from primitives.errors import InvalidInputError
from quorate.model_files.imported_model import (
    Floats,
    ImportedModel,
    ImportRequest,
    build_import,
    make_unsupported,
    read_class_names,
    read_fitted,
)

__all__ = ["import_centroids", "import_neighbours", "import_network"]

HIDDEN_LAYERS_MAX: Final = 2
WEIGHT_BITS: Final = 32

HALVINGS_MAX: Final = 6
"""How often a unit's weights are halved at most: each time they lose a bit behind the point."""

EUCLIDEAN: Final = ("euclidean", "l2")


def import_centroids(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``NearestCentroid``; every class counts one sample if nothing says how many."""
    if getattr(estimator, "metric", None) != "euclidean":
        raise make_unsupported(
            f"NearestCentroid with the metric {getattr(estimator, 'metric', None)!r}; euclidean is"
            " taken"
        )
    names = read_class_names(estimator)
    means = read_fitted(estimator, "centroids_", dimensions=2)
    priors = getattr(estimator, "class_prior_", None)
    if priors is not None and not np.isclose(priors, 1 / len(names)).all():
        raise make_unsupported("NearestCentroid with priors that differ; uniform ones are taken")
    counts = np.ones(len(names), dtype=np.int64)
    if request.class_counts is not None:
        counts = np.array(request.class_counts, dtype=np.int64)
        if counts.shape != (len(names),) or counts.min() < 1:
            raise make_unsupported(
                f"class_counts {request.class_counts} for {len(names)} classes; one count of at"
                " least 1 is taken for each"
            )
    spec = request.build_spec("nearest_centroid", means.shape[1], len(names), {})
    tensors = {"sums": means * counts[:, np.newaxis], "counts": counts}
    return build_import(spec, tensors, names)


def import_neighbours(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``KNeighborsClassifier`` or ``KNeighborsRegressor`` with all samples it keeps."""
    kind, weights = type(estimator).__name__, getattr(estimator, "weights", None)
    metric = getattr(estimator, "effective_metric_", None)
    features = read_fitted(estimator, "_fit_X", dimensions=2)
    if weights != "uniform" or metric not in EUCLIDEAN:
        raise make_unsupported(
            f"{kind} with the weights {weights!r} and the metric {metric!r}; taken are uniform and"
            " euclidean"
        )
    names = read_class_names(estimator) if kind == "KNeighborsClassifier" else ()
    targets: Any = read_fitted(estimator, "_y")
    if targets.size != len(features):
        raise make_unsupported(f"{kind} with several targets; estimators of one are taken")
    targets = targets.reshape(-1)
    if names:
        targets = targets.astype(np.int64)
    count = len(features)
    settings = {"neighbours": int(estimator.n_neighbors), "capacity": count}
    spec = request.build_spec("nearest_neighbours", features.shape[1], len(names), settings)
    tensors = {
        "features": features,
        "targets": targets,
        "seen": np.array([count], dtype=np.int64),
    }
    return build_import(spec, tensors, names)


def import_network(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``MLPClassifier`` or ``MLPRegressor`` with one or two rectified hidden layers.

    The one output that scikit-learn has for two classes becomes two, of which the first is always
    zero: the softmax of both is the logistic function of it.
    """
    kind = type(estimator).__name__
    layers = _read_layers(estimator)
    activation = getattr(estimator, "activation", None)
    if activation != "relu":
        raise make_unsupported(f"{kind} with the activation {activation!r}; relu is taken")
    names = read_class_names(estimator) if kind == "MLPClassifier" else ()
    last = layers[-1]
    if len(names) == 2 and len(last) == 1:
        layers[-1] = np.concatenate([np.zeros_like(last), last])
    elif len(last) != max(len(names), 1):
        raise make_unsupported(f"{kind} with {len(last)} targets; estimators of one are taken")
    elif getattr(estimator, "out_activation_", None) != ("softmax" if names else "identity"):
        raise make_unsupported(
            f"{kind} with outputs that are {getattr(estimator, 'out_activation_', None)!r}; one"
            " label or number is taken, without a function applied to it"
        )
    settings = {f"hidden{layer + 1}": len(rows) for layer, rows in enumerate(layers[:-1])}
    spec = request.build_spec("multilayer_perceptron", layers[0].shape[1] - 1, len(names), settings)
    notes = _balance_units(layers, get_family(spec.family).feature_range(spec)[1] / ONE)
    weights = np.concatenate([rows.reshape(-1) for rows in layers])
    return build_import(spec, {"weights": weights}, names, notes=notes)


def _read_layers(estimator: Any) -> list[Floats]:
    """Return the weights of each layer, float64[units, width + 1], intercepts last."""
    kind = type(estimator).__name__
    coefficients = getattr(estimator, "coefs_", None)
    if coefficients is None:
        raise InvalidInputError(
            "not_learnt", f"{kind} has no coefs_: fit it first", field="estimator.coefs_"
        )
    if not 1 < len(coefficients) <= HIDDEN_LAYERS_MAX + 1:
        raise make_unsupported(
            f"{kind} with {len(coefficients) - 1} hidden layers; 1 or 2 are taken"
        )
    return [
        np.concatenate([np.asarray(into).T, np.asarray(offset).reshape(-1, 1)], axis=1)
        for into, offset in zip(coefficients, estimator.intercepts_, strict=True)
    ]


def _balance_units(layers: list[Floats], feature_limit: float) -> tuple[str, ...]:
    """Make hidden units give at most what the family lets them, in place; say where that failed.

    A rectified unit that gives half as much to weights that are twice as large changes nothing, and
    neither does the rounding of floats if it is by powers of two. What the report says of errors is
    about the weights as they are afterwards.
    """
    limit, weight_limit = ACTIVATION_LIMIT / ONE, WEIGHT_LIMIT / (1 << WEIGHT_BITS)
    largest = np.full(layers[0].shape[1] - 1, feature_limit)
    excess = 0.0
    for rows, following in pairwise(layers):
        given = np.abs(rows[:, :-1]) @ largest + np.abs(rows[:, -1])
        wanted = np.ceil(np.log2(np.maximum(given / limit, 1)))
        # The weights that a unit's answer meets must not leave their own bound.
        met = np.maximum(np.abs(following[:, :-1]).max(axis=0), np.finfo(np.float64).tiny)
        room = np.maximum(np.floor(np.log2(weight_limit / met)), 0)
        halvings = np.minimum(np.minimum(wanted, room), HALVINGS_MAX)
        rows *= np.exp2(-halvings)[:, np.newaxis]
        following[:, :-1] *= np.exp2(halvings)
        given *= np.exp2(-halvings)
        excess = max(excess, float(given.max()))
        largest = np.minimum(given, limit)
    if excess <= limit:
        return ()
    return (
        f"a hidden unit gives at most {limit:g} here, and could reach {excess:.3g} with features at"
        " their limit; a lower feature_limit or smaller weights help",
    )
