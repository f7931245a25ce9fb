"""Fitted estimators of scikit-learn become models that answer as they do."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor

from ml_runtime.encoders import ScaleEncoder
from ml_runtime.family import check_batch, copy_state
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples
from primitives.errors import InvalidInputError
from quorate.model_files.from_sklearn import SUPPORTED_ESTIMATORS, ImportedModel, import_estimator

AGREEMENT = 0.995
PROBABILITY_ERROR = 1e-3
ANSWER_ERROR = 0.02
"""Of numbers between 25 and 346."""

FEATURE_LIMIT = 16


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return real data, in the units that models like: pixels to 1, tables to deviations."""
    if name == "digits":
        features, targets = load_digits(return_X_y=True)
        return features / 16, targets
    loader = load_breast_cancer if name == "cancer" else load_diabetes
    features, targets = loader(return_X_y=True)
    return (features - features.mean(axis=0)) / features.std(axis=0), targets


def fit(estimator, name: str):
    features, targets = load(name)
    with warnings.catch_warnings():
        # Whether a fit converged is of no concern here.
        warnings.simplefilter("ignore")
        return estimator.fit(features, targets), features


def to_samples(features: np.ndarray) -> DenseSamples:
    return DenseSamples(ScaleEncoder().encode(features))


def predict(model: ImportedModel, features: np.ndarray) -> np.ndarray:
    family = get_family(model.spec.family)
    samples = to_samples(features)
    check_batch(family, model.spec, samples)
    return family.predict(model.spec, model.state, samples)


def compute_probabilities(model: ImportedModel, features: np.ndarray) -> np.ndarray:
    family = get_family(model.spec.family)
    return family.probabilities(model.spec, model.state, to_samples(features)) / ONE


def weigh(name: str) -> np.ndarray:
    return np.linspace(0.5, 2, len(load(name)[1]))


CLASSIFIERS = [
    (LogisticRegression(max_iter=50), "digits", "softmax_regression"),
    (LogisticRegression(), "cancer", "logistic_regression"),
    (LogisticRegression(fit_intercept=False), "cancer", "logistic_regression"),
    (SGDClassifier(loss="log_loss", alpha=0.01, random_state=1), "digits", "logistic_regression"),
    (SGDClassifier(loss="log_loss", alpha=0.01, random_state=1), "cancer", "logistic_regression"),
    (SGDClassifier(alpha=0.01, random_state=1), "digits", "averaged_perceptron"),
    (SGDClassifier(loss="perceptron", alpha=0.01, random_state=1), "cancer", "averaged_perceptron"),
    (Perceptron(), "digits", "averaged_perceptron"),
    (Perceptron(), "cancer", "averaged_perceptron"),
    (RidgeClassifier(), "digits", "softmax_regression"),
    (RidgeClassifier(), "cancer", "softmax_regression"),
    (MultinomialNB(), "digits", "multinomial_naive_bayes"),
    (MultinomialNB(alpha=0.1, fit_prior=False), "digits", "multinomial_naive_bayes"),
    (BernoulliNB(binarize=0.5), "digits", "bernoulli_naive_bayes"),
    (BernoulliNB(binarize=0.2), "cancer", "bernoulli_naive_bayes"),
    (BernoulliNB(class_prior=[0.1, 0.9]), "cancer", "bernoulli_naive_bayes"),
    (GaussianNB(var_smoothing=0.01), "digits", "gaussian_naive_bayes"),
    (GaussianNB(), "cancer", "gaussian_naive_bayes"),
    (GaussianNB(priors=[0.3, 0.7]), "cancer", "gaussian_naive_bayes"),
    (NearestCentroid(), "digits", "nearest_centroid"),
    (NearestCentroid(shrink_threshold=0.5), "cancer", "nearest_centroid"),
    (KNeighborsClassifier(), "digits", "nearest_neighbours"),
    (KNeighborsClassifier(3), "cancer", "nearest_neighbours"),
    (MLPClassifier((16,), max_iter=40, random_state=1), "digits", "multilayer_perceptron"),
    (MLPClassifier((12, 8), max_iter=40, random_state=1), "cancer", "multilayer_perceptron"),
]

REGRESSORS = [
    (LinearRegression(), "linear_regression"),
    (Ridge(), "linear_regression"),
    (SGDRegressor(random_state=1), "linear_regression"),
    (KNeighborsRegressor(), "nearest_neighbours"),
    (
        MLPRegressor(hidden_layer_sizes=(16, 8), max_iter=200, random_state=1),
        "multilayer_perceptron",
    ),
]

# Their probabilities are of another kind, or there are none.
WITHOUT_PROBABILITIES = ("averaged_perceptron", "nearest_centroid")


def case_id(value: object) -> str:
    return value if isinstance(value, str) else repr(value).replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(("estimator", "data", "family"), CLASSIFIERS, ids=case_id)
def test_imported_classifier_answers_as_the_estimator(estimator, data: str, family: str) -> None:
    fitted, features = fit(estimator, data)
    model = import_estimator(fitted, feature_limit=FEATURE_LIMIT)
    names = np.array(model.class_names)[predict(model, features)]
    assert model.spec.family == family
    assert (names == fitted.predict(features).astype(str)).mean() >= AGREEMENT
    if hasattr(fitted, "predict_proba") and family not in WITHOUT_PROBABILITIES:
        errors = compute_probabilities(model, features) - fitted.predict_proba(features)
        # Means in Q12, of many features with small variances, move logarithms a little more.
        allowed = 5 if family == "gaussian_naive_bayes" else 1
        assert np.abs(errors).max() <= allowed * PROBABILITY_ERROR


@pytest.mark.parametrize(("estimator", "family"), REGRESSORS, ids=case_id)
def test_imported_regressor_answers_as_the_estimator(estimator, family: str) -> None:
    fitted, features = fit(estimator, "diabetes")
    model = import_estimator(fitted)
    errors = predict(model, features) / ONE - fitted.predict(features)
    assert model.spec.family == family
    assert model.class_names == ()
    assert np.abs(errors).max() <= ANSWER_ERROR


@pytest.mark.parametrize(
    ("estimator", "data"),
    [(case[0], case[1]) for case in CLASSIFIERS] + [(case[0], "diabetes") for case in REGRESSORS],
    ids=case_id,
)
def test_no_number_moves_further_than_its_bound(estimator, data: str) -> None:
    fitted, _ = fit(estimator, data)
    model = import_estimator(fitted, feature_limit=FEATURE_LIMIT)
    assert all(each.error_largest <= each.error_bound for each in model.report)
    assert len(model.report) >= 1


def test_reported_error_is_the_distance_to_the_estimators_weights() -> None:
    fitted, _ = fit(LogisticRegression(), "cancer")
    model = import_estimator(fitted)
    exact = np.concatenate([fitted.coef_, fitted.intercept_[:, np.newaxis]], axis=1)
    errors = np.abs(model.state["weights"][1:] / 2.0**32 - exact)
    (rounding,) = model.report
    assert (rounding.name, rounding.error_bound) == ("logistic_regression.weights", 2.0**-33)
    assert errors.max() <= rounding.error_largest <= rounding.error_bound


@pytest.mark.parametrize("estimator", [MultinomialNB(), BernoulliNB(binarize=0.5), GaussianNB()])
def test_weighted_samples_keep_their_weight(estimator) -> None:
    features, targets = load("digits")
    estimator.fit(features, targets, sample_weight=weigh("digits"))
    if isinstance(estimator, GaussianNB):
        estimator.var_ += 0.01
    model = import_estimator(estimator, feature_limit=FEATURE_LIMIT)
    names = np.array(model.class_names)[predict(model, features)]
    assert (names == estimator.predict(features).astype(str)).mean() >= AGREEMENT


def test_variances_below_the_floor_are_counted() -> None:
    fitted, _ = fit(GaussianNB(), "digits")
    report = {each.name: each for each in import_estimator(fitted).report}
    assert report["variances"].clamped > 0
    assert report["means"].clamped == 0


def test_imported_model_learns_on() -> None:
    fitted, features = fit(NearestCentroid(), "digits")
    counts = np.bincount(load("digits")[1])
    model = import_estimator(fitted, class_counts=counts)
    state = copy_state(model.state)
    family, labels = get_family("nearest_centroid"), load("digits")[1].astype(np.int64)
    family.update(model.spec, state, to_samples(features[:10]), labels[:10])
    assert state["counts"].sum() == counts.sum() + 10


def test_classes_keep_their_names() -> None:
    features, targets = load("cancer")
    names = np.array(["malignant", "benign"])[targets]
    model = import_estimator(LogisticRegression().fit(features, names))
    assert model.class_names == ("benign", "malignant")


def test_sparse_models_can_be_asked_for() -> None:
    fitted, _ = fit(MultinomialNB(), "digits")
    assert import_estimator(fitted, layout="sparse").spec.layout == "sparse"


def test_logistic_regression_of_old_keeps_its_kind() -> None:
    """Until scikit-learn 1.8 ``multi_class`` chose between softmax and one against the others."""
    fitted, _ = fit(LogisticRegression(), "cancer")
    fitted.multi_class = "multinomial"
    assert import_estimator(fitted).spec.family == "softmax_regression"
    several, _ = fit(LogisticRegression(max_iter=5), "digits")
    several.multi_class = "ovr"
    assert import_estimator(several).spec.family == "logistic_regression"


REFUSED = [
    (PCA(2).fit(load("cancer")[0]), "unsupported"),
    ("no estimator", "unsupported"),
    (LogisticRegression(), "not_learnt"),
    (LinearRegression(), "not_learnt"),
    (GaussianNB(), "not_learnt"),
    (KNeighborsClassifier(), "not_learnt"),
    (MLPRegressor(), "not_learnt"),
    (LinearRegression().fit(np.eye(3), np.eye(3)), "unsupported"),
    (KNeighborsRegressor(1).fit(np.eye(3), np.eye(3)), "unsupported"),
    (KNeighborsClassifier(1).fit(np.eye(3), np.eye(3, dtype=int)), "unsupported"),
    (RidgeClassifier().fit(np.eye(3), np.eye(3, dtype=int)), "unsupported"),
    (KNeighborsClassifier(1, weights="distance").fit(np.eye(3), [0, 1, 2]), "unsupported"),
    (KNeighborsClassifier(1, metric="manhattan").fit(np.eye(3), [0, 1, 2]), "unsupported"),
    (NearestCentroid(metric="manhattan").fit([[0, 1], [1, 0], [3, 2]], [0, 1, 1]), "unsupported"),
    (SGDClassifier(loss="modified_huber").fit(np.eye(3), [0, 1, 1]), "unsupported"),
    (KNeighborsRegressor(1).fit(9 * np.eye(3), [0, 1, 2]), "parameter_out_of_range"),
    (KNeighborsRegressor(1).fit(np.eye(3), [0, 1, 2000]), "parameter_out_of_range"),
    (LinearRegression().fit(np.eye(3), [0, 1, 1e6]), "parameter_out_of_range"),
    (GaussianNB().fit(90 * np.eye(3), [0, 1, 1]), "parameter_out_of_range"),
    (MultinomialNB(alpha=[1, 2, 3]).fit(np.eye(3), [0, 1, 1]), "unsupported"),
    (MultinomialNB(alpha=1e-9).fit(np.eye(3), [0, 1, 1]), "invalid_spec"),
    (KNeighborsClassifier(70).fit(np.eye(3), [0, 1, 2]), "invalid_spec"),
]


@pytest.mark.parametrize(("estimator", "code"), REFUSED, ids=case_id)
def test_estimators_without_a_counterpart_are_refused(estimator, code: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        import_estimator(estimator)
    assert refused.value.code == code


def test_networks_of_other_units_and_depths_are_refused() -> None:
    for settings in ({"activation": "tanh"}, {"hidden_layer_sizes": (2, 2, 2)}):
        fitted, _ = fit(MLPRegressor(**{"max_iter": 2, **settings}), "diabetes")
        with pytest.raises(InvalidInputError, match="taken"):
            import_estimator(fitted)


def test_several_labels_at_once_are_refused() -> None:
    labels = np.eye(3, dtype=int)
    network = MLPClassifier((2,), max_iter=1, solver="sgd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.fit(np.eye(3), labels)
    with pytest.raises(InvalidInputError):
        import_estimator(network)


def test_subclasses_are_refused_because_they_may_answer_otherwise() -> None:
    class Contrary(LogisticRegression):
        pass

    fitted, _ = fit(Contrary(), "cancer")
    with pytest.raises(InvalidInputError) as refused:
        import_estimator(fitted)
    assert all(name in refused.value.message for name in SUPPORTED_ESTIMATORS)


def test_weights_that_are_not_finite_are_refused() -> None:
    fitted, _ = fit(LogisticRegression(), "cancer")
    fitted.coef_[0, 3] = np.nan
    with pytest.raises(InvalidInputError, match=r"logistic_regression\.weights holds nan"):
        import_estimator(fitted)


def test_network_says_when_its_units_may_be_cut() -> None:
    settings = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 1}
    fitted, _ = fit(MLPRegressor(**settings), "diabetes")
    assert import_estimator(fitted).notes == ()
    fitted.coefs_[0] *= 60
    fitted.coefs_[1] *= 60
    assert "hidden unit" in import_estimator(fitted).notes[0]


def test_units_that_give_too_much_give_less_to_larger_weights() -> None:
    """Units that add up to numbers in the hundreds used to be cut at 64, and the answers with."""
    settings = {"hidden_layer_sizes": (8,), "max_iter": 400, "random_state": 1}
    fitted, features = fit(MLPRegressor(**settings), "diabetes")
    # The same function, with units that give eight times as much.
    fitted.coefs_[0] *= 8
    fitted.intercepts_[0] *= 8
    fitted.coefs_[1] /= 8
    hidden = features @ fitted.coefs_[0] + fitted.intercepts_[0]
    assert hidden.max() > 64
    model = import_estimator(fitted)
    assert np.abs(predict(model, features) / ONE - fitted.predict(features)).max() < ANSWER_ERROR
