"""Imports of estimators whose answer is a weighted sum: regressions, classifiers, perceptrons."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from quorate.model_files.imported_model import (
    Floats,
    ImportedModel,
    ImportRequest,
    build_import,
    make_unsupported,
    mirror_rows,
    read_class_names,
    read_fitted,
)

__all__ = [
    "import_logistic_regression",
    "import_perceptron",
    "import_regressor",
    "import_ridge_classifier",
    "import_sgd_classifier",
]

LOSSES_OF_MARGINS: Final = ("hinge", "perceptron", "squared_hinge")

CLIPPED: Final = "answers beyond ±1,024 are cut to that; choose another unit for larger targets"
NO_PROBABILITIES: Final = (
    "the estimator knows no probabilities; those of the model follow from margins and say no more"
    " than which class is ahead"
)


def import_regressor(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``LinearRegression``, ``Ridge`` or ``SGDRegressor`` as ``linear_regression``."""
    coefficients = read_fitted(estimator, "coef_")
    if coefficients.ndim > 1 and len(coefficients) > 1:
        raise make_unsupported(f"it has {len(coefficients)} targets; estimators of one are taken")
    weights = _join(coefficients.reshape(1, -1), read_fitted(estimator, "intercept_"))
    spec = request.build_spec("linear_regression", weights.shape[1] - 1, 0, {})
    return build_import(spec, {"weights": weights}, notes=(CLIPPED,))


def import_logistic_regression(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``LogisticRegression``: several classes as softmax, two as mirrored logistic rows."""
    names, weights = read_class_names(estimator), _read_weights(estimator)
    # Until scikit-learn 1.8 one could choose between one class against the others and all at once.
    choice = getattr(estimator, "multi_class", "auto")
    against_others = choice == "ovr" or getattr(estimator, "solver", "") == "liblinear"
    if len(weights) == 1 and choice != "multinomial":
        against_others = True
    family = "logistic_regression" if against_others else "softmax_regression"
    return _build(family, mirror_rows(weights), names, request)


def import_sgd_classifier(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``SGDClassifier``: ``logistic_regression`` or ``averaged_perceptron``, by its loss."""
    loss = getattr(estimator, "loss", None)
    if loss == "log_loss":
        names, weights = read_class_names(estimator), _read_weights(estimator)
        return _build("logistic_regression", mirror_rows(weights), names, request)
    if loss not in LOSSES_OF_MARGINS:
        raise make_unsupported(
            f"SGDClassifier with the loss {loss!r}; taken are log_loss,"
            f" {', '.join(LOSSES_OF_MARGINS)}"
        )
    return import_perceptron(estimator, request)


def import_perceptron(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``Perceptron``, or what else decides by the largest margin, as one."""
    names, weights = read_class_names(estimator), _read_weights(estimator)
    notes = (NO_PROBABILITIES,)
    return _build("averaged_perceptron", mirror_rows(weights), names, request, notes)


def import_ridge_classifier(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``RidgeClassifier`` as ``softmax_regression``, which has the same largest score.

    The family ``ridge`` would not do: its weights follow from sums that the estimator forgot.
    """
    binarizer = getattr(estimator, "_label_binarizer", None)
    if str(getattr(binarizer, "y_type_", "")).startswith("multilabel"):
        # Every label is a decision of its own there; no largest score says the same.
        raise make_unsupported("RidgeClassifier of several labels at once; one label is taken")
    names, weights = read_class_names(estimator), _read_weights(estimator)
    notes = (NO_PROBABILITIES,)
    return _build("softmax_regression", mirror_rows(weights), names, request, notes)


def _build(
    family: str,
    weights: Floats,
    names: tuple[str, ...],
    request: ImportRequest,
    notes: tuple[str, ...] = (),
) -> ImportedModel:
    if len(weights) != len(names):
        raise make_unsupported(f"it has {len(weights)} rows of weights for {len(names)} classes")
    spec = request.build_spec(family, weights.shape[1] - 1, len(names), {})
    tensors: dict[str, Any] = {"weights": weights}
    if family == "averaged_perceptron":
        # Weights are their own average after one step.
        tensors["steps"] = np.ones(1, dtype=np.int64)
    return build_import(spec, tensors, names, notes=notes)


def _read_weights(estimator: Any) -> Floats:
    """Return the weights of a classifier, float64[rows, features + 1], intercepts last."""
    # For two classes some estimators have a row of weights, others the row in a matrix.
    coefficients = np.atleast_2d(read_fitted(estimator, "coef_"))
    return _join(coefficients, read_fitted(estimator, "intercept_"))


def _join(coefficients: Floats, intercepts: Floats) -> Floats:
    column = np.broadcast_to(intercepts.reshape(-1, 1), (len(coefficients), 1))
    return np.concatenate([coefficients, column], axis=1)
