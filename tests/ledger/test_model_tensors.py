"""Model parameters in the state: descriptors, chunks, versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.model_tensors import (
    CHUNK_BYTES,
    ORIGINS,
    ModelTensors,
    ModelVersion,
    TensorDescriptor,
    chunk_arrays,
    decode_model_tensors,
    decode_model_version,
    load_arrays,
    model_version_key,
    model_version_prefix,
    tensors_key,
    total_bytes,
)
from primitives.codec import Value, encode
from primitives.errors import CorruptStateError, InvalidInputError
from primitives.hashing import Tag, tagged_hash

COUNTERS = st.integers(0, 2**63 - 1)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


def filled(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape) - 7


@given(st.dictionaries(st.text(max_size=5), SHAPES, max_size=4), COUNTERS)
def test_arrays_read_back_from_their_chunks(
    shapes: dict[str, tuple[int, ...]], version: int
) -> None:
    arrays = {name: filled(shape) for name, shape in shapes.items()}
    chunks: dict[bytes, bytes] = {}
    tensors = chunk_arrays(version, arrays, None, chunks)
    assert decode_model_tensors(tensors.encode()) == tensors
    again = load_arrays(tensors, chunks.get)
    assert list(again) == sorted(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == np.int64
        assert again[name].shape == array.shape
        assert np.array_equal(again[name], array)
    assert total_bytes(again) == total_bytes(arrays)


def test_a_tensor_is_little_endian_in_chunks_of_64_kib() -> None:
    array = np.array([1, -2] * 8192, dtype=np.int64)
    chunks: dict[bytes, bytes] = {}
    (tensor,) = chunk_arrays(0, {"w": array}, None, chunks).tensors
    expected = b"".join(int(item).to_bytes(8, "little", signed=True) for item in array)
    parts = [expected[start : start + CHUNK_BYTES] for start in range(0, 131_072, CHUNK_BYTES)]
    assert tensor.chunks == tuple(tagged_hash(Tag.CHUNK, part) for part in parts)


def test_the_digest_is_of_the_parameters_alone() -> None:
    first = chunk_arrays(0, {"w": filled((2, 3))}, None, {})
    assert first.digest == ModelTensors(9, first.tensors).digest
    assert first.digest != chunk_arrays(0, {"w": filled((3, 2))}, None, {}).digest


def test_only_changed_chunks_are_new() -> None:
    before = {"w": filled((3 * 8192,)), "b": filled((4,))}
    after = {name: array.copy() for name, array in before.items()}
    after["w"][-1] = 0
    tensors = chunk_arrays(0, before, None, {})
    chunks: dict[bytes, bytes] = {}
    assert chunk_arrays(1, after, (tensors, before), chunks) == chunk_arrays(1, after, None, {})
    assert len(chunks) == 1


def test_lost_and_garbled_chunks_are_noticed() -> None:
    chunks: dict[bytes, bytes] = {}
    tensors = chunk_arrays(0, {"w": filled((4,))}, None, chunks)
    with pytest.raises(CorruptStateError, match="is missing"):
        load_arrays(tensors, {}.get)
    with pytest.raises(CorruptStateError, match="does not have that hash"):
        load_arrays(tensors, lambda _: b"garbage")
    (tensor,) = tensors.tensors
    longer = ModelTensors(0, (TensorDescriptor("w", (5,), tensor.chunks),))
    with pytest.raises(CorruptStateError, match="has 32 bytes"):
        load_arrays(longer, chunks.get)


@pytest.mark.parametrize(
    "value",
    [
        [0, 5],
        [0, [["w", [1], [b"short"]]]],
        [0, [["w", [-1], []]]],
        [0, [["w", [1, 1, 1, 1, 1], []]]],
        [0, [["w", [0], []], ["b", [0], []]]],
        [0, [["w", [0], []], ["w", [0], []]]],
    ],
)
def test_malformed_descriptors_are_refused(value: Value) -> None:
    with pytest.raises(InvalidInputError):
        decode_model_tensors(encode(value))


@given(
    st.builds(
        ModelVersion,
        COUNTERS,
        COUNTERS,
        COUNTERS,
        COUNTERS,
        COUNTERS,
        st.integers(-(2**62), 2**62),
        COUNTERS,
        st.integers(0, len(ORIGINS) - 1),
        st.binary(min_size=32, max_size=32),
    )
)
def test_version_records_survive_encoding(version: ModelVersion) -> None:
    assert decode_model_version(version.encode()) == version


def test_versions_of_a_model_sort_by_number() -> None:
    keys = [model_version_key("m", number) for number in (0, 9, 10, 300)]
    assert keys == sorted(keys)
    assert all(key.startswith(model_version_prefix("m")) for key in keys)
    assert tensors_key("m") == b"tensor/m"
