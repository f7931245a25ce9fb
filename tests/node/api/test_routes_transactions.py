"""Submitting, waiting for and looking up transactions over REST."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.payload import Payload
from ledger.transaction import Transaction
from tests.helpers.api import ApiScene, run_api
from tests.helpers.ledger import make_network, make_salt, make_transaction, make_transfer

OTHER_CHAIN = make_network(validators=1)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path) as running:
        yield running


def make_submission(transaction: Transaction) -> dict[str, Any]:
    body = {"envelope": transaction.raw.hex()}
    if transaction.payload is not None:
        body |= {
            "salt": transaction.payload.salt.hex(),
            "payload": transaction.payload.data.hex(),
        }
    return body


def pay(scene: ApiScene, amount: int = 5, **changes: Any) -> Transaction:
    alice, bob = scene.chain.network.accounts[:2]
    network = changes.pop("network", scene.chain.network)
    changes.setdefault("nonce", scene.chain.account(alice.id).nonce)
    return make_transfer(network, alice, bob.id, amount, **changes)


def test_a_submission_that_waits_answers_with_the_receipt(scene: ApiScene) -> None:
    transaction = pay(scene, 7)
    response = scene.http.post(
        "/api/v1/transactions",
        json=make_submission(transaction),
        params={"wait": "final", "timeout": 10},
    )
    assert response.status_code == 200
    body = response.json()
    assert body["transaction_id"] == transaction.transaction_id.hex()
    assert body["status"] == "ok"
    assert body["height"] == 1
    assert body["kind"] == "transfer"
    assert body["body"]["amount"] == "7"
    assert body["body"]["recipient"].startswith("qr1")
    assert body["receipt"]["code"] == "ok"
    assert response.headers["Block-Height"] == "1"


def test_a_submission_that_does_not_wait_is_accepted_and_found_as_pending(
    scene: ApiScene,
) -> None:
    scene.node.makes_blocks = False
    transaction = pay(scene)
    response = scene.http.post("/api/v1/transactions", json=make_submission(transaction))
    assert response.status_code == 202
    assert response.json()["status"] == "pending"
    found = scene.get(f"/api/v1/transactions/{transaction.transaction_id.hex()}")
    assert found["status"] == "pending"


def test_base64_is_accepted(scene: ApiScene) -> None:
    body = {"encoding": "base64", "envelope": base64.b64encode(pay(scene).raw).decode()}
    response = scene.http.post("/api/v1/transactions", json=body, params={"wait": "final"})
    assert response.status_code == 200


def test_the_same_bytes_may_be_sent_again(scene: ApiScene) -> None:
    scene.node.makes_blocks = False
    submission = make_submission(pay(scene))
    assert scene.http.post("/api/v1/transactions", json=submission).status_code == 202
    assert scene.http.post("/api/v1/transactions", json=submission).status_code == 202
    assert len(scene.node.waiting) == 1
    scene.run(scene.node.waiting)
    again = scene.http.post("/api/v1/transactions", json=submission)
    assert again.status_code == 200
    assert again.json()["height"] == 1


def test_a_wait_ends_when_its_time_is_over(scene: ApiScene) -> None:
    scene.node.makes_blocks = False
    response = scene.http.post(
        "/api/v1/transactions",
        json=make_submission(pay(scene)),
        params={"wait": "final", "timeout": 0.01},
    )
    assert response.status_code == 202


def test_a_wait_for_a_transaction_of_somebody_else_ends_with_its_block(scene: ApiScene) -> None:
    transaction = pay(scene)
    scene.run([transaction])
    found = scene.get(
        f"/api/v1/transactions/{transaction.transaction_id.hex()}", wait="final", timeout=5
    )
    assert found["status"] == "ok"


def test_a_failed_transaction_says_why(scene: ApiScene) -> None:
    transaction = pay(scene, 10**12)
    scene.run([transaction])
    found = scene.get(f"/api/v1/transactions/{transaction.transaction_id.hex()}")
    assert found["status"] == "failed"
    assert found["receipt"]["code"] == "insufficient_balance"
    assert found["receipt"]["message"]


def test_an_unknown_transaction_is_not_found(scene: ApiScene) -> None:
    response = scene.http.get(f"/api/v1/transactions/{'00' * 32}")
    assert response.status_code == 404
    assert response.json()["code"] == "unknown_transaction"


@pytest.mark.parametrize("name", ["00", "zz" * 32, "00" * 33])
def test_what_is_no_transaction_id_is_malformed(scene: ApiScene, name: str) -> None:
    response = scene.http.get(f"/api/v1/transactions/{name}")
    assert response.status_code == 400
    assert response.json()["code"] == "malformed_request"


def refused(scene: ApiScene, transaction: Transaction) -> tuple[int, dict[str, Any]]:
    response = scene.http.post("/api/v1/transactions", json=make_submission(transaction))
    assert response.headers["content-type"] == "application/problem+json"
    assert scene.node.height == 0
    assert scene.chain.account(transaction.sender).nonce == 0
    return response.status_code, response.json()


def test_a_bad_signature_is_refused(scene: ApiScene) -> None:
    transaction = pay(scene)
    broken = transaction.raw[:-1] + bytes([transaction.raw[-1] ^ 1])
    response = scene.http.post("/api/v1/transactions", json={"envelope": broken.hex()})
    assert (response.status_code, response.json()["code"]) == (400, "bad_signature")


def test_a_transaction_of_another_chain_is_refused(scene: ApiScene) -> None:
    status, problem = refused(scene, pay(scene, network=OTHER_CHAIN))
    assert (status, problem["code"]) == (400, "wrong_chain")
    assert problem["limit"] == scene.chain.network.chain_id.hex()


def test_a_gap_before_the_nonce_is_refused_with_the_one_expected(scene: ApiScene) -> None:
    status, problem = refused(scene, pay(scene, nonce=3))
    assert (status, problem["code"]) == (409, "nonce_gap")
    assert (problem["field"], problem["value"], problem["limit"]) == ("nonce", "3", "0")


def test_a_used_nonce_is_refused(scene: ApiScene) -> None:
    scene.run([pay(scene)])
    response = scene.http.post("/api/v1/transactions", json=make_submission(pay(scene, 6, nonce=0)))
    assert (response.status_code, response.json()["code"]) == (409, "nonce_used")


def test_an_expired_transaction_is_refused(scene: ApiScene) -> None:
    status, problem = refused(scene, pay(scene, valid_until_height=0))
    assert (status, problem["code"]) == (400, "expired")
    assert problem["limit"] == "1"


def test_a_transaction_that_expires_too_far_ahead_is_refused(scene: ApiScene) -> None:
    status, problem = refused(scene, pay(scene, valid_until_height=10**9))
    assert (status, problem["code"]) == (400, "expiry_too_far")


def test_an_unknown_kind_is_refused(scene: ApiScene) -> None:
    alice = scene.chain.network.accounts[0]
    transaction = make_transaction(scene.chain.network, alice, 999, [])
    status, problem = refused(scene, transaction)
    assert (status, problem["code"]) == (400, "unknown_kind")


def test_a_payload_where_none_belongs_is_refused(scene: ApiScene) -> None:
    alice, bob = scene.chain.network.accounts[:2]
    payload = Payload(make_salt(1), b"data")
    transaction = make_transaction(
        scene.chain.network, alice, "transfer", [bob.id, 5], payload=payload
    )
    status, problem = refused(scene, transaction)
    assert (status, problem["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"envelope": 7},
        {"envelope": "zz"},
        {"envelope": "00", "encoding": "octal"},
        {"envelope": "00", "salt": "00" * 32},
        {"envelope": "00", "payload": "00"},
        {"envelope": "00", "salt": "00", "payload": "00"},
        {"envelope": "00", "extra": 1},
        [],
    ],
    ids=repr,
)
def test_a_submission_of_another_form_is_malformed(scene: ApiScene, body: Any) -> None:
    response = scene.http.post("/api/v1/transactions", json=body)
    assert response.status_code == 400
    assert response.json()["code"] == "malformed_request"
    assert response.json()["field"]


@pytest.mark.parametrize(
    ("envelope", "code"),
    [("", "malformed"), ("c1", "malformed"), ("90", "malformed"), ("cd0001", "not_canonical")],
)
def test_an_envelope_that_does_not_decode_is_refused(
    scene: ApiScene, envelope: str, code: str
) -> None:
    response = scene.http.post("/api/v1/transactions", json={"envelope": envelope})
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_a_body_above_the_limit_is_refused_unread(scene: ApiScene) -> None:
    response = scene.http.post("/api/v1/transactions", content=b" " * (8 * 1024 * 1024 + 1))
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_a_body_without_a_length_is_cut_off_at_the_limit(scene: ApiScene) -> None:
    pieces = (b" " * 1024 * 1024 for _ in range(9))
    response = scene.http.post("/api/v1/transactions", content=pieces)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_without_a_node_submissions_are_refused_and_reads_go_on(scene: ApiScene) -> None:
    scene.run([pay(scene)])
    scene.call(scene.node.feed.stop)
    response = scene.http.post("/api/v1/transactions", json=make_submission(pay(scene)))
    assert (response.status_code, response.json()["code"]) == (503, "node_unreachable")
    assert response.headers["retry-after"] == "1"
    assert scene.get("/api/v1/blocks/1")["height"] == 1


def test_payloads_are_served_only_if_the_operator_says_so(tmp_path: Path) -> None:
    payload = Payload(make_salt(2), b"samples")
    name = b"\x09" * 32
    with run_api(tmp_path) as scene:
        response = scene.http.get(f"/api/v1/transactions/{name.hex()}/payload")
        assert (response.status_code, response.json()["code"]) == (403, "payloads_not_served")
    (tmp_path / "open").mkdir()
    with run_api(tmp_path / "open", serves_payloads=True) as scene:
        missing = scene.http.get(f"/api/v1/transactions/{name.hex()}/payload")
        assert (missing.status_code, missing.json()["code"]) == (404, "payload_not_held")
        scene.chain.payloads.add(name, payload)
        found = scene.get(f"/api/v1/transactions/{name.hex()}/payload")
        assert (found["salt"], found["payload"]) == (payload.salt.hex(), payload.data.hex())
