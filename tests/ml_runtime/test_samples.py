"""Batches survive their bytes; whatever else arrives is refused with a code that says why."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_runtime.encoders import ScaleEncoder, decode_encoder, from_q16
from ml_runtime.fixed_point import ONE, clamp, divide_rounded, integer_square_root
from ml_runtime.samples import (
    DenseSamples,
    SparseSamples,
    check_samples,
    decode_batch,
    encode_batch,
    sample_count,
    take_samples,
)
from ml_runtime.spec import ModelSpec, decode_spec, make_spec
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def u32(*values: int) -> bytes:
    return np.array(values, dtype="<u4").tobytes()


def i64(*values: int) -> bytes:
    return np.array(values, dtype="<i8").tobytes()


LABEL = ("labels", u32(0), b"")


@st.composite
def sparse_batches(draw):
    features = draw(st.integers(1, 30))
    rows = draw(st.lists(st.sets(st.integers(0, features - 1)), min_size=1, max_size=8))
    starts = np.cumsum([0] + [len(row) for row in rows]).astype(np.int64)
    indices = np.array([index for row in rows for index in sorted(row)], dtype=np.int64)
    numbers = st.integers(-(2**40), 2**40)
    values = draw(st.lists(numbers, min_size=len(indices), max_size=len(indices)))
    labels = draw(st.lists(st.integers(0, 2**32 - 1), min_size=len(rows), max_size=len(rows)))
    samples = SparseSamples(starts, indices, np.array(values, dtype=np.int64), features)
    return samples, np.array(labels, dtype=np.int64)


@given(sparse_batches())
def test_sparse_batch_comes_back(batch) -> None:
    samples, labels = batch
    batch_again = decode_batch(encode_batch(samples, labels))
    again, labels_again = batch_again.samples, batch_again.targets
    assert isinstance(again, SparseSamples)
    assert np.array_equal(again.row_starts, samples.row_starts)
    assert np.array_equal(again.indices, samples.indices)
    assert np.array_equal(again.values, samples.values)
    assert np.array_equal(labels_again, labels)
    assert sample_count(again) == len(labels)


@given(st.integers(1, 6), st.integers(1, 6), st.randoms())
def test_dense_batch_comes_back(count: int, features: int, random) -> None:
    values = [[random.randrange(-(2**63), 2**63) for _ in range(features)] for _ in range(count)]
    samples = DenseSamples(np.array(values, dtype=np.int64).reshape(count, features))
    again = decode_batch(encode_batch(samples, np.zeros(count, dtype=np.int64))).samples
    assert isinstance(again, DenseSamples)
    assert np.array_equal(again.features, samples.features)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (7, "malformed_payload"),
        ([2], "malformed_payload"),
        ([2, "round", 1, 1, i64(0), "labels", u32(0), b""], "malformed_payload"),
        ([1, "dense", 1, 1, i64(0), "labels", u32(0), b""], "malformed_payload"),
        ([2, "dense", 0, 1, b"", "labels", b"", b""], "empty_batch"),
        (
            [2, "dense", 5, 1, i64(0, 0, 0, 0, 0), "labels", u32(0, 0, 0, 0, 0), b""],
            "too_many_samples",
        ),
        ([2, "dense", 1, 2, i64(0), "labels", u32(0), b""], "malformed_payload"),
        ([2, "dense", 1, 1, i64(0), "labels", u32(0, 0), b""], "malformed_payload"),
        ([2, "dense", 4, 1 << 24, i64(0), "labels", u32(0), b""], "malformed_payload"),
        (
            [2, "sparse", 1, 3, u32(2), u32(2, 1), i64(1, 1), "labels", u32(0), b""],
            "malformed_payload",
        ),
        (
            [2, "sparse", 1, 3, u32(2), u32(1, 1), i64(1, 1), "labels", u32(0), b""],
            "malformed_payload",
        ),
        ([2, "sparse", 1, 3, u32(1), u32(3), i64(1), "labels", u32(0), b""], "wrong_feature_count"),
        (
            [2, "sparse", 1, 3, u32(4_000_000_000), u32(0), i64(1), "labels", u32(0), b""],
            "malformed_payload",
        ),
        ([2, "dense", 1, 1, i64(0), "colours", u32(0), b""], "malformed_payload"),
        ([2, "dense", 1, 1, i64(0), "values", u32(0), b""], "malformed_payload"),
        ([2, "dense", 1, 1, i64(0), "none", u32(0), b""], "malformed_payload"),
        ([2, "dense", 2, 1, i64(0, 0), "none", b"", b"abc"], "malformed_payload"),
        ([2, "dense", 1, 1, i64(0), "none", b"", b"abcd"], "malformed_payload"),
    ],
)
def test_broken_batch_is_refused(fields, code: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_batch(encode(fields), samples_max=4)
    assert refused.value.code == code


@pytest.mark.parametrize("kind", ["labels", "values", "none"])
@pytest.mark.parametrize("groups", [None, [0, 65_535, 7]])
def test_targets_and_groups_come_back(kind: str, groups: list[int] | None) -> None:
    samples = DenseSamples(np.arange(6, dtype=np.int64).reshape(3, 2))
    targets = integers(0, 0, 0) if kind == "none" else integers(3, 1, 2**31)
    if kind == "values":
        targets = -targets
    given_groups = None if groups is None else integers(*groups)
    batch = decode_batch(encode_batch(samples, targets, kind, given_groups))
    assert batch.kind == kind
    assert batch.targets.tolist() == targets.tolist()
    assert (batch.groups is None) == (groups is None)
    assert groups is None or batch.groups.tolist() == groups


@pytest.mark.parametrize(
    ("labels", "groups", "code"),
    [([-1], None, "unknown_class"), ([0], [65_536], "unknown_group"), ([0], [-1], "unknown_group")],
)
def test_numbers_that_would_become_others_are_not_encoded(labels, groups, code: str) -> None:
    samples = DenseSamples(np.zeros((1, 1), dtype=np.int64))
    with pytest.raises(InvalidInputError) as refused:
        given_groups = None if groups is None else integers(*groups)
        encode_batch(samples, integers(*labels), "labels", given_groups)
    assert refused.value.code == code


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_crashes(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_batch(data)


def test_rows_may_restart_where_a_sample_begins_and_may_be_empty() -> None:
    parts = [u32(0, 2, 0, 1), u32(1, 2, 0), i64(1, 2, 3)]
    fields = [2, "sparse", 4, 3, *parts, "labels", u32(0, 0, 0, 0), b""]
    samples = decode_batch(encode(fields)).samples
    assert isinstance(samples, SparseSamples)
    assert samples.row_starts.tolist() == [0, 0, 2, 2, 3]
    taken = take_samples(samples, integers(3, 1, 0))
    assert isinstance(taken, SparseSamples)
    assert taken.indices.tolist() == [0, 1, 2]
    assert taken.row_starts.tolist() == [0, 1, 3, 3]
    assert sample_count(take_samples(samples, integers())) == 0


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (DenseSamples(np.zeros((1, 2), dtype=np.int64)), "wrong_layout"),
        (SparseSamples(integers(0, 0), integers(), integers(), 4), "wrong_feature_count"),
        (SparseSamples(integers(0, 1), integers(0), integers(-1), 2), "feature_out_of_range"),
        (SparseSamples(integers(0, 1), integers(0), integers(10), 2), "feature_out_of_range"),
    ],
)
def test_samples_that_do_not_suit_a_model_are_refused(samples, code: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_samples(samples, "sparse", 2, 0, 9)
    assert refused.value.code == code
    assert refused.value.field


def test_samples_without_entries_suit_any_range() -> None:
    check_samples(SparseSamples(integers(0, 0), integers(), integers(), 2), "sparse", 2, 0, 0)


@pytest.mark.parametrize("label", [-1, 2**32])
def test_label_that_would_become_another_one_is_not_encoded(label: int) -> None:
    with pytest.raises(InvalidInputError) as refused:
        encode_batch(DenseSamples(integers(0).reshape(1, 1)), integers(label))
    assert refused.value.code == "unknown_class"


def test_encoder_gives_rows_of_memory_whatever_it_is_given() -> None:
    features = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert ScaleEncoder().encode(features).flags.c_contiguous


def test_encoder_rounds_halves_up_and_comes_back() -> None:
    encoder = ScaleEncoder(scale=ONE // 2, offset=ONE)
    assert encoder.encode([[1.0, -1.0, 1 / ONE]]).tolist() == [[98304, 32768, 65537]]
    assert decode_encoder(decode(encode(encoder.to_fields()), bytes_max=64)) == encoder
    assert from_q16(integers(98304)).tolist() == [1.5]
    assert ScaleEncoder().encode([]).tolist() == []


@pytest.mark.parametrize(
    ("features", "code"),
    [
        ([[1.0, float("nan")]], "feature_not_finite"),
        ([[float("inf")]], "feature_not_finite"),
        ([[1e300]], "feature_out_of_range"),
        ([["x"]], "malformed"),
    ],
)
def test_encoder_refuses_what_is_no_number(features, code: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        ScaleEncoder().encode(features)
    assert refused.value.code == code


@pytest.mark.parametrize("fields", [["hash", 1, 1, 1], ["scale", 2, 1, 1], ["scale", 1, 1], 5])
def test_unknown_encoder_is_refused(fields) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_encoder(fields)
    assert refused.value.code == "invalid_encoder"


def test_spec_comes_back_and_names_its_settings_in_order() -> None:
    spec = make_spec("nearest_centroid", "sparse", 7, 3, {"b": 2, "a": 1})
    assert spec.parameters == (("a", 1), ("b", 2))
    assert decode_spec(decode(encode(spec.to_fields()), bytes_max=256)) == spec
    assert spec.get("a", 9) == 1
    assert spec.get("c", 9) == 9


@pytest.mark.parametrize(
    "fields",
    [
        ["f", "dense", 0, 2, []],
        ["f", "dense", 1, 1, []],
        ["f", "round", 1, 2, []],
        ["f", "dense", 1, 2, [["b", 1], ["a", 1]]],
        ["f", "dense", 1, 2, [["a", 1], ["a", 1]]],
        ["f", "dense", 1, 2, [["a"]]],
        ["f"],
    ],
)
def test_broken_spec_is_refused(fields) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_spec(fields)
    assert refused.value.code == "invalid_spec"


def test_spec_is_a_value() -> None:
    assert ModelSpec("f", "dense", 1, 2) == make_spec("f", "dense", 1, 2)


@given(st.integers(0, 2**80))
def test_square_root_is_exact(value: int) -> None:
    root = integer_square_root(value)
    assert root * root <= value < (root + 1) * (root + 1)


@given(st.integers(-(2**70), 2**70), st.integers(1, 2**40))
def test_division_rounds_to_nearest_halves_up(value: int, divisor: int) -> None:
    result = divide_rounded(value, divisor)
    assert -divisor <= 2 * (value - result * divisor) <= divisor
    assert 2 * (value - result * divisor) != divisor or divisor == 0


@given(st.integers(), st.integers(0, 2**62))
def test_clamp_stays_within_the_limit(value: int, limit: int) -> None:
    assert -limit <= clamp(value, limit) <= limit
    assert clamp(value, limit) == value or abs(value) > limit
