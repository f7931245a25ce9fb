"""Admission: everything that can be refused without any state, each with its own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger.admission import check_block, check_stateless
from ledger.genesis_block import build_genesis_block
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.transaction import Transaction, decode_transaction
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.keys import verify_signature
from tests.helpers.ledger import (
    Network,
    make_header,
    make_network,
    make_salt,
    make_transaction,
    make_transfer,
)
from tests.helpers.probe_kind import PROBE_CODE, install_probe

NETWORK = make_network()
ALICE, BOB = NETWORK.accounts[:2]
PARAMETERS = NETWORK.genesis.parameters
PAYLOAD = Payload(make_salt(1), b"data")


def check(
    transaction: Transaction,
    *,
    network: Network = NETWORK,
    parameters: Parameters = PARAMETERS,
    final_height: int = 10,
) -> None:
    check_stateless(transaction, network.chain_id, parameters, final_height)


def refusal_of(transaction: Transaction, **options: object) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as refusal:
        check(transaction, **options)  # type: ignore[arg-type]
    return refusal.value


def transfer(**options: object) -> Transaction:
    return make_transfer(NETWORK, ALICE, BOB.id, 1, **options)  # type: ignore[arg-type]


def with_signature_of(transaction: Transaction, index: int, signature: bytes) -> Transaction:
    fields = decode(transaction.raw, bytes_max=4096)
    assert isinstance(fields, list)
    signatures = fields[11]
    assert isinstance(signatures, list)
    signed = signatures[index]
    assert isinstance(signed, list)
    signed[1] = signature
    return decode_transaction(encode(fields))


def test_a_good_transaction_is_accepted() -> None:
    check(transfer())
    check(transfer(sponsor=BOB))


def test_the_signature_is_checked_once_per_object() -> None:
    calls: list[bytes] = []

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        calls.append(message)
        return verify_signature(public_key, message, signature)

    transaction = transfer()
    for height in (1, 2, 3):
        check_stateless(transaction, NETWORK.chain_id, PARAMETERS, height, verify)
    assert len(calls) == 1


def test_a_check_under_other_parameters_is_made_again() -> None:
    transaction = transfer()
    check(transaction)
    tighter = replace(PARAMETERS, envelope_bytes_max=100)
    assert refusal_of(transaction, parameters=tighter).code == "too_large"


def test_another_chain_is_refused() -> None:
    other = replace(NETWORK, genesis=replace(NETWORK.genesis, chain_name="other"))
    refusal = refusal_of(transfer(), network=other)
    assert (refusal.code, refusal.field) == ("wrong_chain", "transaction.chain_id")


@pytest.mark.parametrize(
    ("until", "code"), [(10, "expired"), (11, None), (15, None), (16, "expiry_too_far")]
)
def test_the_expiry_lies_in_a_window_above_the_final_height(until: int, code: str | None) -> None:
    parameters = replace(PARAMETERS, expiry_window_max=5)
    transaction = transfer(valid_until_height=until)
    if code is None:
        check(transaction, parameters=parameters)
    else:
        assert refusal_of(transaction, parameters=parameters).code == code


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    refusal = refusal_of(make_transaction(NETWORK, ALICE, 65_535, []))
    assert (refusal.code, refusal.value) == ("unknown_kind", 65_535)
    assert "1 transfer" in refusal.message


def test_a_body_of_another_form_is_refused() -> None:
    assert refusal_of(make_transaction(NETWORK, ALICE, "transfer", [1])).code == "malformed"
    body = [BOB.id, 0]
    assert refusal_of(make_transaction(NETWORK, ALICE, "transfer", body)).code == "out_of_range"


@pytest.mark.parametrize("sponsor", [None, BOB])
def test_every_signature_must_be_right(sponsor: object) -> None:
    transaction = transfer(sponsor=sponsor)
    for index in range(len(transaction.signatures)):
        refusal = refusal_of(with_signature_of(transaction, index, bytes(64)))
        assert refusal.code == "bad_signature"


def test_a_payload_where_none_belongs_is_refused() -> None:
    transaction = make_transaction(NETWORK, ALICE, "transfer", [BOB.id, 1], payload=PAYLOAD)
    assert refusal_of(transaction).code == "malformed"
    assert refusal_of(transfer().with_payload(PAYLOAD)).code == "malformed"


def test_a_payload_is_held_to_what_was_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    install_probe(monkeypatch, has_payload=True)
    laden = make_transaction(NETWORK, ALICE, PROBE_CODE, [], payload=PAYLOAD)
    check(laden)
    cases: list[tuple[Callable[[], Transaction], str]] = [
        (lambda: make_transaction(NETWORK, ALICE, PROBE_CODE, []), "payload_missing"),
        (lambda: laden.with_payload(None), "payload_missing"),
        (lambda: laden.with_payload(Payload(make_salt(2), b"data")), "payload_mismatch"),
        (lambda: laden.with_payload(Payload(make_salt(1), b"datum")), "payload_mismatch"),
    ]
    assert [refusal_of(make()).code for make, _ in cases] == [code for _, code in cases]


def test_a_payload_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install_probe(monkeypatch, has_payload=True)
    payload = Payload(make_salt(1), bytes(2049))
    laden = make_transaction(NETWORK, ALICE, PROBE_CODE, [], payload=payload)
    refusal = refusal_of(laden, parameters=replace(PARAMETERS, payload_bytes_max=2048))
    assert (refusal.code, refusal.value, refusal.limit) == ("too_large", 2049, 2048)


def test_the_kind_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    install_probe(monkeypatch, refuse=True)
    assert refusal_of(make_transaction(NETWORK, ALICE, PROBE_CODE, [])).code == "refused"


GENESIS_HEADER = build_genesis_block(NETWORK.genesis).header


def test_a_good_block_is_accepted() -> None:
    transactions = [transfer(nonce=nonce) for nonce in range(3)]
    check_block(make_header(NETWORK, GENESIS_HEADER, transactions), transactions, PARAMETERS)


def test_a_block_is_checked_at_its_own_height() -> None:
    transactions = [transfer(valid_until_height=1)]
    header = make_header(NETWORK, GENESIS_HEADER, transactions)
    check_block(header, transactions, PARAMETERS)
    later = replace(header, height=2)
    with pytest.raises(InvalidInputError) as refusal:
        check_block(later, transactions, PARAMETERS)
    assert refusal.value.code == "expired"


def test_a_body_that_is_not_the_headers_is_refused() -> None:
    header = make_header(NETWORK, GENESIS_HEADER, [transfer()])
    with pytest.raises(InvalidInputError) as refusal:
        check_block(header, [transfer(nonce=1)], PARAMETERS)
    assert refusal.value.code == "wrong_root"


def test_too_many_transactions_are_refused() -> None:
    transactions = [transfer(nonce=nonce) for nonce in range(3)]
    header = make_header(NETWORK, GENESIS_HEADER, transactions)
    with pytest.raises(InvalidInputError) as refusal:
        check_block(header, transactions, replace(PARAMETERS, transactions_per_block_max=2))
    assert refusal.value.code == "too_many_transactions"


def test_a_transaction_twice_in_a_branch_is_refused() -> None:
    transaction = transfer()
    header = make_header(NETWORK, GENESIS_HEADER, [transaction, transaction])
    with pytest.raises(InvalidInputError) as refusal:
        check_block(header, [transaction, transaction], PARAMETERS)
    assert refusal.value.code == "duplicate"
    header = make_header(NETWORK, GENESIS_HEADER, [transaction])
    with pytest.raises(InvalidInputError) as refusal:
        check_block(header, [transaction], PARAMETERS, ancestor_ids={transaction.transaction_id})
    assert refusal.value.code == "duplicate"


def test_a_bad_transaction_makes_the_block_bad() -> None:
    transactions = [transfer(), with_signature_of(transfer(nonce=1), 0, bytes(64))]
    header = make_header(NETWORK, GENESIS_HEADER, transactions)
    with pytest.raises(InvalidInputError) as refusal:
        check_block(header, transactions, PARAMETERS)
    assert refusal.value.code == "bad_signature"
