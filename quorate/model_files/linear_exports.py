"""Exports of models whose answer is a weighted sum, and of networks.

Two classes have two rows of weights here and one in scikit-learn: what speaks for the second class
rather than for the first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, cast

import numpy as np

from ml_runtime.fixed_point import FRACTION_BITS, ONE
from ml_runtime.kernels import linear
from ml_runtime.models.multilayer_perceptron import MultilayerPerceptron
from ml_runtime.registry import get_family
from quorate.model_files.exported_model import (
    ExportedModel,
    build_estimator,
    make_estimator,
    to_floats,
)
from quorate.model_files.imported_model import Floats

__all__ = [
    "export_averaged_perceptron",
    "export_linear_regression",
    "export_logistic_regression",
    "export_network",
    "export_ridge",
    "export_softmax_regression",
]

LINEAR: Final = "linear_model"
MIRROR_TOLERANCE: Final = 2.0**-10
"""How far two rows may be from mirroring each other: what years of rounded steps add up to."""


def export_linear_regression(model: ExportedModel) -> Any:
    """Return a ``LinearRegression``, which does not cut its answers to ±1,024."""
    weights = _read_gradient_weights(model)
    return build_estimator(LINEAR, "LinearRegression", {}, _make_regressor(weights))


def export_softmax_regression(model: ExportedModel) -> Any:
    """Return a ``LogisticRegression``."""
    weights = _read_gradient_weights(model)
    if len(weights) == 2:
        weights = weights[1:] - weights[:1]
    return build_estimator(LINEAR, "LogisticRegression", {}, _make_classifier(model, weights))


def export_logistic_regression(model: ExportedModel) -> Any:
    """Return an ``SGDClassifier`` for several classes, a ``LogisticRegression`` for two.

    If two rows do not mirror each other their probabilities have no counterpart, and what is
    returned is an ``SGDClassifier`` that decides alike and offers none.
    """
    weights = _read_gradient_weights(model)
    if len(weights) != 2:
        settings = {"loss": "log_loss"}
        return build_estimator(LINEAR, "SGDClassifier", settings, _make_classifier(model, weights))
    half = (weights[1:] - weights[:1]) / 2
    if np.abs(weights.sum(axis=0)).max() > MIRROR_TOLERANCE:
        settings = {"loss": "hinge"}
        return build_estimator(LINEAR, "SGDClassifier", settings, _make_classifier(model, half))
    return build_estimator(LINEAR, "LogisticRegression", {}, _make_classifier(model, half))


def export_averaged_perceptron(model: ExportedModel) -> Any:
    """Return a ``Perceptron`` with the averaged weights."""
    state = model.state
    mean = np.empty_like(state["weights"])
    linear.averaged_weights(state["weights"], state["changes"], int(state["steps"][0]), mean)
    weights = _scale_bias(model, to_floats(mean, FRACTION_BITS))
    if len(weights) == 2:
        weights = weights[1:] - weights[:1]
    return build_estimator(LINEAR, "Perceptron", {}, _make_classifier(model, weights))


def export_ridge(model: ExportedModel) -> Any:
    """Return a ``Ridge`` or a ``RidgeClassifier`` with the weights of the exact solution."""
    weights = to_floats(model.state["weights"], FRACTION_BITS)
    settings = {"alpha": model.spec.get("l2", ONE) / ONE}
    if not model.spec.class_count:
        return build_estimator(LINEAR, "Ridge", settings, _make_regressor(weights))
    if len(weights) == 2:
        weights = (weights[1:] - weights[:1]) / 2
    fitted = _make_classifier(model, weights)
    del fitted["classes_"]
    fitted["_label_binarizer"] = _make_binarizer(model, low=-1)
    classifier = build_estimator(LINEAR, "RidgeClassifier", settings, fitted)
    # Older versions of scikit-learn look the classes up in the binarizer and let nobody set them.
    if not hasattr(classifier, "classes_"):
        classifier.classes_ = model.classes
    return classifier


def export_network(model: ExportedModel) -> Any:
    """Return an ``MLPClassifier`` or ``MLPRegressor``; its hidden units are not cut to 64."""
    spec, weights = model.spec, model.state["weights"]
    widths, place, layers = _get_widths(model), 0, []
    for width, units in pairwise(widths):
        end = place + units * (width + 1)
        rounded = (weights[place:end].reshape(units, width + 1) + (ONE >> 1)) >> FRACTION_BITS
        layers.append(to_floats(rounded, FRACTION_BITS))
        place = end
    if spec.class_count == 2:
        layers[-1] = layers[-1][1:] - layers[-1][:1]
    fitted = {
        "coefs_": [np.ascontiguousarray(rows[:, :-1].T) for rows in layers],
        "intercepts_": [rows[:, -1].copy() for rows in layers],
        "n_layers_": len(widths),
        "n_outputs_": len(layers[-1]),
        "n_features_in_": spec.feature_count,
        "n_iter_": 0,
        "t_": int(model.state["steps"][0]),
        "out_activation_": "identity",
    }
    settings = {"hidden_layer_sizes": tuple(widths[1:-1]), "solver": "sgd"}
    if not spec.class_count:
        return build_estimator("neural_network", "MLPRegressor", settings, fitted)
    fitted["out_activation_"] = "logistic" if spec.class_count == 2 else "softmax"
    fitted["classes_"] = model.classes
    fitted["_label_binarizer"] = _make_binarizer(model, low=0)
    return build_estimator("neural_network", "MLPClassifier", settings, fitted)


def _get_widths(model: ExportedModel) -> list[int]:
    return cast(MultilayerPerceptron, get_family(model.spec.family)).widths(model.spec)


def _read_gradient_weights(model: ExportedModel) -> Floats:
    """Return weights as they meet features: rounded to Q16, the last for a constant one."""
    rounded = (model.state["weights"] + (ONE >> 1)) >> FRACTION_BITS
    return _scale_bias(model, to_floats(rounded, FRACTION_BITS))


def _scale_bias(model: ExportedModel, weights: Floats) -> Floats:
    weights[:, -1] *= model.spec.get("bias", ONE) / ONE
    return weights


def _make_regressor(weights: Floats) -> dict[str, Any]:
    return {
        "coef_": weights[0, :-1].copy(),
        "intercept_": float(weights[0, -1]),
        "n_features_in_": weights.shape[1] - 1,
    }


def _make_classifier(model: ExportedModel, weights: Floats) -> dict[str, Any]:
    return {
        "coef_": np.ascontiguousarray(weights[:, :-1]),
        "intercept_": weights[:, -1].copy(),
        "classes_": model.classes,
        "n_features_in_": weights.shape[1] - 1,
    }


def _make_binarizer(model: ExportedModel, *, low: int) -> Any:
    """Return what turns scores into names; it keeps our order of them, where ``fit`` would sort."""
    binarizer = make_estimator("preprocessing", "LabelBinarizer", neg_label=low)
    binarizer.y_type_ = "binary" if len(model.classes) == 2 else "multiclass"
    binarizer.sparse_input_ = False
    binarizer.classes_ = model.classes
    return binarizer
