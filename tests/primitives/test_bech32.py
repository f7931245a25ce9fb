import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.bech32 import (
    TEXT_LENGTH_MAX,
    bech32m_decode,
    bech32m_digits,
    bech32m_encode,
)
from primitives.errors import InvalidInputError

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "bech32m.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("text", VECTORS["valid"])
def test_published_strings_pass_the_checksum(text):
    prefix, digits = bech32m_digits(text)
    assert len(prefix) + 1 + len(digits) + 6 == len(text)
    assert prefix == text.lower().rpartition("1")[0]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["reason"])
def test_published_bad_strings_are_refused(vector):
    with pytest.raises(InvalidInputError) as caught:
        bech32m_decode(vector["text"])
    assert caught.value.code in {"malformed", "too_large"}


@given(st.binary(max_size=48))
def test_bytes_survive_as_text_in_either_case(data):
    text = bech32m_encode("qr", data)
    assert bech32m_decode(text) == bech32m_decode(text.upper()) == ("qr", data)


@given(st.binary(min_size=20, max_size=20), st.integers(0, 40), st.sampled_from("qpzry9x8"))
def test_one_mistyped_character_is_found(data, position, character):
    text = bech32m_encode("qr", data)
    mistyped = text[:position] + character + text[position + 1 :]
    if mistyped != text:
        with pytest.raises(InvalidInputError):
            bech32m_decode(mistyped)


@pytest.mark.parametrize("prefix", ["", "QR", "q r", "q\x7f", "é"])
def test_other_prefixes_cannot_be_encoded(prefix):
    with pytest.raises(InvalidInputError, match="prefix"):
        bech32m_encode(prefix, b"data")


def test_text_is_not_made_longer_than_the_checksum_protects():
    assert len(bech32m_encode("qr", bytes(50))) == 89
    with pytest.raises(InvalidInputError) as caught:
        bech32m_encode("qr", bytes(51))
    assert (caught.value.code, caught.value.limit) == ("too_large", TEXT_LENGTH_MAX)


@pytest.mark.parametrize("text", ["qr1qqqcrww2p", "qr1qke7pu4", "qr1qprhukqw"])
def test_padding_must_be_short_and_zero(text):
    with pytest.raises(InvalidInputError, match="padding"):
        bech32m_decode(text)
