"""Models that begin with what a fitted scikit-learn estimator has learnt.

>>> from sklearn.linear_model import LogisticRegression                 # doctest: +SKIP
>>> import_estimator(LogisticRegression().fit(features, labels)).spec   # doctest: +SKIP
ModelSpec(family='softmax_regression', layout='dense', feature_count=64, class_count=10, ...)

Estimators are recognised by their exact class: what a subclass changes could not be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from primitives.errors import InvalidInputError
from quorate.model_files.bayes_estimators import (
    import_bernoulli,
    import_gaussian,
    import_multinomial,
)
from quorate.model_files.imported_model import ImportedModel, ImportRequest
from quorate.model_files.linear_estimators import (
    import_logistic_regression,
    import_perceptron,
    import_regressor,
    import_ridge_classifier,
    import_sgd_classifier,
)
from quorate.model_files.sample_estimators import (
    import_centroids,
    import_neighbours,
    import_network,
)

__all__ = ["SUPPORTED_ESTIMATORS", "ImportedModel", "import_estimator"]

_IMPORTS: Final[dict[str, Callable[[Any, ImportRequest], ImportedModel]]] = {
    "BernoulliNB": import_bernoulli,
    "GaussianNB": import_gaussian,
    "KNeighborsClassifier": import_neighbours,
    "KNeighborsRegressor": import_neighbours,
    "LinearRegression": import_regressor,
    "LogisticRegression": import_logistic_regression,
    "MLPClassifier": import_network,
    "MLPRegressor": import_network,
    "MultinomialNB": import_multinomial,
    "NearestCentroid": import_centroids,
    "Perceptron": import_perceptron,
    "Ridge": import_regressor,
    "RidgeClassifier": import_ridge_classifier,
    "SGDClassifier": import_sgd_classifier,
    "SGDRegressor": import_regressor,
}

SUPPORTED_ESTIMATORS: Final = tuple(sorted(_IMPORTS))
"""Names of the classes of scikit-learn that can be imported."""


def import_estimator(
    estimator: Any,
    *,
    feature_limit: float | None = None,
    layout: str = "dense",
    class_counts: Sequence[int] | None = None,
) -> ImportedModel:
    """Return a model that answers as a fitted estimator does, to within rounding.

    Parameters
    ----------
    estimator
        Fitted; one of `SUPPORTED_ESTIMATORS`. It is trusted: its attributes are read.
    feature_limit
        Largest absolute feature that the model shall take, in natural units; the default of the
        family if None, which is 8 for most.
    layout
        ``dense`` or ``sparse``, which samples the model takes.
    class_counts
        How many samples each class had, for ``NearestCentroid``, which does not say; 1 each if
        None, so that learning on moves its means fast.

    Raises
    ------
    InvalidInputError
        ``unsupported`` for what has no counterpart, listing what has; ``not_learnt`` if it was not
        fitted; ``parameter_out_of_range`` for numbers that do not fit; ``invalid_spec``.
    """
    kind = type(estimator)
    build = _IMPORTS.get(kind.__name__)
    if build is None or kind.__module__.split(".")[0] != "sklearn":
        raise InvalidInputError(
            "unsupported",
            f"{kind.__module__}.{kind.__name__} cannot be imported; fitted estimators of"
            f" scikit-learn can: {', '.join(SUPPORTED_ESTIMATORS)}",
            field="estimator",
            value=kind.__name__,
            limit=", ".join(SUPPORTED_ESTIMATORS),
        )
    counts = None if class_counts is None else tuple(int(count) for count in class_counts)
    return build(estimator, ImportRequest(feature_limit, layout, counts))
