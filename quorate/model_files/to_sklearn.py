"""Models as fitted scikit-learn objects, which answer alike and need no network.

>>> classifier = export_estimator(spec, state, class_names)     # doctest: +SKIP
>>> classifier.predict(features)                                # doctest: +SKIP

What is returned takes features in natural units, as they are after the model's encoder. It has no
memory of how it was trained: fitting it again begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from ml_runtime.family import State, check_shapes
from ml_runtime.registry import get_family
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError
from quorate.model_files.exported_model import ExportedModel
from quorate.model_files.linear_exports import (
    export_averaged_perceptron,
    export_linear_regression,
    export_logistic_regression,
    export_network,
    export_ridge,
    export_softmax_regression,
)
from quorate.model_files.sum_exports import (
    export_bernoulli,
    export_centroids,
    export_gaussian,
    export_groups,
    export_mixture,
    export_multinomial,
    export_neighbours,
    export_principal_components,
)

__all__ = ["SUPPORTED_FAMILIES", "export_estimator"]

_EXPORTS: Final[dict[str, Callable[[ExportedModel], Any]]] = {
    "averaged_perceptron": export_averaged_perceptron,
    "bernoulli_naive_bayes": export_bernoulli,
    "gaussian_mixture": export_mixture,
    "gaussian_naive_bayes": export_gaussian,
    "k_means": export_groups,
    "linear_regression": export_linear_regression,
    "logistic_regression": export_logistic_regression,
    "multilayer_perceptron": export_network,
    "multinomial_naive_bayes": export_multinomial,
    "nearest_centroid": export_centroids,
    "nearest_neighbours": export_neighbours,
    "principal_components": export_principal_components,
    "ridge": export_ridge,
    "softmax_regression": export_softmax_regression,
}

SUPPORTED_FAMILIES: Final = tuple(_EXPORTS)
"""Names of the families that have a counterpart in scikit-learn."""


def export_estimator(spec: ModelSpec, state: State, class_names: Sequence[str] = ()) -> Any:
    """Return a fitted scikit-learn object that answers as the model does, to within rounding.

    Parameters
    ----------
    spec, state
        The model.
    class_names
        As many as the spec has classes; they become ``classes_``, in this order.

    Raises
    ------
    InvalidInputError
        ``unsupported`` for families without a counterpart, ``not_learnt`` for a model that has
        none because it knows nothing yet, ``wrong_tensors``, ``wrong_class_count``,
        ``unknown_family``, or ``missing_package`` without scikit-learn.
    """
    family = get_family(spec.family)
    export = _EXPORTS.get(spec.family)
    if export is None:
        raise InvalidInputError(
            "unsupported",
            f"{spec.family} has no counterpart in scikit-learn; exported are"
            f" {', '.join(SUPPORTED_FAMILIES)}",
            field="spec.family",
            value=spec.family,
            limit=", ".join(SUPPORTED_FAMILIES),
        )
    check_shapes(family, spec, state)
    if len(class_names) != spec.class_count:
        raise InvalidInputError(
            "wrong_class_count",
            f"the model has {spec.class_count} classes, found {len(class_names)} names",
            field="class_names",
            value=len(class_names),
            limit=spec.class_count,
        )
    return export(ExportedModel(spec, state, np.array(class_names)))
