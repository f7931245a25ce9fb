from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.accounts import (
    AccountId,
    account_from_text,
    account_id_from_public_key,
    account_to_text,
)
from primitives.bech32 import bech32m_encode
from primitives.errors import InvalidInputError


@given(st.binary(min_size=20, max_size=20))
def test_an_account_survives_as_text(data):
    text = account_to_text(AccountId(data))
    assert text.startswith("qr1")
    assert len(text) == 41
    assert account_from_text(text) == account_from_text(text.upper()) == data


def test_an_account_is_named_after_its_first_key():
    assert account_id_from_public_key(b"k" * 32) == sha256(b"k" * 32).digest()[:20]


def test_a_frozen_account():
    account = AccountId(bytes(range(20)))
    assert account_to_text(account) == "qr1qqqsyqcyq5rqwzqfpg9scrgwpugpzysn9cpsd3"


@pytest.mark.parametrize(
    "text",
    [
        bech32m_encode("bc", bytes(20)),
        bech32m_encode("qr", bytes(19)),
        bech32m_encode("qr", bytes(21)),
        "",
        "qr1",
        "x" * 200,
    ],
)
def test_text_that_names_no_account_is_refused(text):
    with pytest.raises(InvalidInputError) as refused:
        account_from_text(text)
    assert refused.value.field == "account"
    assert len(refused.value.message) < 250
