"""Records of money, chain and members survive encoding, and nothing else reads as one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.members import Member, decode_member, member_key
from ledger.schema import (
    AMOUNT_MAX,
    Account,
    ParentBlock,
    Record,
    Supply,
    Validator,
    Validators,
    account_key,
    decode_account,
    decode_parent_block,
    decode_supply,
    decode_validators,
)
from primitives.accounts import AccountId
from primitives.errors import InvalidInputError
from tests.helpers.ledger import make_account, make_key, make_network

COUNTERS = st.integers(0, AMOUNT_MAX)
HASHES = st.binary(min_size=32, max_size=32)
ACCOUNT_IDS = st.binary(min_size=20, max_size=20).map(AccountId)

Decode = Callable[[bytes], Record]

RECORDS: list[tuple[st.SearchStrategy[Record], Decode]] = [
    (st.builds(Account, st.none() | HASHES, COUNTERS, COUNTERS), decode_account),
    (st.builds(Supply, COUNTERS, COUNTERS, COUNTERS), decode_supply),
    (st.builds(ParentBlock, COUNTERS, HASHES, HASHES, HASHES), decode_parent_block),
    (
        st.builds(
            Validators, st.lists(st.builds(Validator, ACCOUNT_IDS, HASHES), max_size=4).map(tuple)
        ),
        decode_validators,
    ),
    (
        st.builds(Member, st.text(max_size=9), ACCOUNT_IDS, HASHES, HASHES, st.text(max_size=9)),
        decode_member,
    ),
]


@pytest.mark.parametrize(("records", "decode"), RECORDS)
def test_records_survive_encoding(records: st.SearchStrategy[Record], decode: Decode) -> None:
    @given(records)
    def check(record: Record) -> None:
        assert decode(record.encode()) == record

    check()


@pytest.mark.parametrize(("_records", "decode"), RECORDS)
def test_other_bytes_are_refused(_records: st.SearchStrategy[Record], decode: Decode) -> None:
    """Or they are the one encoding of a record: a few bytes may well be two small amounts."""

    @given(st.binary(max_size=40))
    def check(data: bytes) -> None:
        try:
            record = decode(data)
        except InvalidInputError:
            return
        assert record.encode() == data

    check()


def test_keys_say_what_they_lead_to() -> None:
    account = make_account("somebody").id
    assert account_key(account) == b"account/" + account
    assert member_key(account) == b"member/" + account


def test_validators_give_the_set_that_checks_certificates() -> None:
    key = make_key("validator").public_key
    validators = Validators((Validator(make_account("member").id, key),))
    assert validators.to_validator_set().public_keys == (key,)
    assert make_network().genesis.to_validator_set().count == 4
