"""Every family keeps the contract, dense and sparse, and both give the same bits."""

from dataclasses import replace
from fractions import Fraction
from math import floor, isqrt

import numpy as np
import pytest

from ml_runtime.check_model import CHECKS, ContractViolationError, Subject, check_model
from ml_runtime.family import ModelFamily, State, check_batch, copy_state
from ml_runtime.fixed_point import ONE
from ml_runtime.growth import check_growth, grow_state
from ml_runtime.kernels.reference import scalars as plain_scalars
from ml_runtime.models.external_tensors import add_update
from ml_runtime.models.nearest_centroid import NearestCentroid
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.samples import DenseSamples, SparseSamples, get_features, take_samples
from ml_runtime.spec import ModelSpec, make_spec
from primitives.errors import InvalidInputError

CLASSES, FEATURES, SAMPLES = 4, 12, 64

SETTINGS = {
    "k_means": {"groups": 4, "seed_samples": 24},
    "gaussian_mixture": {"groups": 3, "seed_samples": 24, "interval": 16},
    "hoeffding_tree": {"low": 0, "high": 8 * ONE, "grace": 16, "leaves": 6},
    "nearest_neighbours": {"capacity": 48},
    "principal_components": {"components": 3},
    "softmax_regression": {"rate": ONE // 20},
    "logistic_regression": {"rate": ONE // 20},
    "multilayer_perceptron": {"hidden1": 8, "rate": ONE // 200},
    "bernoulli_naive_bayes": {"threshold": 3 * ONE},
}
"""What the small data of these tests needs; the other families take their defaults."""

LEARNERS = [family for family in FAMILIES if family.tasks != ("none",)]
CASES = [
    (family, layout, task)
    for family in LEARNERS
    for layout in family.layouts
    for task in family.tasks
]


def case_id(value: object) -> str:
    return value.name if isinstance(value, ModelFamily) else str(value)


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


def make_subject(family: ModelFamily, layout: str, task: str | None = None) -> Subject:
    dense, labels = make_dense()
    task = task or family.tasks[0]
    classes = CLASSES if task == "classification" else 0
    spec = make_spec(family.name, layout, FEATURES, classes, SETTINGS.get(family.name))
    family.check(spec)
    if task == "regression":
        labels = dense.features[:, 0] - dense.features[:, 1] // 2
    elif task != "classification":
        labels = np.zeros_like(labels)
    return Subject(family, spec, dense if layout == "dense" else to_sparse(dense), labels)


@pytest.mark.parametrize(("family", "layout", "task"), CASES, ids=case_id)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_family_keeps_its_contract(check, family: ModelFamily, layout: str, task: str) -> None:
    check(make_subject(family, layout, task))


@pytest.mark.parametrize(
    "family", [each for each in LEARNERS if "sparse" in each.layouts], ids=case_id
)
def test_dense_and_sparse_give_the_same_bits(family: ModelFamily) -> None:
    dense, sparse = make_subject(family, "dense"), make_subject(family, "sparse")
    first = dense.learn(dense.samples, dense.labels)
    second = sparse.learn(sparse.samples, sparse.labels)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert np.array_equal(
        family.scores(dense.spec, first, dense.samples),
        family.scores(sparse.spec, second, sparse.samples),
    )


@pytest.mark.parametrize(
    "family", [each for each in LEARNERS if each.tasks[0] == "classification"], ids=case_id
)
def test_family_learns_what_can_be_learnt(family: ModelFamily) -> None:
    subject = make_subject(family, "dense")
    state = family.initial_state(subject.spec)
    for _ in range(40):
        family.update(subject.spec, state, subject.samples, subject.labels)
    predictions = family.predict(subject.spec, state, subject.samples)
    assert (predictions == subject.labels).mean() > 0.9


@pytest.mark.parametrize(
    "family", [each for each in LEARNERS if "regression" in each.tasks], ids=case_id
)
def test_family_learns_numbers(family: ModelFamily) -> None:
    subject = make_subject(family, "dense", "regression")
    state = family.initial_state(subject.spec)
    for _ in range(20):
        family.update(subject.spec, state, subject.samples, subject.labels)
    errors = family.predict(subject.spec, state, subject.samples) - subject.labels
    explained = 1 - (errors / ONE).var() / (subject.labels / ONE).var()
    assert explained > 0.8


@pytest.mark.parametrize("family", LEARNERS, ids=case_id)
def test_wrong_layouts_and_tasks_are_refused(family: ModelFamily) -> None:
    for layout in {"dense", "sparse"} - set(family.layouts):
        with pytest.raises(InvalidInputError, match=r"spec\.layout"):
            family.check(make_spec(family.name, layout, FEATURES, CLASSES))
    if "classification" not in family.tasks:
        with pytest.raises(InvalidInputError, match="has no classes"):
            family.check(make_spec(family.name, "dense", FEATURES, CLASSES))
    elif "regression" not in family.tasks:
        with pytest.raises(InvalidInputError, match="at least 2 classes"):
            family.check(make_spec(family.name, "dense", FEATURES, 0))
    with pytest.raises(InvalidInputError, match=r"tensors of its own"):
        spec = make_subject(family, "dense").spec
        family.check(replace(spec, tensors=(("extra", (2,)),)))


class ForgetfulCentroid(NearestCentroid):
    """Breaks the promise that unlearning is exact."""

    def unlearn(self, _spec, state, _samples, _labels) -> None:
        state["sums"] -= 1


def test_contract_suite_finds_a_broken_promise() -> None:
    with pytest.raises(ContractViolationError, match="unlearning leaves something behind"):
        check_model(make_subject(ForgetfulCentroid(), "dense"))


@pytest.mark.parametrize(
    ("family", "features", "classes", "settings"),
    [
        ("averaged_perceptron", 1 << 24, 2, {}),
        ("averaged_perceptron", 10, 2, {"colour": 1}),
        ("averaged_perceptron", 10, 2, {"bias": -1}),
        ("multinomial_naive_bayes", 1 << 24, 2, {"feature_limit": 1 << 32}),
        ("nearest_centroid", 1 << 24, 2, {"feature_limit": 1 << 28}),
        ("softmax_regression", 1 << 24, 2, {}),
        ("gaussian_naive_bayes", 10, 2, {"feature_limit": 1 << 22, "variance_floor": 1}),
        ("gaussian_naive_bayes", 10, 2, {"variance_floor": 1}),
        ("ridge", 400, 2, {}),
        ("ridge", 10, 0, {"feature_limit": 1 << 22}),
        ("nearest_neighbours", 1 << 20, 2, {"feature_limit": 1 << 24}),
        ("multilayer_perceptron", 1 << 22, 2, {}),
        ("hoeffding_tree", 10, 2, {"low": ONE, "high": ONE}),
        ("hoeffding_tree", 10, 2, {"variance_floor": 1}),
        ("k_means", 10, 0, {"groups": 8, "seed_samples": 7}),
        ("k_means", 1 << 20, 0, {"feature_limit": 1 << 19}),
        ("principal_components", 8, 0, {"components": 8}),
        ("principal_components", 513, 0, {}),
        ("gaussian_mixture", 10, 0, {"variance_floor": 1}),
        ("external_tensors", 1, 0, {}),
    ],
)
def test_spec_that_cannot_be_computed_exactly_is_refused(
    family: str, features: int, classes: int, settings: dict[str, int]
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        get_family(family).check(make_spec(family, "dense", features, classes, settings))
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
    # Models that group begin first: what waits to begin is not the subject.
    name, place = next(
        (name, place)
        for name, place in (("steps", 0), ("learnt", 0), ("used", 2), ("counts", 0), ("seen", 0))
        if name in state
    )
    if name == "learnt":
        state = subject.learn(subject.samples, subject.labels)
    state[name][place] += subject.family.samples_left(subject.spec, state) - samples_left
    return state


@pytest.mark.parametrize(("family", "layout", "task"), CASES, ids=case_id)
def test_learning_stops_at_the_last_sample_that_the_bounds_cover_however_batches_are_cut(
    family: ModelFamily, layout: str, task: str
) -> None:
    subject = make_subject(family, layout, task)
    whole, split = fill_up(subject, 5), fill_up(subject, 5)
    family.update(subject.spec, whole, subject.samples, subject.labels)
    for rows in np.array_split(np.arange(SAMPLES), 20):
        batch = take_samples(subject.samples, rows)
        family.update(subject.spec, split, batch, subject.labels[rows])
    assert family.samples_left(subject.spec, whole) == 0
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


def test_ridge_weights_are_the_exact_solution_rounded_once() -> None:
    subject = make_subject(get_family("ridge"), "dense")
    state = subject.learn(subject.samples, subject.labels)
    matrix = [[Fraction(int(entry)) for entry in row] for row in state["products"]]
    for place in range(FEATURES):
        matrix[place][place] += ONE << 8
    for label in range(CLASSES):
        right = [Fraction(int(entry)) for entry in state["cross"][:, label]]
        expected = [floor(each * ONE + Fraction(1, 2)) for each in solve(matrix, right)]
        assert state["weights"][label].tolist() == expected


def solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    rows = [[*row, last] for row, last in zip(matrix, right, strict=True)]
    for pivot, row in enumerate(rows):
        rows[pivot] = row = [entry / row[pivot] for entry in row]
        for other in range(len(rows)):
            if other != pivot:
                factor = rows[other][pivot]
                rows[other] = [a - factor * b for a, b in zip(rows[other], row, strict=True)]
    return [row[-1] for row in rows]


@pytest.mark.parametrize("name", ["ridge", "principal_components"])
def test_what_is_derived_at_intervals_does_not_depend_on_batches(name: str) -> None:
    subject = make_subject(get_family(name), "dense")
    settings = {**SETTINGS.get(name, {}), "interval": 24}
    classes = subject.spec.class_count
    spaced = replace(subject, spec=make_spec(name, "dense", FEATURES, classes, settings))
    whole = spaced.learn(subject.samples, subject.labels)
    state = subject.family.initial_state(spaced.spec)
    for rows in np.array_split(np.arange(SAMPLES), 9):
        batch = take_samples(subject.samples, rows)
        subject.family.update(spaced.spec, state, batch, subject.labels[rows])
    assert all(np.array_equal(whole[each], state[each]) for each in whole)
    last = take_samples(subject.samples, np.arange(48))
    until = subject.learn(last, subject.labels[:48])
    derived = "weights" if name == "ridge" else "axes"
    assert np.array_equal(whole[derived], until[derived])
    for operation in (
        lambda: subject.family.unlearn(spaced.spec, whole, subject.samples, subject.labels),
        lambda: subject.family.merge(spaced.spec, [whole]),
    ):
        with pytest.raises(InvalidInputError) as refused:
            operation()
        assert refused.value.code == "unsupported"


def test_neighbours_keep_the_newest_samples() -> None:
    subject = make_subject(get_family("nearest_neighbours"), "dense")
    state = subject.learn(subject.samples, subject.labels)
    capacity = SETTINGS["nearest_neighbours"]["capacity"]
    kept = {tuple(row) for row in state["features"].tolist()}
    newest = {tuple(row) for row in get_features(subject.samples)[-capacity:].tolist()}
    assert kept == newest


def test_generated_samples_look_like_those_learnt_and_depend_on_the_seed_alone() -> None:
    family = get_family("gaussian_mixture")
    subject = make_subject(family, "dense")
    with pytest.raises(InvalidInputError) as refused:
        family.generate(subject.spec, family.initial_state(subject.spec), bytes(32), 1)
    assert refused.value.code == "not_learnt"
    state = subject.learn(subject.samples, subject.labels)
    drawn = family.generate(subject.spec, state, b"a seed of 8 and more", 4_096)
    features = get_features(subject.samples)
    assert np.abs(drawn.mean(axis=0) - features.mean(axis=0)).max() < ONE // 5
    assert np.abs(drawn.std(axis=0) / features.std(axis=0) - 1).max() < 0.25
    again = family.generate(subject.spec, state, b"a seed of 8 and more", 16)
    assert np.array_equal(drawn[:16], again)
    other = family.generate(subject.spec, state, b"b seed of 8 and more", 16)
    assert not np.array_equal(again, other)
    for count in (0, 4_097):
        with pytest.raises(InvalidInputError) as refused:
            family.generate(subject.spec, state, bytes(8), count)
        assert refused.value.code == "too_many_samples"


def test_responsibilities_add_up_to_one_before_and_after_the_beginning() -> None:
    family = get_family("gaussian_mixture")
    subject = make_subject(family, "dense")
    for state in (
        family.initial_state(subject.spec),
        subject.learn(subject.samples, subject.labels),
    ):
        shares = family.probabilities(subject.spec, state, subject.samples)
        assert shares.shape == (SAMPLES, SETTINGS["gaussian_mixture"]["groups"])
        assert np.abs(shares.sum(axis=1) - ONE).max() < 8


def test_first_weights_of_a_network_are_drawn_by_their_places() -> None:
    family = get_family("multilayer_perceptron")
    for width, hidden, seed in ((1, 3, 1), (7, 2, 1 << 32)):
        settings = {"hidden1": hidden, "seed": seed}
        state = family.initial_state(make_spec(family.name, "dense", width, 3, settings))
        reach = isqrt((6 << 64) // (width + hidden))
        expected = []
        for place in range(hidden * (width + 1)):
            drawn = (plain_scalars.mix64((seed << 31) + place) >> 32) - (1 << 31)
            is_constant = place % (width + 1) == width
            expected.append(0 if is_constant else (drawn * reach) >> 31)
        assert state["weights"].tolist() == expected + [0] * 3 * (hidden + 1)


def test_external_tensors_take_updates_and_nothing_else() -> None:
    family = get_family("external_tensors")
    spec = make_spec(family.name, "dense", 1, 0, None, {"body": (2, 3), "head": (3,)})
    family.check(spec)
    state = family.initial_state(spec)
    family.check_state(spec, state)
    add_update(state, "body", np.array([0, 4]), np.array([7, -(1 << 40)]))
    add_update(state, "body", np.array([4]), np.array([-5]))
    assert state["body"].tolist() == [[7, 0, 0], [0, -(1 << 40), 0]]
    state["head"][0] = (1 << 40) + 1
    with pytest.raises(InvalidInputError) as refused:
        family.check_state(spec, state)
    assert (refused.value.code, refused.value.limit) == ("parameter_out_of_range", 1 << 40)
    samples = DenseSamples(np.zeros((1, 1), dtype=np.int64))
    for ask in (
        lambda: family.predict(spec, state, samples),
        lambda: family.update(spec, state, samples, np.zeros(1, dtype=np.int64)),
    ):
        with pytest.raises(InvalidInputError) as refused:
            ask()
        assert refused.value.code == "unsupported"
    assert family.score_count(spec) == family.samples_left(spec, state) == 0
    assert family.cost(spec, 1, 1) > 0
    assert family.feature_range(spec)[1] == 1 << 40


def test_classes_grow_and_what_was_learnt_stays() -> None:
    for family in LEARNERS:
        if not family.grows_classes:
            continue
        subject = make_subject(family, "dense")
        wider = make_spec(family.name, "dense", FEATURES, CLASSES + 2, SETTINGS.get(family.name))
        state = subject.learn(subject.samples, subject.labels)
        grown = grow_state(family, subject.spec, wider, state)
        family.update(wider, grown, subject.samples, subject.labels + 2)
        assert {name: array.shape for name, array in grown.items()} == family.shapes(wider)
        assert family.scores(wider, grown, subject.samples).shape == (SAMPLES, CLASSES + 2)


@pytest.mark.parametrize("family", [each for each in LEARNERS if each.grows_features], ids=case_id)
def test_sparse_features_grow_as_if_they_had_always_been_there(family: ModelFamily) -> None:
    subject = make_subject(family, "sparse")
    wide = make_spec(family.name, "sparse", FEATURES + 3, subject.spec.class_count)
    narrow = replace(
        subject, spec=make_spec(family.name, "sparse", FEATURES, subject.spec.class_count)
    )
    samples = replace(subject.samples, feature_count=FEATURES + 3)
    grown = grow_state(family, narrow.spec, wide, narrow.learn(subject.samples, subject.labels))
    always = replace(subject, spec=wide, samples=samples).learn(samples, subject.labels)
    assert all(np.array_equal(grown[name], always[name]) for name in always)


@pytest.mark.parametrize(
    ("family", "before", "after"),
    [
        ("ridge", ("dense", 3, 2), ("dense", 3, 3)),
        ("nearest_centroid", ("sparse", 3, 3), ("sparse", 2, 3)),
        ("nearest_centroid", ("sparse", 3, 3), ("sparse", 3, 2)),
        ("nearest_centroid", ("sparse", 3, 3), ("sparse", 3, 3)),
        ("nearest_centroid", ("dense", 3, 3), ("dense", 4, 3)),
        ("linear_regression", ("dense", 3, 0), ("dense", 3, 2)),
        ("nearest_centroid", ("sparse", 3, 3), ("dense", 4, 4)),
    ],
)
def test_models_that_cannot_grow_so_are_refused(family: str, before, after) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_growth(get_family(family), make_spec(family, *before), make_spec(family, *after))
    assert refused.value.code == "cannot_grow"
