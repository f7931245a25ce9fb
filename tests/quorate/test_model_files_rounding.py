"""Floats become fixed-point numbers, no further away than half a unit, or are refused."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_runtime.family import ModelFamily
from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.spec import ModelSpec, make_spec
from primitives.errors import InvalidInputError
from quorate.model_files.from_floats import (
    NumberRange,
    get_fraction_bits,
    round_numbers,
    round_state,
)
from quorate.model_files.tensors import decode_safetensors, encode_safetensors

NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20)


def make_linear() -> ModelSpec:
    return make_spec("linear_regression", "dense", 2, 0)


@given(NUMBERS, st.integers(0, 32))
@settings(max_examples=200, deadline=None)
def test_numbers_move_at_most_half_a_unit(numbers: list[float], bits: int) -> None:
    integers, report = round_numbers("a", numbers, NumberRange(bits), clamps=True)
    clamped = 0
    for given_number, integer in zip(numbers, integers.tolist(), strict=True):
        exact = Fraction(given_number) * 2**bits
        if abs(exact) >= INT64_SAFE:
            clamped += 1
            assert abs(integer) == INT64_SAFE - 1
            assert (integer > 0) == (given_number > 0)
        else:
            assert integer == (exact + Fraction(1, 2)) // 1
            assert abs(integer - exact) <= Fraction(1, 2)
            # The report is itself a float, rounded to nearest.
            assert float(abs(integer - exact) / 2**bits) <= report.error_largest
    assert report.error_largest <= report.error_bound == 0.5 / 2**bits
    assert report.clamped == clamped


def test_numbers_just_below_a_half_are_not_rounded_upwards() -> None:
    numbers = [np.nextafter(0.5, 0), 0.5, -0.5, np.nextafter(-0.5, -1)]
    integers, _ = round_numbers("a", numbers, NumberRange(0))
    assert integers.tolist() == [0, 1, 0, -1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 4097.0, -1e300])
def test_what_does_not_fit_is_refused_by_name_value_and_bound(wrong: float) -> None:
    with pytest.raises(InvalidInputError) as refused:
        round_state(make_linear(), {"weights": [[0, wrong, 1]], "steps": np.zeros(1, np.int64)})
    error = refused.value
    assert error.code == "parameter_out_of_range"
    assert error.field == "tensors.weights"
    assert str(wrong) in error.message
    assert "[-4096.0, 4096.0]" in error.message
    assert error.value == str(wrong)


def test_refusal_says_how_many_do_not_fit() -> None:
    with pytest.raises(InvalidInputError, match="and 2 more that do not fit"):
        round_state(make_linear(), {"weights": [[5e3, 5e3, -5e3]], "steps": [0]})


def test_clamps_are_counted_and_nan_is_never_one() -> None:
    given_tensors = {"weights": [[5e3, 0.25, -5e3]], "steps": [0]}
    rounded = round_state(make_linear(), given_tensors, clamps=True)
    report = {each.name: each for each in rounded.report}
    assert rounded.state["weights"].tolist() == [[1 << 44, 1 << 30, -(1 << 44)]]
    assert report["linear_regression.weights"].clamped == 2
    with pytest.raises(InvalidInputError, match="nan"):
        round_state(make_linear(), {"weights": [[np.nan, 0, 0]], "steps": [0]}, clamps=True)


def test_integers_are_taken_as_they_are() -> None:
    weights = np.array([[1, -2, 3]])
    rounded = round_state(make_linear(), {"weights": weights, "steps": np.zeros(1, np.int64)})
    assert rounded.state["weights"].tolist() == [[1, -2, 3]]
    assert rounded.report == ()


def test_files_of_floats_become_a_state() -> None:
    state = {"weights": np.array([[1, 2, 3]]), "steps": np.zeros(1, dtype=np.int64)}
    tensors = decode_safetensors(encode_safetensors(state)).tensors
    tensors["weights"] = tensors["weights"].astype(np.float64)
    rounded = round_state(make_linear(), tensors)
    assert rounded.state["weights"].tolist() == [[1 << 32, 2 << 32, 3 << 32]]


@pytest.mark.parametrize(
    ("tensors", "code"),
    [
        ({"weights": [[1, 2]], "steps": [0]}, "wrong_tensors"),
        ({"weights": [[1, 2, 3]]}, "wrong_tensors"),
        ({"weights": [[1, 2, 3]], "steps": [0], "more": [1.0]}, "wrong_tensors"),
        ({"weights": [[1, 2, 3]], "steps": [1]}, "parameter_out_of_range"),
        ({"weights": [["a", 2, 3]], "steps": [0]}, "malformed"),
        ({"weights": [[1], [2, 3]], "steps": [0]}, "malformed"),
    ],
)
def test_other_tensors_are_refused(tensors: dict[str, object], code: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        round_state(make_linear(), tensors)
    assert refused.value.code == code


def test_families_that_take_no_parameters_are_refused() -> None:
    spec = make_spec("ridge", "dense", 2, 0)
    state = get_family("ridge").initial_state(spec)
    floats = {name: array.astype(np.float64) for name, array in state.items()}
    with pytest.raises(InvalidInputError) as refused:
        round_state(spec, floats)
    assert refused.value.code == "unsupported"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_tensor_of_every_family_has_a_scale(family: ModelFamily) -> None:
    tensors = {"a": (2,)} if family.tasks == ("none",) else None
    classes = 2 if "classification" in family.tasks else 0
    settings_given = {"momentum": 1} if "momentum" in [p.name for p in family.parameters] else None
    spec = make_spec(family.name, "dense", 9, classes, settings_given, tensors)
    for name in family.shapes(spec):
        if family.name == "hoeffding_tree":
            with pytest.raises(InvalidInputError, match="not made of floats"):
                get_fraction_bits(spec, name)
        else:
            assert 0 <= get_fraction_bits(spec, name) <= 32


def test_targets_of_neighbours_are_classes_or_numbers() -> None:
    for classes, bits in ((2, 0), (0, 16)):
        spec = make_spec("nearest_neighbours", "dense", 2, classes, {"capacity": 1})
        assert get_fraction_bits(spec, "targets") == bits
    floats = {"features": [[0.5, -0.25]], "targets": [1.5], "seen": [1]}
    state = round_state(spec, floats).state
    assert state["features"].tolist() == [[ONE // 2, -ONE // 4]]
    assert state["targets"].tolist() == [3 * ONE // 2]
