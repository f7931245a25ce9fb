"""A request to pay for somebody: what was signed is what is sent, and nonsense is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.payload import Payload
from ledger.transaction import Signature, TransactionContent, compute_signing_hash
from primitives.accounts import account_to_text
from primitives.errors import InvalidInputError
from quorate.sponsorship import SponsorRequest
from tests.helpers.ledger import Chain, make_network, make_salt

NETWORK = make_network(accounts=3)
NEWCOMER, SPONSOR, OTHER = NETWORK.accounts
PAYLOAD = Payload(make_salt(1), b"samples")


def make_request(payload: Payload | None = PAYLOAD, **changes: Any) -> SponsorRequest:
    fields: dict[str, Any] = {
        "chain_id": NETWORK.chain_id,
        "sender": NEWCOMER.id,
        "nonce": 0,
        "valid_until_height": 100,
        "fee_limit": 5,
        "sponsor": SPONSOR.id,
        "kind": 1,
        "body": [OTHER.id, 7],
    }
    content = TransactionContent(**{**fields, **changes})
    signature = NEWCOMER.key.sign(compute_signing_hash(content, payload))
    return SponsorRequest(content, payload, Signature(NEWCOMER.key.public_key, signature))


@pytest.mark.parametrize("payload", [PAYLOAD, None])
def test_request_survives_the_way_to_the_sponsor(payload: Payload | None) -> None:
    request = make_request(payload)
    text = json.dumps(request.to_json())
    assert SponsorRequest.from_json(json.loads(text)) == request
    transaction = SponsorRequest.from_json(json.loads(text)).complete(SPONSOR.key)
    assert (transaction.payer, transaction.sender) == (SPONSOR.id, NEWCOMER.id)
    assert transaction.payload == payload


def test_completed_request_is_taken_by_the_ledger() -> None:
    chain = Chain(NETWORK)
    receipt = chain.run([make_request(None).complete(SPONSOR.key)]).receipts[0]
    assert receipt.code == "ok"


@pytest.mark.parametrize(
    ("field", "value"),
    [("fee_limit", "6"), ("nonce", 1), ("sender", account_to_text(OTHER.id)), ("payload", "AAAA")],
)
def test_what_was_changed_on_the_way_is_not_signed(field: str, value: object) -> None:
    body = {**make_request().to_json(), field: value}
    with pytest.raises(InvalidInputError, match="not signed by its sender") as refused:
        SponsorRequest.from_json(body).complete(SPONSOR.key)
    assert refused.value.code == "bad_signature"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "something-else"),
        ("version", 2),
        ("chain_id", "xyz"),
        ("sender", "qr1nonsense"),
        ("nonce", None),
        ("body", "!!"),
        ("body", "wQ=="),
        ("body", "AQ=="),
        ("salt", "AAAA"),
        ("salt", None),
        ("signature", 5),
    ],
)
def test_nonsense_is_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidInputError):
        SponsorRequest.from_json({**make_request().to_json(), field: value})
    with pytest.raises(InvalidInputError, match="cannot be read"):
        SponsorRequest.from_json({})


def test_request_without_a_sponsor_is_none() -> None:
    with pytest.raises(InvalidInputError, match="names its sponsor"):
        make_request(sponsor=None).to_json()
