import json
import math
from enum import IntEnum
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.codec import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN, decode, encode
from primitives.errors import InvalidInputError, InvariantViolationError

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "codec.json").read_text(encoding="utf-8")
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(INTEGER_MIN, INTEGER_MAX)
    | st.binary(max_size=300)
    | st.text(max_size=80)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=20), max_leaves=60)


def refusal_of(data, bytes_max=100_000, **options):
    with pytest.raises(InvalidInputError) as caught:
        decode(data, bytes_max=bytes_max, **options)
    return caught.value


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


@given(values)
def test_decoding_returns_the_value_that_was_encoded(value):
    data = encode(value)
    decoded = decode(data, bytes_max=len(data))
    assert decoded == value
    assert encode(decoded) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_either_the_one_encoding_of_a_value_or_refused(data):
    try:
        value = decode(data, bytes_max=200)
    except InvalidInputError as error:
        assert error.code in {"malformed", "not_canonical", "too_large"}
    else:
        assert encode(value) == data


@given(values, st.integers(0), st.integers(0, 255))
def test_a_changed_byte_never_decodes_to_the_same_value(value, position, byte):
    data = encode(value)
    position %= len(data)
    changed = data[:position] + bytes([byte]) + data[position + 1 :]
    try:
        decoded = decode(changed, bytes_max=len(changed))
    except InvalidInputError:
        return
    assert changed == data or encode(decoded) == changed != data


@pytest.mark.parametrize("vector", VECTORS["canonical"], ids=lambda vector: vector["hex"][:20])
def test_frozen_encodings_are_what_encode_returns(vector):
    data = bytes.fromhex(vector["hex"])
    value = from_json(vector["value"])
    assert encode(value) == data
    decoded = decode(data, bytes_max=len(data))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["reason"])
def test_frozen_bad_encodings_are_refused_with_their_code(vector):
    assert refusal_of(bytes.fromhex(vector["hex"])).code == vector["code"]


def from_json(value):
    """Bytes are written as {"bytes": hex}; large integers as {"int": text}."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, dict):
        return bytes.fromhex(value["bytes"]) if "bytes" in value else int(value["int"])
    return value


def test_tuples_encode_as_lists():
    assert encode((1, (b"a", ()))) == encode([1, [b"a", []]])


def test_enumerations_encode_as_their_number():
    class Kind(IntEnum):
        ONE = 1

    assert encode([Kind.ONE, [Kind.ONE]]) == encode([1, [1]])


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        math.nan,
        {},
        {"a": 1},
        bytearray(b"a"),
        {1},
        object(),
        msgpack.ExtType(1, b""),
        msgpack.Timestamp(0),
        INTEGER_MAX + 1,
        INTEGER_MIN - 1,
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_part_of_the_encoding_cannot_be_encoded(value):
    for place in (value, [value], [[0, value]]):
        with pytest.raises(InvariantViolationError):
            encode(place)


def test_depth_is_limited_the_same_both_ways():
    data = encode(nested(DEPTH_MAX))
    assert decode(data, bytes_max=100) == nested(DEPTH_MAX)
    with pytest.raises(InvariantViolationError, match="deeper than 16"):
        encode(nested(DEPTH_MAX + 1))
    assert refusal_of(msgpack.packb(nested(DEPTH_MAX + 1))).code == "too_large"


def test_depth_can_be_limited_further():
    assert decode(encode(7), bytes_max=10, depth_max=0) == 7
    assert decode(encode([7]), bytes_max=10, depth_max=1) == [7]
    assert refusal_of(encode([7]), depth_max=0).code == "too_large"
    assert refusal_of(encode([[7]]), depth_max=1).code == "too_large"


def test_input_above_the_limit_is_refused_with_size_and_limit():
    error = refusal_of(encode(b"x" * 100), bytes_max=50)
    assert (error.code, error.value, error.limit) == ("too_large", 102, 50)


@pytest.mark.parametrize("repeat", [3, 300, 60_000])
def test_headers_that_claim_more_than_there_is_are_refused(repeat):
    claim = b"\xdd" + (5 * repeat).to_bytes(4, "big")
    assert refusal_of(claim * repeat, bytes_max=1_000_000).code == "malformed"


def test_large_values_pass_the_walk_over_their_claims():
    value = [[b"x" * 70, i, "text", None] for i in range(2000)]
    data = encode(value)
    assert decode(data, bytes_max=len(data)) == value


def test_trailing_bytes_after_a_large_value_are_refused():
    assert refusal_of(encode(b"x" * 5000) + b"\x00").code == "malformed"


@pytest.mark.parametrize("value", [{}, {"a": 1}, 1.0, [1.0], [[], {}], [[], 0.0], [[[1.0]]]])
def test_maps_and_floats_are_refused_at_any_depth(value):
    assert refusal_of(msgpack.packb(value)).code == "malformed"


def test_timestamps_are_refused_at_any_depth():
    for value in (msgpack.Timestamp(1), [msgpack.Timestamp(1)], [[], msgpack.Timestamp(1)]):
        assert refusal_of(msgpack.packb(value)).code == "malformed"
