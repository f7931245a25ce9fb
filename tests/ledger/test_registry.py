"""The registry of kinds: stable codes, distinct names, one decoding per transaction."""

from __future__ import annotations

import pytest

from ledger.transactions.accounts import TRANSFER, Transfer
from ledger.transactions.registry import KINDS, body_of, get_kind, kind_of
from primitives.errors import InvalidInputError
from tests.helpers.ledger import make_network, make_transaction, make_transfer

NETWORK = make_network()
ALICE, BOB = NETWORK.accounts[:2]


def test_codes_and_names_are_distinct() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert (TRANSFER.code, TRANSFER.name) == (1, "transfer")


def test_kinds_are_found_by_name_and_code() -> None:
    assert get_kind("transfer") is TRANSFER
    assert kind_of(make_transfer(NETWORK, ALICE, BOB.id, 1)) is TRANSFER


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no transaction kind is named 'fly'") as refusal:
        get_kind("fly")
    assert refusal.value.code == "unknown_kind"
    with pytest.raises(InvalidInputError, match="65535 is unknown") as refusal:
        kind_of(make_transaction(NETWORK, ALICE, 65_535, []))
    assert refusal.value.code == "unknown_kind"


def test_a_body_is_decoded_once() -> None:
    transaction = make_transfer(NETWORK, ALICE, BOB.id, 5)
    body = body_of(transaction)
    assert body == Transfer(BOB.id, 5)
    assert body_of(transaction) is body
