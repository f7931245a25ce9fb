"""Forgetting keeps means, bounds and definiteness, and lets a model follow data that changes."""

import json
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_runtime.decay import SHIFT_MAX, check_shift, decay_counts, scale_sums
from ml_runtime.family import State, copy_state
from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.models.gaussian_naive_bayes import GaussianNaiveBayes
from ml_runtime.models.moments import DECAY_MARGIN
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.samples import DenseSamples, take_samples
from ml_runtime.spec import decode_spec, make_spec
from primitives.codec import decode
from primitives.errors import InvalidInputError
from tests.ml_runtime.test_examples import NAMES, compute_example, to_lists

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "decay.json"
SHIFTS = (3, 1, 1, 2)
EXAMPLES = [name for name in NAMES if get_family(name.split()[0]).supports_decay]

CLASS_SUMS = (
    "multinomial_naive_bayes",
    "bernoulli_naive_bayes",
    "gaussian_naive_bayes",
    "nearest_centroid",
)
SHIFT = st.integers(1, SHIFT_MAX)


def read_state(fields: dict[str, list]) -> State:
    return {name: np.array(array, dtype=np.int64) for name, array in fields.items()}


def same(first: State, second: State) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in second)


def round_half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def is_semidefinite(matrix: np.ndarray) -> bool:
    """Eliminate exactly: every pivot is positive, or zero with nothing else in its row."""
    rows = [[Fraction(int(entry)) for entry in row] for row in matrix]
    for pivot, row in enumerate(rows):
        if row[pivot] < 0 or (row[pivot] == 0 and any(row[pivot:])):
            return False
        for lower in rows[pivot + 1 :]:
            factor = lower[pivot] / row[pivot] if row[pivot] else Fraction(0)
            lower[:] = [entry - factor * above for entry, above in zip(lower, row, strict=True)]
    return True


def test_families_of_sums_forget_and_no_others_do() -> None:
    names = {family.name for family in FAMILIES if family.supports_decay}
    assert names == {*CLASS_SUMS, "ridge", "principal_components"}


@given(st.integers(0, 1 << 46), SHIFT, st.integers(0, 1 << 20))
@settings(max_examples=300)
def test_count_shrinks_by_the_one_rule_and_its_ratio_never_says_more(
    count: int, shift: int, margin: int
) -> None:
    counts = np.array([count])
    ratio = int(decay_counts(counts, shift, margin=margin)[0])
    kept = int(counts[0])
    assert kept == round_half_up(Fraction(count * ((1 << shift) - 1), 1 << shift))
    assert (kept == count) == (count <= 1 << (shift - 1))
    if kept == count:
        assert ratio == 1 << 30
    else:
        assert 0 < ratio * count <= (kept << 30) - margin < (ratio + 1) * count


@given(st.integers(1 - INT64_SAFE, INT64_SAFE - 1), st.integers(0, 1 << 30))
@settings(max_examples=300)
def test_sums_are_multiplied_exactly_and_rounded_once(value: int, ratio: int) -> None:
    sums = np.array([[value]])
    scale_sums(sums, np.array([[ratio]]))
    assert int(sums[0, 0]) == round_half_up(Fraction(value * ratio, 1 << 30))


@pytest.mark.parametrize("shift", [-1, 0, SHIFT_MAX + 1])
def test_shift_out_of_range_is_refused(shift: int) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_shift(shift)
    assert refused.value.code == "shift_out_of_range"


def make_possible_state(name: str, random: np.random.Generator, samples: int) -> tuple:
    """Return a spec and a state that some samples gave, many of them at the ends of the range."""
    family = get_family(name)
    spec = make_spec(name, "dense", 5, 3, {"feature_limit": 8 * ONE + 9})
    low, high = family.feature_range(spec)
    rows = random.integers(low, high + 1, (samples, 5))
    rows[:, 0], rows[:, 1] = low, high
    rows[random.random(samples) < 0.5, 2] = 0
    rows[:, 3] = random.integers(-9, 10)
    rows = np.clip(rows, low, high).astype(np.int64)
    labels = random.integers(0, 3, samples) * (random.random(samples) < 0.8)
    state = family.initial_state(spec)
    family.update(spec, state, DenseSamples(rows), labels)
    return family, spec, state


@pytest.mark.parametrize("name", CLASS_SUMS)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.lists(SHIFT | st.just(1), min_size=1))
@settings(max_examples=60, deadline=None)
def test_state_stays_possible(name: str, samples: int, seed: int, shifts: list[int]) -> None:
    family, spec, state = make_possible_state(name, np.random.default_rng(seed), samples)
    assert family.is_possible(spec, state)
    for shift in shifts:
        family.decay(spec, state, shift)
        assert family.is_possible(spec, state)
        family.check_state(spec, state)


def test_squares_that_rounding_takes_too_low_are_raised() -> None:
    """A feature that never changes has exactly the squares that its sum asks for."""
    family = GaussianNaiveBayes()
    spec = make_spec(family.name, "dense", 40, 2)
    features = np.arange(40)[np.newaxis] * 16 * 801 + 16
    state = family.initial_state(spec)
    family.update(
        spec, state, DenseSamples(np.repeat(features, 23, 0)), np.zeros(23, dtype=np.int64)
    )
    plain = copy_state(state)
    raised = 0
    for _ in range(6):
        family.decay(spec, state, 1)
        super(GaussianNaiveBayes, family).decay(spec, plain, 1)
        raised += int((state["squares"] > plain["squares"]).sum())
        assert family.is_possible(spec, state)
    assert raised > 0


@pytest.mark.parametrize("name", CLASS_SUMS)
def test_nothing_wraps_at_the_edge_of_the_bounds(name: str) -> None:
    family = get_family(name)
    spec = make_spec(name, "dense", 2, 2, {"feature_limit": ONE})
    state = family.initial_state(spec)
    low, high = family.sum_range(spec)
    covered = family.samples_covered(spec)
    state["counts"][:] = covered - covered // 2, covered // 2
    state["sums"][:] = state["counts"][:, np.newaxis] * np.array([low, high])
    if "squares" in state:
        state["squares"][:] = state["counts"][:, np.newaxis] * high * high
    family.check_state(spec, state)
    expected = {each: array.astype(object) for each, array in state.items()}
    for shift in (1, SHIFT_MAX):
        family.decay(spec, state, shift)
        family.check_state(spec, state)
        for row in range(2):
            count = int(expected["counts"][row])
            kept = round_half_up(Fraction(count * ((1 << shift) - 1), 1 << shift))
            ratio = Fraction((kept << 30) // count, 1 << 30)
            expected["counts"][row] = kept
            expected["sums"][row] = [round_half_up(each * ratio) for each in expected["sums"][row]]
        assert state["counts"].tolist() == expected["counts"].tolist()
        assert state["sums"].tolist() == expected["sums"].tolist()


def test_means_stay_however_often_and_gently_little_is_forgotten() -> None:
    """Sums must not shrink while the count that they belong to rounds to itself, or the reverse."""
    family = get_family("nearest_centroid")
    spec = make_spec(family.name, "dense", 2, 2)
    features = np.array([[5 * ONE, -3 * ONE]] * 100)
    state = family.initial_state(spec)
    family.update(spec, state, DenseSamples(features), np.zeros(100, dtype=np.int64))
    for shift in [3] * 300 + [8] * 300:
        family.decay(spec, state, shift)
    count = int(state["counts"][0])
    assert count == 4
    assert np.abs(state["sums"][0] / count - features[0]).max() < 8


@pytest.mark.parametrize("name", ["nearest_centroid", "gaussian_naive_bayes", "ridge"])
def test_model_that_forgets_follows_what_changes(name: str) -> None:
    """The classes change places; a model that forgets is right again sooner."""
    family = get_family(name)
    spec = make_spec(name, "dense", 3, 2)
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 600).astype(np.int64)
    features = random.integers(-ONE, ONE, (600, 3)) + 2 * ONE * labels[:, np.newaxis]
    samples = DenseSamples(features.astype(np.int64))
    right = {}
    for forgets in (False, True):
        state = family.initial_state(spec)
        family.update(spec, state, samples, labels)
        if forgets:
            for _ in range(4):
                family.decay(spec, state, 1)
        few = np.arange(100)
        family.update(spec, state, take_samples(samples, few), 1 - labels[few])
        right[forgets] = float((family.predict(spec, state, samples) != labels).mean())
    assert right[False] < 0.1
    assert right[True] > 0.9


@pytest.mark.parametrize("name", EXAMPLES)
def test_batches_cannot_be_seen_after_forgetting(name: str) -> None:
    family_name, layout, task = name.split()
    if layout == "sparse":
        layout = "dense"
    family = get_family(family_name)
    few = {"principal_components": {"components": 2}}.get(family_name)
    spec = make_spec(family_name, layout, 4, 3 if task == "classification" else 0, few)
    random = np.random.default_rng(8)
    samples = DenseSamples(random.integers(0, 4 * ONE, (30, 4)))
    targets = random.integers(0, 3, 30) * (task != "outliers")
    states = []
    for size in (30, 7, 1):
        state = family.initial_state(spec)
        family.update(spec, state, samples, targets)
        family.decay(spec, state, 2)
        for start in range(0, 30, size):
            rows = np.arange(start, min(start + size, 30))
            family.update(spec, state, take_samples(samples, rows), targets[rows])
        states.append(state)
    assert same(states[0], states[1])
    assert same(states[0], states[2])


@pytest.mark.parametrize("name", ["ridge", "principal_components"])
@pytest.mark.parametrize("feature_limit", [ONE, ONE + 9, 4 * ONE + 15])
def test_products_stay_semidefinite_and_within_their_bounds(name: str, feature_limit: int) -> None:
    """Columns that are alike, at the end of their range, are as close to indefinite as it gets."""
    family = get_family(name)
    few = {"principal_components": {"components": 2}, "ridge": {"l2": 1}}[name]
    spec = make_spec(name, "dense", 6, 0, {"feature_limit": feature_limit, **few})
    family.check(spec)
    random = np.random.default_rng(4)
    column = random.integers(-feature_limit, feature_limit + 1, (37, 1))
    features = np.repeat(column, 6, axis=1)
    features[:, 3:] = feature_limit
    features[:, 5] = -features[:, 0]
    state = family.initial_state(spec)
    samples = DenseSamples(features.astype(np.int64))
    family.update(spec, state, samples, np.resize(np.array([ONE, -7]), 37))
    for shift in [1, 3, 2, 5, 16, 1] + [2] * 20 + [4] * 40:
        count = int(state["counts"][0])
        family.decay(spec, state, shift)
        assert is_semidefinite(state["products"])
        for each, limit in family.sum_limits(spec).items():
            assert int(np.abs(state[each]).max()) <= limit * int(state["counts"][0])
        assert int(state["counts"][0]) <= count
    assert int(state["counts"][0]) > 0


def test_rounding_alone_would_make_products_indefinite() -> None:
    """Why the diagonal grows: five samples become three, rounded without it."""
    row = np.array([[2, 3]])
    products = row.T @ row
    scale_sums(products, decay_counts(np.array([5]), 1))
    assert not is_semidefinite(products)
    products[np.arange(2), np.arange(2)] += 1
    assert is_semidefinite(products)


def test_margin_has_room_for_the_widest_products() -> None:
    largest_side, smallest_limit = 512, (1 << 12) ** 2
    assert smallest_limit * DECAY_MARGIN >> 30 > (largest_side + 1) // 2 + 1


def test_weights_are_derived_again_even_if_the_count_rounds_to_itself() -> None:
    """Between two intervals weights are older than the sums; forgetting brings them up to date."""
    family = get_family("ridge")
    spec = make_spec("ridge", "dense", 2, 0, {"interval": 4})
    random = np.random.default_rng(1)
    features = DenseSamples(random.integers(-ONE, ONE, (7, 2)))
    state = family.initial_state(spec)
    family.update(spec, state, features, random.integers(-ONE, ONE, 7))
    before = copy_state(state)
    family.decay(spec, state, 5)
    assert state["counts"].tolist() == before["counts"].tolist()
    assert np.array_equal(state["products"], before["products"])
    assert not np.array_equal(state["weights"], before["weights"])


def compute_decays(name: str) -> dict[str, object]:
    """Return what the last state of a worked example becomes, forgetting again and again."""
    example = compute_example(name)
    family = get_family(name.split()[0])
    spec = decode_spec(decode(bytes.fromhex(example["spec"]), bytes_max=4096))
    state = read_state(example["contributions"][-1]["state_after"])
    decays = []
    for shift in SHIFTS:
        family.decay(spec, state, shift)
        decays.append({"shift": shift, "state_after": to_lists(state)})
    return {"spec": example["spec"], "decays": decays}


@pytest.mark.parametrize("name", EXAMPLES)
def test_forgetting_comes_out_as_it_is_written_down(name: str) -> None:
    assert compute_decays(name) == json.loads(VECTORS.read_text())["decays"][name]


if __name__ == "__main__":
    written = {"decays": {name: compute_decays(name) for name in EXAMPLES}}
    VECTORS.write_text(json.dumps(written, separators=(",", ":")) + "\n")
