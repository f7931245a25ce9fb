"""Block bodies: payloads travel beside the envelopes and not in the root."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.body import compute_body_root, decode_body, encode_body
from ledger.payload import Payload
from ledger.transaction import Transaction
from primitives.codec import Value, encode
from primitives.errors import InvalidInputError
from tests.helpers.ledger import make_network, make_salt, make_transaction, make_transfer

NETWORK = make_network()
ALICE, BOB = NETWORK.accounts[:2]
PAYLOAD = Payload(make_salt(1), b"data")
PLAIN = make_transfer(NETWORK, ALICE, BOB.id, 1)
LADEN = make_transaction(NETWORK, ALICE, 99, [], payload=PAYLOAD)


def read(data: bytes, **options: object) -> list[Transaction]:
    limits = {"bytes_max": 10_000, "transactions_max": 10}
    return decode_body(data, **{**limits, **options})  # type: ignore[arg-type]


def test_a_body_reads_back_with_its_payloads() -> None:
    transactions = read(encode_body([PLAIN, LADEN]))
    assert transactions == [PLAIN, LADEN]
    assert [item.payload for item in transactions] == [None, PAYLOAD]


def test_a_payload_that_is_not_at_hand_is_left_out() -> None:
    assert read(encode_body([LADEN.with_payload(None)]))[0].payload is None


def test_the_root_covers_ids_and_order_but_no_payload() -> None:
    assert compute_body_root([LADEN]) == compute_body_root([LADEN.with_payload(None)])
    roots = {compute_body_root(items) for items in ([], [PLAIN], [PLAIN, LADEN], [LADEN, PLAIN])}
    assert len(roots) == 4


def test_a_known_transaction_is_not_decoded_again() -> None:
    known = {PLAIN.transaction_id: PLAIN, LADEN.transaction_id: LADEN}
    transactions = read(encode_body([PLAIN, LADEN]), known=known.get)
    assert transactions[0] is PLAIN
    assert transactions[1] is LADEN


def test_an_unknown_transaction_is_decoded() -> None:
    assert read(encode_body([PLAIN]), known={}.get) == [PLAIN]


def test_a_known_transaction_does_not_vouch_for_another_payload() -> None:
    other = Payload(make_salt(2), b"data")
    body = encode_body([LADEN.with_payload(other)])
    assert read(body, known={LADEN.transaction_id: LADEN}.get)[0].payload == other


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (5, "malformed"),
        ([5], "malformed"),
        ([[PLAIN.raw]], "malformed"),
        ([[b"no envelope", None]], "malformed"),
        ([[PLAIN.raw, b"payload"]], "malformed"),
        ([[PLAIN.raw, [bytes(31), b""]]], "malformed"),
        ([[PLAIN.raw, None]] * 11, "too_large"),
    ],
)
def test_a_malformed_body_is_refused(value: Value, code: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        read(encode(value))
    assert refusal.value.code == code


def test_a_body_above_the_limit_is_refused() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        read(encode_body([PLAIN]), bytes_max=100)
    assert refusal.value.code == "too_large"


@given(st.binary(max_size=100))
def test_no_bytes_make_the_decoder_fail_otherwise(data: bytes) -> None:
    try:
        read(data)
    except InvalidInputError:
        return
    assert read(data) == []
