"""Every family keeps the contract, dense and sparse, and both give the same bits."""

import numpy as np
import pytest

from ml_runtime.check_model import CHECKS, ContractViolationError, Subject, check_model
from ml_runtime.family import ModelFamily
from ml_runtime.fixed_point import ONE
from ml_runtime.models.nearest_centroid import NearestCentroid
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.samples import DenseSamples, SparseSamples
from ml_runtime.spec import ModelSpec, make_spec
from primitives.errors import InvalidInputError

CLASSES, FEATURES, SAMPLES = 4, 12, 64


def make_dense() -> tuple[DenseSamples, np.ndarray]:
    random = np.random.default_rng(11)
    labels = (np.arange(SAMPLES) % CLASSES).astype(np.int64)
    features = random.integers(0, 3 * ONE, (SAMPLES, FEATURES))
    features[random.random((SAMPLES, FEATURES)) < 0.5] = 0
    features[np.arange(SAMPLES), labels] += 4 * ONE
    return DenseSamples(features.astype(np.int64)), labels


def to_sparse(samples: DenseSamples) -> SparseSamples:
    rows, indices = np.nonzero(samples.features)
    starts = np.zeros(len(samples.features) + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=len(samples.features)), out=starts[1:])
    values = samples.features[rows, indices]
    return SparseSamples(starts, indices.astype(np.int64), values, FEATURES)


def make_subject(family: ModelFamily, layout: str) -> Subject:
    dense, labels = make_dense()
    spec = make_spec(family.name, layout, FEATURES, CLASSES)
    return Subject(family, spec, dense if layout == "dense" else to_sparse(dense), labels)


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_family_keeps_its_contract(check, family: ModelFamily, layout: str) -> None:
    check(make_subject(family, layout))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_dense_and_sparse_give_the_same_bits(family: ModelFamily) -> None:
    dense, sparse = make_subject(family, "dense"), make_subject(family, "sparse")
    first = dense.learn(dense.samples, dense.labels)
    second = sparse.learn(sparse.samples, sparse.labels)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert np.array_equal(
        family.scores(dense.spec, first, dense.samples),
        family.scores(sparse.spec, second, sparse.samples),
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_family_learns_what_can_be_learnt(family: ModelFamily) -> None:
    subject = make_subject(family, "dense")
    state = subject.learn(subject.samples, subject.labels)
    predictions = family.predict(subject.spec, state, subject.samples)
    assert (predictions == subject.labels).mean() > 0.9


class ForgetfulCentroid(NearestCentroid):
    """Breaks the promise that unlearning is exact."""

    def unlearn(self, _spec, state, _samples, _labels) -> None:
        state["sums"] -= 1


def test_contract_suite_finds_a_broken_promise() -> None:
    with pytest.raises(ContractViolationError, match="unlearning leaves something behind"):
        check_model(make_subject(ForgetfulCentroid(), "dense"))


@pytest.mark.parametrize(
    ("family", "features", "settings"),
    [
        ("averaged_perceptron", 1 << 24, {}),
        ("averaged_perceptron", 10, {"colour": 1}),
        ("averaged_perceptron", 10, {"bias": -1}),
        ("multinomial_naive_bayes", 1 << 24, {"feature_limit": 1 << 32}),
        ("nearest_centroid", 1 << 24, {"feature_limit": 1 << 28}),
    ],
)
def test_spec_that_cannot_be_computed_exactly_is_refused(
    family: str, features: int, settings: dict[str, int]
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        get_family(family).check(make_spec(family, "dense", features, 2, settings))
    assert refused.value.code == "invalid_spec"


def test_unknown_layout_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="layout"):
        get_family("nearest_centroid").check(ModelSpec("nearest_centroid", "round", 3, 2))


def test_unknown_family_is_refused() -> None:
    with pytest.raises(InvalidInputError) as refused:
        get_family("oracle")
    assert refused.value.code == "unknown_family"


@pytest.mark.parametrize("operation", ["unlearn", "merge"])
def test_perceptron_refuses_what_only_replay_can_do(operation: str) -> None:
    subject = make_subject(get_family("averaged_perceptron"), "dense")
    state = subject.learn(subject.samples, subject.labels)
    arguments = {
        "unlearn": (subject.spec, state, subject.samples, subject.labels),
        "merge": (subject.spec, [state]),
    }[operation]
    with pytest.raises(InvalidInputError) as refused:
        getattr(subject.family, operation)(*arguments)
    assert refused.value.code == "unsupported"


def test_learning_stops_at_the_number_of_samples_that_the_bounds_cover() -> None:
    perceptron = make_subject(get_family("averaged_perceptron"), "dense")
    state = perceptron.family.initial_state(perceptron.spec)
    state["steps"][0] = 1 << 32
    perceptron.family.update(perceptron.spec, state, perceptron.samples, perceptron.labels)
    assert not state["weights"].any()
    centroid = make_subject(get_family("nearest_centroid"), "dense")
    sums = centroid.family.initial_state(centroid.spec)
    sums["counts"][0] = 1 << 24
    centroid.family.update(centroid.spec, sums, centroid.samples, centroid.labels)
    assert not sums["sums"].any()
