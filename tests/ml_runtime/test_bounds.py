"""At the largest numbers that a checked spec allows, answers are those of unbounded integers."""

from collections.abc import Callable

import numpy as np
import pytest

from ml_runtime.family import ModelFamily, State
from ml_runtime.fixed_point import INT64_SAFE, ONE, divide_rounded, shift_right_rounded
from ml_runtime.kernels import linear
from ml_runtime.kernels.reference.scalars import log2_q16
from ml_runtime.models.averaged_perceptron import STEPS_MAX, WEIGHT_LIMIT
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples, Samples, SparseSamples
from ml_runtime.spec import ModelSpec, make_spec
from ml_runtime.tables import LOG2_TABLE
from primitives.errors import InvalidInputError

CLASSES = 3


def widest_spec(family: ModelFamily, settings: dict[str, int]) -> ModelSpec:
    """Return the dense spec with the most features that the family accepts."""
    low, high = 1, 1 << 24
    while low < high:
        middle = (low + high + 1) // 2
        try:
            family.check(make_spec(family.name, "dense", middle, CLASSES, settings))
        except InvalidInputError:
            high = middle - 1
        else:
            low = middle
    return make_spec(family.name, "dense", low, CLASSES, settings)


def extreme_features(family: ModelFamily, spec: ModelSpec) -> np.ndarray:
    """Return samples at both ends of the range, and of alternating sign."""
    low, high = family.feature_range(spec)
    features = np.full((4, spec.feature_count), high, dtype=np.int64)
    features[1] = low
    features[2, ::2] = low
    features[3, 1::2] = low
    return features


def to_sparse(features: np.ndarray) -> SparseSamples:
    rows, indices = np.nonzero(features)
    starts = np.zeros(len(features) + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=len(features)), out=starts[1:])
    values = features[rows, indices]
    return SparseSamples(starts, indices.astype(np.int64), values, features.shape[1])


def exact_products(rows: np.ndarray, features: np.ndarray) -> list[list[int]]:
    """Return features · rowsᵀ in integers without a bound."""
    return (features.astype(object) @ rows.astype(object).T).tolist()


def expect_perceptron(spec: ModelSpec, state: State, features: np.ndarray) -> list[list[int]]:
    steps = int(state["steps"][0])
    sums = steps * state["weights"].astype(object) - state["changes"].astype(object)
    means = np.vectorize(lambda total: divide_rounded(total, steps), otypes=[object])(sums)
    return [
        [
            shift_right_rounded(means[row, -1] * ONE, 16) + shift_right_rounded(product, 16)
            for row, product in enumerate(products)
        ]
        for products in exact_products(means[:, :-1], features)
    ]


def expect_naive_bayes(spec: ModelSpec, state: State, features: np.ndarray) -> list[list[int]]:
    smoothing = spec.get("smoothing", ONE)
    sums = state["sums"].astype(object)
    wholes = [log2_q16(int(row.sum()) + smoothing * len(row), LOG2_TABLE) for row in sums]
    # Few distinct sums: their logarithms are computed once.
    parts = {each: log2_q16(int(each) + smoothing, LOG2_TABLE) for each in set(sums.ravel())}
    logs = np.array(
        [[parts[each] - whole for each in row] for row, whole in zip(sums, wholes, strict=True)]
    )
    priors = [
        log2_q16(int(count), LOG2_TABLE) if count else -(1 << 60) for count in state["counts"]
    ]
    return [
        [prior + shift_right_rounded(total, 16) for prior, total in zip(priors, row, strict=True)]
        for row in exact_products(logs, features)
    ]


def expect_centroid(_spec: ModelSpec, state: State, features: np.ndarray) -> list[list[int]]:
    sums, counts = state["sums"].astype(object), state["counts"]
    means = np.array(
        [
            [divide_rounded(each, max(int(count), 1)) for each in row]
            for row, count in zip(sums, counts, strict=True)
        ],
        dtype=object,
    )
    norms = (means * means).sum(axis=1)
    return [
        [
            shift_right_rounded(2 * product - norms[row] if counts[row] else -(1 << 60), 16)
            for row, product in enumerate(products)
        ]
        for products in exact_products(means, features)
    ]


def fill_perceptron(_family: ModelFamily, spec: ModelSpec) -> State:
    """Return weights that jumped from one limit to the other at the last step of all."""
    shape = (CLASSES, spec.feature_count + 1)
    weights = np.full(shape, WEIGHT_LIMIT, dtype=np.int64)
    weights[1] = -WEIGHT_LIMIT
    weights[2, ::2] = -WEIGHT_LIMIT
    changes = 2 * weights * (STEPS_MAX - 1)
    changes[2] = 0
    return {"weights": weights, "changes": changes, "steps": np.array([STEPS_MAX], dtype=np.int64)}


def fill_sums(family: ModelFamily, spec: ModelSpec) -> State:
    """Return a class at the top of its bound, one at the bottom, and one never seen."""
    state = family.initial_state(spec)
    covered = family.samples_left(spec, state)
    low, high = family.feature_range(spec)
    half = covered // 2
    state["sums"][0], state["sums"][1] = high * (covered - half), low * half
    state["counts"][:2] = covered - half, half
    return state


Expect = Callable[[ModelSpec, State, np.ndarray], list[list[int]]]
Fill = Callable[[ModelFamily, ModelSpec], State]


@pytest.mark.parametrize("layout", ["dense", "sparse", "one sparse sample"])
@pytest.mark.parametrize(
    ("name", "settings", "fill", "expect"),
    [
        ("averaged_perceptron", {"feature_limit": 1 << 24}, fill_perceptron, expect_perceptron),
        (
            "multinomial_naive_bayes",
            {"feature_limit": 1 << 28, "smoothing": 1024 * ONE},
            fill_sums,
            expect_naive_bayes,
        ),
        ("nearest_centroid", {"feature_limit": 1 << 24}, fill_sums, expect_centroid),
    ],
)
def test_no_sum_wraps_at_the_edge_of_the_bounds(
    name: str, settings: dict[str, int], fill: Fill, expect: Expect, layout: str
) -> None:
    family = get_family(name)
    spec = widest_spec(family, settings)
    state = fill(family, spec)
    features = extreme_features(family, spec)
    samples: Samples = DenseSamples(features)
    if layout != "dense":
        features[:, -1] = 0  # A sample with fewer entries than features takes the short way.
        features = features[:1] if layout == "one sparse sample" else features
        samples = to_sparse(features)
    assert family.scores(spec, state, samples).tolist() == expect(spec, state, features)
    assert int(family.probabilities(spec, state, samples).sum(axis=1).min()) >= ONE - CLASSES


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("multinomial_naive_bayes", {"feature_limit": 1 << 28}),
        ("multinomial_naive_bayes", {"feature_limit": ONE, "smoothing": 1}),
        ("nearest_centroid", {"feature_limit": ONE}),
        ("nearest_centroid", {"feature_limit": 1 << 28}),
    ],
)
def test_covered_samples_are_as_many_as_keep_the_sum_below_the_bound(
    name: str, settings: dict[str, int]
) -> None:
    family = get_family(name)
    for spec in (make_spec(name, "dense", 1, 2, settings), widest_spec(family, settings)):
        covered = family.samples_left(spec, family.initial_state(spec))
        assert covered >= 1 << 24
        terms = spec.feature_count if name == "multinomial_naive_bayes" else 1
        smoothing = spec.get("smoothing", ONE) if name == "multinomial_naive_bayes" else 0
        _, high = family.feature_range(spec)
        assert terms * (high * covered + smoothing) < INT64_SAFE
        assert terms * (high * (covered + 1) + smoothing) >= INT64_SAFE


def test_weight_stays_at_its_limit_and_the_average_remains_exact() -> None:
    """A clamped weight books the change that happened, not the one that was asked for."""
    random = np.random.default_rng(5)
    limit = 2 * ONE
    weights = np.zeros((CLASSES, 5), dtype=np.int64)
    changes, steps = np.zeros_like(weights), np.ones(1, dtype=np.int64)
    total = weights.copy()
    for _ in range(300):
        features = random.integers(-ONE, ONE + 1, (1, 4))
        labels = random.integers(0, CLASSES, 1)
        linear.train_perceptron_dense(weights, changes, steps, features, labels, ONE, limit, 0)
        total += weights
    assert int(np.abs(weights).max()) <= limit
    assert int((np.abs(weights) == limit).sum()) > 0
    assert np.array_equal(steps[0] * weights - changes, total)
