"""Every family keeps the contract, dense and sparse, and both give the same bits."""

import numpy as np
import pytest

from ml_runtime.check_model import CHECKS, ContractViolationError, Subject, check_model
from ml_runtime.family import ModelFamily, State, check_batch, copy_state
from ml_runtime.fixed_point import ONE
from ml_runtime.models.nearest_centroid import NearestCentroid
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.samples import DenseSamples, SparseSamples, take_samples
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


def fill_up(subject: Subject, samples_left: int) -> State:
    """Return a new model that pretends to have learnt all but a few samples."""
    state = subject.family.initial_state(subject.spec)
    counter = state["steps"] if "steps" in state else state["counts"]
    counter[0] += subject.family.samples_left(subject.spec, state) - samples_left
    return state


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_learning_stops_at_the_last_sample_that_the_bounds_cover_however_batches_are_cut(
    family: ModelFamily, layout: str
) -> None:
    subject = make_subject(family, layout)
    whole, split = fill_up(subject, 5), fill_up(subject, 5)
    family.update(subject.spec, whole, subject.samples, subject.labels)
    for rows in np.array_split(np.arange(SAMPLES), 20):
        batch = take_samples(subject.samples, rows)
        family.update(subject.spec, split, batch, subject.labels[rows])
    assert family.samples_left(subject.spec, whole) == 0
    assert any(array.any() for name, array in whole.items() if name in ("weights", "sums"))
    assert all(np.array_equal(whole[name], split[name]) for name in whole)


@pytest.mark.parametrize("name", ["multinomial_naive_bayes", "nearest_centroid"])
def test_merging_more_samples_than_the_bounds_cover_is_refused(name: str) -> None:
    subject = make_subject(get_family(name), "dense")
    states = [fill_up(subject, 0), subject.learn(subject.samples, subject.labels)]
    with pytest.raises(InvalidInputError) as refused:
        subject.family.merge(subject.spec, states)
    assert refused.value.code == "too_many_samples"


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("name", ["multinomial_naive_bayes", "nearest_centroid"])
def test_unlearning_what_was_never_learnt_is_refused_and_changes_nothing(
    name: str, layout: str
) -> None:
    subject = make_subject(get_family(name), layout)
    rows = np.arange(8)
    few, labels = take_samples(subject.samples, rows), subject.labels[rows]
    for samples in (few, take_samples(subject.samples, rows + 8)):
        state = subject.learn(samples, labels)
        subject.family.unlearn(subject.spec, state, samples, labels)
        before = copy_state(state)
        with pytest.raises(InvalidInputError) as refused:
            subject.family.unlearn(subject.spec, state, samples, labels)
        assert refused.value.code == "not_learnt"
        assert all(np.array_equal(state[each], before[each]) for each in before)


def test_unlearning_larger_features_than_were_learnt_is_refused() -> None:
    family = get_family("multinomial_naive_bayes")
    spec = make_spec(family.name, "dense", 2, 2)
    state, label = family.initial_state(spec), np.zeros(1, dtype=np.int64)
    small, large = (DenseSamples(np.full((1, 2), each, dtype=np.int64)) for each in (1, 2))
    family.update(spec, state, small, label)
    family.update(spec, state, small, label)
    with pytest.raises(InvalidInputError) as refused:
        family.unlearn(spec, state, DenseSamples(large.features * 3), label)
    assert refused.value.code == "not_learnt"
    assert state["sums"].tolist() == [[2, 2], [0, 0]]


@pytest.mark.parametrize("name", ["averaged_perceptron", "multinomial_naive_bayes"])
def test_few_sparse_samples_are_scored_as_many_are(name: str) -> None:
    """A few samples compute only the parameters that they touch; the bits are the same."""
    subject = make_subject(get_family(name), "sparse")
    state = subject.learn(subject.samples, subject.labels)
    together = subject.family.scores(subject.spec, state, subject.samples)
    for row in range(SAMPLES):
        alone = take_samples(subject.samples, np.array([row]))
        assert isinstance(alone, SparseSamples)
        assert len(alone.indices) < FEATURES
        scores = subject.family.scores(subject.spec, state, alone)
        assert scores.tolist() == [together[row].tolist()]


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_label_outside_of_the_classes_is_refused(label: int) -> None:
    subject = make_subject(get_family("nearest_centroid"), "dense")
    labels = subject.labels.copy()
    labels[3] = label
    with pytest.raises(InvalidInputError) as refused:
        check_batch(subject.family, subject.spec, subject.samples, labels)
    assert (refused.value.code, refused.value.value) == ("unknown_class", label)
