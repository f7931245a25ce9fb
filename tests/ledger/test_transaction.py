"""Envelopes: one encoding, one id, and signatures over everything but themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.payload import Payload
from ledger.transaction import (
    Transaction,
    TransactionContent,
    build_transaction,
    compute_signing_hash,
    compute_transaction_id,
    decode_transaction,
)
from primitives.accounts import AccountId
from primitives.codec import Value, decode, encode
from primitives.errors import InvalidInputError
from primitives.hashing import Tag, tagged_hash
from primitives.keys import verify_signature
from tests.helpers.ledger import make_account, make_salt

ALICE = make_account("alice")
BOB = make_account("bob")
COUNTERS = st.integers(0, 2**63 - 1)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=8)
PAYLOADS = st.builds(Payload, st.binary(min_size=32, max_size=32), st.binary(max_size=40))
CONTENTS = st.builds(
    TransactionContent,
    chain_id=st.binary(min_size=32, max_size=32),
    sender=st.just(ALICE.id),
    nonce=COUNTERS,
    valid_until_height=COUNTERS,
    fee_limit=COUNTERS,
    sponsor=st.none() | st.just(BOB.id),
    kind=st.integers(0, 2**16 - 1),
    body=st.lists(SCALARS | st.lists(SCALARS, max_size=3), max_size=6),
)
CONTENT = TransactionContent(
    chain_id=bytes(32),
    sender=ALICE.id,
    nonce=7,
    valid_until_height=9,
    kind=1,
    body=[BOB.id, 5],
)
PAYLOAD = Payload(make_salt(1), b"data")
FIELD_NAMES = (
    "version",
    "chain_id",
    "sender",
    "nonce",
    "valid_until_height",
    "fee_limit",
    "sponsor",
    "kind",
    "body",
    "payload_commitment",
    "payload_bytes",
    "signatures",
)


def sign(content: TransactionContent, payload: Payload | None = None) -> Transaction:
    keys = [ALICE.key] if content.sponsor is None else [ALICE.key, BOB.key]
    return build_transaction(content, keys, payload)


def envelope_with(**fields: Value) -> bytes:
    values = decode(sign(CONTENT).raw, bytes_max=1024)
    assert isinstance(values, list)
    for name, value in fields.items():
        values[FIELD_NAMES.index(name)] = value
    return encode(values)


@settings(deadline=None)
@given(CONTENTS, st.none() | PAYLOADS)
def test_a_signed_transaction_reads_back_with_valid_signatures(
    content: TransactionContent, payload: Payload | None
) -> None:
    transaction = sign(content, payload)
    again = decode_transaction(transaction.raw, payload=payload)
    assert again == transaction
    assert again.signing_hash == compute_signing_hash(content, payload)
    assert again.transaction_id == compute_transaction_id(transaction.raw)
    for name in ("chain_id", "sender", "nonce", "fee_limit", "sponsor", "kind", "body"):
        assert getattr(again, name) == getattr(content, name)
    assert all(
        verify_signature(signed.public_key, again.signing_hash, signed.signature)
        for signed in again.signatures
    )
    if payload is not None:
        assert (again.payload_commitment, again.payload_bytes) == (
            payload.commitment,
            len(payload.data),
        )


def test_the_signed_bytes_are_the_first_eleven_fields() -> None:
    values = decode(sign(CONTENT).raw, bytes_max=1024)
    assert isinstance(values, list)
    expected = tagged_hash(Tag.TRANSACTION_CONTENT, encode(values[:11]))
    assert sign(CONTENT).signing_hash == expected


def test_the_payer_is_the_sponsor_if_there_is_one() -> None:
    assert sign(CONTENT).payer == ALICE.id
    assert sign(replace(CONTENT, sponsor=BOB.id)).payer == BOB.id


def test_transactions_are_equal_when_their_envelopes_are() -> None:
    with_payload, without = sign(CONTENT, PAYLOAD), sign(CONTENT, PAYLOAD).with_payload(None)
    assert with_payload == without
    assert len({with_payload, without, sign(CONTENT)}) == 2
    assert with_payload != with_payload.raw
    assert without.payload is None


def test_wire_bytes_bound_what_a_body_spends() -> None:
    transaction = sign(CONTENT, PAYLOAD)
    fields = encode([[transaction.raw, [PAYLOAD.salt, PAYLOAD.data]]])
    assert len(fields) <= transaction.wire_bytes <= len(fields) + 16
    assert len(encode([[sign(CONTENT).raw, None]])) <= sign(CONTENT).wire_bytes


def test_the_payload_is_not_part_of_the_envelope() -> None:
    payload = Payload(make_salt(1), bytes(1000))
    assert len(sign(CONTENT, payload).raw) < 300


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"version": 2}, "out_of_range", "transaction.version"),
        ({"chain_id": bytes(31)}, "malformed", "transaction.chain_id"),
        ({"sender": bytes(21)}, "malformed", "transaction.sender"),
        ({"nonce": -1}, "out_of_range", "transaction.nonce"),
        ({"nonce": True}, "malformed", "transaction.nonce"),
        ({"valid_until_height": 2**63}, "out_of_range", "transaction.valid_until_height"),
        ({"fee_limit": None}, "malformed", "transaction.fee_limit"),
        ({"sponsor": bytes(19)}, "malformed", "transaction.sponsor"),
        ({"sponsor": BOB.id}, "malformed", "transaction.signatures"),
        ({"kind": 2**16}, "out_of_range", "transaction.kind"),
        ({"body": 3}, "malformed", "transaction.body"),
        ({"body": [0] * 33}, "too_large", "transaction.body"),
        ({"payload_commitment": b""}, "malformed", "transaction.payload_commitment"),
        ({"payload_bytes": 1}, "malformed", "transaction.payload_bytes"),
        ({"payload_bytes": 2**40}, "out_of_range", "transaction.payload_bytes"),
        ({"signatures": []}, "malformed", "transaction.signatures"),
        ({"signatures": [[bytes(32), bytes(63)]]}, "malformed", "transaction.signatures.signature"),
        ({"signatures": [[bytes(32)]]}, "malformed", "transaction.signatures"),
        ({"signatures": [[bytes(32), bytes(64)]] * 3}, "too_large", "transaction.signatures"),
    ],
)
def test_a_malformed_field_is_refused_by_name(
    fields: dict[str, Value], code: str, field: str
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        decode_transaction(envelope_with(**fields))
    assert (refusal.value.code, refusal.value.field) == (code, field)


def test_nobody_sponsors_itself() -> None:
    content = replace(CONTENT, sponsor=AccountId(ALICE.id))
    with pytest.raises(InvalidInputError, match="must not be the sender"):
        sign(content)


def test_an_envelope_above_the_limit_is_refused_unread() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        decode_transaction(sign(CONTENT).raw, bytes_max=100)
    assert refusal.value.code == "too_large"


def test_an_encoding_that_is_not_canonical_is_refused() -> None:
    raw = sign(CONTENT).raw
    assert raw[1] == 1
    with pytest.raises(InvalidInputError) as refusal:
        decode_transaction(raw[:1] + b"\xcc\x01" + raw[2:])
    assert refusal.value.code == "not_canonical"


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_fail_otherwise(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_transaction(data)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_makes_another_transaction(place: int, flip: int) -> None:
    transaction = sign(CONTENT)
    raw = bytearray(transaction.raw)
    raw[place % len(raw)] ^= flip
    try:
        changed = decode_transaction(bytes(raw))
    except InvalidInputError:
        return
    assert changed.transaction_id != transaction.transaction_id
    signed = changed.signatures[0]
    assert not verify_signature(signed.public_key, changed.signing_hash, signed.signature)
