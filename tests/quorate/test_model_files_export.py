"""Models become scikit-learn objects that answer as they do, on real data."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from ml_runtime.encoders import ScaleEncoder
from ml_runtime.family import State
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.samples import DenseSamples
from ml_runtime.spec import ModelSpec, make_spec
from primitives.errors import InvalidInputError
from quorate.model_files.from_sklearn import import_estimator
from quorate.model_files.to_sklearn import SUPPORTED_FAMILIES, export_estimator

AGREEMENT = 0.995
PROBABILITY_ERROR = 1e-3
ANSWER_ERROR = 0.02
LIMIT = {"feature_limit": 16 * ONE}
SAMPLES = 600

CLASSIFIERS = [
    ("averaged_perceptron", {}),
    ("logistic_regression", {"rate": ONE // 20}),
    ("softmax_regression", {"rate": ONE // 20}),
    ("softmax_regression", {"rate": ONE // 20, "bias": 0}),
    ("gaussian_naive_bayes", {"variance_floor": ONE // 100}),
    ("nearest_centroid", {}),
    ("nearest_neighbours", {"capacity": 400}),
    ("multilayer_perceptron", {"hidden1": 12, "hidden2": 6, "rate": ONE // 100}),
    ("ridge", {"interval": SAMPLES}),
    ("multinomial_naive_bayes", {}),
    ("bernoulli_naive_bayes", {"threshold": ONE // 2}),
]
POSITIVE = ("multinomial_naive_bayes",)
REGRESSORS = [
    ("linear_regression", {"rate": ONE // 50, "error_limit": 1 << 24}),
    ("ridge", {"interval": 442}),
    ("nearest_neighbours", {"neighbours": 3}),
    ("multilayer_perceptron", {"hidden1": 8, "rate": ONE // 500}),
]


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "digits":
        features, targets = load_digits(return_X_y=True)
        return features[:SAMPLES] / 16, targets[:SAMPLES]
    loader = load_breast_cancer if name == "cancer" else load_diabetes
    features, targets = loader(return_X_y=True)
    return (features - features.mean(axis=0)) / features.std(axis=0), targets


def learn(spec: ModelSpec, features: np.ndarray, targets: np.ndarray, passes: int = 1) -> State:
    family = get_family(spec.family)
    family.check(spec)
    state = family.initial_state(spec)
    for _ in range(passes):
        family.update(spec, state, encode(features), targets.astype(np.int64))
    return state


def encode(features: np.ndarray) -> DenseSamples:
    return DenseSamples(ScaleEncoder().encode(features))


def make_names(count: int) -> tuple[str, ...]:
    """Return names whose alphabetical order is not the one of the classes."""
    return tuple(f"class {(7 * number + 3) % count}" for number in range(count))


@pytest.mark.parametrize("data", ["digits", "cancer"])
@pytest.mark.parametrize(("name", "settings"), CLASSIFIERS)
def test_exported_classifier_answers_as_the_model(name: str, settings, data: str) -> None:
    features, labels = load(data)
    features = np.abs(features) if name in POSITIVE else features
    names = make_names(labels.max() + 1)
    spec = make_spec(name, "dense", features.shape[1], len(names), {**LIMIT, **settings})
    state = learn(spec, features, labels, passes=1 if name == "ridge" else 3)
    exported = export_estimator(spec, state, names)
    samples, family = encode(features), get_family(name)
    predicted = np.array(names)[family.predict(spec, state, samples)]
    assert (exported.predict(features) == predicted).mean() >= AGREEMENT
    if hasattr(exported, "predict_proba"):
        ours = family.probabilities(spec, state, samples) / ONE
        assert np.abs(exported.predict_proba(features) - ours).max() <= PROBABILITY_ERROR


@pytest.mark.parametrize(("name", "settings"), REGRESSORS)
def test_exported_regressor_answers_as_the_model(name: str, settings) -> None:
    features, targets = load("diabetes")
    targets = np.round((targets - targets.mean()) / 20 * ONE)
    spec = make_spec(name, "dense", features.shape[1], 0, settings)
    state = learn(spec, features, targets)
    ours = get_family(name).predict(spec, state, encode(features)) / ONE
    assert ours.std() > 0.1
    exported = export_estimator(spec, state)
    assert np.abs(exported.predict(features) - ours).max() <= ANSWER_ERROR


def test_exported_groups_keep_their_numbers() -> None:
    features, _ = load("digits")
    spec = make_spec("k_means", "dense", 64, 0, {"groups": 10})
    state = learn(spec, features, np.zeros(len(features)))
    exported = export_estimator(spec, state)
    ours = get_family("k_means").predict(spec, state, encode(features))
    assert (exported.predict(features) == ours).mean() >= AGREEMENT


def test_exported_axes_reconstruct_as_the_model_scores() -> None:
    features, _ = load("cancer")
    features = np.clip(features, -8, 8)
    settings = {"components": 5, "interval": 569}
    spec = make_spec("principal_components", "dense", 30, 0, settings)
    state = learn(spec, features, np.zeros(len(features)))
    exported = export_estimator(spec, state)
    back = exported.inverse_transform(exported.transform(features))
    ours = get_family(spec.family).scores(spec, state, encode(features))[:, 0] / ONE
    assert np.abs(((features - back) ** 2).sum(axis=1) - ours).max() < 0.02
    assert 0.7 < exported.explained_variance_ratio_.sum() < 1


@pytest.mark.parametrize("data", ["digits", "cancer"])
def test_exported_mixture_shares_samples_as_the_model(data: str) -> None:
    features, _ = load(data)
    features = np.clip(features, -8, 8)
    settings = {"groups": 4, "variance_floor": ONE // 20}
    spec = make_spec("gaussian_mixture", "dense", features.shape[1], 0, settings)
    state = learn(spec, features, np.zeros(len(features)))
    exported, samples = export_estimator(spec, state), encode(features)
    ours = get_family(spec.family).probabilities(spec, state, samples) / ONE
    errors = np.abs(exported.predict_proba(features) - ours)
    assert (exported.predict(features) == ours.argmax(axis=1)).mean() >= AGREEMENT
    assert errors.max() <= PROBABILITY_ERROR
    # The score is minus the logarithm of the density to base 2, up to a constant.
    scores = get_family(spec.family).scores(spec, state, samples)[:, 0] / ONE
    difference = scores + exported.score_samples(features) / np.log(2)
    assert np.ptp(difference) < 0.02


def test_classes_that_were_never_seen_are_left_out() -> None:
    features, labels = load("cancer")
    for name in ("gaussian_naive_bayes", "bernoulli_naive_bayes", "nearest_centroid"):
        spec = make_spec(name, "dense", 30, 3, LIMIT)
        state = learn(spec, features, 2 * labels)
        exported = export_estimator(spec, state, ["b", "nobody", "a"])
        predicted = get_family(name).predict(spec, state, encode(features))
        assert list(exported.classes_) == ["b", "a"]
        agreement = exported.predict(features) == np.array(["b", "nobody", "a"])[predicted]
        assert agreement.mean() >= AGREEMENT


def test_empty_groups_attract_nobody() -> None:
    features, _ = load("digits")
    spec = make_spec("k_means", "dense", 64, 0, {"groups": 4})
    state = learn(spec, features, np.zeros(len(features)))
    state["counts"][1], state["sums"][1] = 0, 0
    exported = export_estimator(spec, state)
    ours = get_family("k_means").predict(spec, state, encode(features))
    assert 1 not in exported.predict(features)
    assert (exported.predict(features) == ours).mean() >= AGREEMENT


def test_two_rows_that_do_not_mirror_each_other_offer_no_probabilities() -> None:
    features, labels = load("cancer")
    spec = make_spec("logistic_regression", "dense", 30, 2, LIMIT)
    state = learn(spec, features, labels)
    state["weights"][0] //= 3
    exported = export_estimator(spec, state, ["a", "b"])
    predicted = get_family(spec.family).predict(spec, state, encode(features))
    assert not hasattr(exported, "predict_proba")
    assert (exported.predict(features) == np.array(["a", "b"])[predicted]).mean() >= AGREEMENT


@pytest.mark.parametrize(
    ("name", "data"),
    [("softmax_regression", "digits"), ("logistic_regression", "cancer"), ("ridge", "cancer")],
)
def test_what_was_exported_can_be_imported(name: str, data: str) -> None:
    features, labels = load(data)
    names = make_names(labels.max() + 1)
    settings = {**LIMIT, "interval": len(labels)} if name == "ridge" else LIMIT
    spec = make_spec(name, "dense", features.shape[1], len(names), settings)
    state = learn(spec, features, labels)
    again = import_estimator(export_estimator(spec, state, names), feature_limit=16)
    ours = get_family(name).predict(spec, state, encode(features))
    theirs = get_family(again.spec.family).predict(again.spec, again.state, encode(features))
    assert again.class_names == names
    assert (ours == theirs).mean() >= AGREEMENT


def test_families_without_a_counterpart_are_refused() -> None:
    refused = {family.name for family in FAMILIES} - set(SUPPORTED_FAMILIES)
    assert refused == {"hoeffding_tree", "external_tensors"}
    tree = make_spec("hoeffding_tree", "dense", 3, 2)
    tensors = make_spec("external_tensors", "dense", 1, 0, None, {"layer": (2,)})
    for spec in (tree, tensors):
        with pytest.raises(InvalidInputError, match="has no counterpart") as error:
            export_estimator(spec, get_family(spec.family).initial_state(spec), "ab")
        assert error.value.code == "unsupported"


@pytest.mark.parametrize(
    "name",
    [
        "multinomial_naive_bayes",
        "gaussian_naive_bayes",
        "nearest_centroid",
        "nearest_neighbours",
        "k_means",
        "gaussian_mixture",
        "principal_components",
    ],
)
def test_models_that_know_nothing_are_refused(name: str) -> None:
    family = get_family(name)
    classes = 2 if "classification" in family.tasks else 0
    spec = make_spec(name, "dense", 9, classes)
    with pytest.raises(InvalidInputError) as refused:
        export_estimator(spec, family.initial_state(spec), "ab"[:classes])
    assert refused.value.code == "not_learnt"


def test_names_and_tensors_must_fit() -> None:
    spec = make_spec("nearest_centroid", "dense", 2, 2)
    state = get_family(spec.family).initial_state(spec)
    with pytest.raises(InvalidInputError) as refused:
        export_estimator(spec, state, ["only one"])
    assert refused.value.code == "wrong_class_count"
    with pytest.raises(InvalidInputError) as refused:
        export_estimator(spec, {"sums": state["sums"]}, ["a", "b"])
    assert refused.value.code == "wrong_tensors"


def test_without_scikit_learn_export_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    spec = make_spec("linear_regression", "dense", 2, 0)
    state = get_family(spec.family).initial_state(spec)
    with pytest.raises(InvalidInputError, match="install scikit-learn") as refused:
        export_estimator(spec, state)
    assert refused.value.code == "missing_package"
