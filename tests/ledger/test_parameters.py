"""Parameters: fixed order on the wire, names in the genesis file, ranges in both."""

from __future__ import annotations

import pytest

from ledger.parameters import Parameters, decode_parameters, parameters_from_mapping
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError


def test_parameters_survive_encoding_and_the_genesis_file() -> None:
    parameters = Parameters(fee_per_byte=3, expiry_window_max=77)
    assert decode_parameters(parameters.encode()) == parameters
    assert parameters_from_mapping(parameters.to_mapping()) == parameters


def test_what_is_not_named_keeps_its_default() -> None:
    assert parameters_from_mapping({"fee_per_byte": 2}) == Parameters(fee_per_byte=2)


def test_the_default_price_is_zero() -> None:
    assert (Parameters().fee_per_byte, Parameters().fee_per_compute_unit) == (0, 0)


@pytest.mark.parametrize(
    ("mapping", "code", "words"),
    [
        ({"fee_per_bite": 1}, "malformed", "fee_per_bite is not a parameter"),
        ({"fee_per_byte": "1"}, "malformed", "must be an integer"),
        ({"fee_per_byte": True}, "malformed", "must be an integer"),
        ({"fee_per_byte": -1}, "out_of_range", r"\[0, 2147483648\], found -1"),
        ({"block_bytes_max": 1}, "out_of_range", "found 1"),
        ({"wait_ms_max": 2**63}, "out_of_range", "found 9223372036854775808"),
    ],
)
def test_bad_parameters_of_a_genesis_file_are_refused(
    mapping: dict[str, object], code: str, words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words) as refusal:
        parameters_from_mapping(mapping)
    assert refusal.value.code == code
    assert str(refusal.value.field).startswith("parameters.")


def test_encoded_parameters_out_of_range_are_refused() -> None:
    fields = decode(Parameters().encode(), bytes_max=512)
    assert isinstance(fields, list)
    fields[0] = 1
    with pytest.raises(InvalidInputError, match=r"parameters\.block_bytes_max"):
        decode_parameters(encode(fields))
