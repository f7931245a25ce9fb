"""Every kind of bad input through the REST door of a real node: refused by code, nothing moves."""

from __future__ import annotations

import base64
import dataclasses
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ledger.payload import Payload
from ledger.transaction import Transaction, TransactionContent, build_transaction
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, encode_batch
from node.storage.keystore import load_private_key
from primitives.accounts import account_id_from_public_key
from primitives.codec import decode, encode
from primitives.keys import PrivateKey
from quorate.bodies import CLAIM, CONTRIBUTE, REFUND, TRANSFER, Incentive
from quorate.client import Client
from quorate.errors import RefusedError, TransactionFailedError
from tests.helpers.local_network import get_json, run_network

SALT = bytes(range(32))
WEIGHT = 10
PRICE_MAX = 3600 * WEIGHT


@dataclass(frozen=True)
class Door:
    """A node with one model, and an account with money."""

    url: str
    client: Client
    key: PrivateKey
    chain_id: bytes

    def content(self, kind: int, body: list[Any], **changes: Any) -> TransactionContent:
        """Return a content that would be taken, but for the changes."""
        content = TransactionContent(
            chain_id=self.chain_id,
            sender=account_id_from_public_key(self.key.public_key),
            nonce=self.client.account().nonce,
            valid_until_height=self.client.status().height + 100,
            kind=kind,
            body=body,
        )
        return dataclasses.replace(content, **changes)

    def transfer(self, **changes: Any) -> Transaction:
        return build_transaction(self.content(TRANSFER, [bytes(20), 1], **changes), [self.key])

    def contribution(
        self, features: Any, labels: Any, max_deposit: int = 10**9, model: str = "known"
    ) -> Transaction:
        samples = DenseSamples(np.array(features, dtype=np.int64))
        data = encode_batch(samples, np.array(labels, dtype=np.int64))
        content = self.content(CONTRIBUTE, [model, max_deposit, len(labels), 0])
        return build_transaction(content, [self.key], Payload(SALT, data))

    def snapshot(self) -> tuple[int, int]:
        account = self.client.account()
        return account.nonce, account.balance


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("bad-input") / "net"
    with run_network(folder, validators=1, accounts=("alice",)) as network:
        url = network.validators[0].url
        key = load_private_key(folder / "accounts" / "alice.json")
        client = Client(url, private_key=key)
        client.create_model(
            "known",
            family="nearest_centroid",
            feature_count=3,
            class_names=["a", "b"],
            incentive=Incentive("deposit_refund_take", WEIGHT, 3_600_000, 3_600_000, 3_600_000),
        )
        yield Door(url, client, key, bytes.fromhex(client.status().chain_id))


def post(url: str, body: Any) -> tuple[int, str, dict[str, Any]]:
    """Post JSON, or raw bytes; return status, media type and answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310
        url, data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.headers.get_content_type(), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), json.load(error)


def to_json(transaction: Transaction, *, raw: bytes | None = None) -> dict[str, str]:
    envelope = transaction.raw if raw is None else raw
    fields = {"encoding": "base64", "envelope": base64.b64encode(envelope).decode()}
    if transaction.payload is not None:
        fields["salt"] = base64.b64encode(transaction.payload.salt).decode()
        fields["payload"] = base64.b64encode(transaction.payload.data).decode()
    return fields


def with_bad_signature(transaction: Transaction) -> bytes:
    return transaction.raw[:-1] + bytes([transaction.raw[-1] ^ 1])


def with_long_integer(transaction: Transaction) -> bytes:
    """Return the same fields with the version written in two bytes."""
    assert transaction.raw[1] == 1
    return transaction.raw[:1] + b"\xcc\x01" + transaction.raw[2:]


def make_refused(door: Door) -> dict[str, tuple[str, dict[str, str]]]:
    """Return what is refused before a block: name → (code, request)."""
    nonce = door.client.account().nonce
    height = door.client.status().height
    good = door.transfer()
    contribution = door.contribution([[0, 0, 0]], [0])
    other = contribution.with_payload(Payload(SALT, b"another payload"))
    fields = decode(good.raw, bytes_max=4096)
    assert isinstance(fields, list)
    huge = build_transaction(door.content(TRANSFER, [bytes(40_000), 1]), [door.key])
    missing = {
        key: value for key, value in to_json(contribution).items() if key not in ("salt", "payload")
    }
    return {
        "bad signature": ("bad_signature", to_json(good, raw=with_bad_signature(good))),
        "wrong chain": ("wrong_chain", to_json(door.transfer(chain_id=bytes(32)))),
        "reused nonce": ("nonce_used", to_json(door.transfer(nonce=nonce - 1))),
        "gapped nonce": ("nonce_gap", to_json(door.transfer(nonce=nonce + 5))),
        "expired": ("expired", to_json(door.transfer(valid_until_height=0))),
        "too far ahead": (
            "expiry_too_far",
            to_json(door.transfer(valid_until_height=height + 10**9)),
        ),
        "too large": ("too_large", to_json(huge)),
        "malformed": ("malformed", to_json(good, raw=b"\x93\x01\x02")),
        "truncated": ("malformed", to_json(good, raw=good.raw[:-3])),
        "not canonical": ("not_canonical", to_json(good, raw=with_long_integer(good))),
        "unknown kind": (
            "unknown_kind",
            to_json(build_transaction(door.content(99, []), [door.key])),
        ),
        "payload mismatch": ("payload_mismatch", to_json(other)),
        "payload missing": ("payload_missing", missing),
        "too many samples": (
            "too_many_samples",
            to_json(door.contribution([[0, 0, 0]] * 1025, [0] * 1025)),
        ),
        "negative amount": (
            "out_of_range",
            to_json(build_transaction(door.content(TRANSFER, [bytes(20), 0]), [door.key])),
        ),
        "extra field": ("malformed", to_json(good, raw=encode([*fields, 1]))),
    }


def test_what_is_refused_before_a_block_changes_nothing_and_the_node_serves_on(door: Door) -> None:
    before = door.snapshot()
    for name, (code, request) in make_refused(door).items():
        status, media_type, problem = post(f"{door.url}/api/v1/transactions", request)
        assert (name, problem["code"]) == (name, code), problem
        assert 400 <= status < 500, name
        assert media_type == "application/problem+json", name
        assert problem["detail"], name
        assert door.snapshot() == before, name
    assert get_json(door.url, "/readyz")["ready"] is True


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b'{"envelope": 7}', b'{"encoding": "hex", "envelope": "zz"}'],
)
def test_nonsense_in_place_of_a_transaction_is_a_problem_and_no_crash(
    door: Door, body: bytes
) -> None:
    status, media_type, problem = post(f"{door.url}/api/v1/transactions", body)
    assert 400 <= status < 500
    assert media_type == "application/problem+json"
    assert problem["code"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("unknown model", "unknown_model"),
        ("unknown class", "unknown_class"),
        ("wrong feature count", "wrong_feature_count"),
        ("feature out of range", "feature_out_of_range"),
        ("insufficient deposit", "insufficient_deposit"),
    ],
)
def test_contribution_that_does_not_suit_its_model_fails_and_costs_its_nonce_alone(
    door: Door, name: str, code: str
) -> None:
    transaction = {
        "unknown model": lambda: door.contribution([[0, 0, 0]], [0], model="unknown"),
        "unknown class": lambda: door.contribution([[0, 0, 0]], [2]),
        "wrong feature count": lambda: door.contribution([[0, 0]], [0]),
        "feature out of range": lambda: door.contribution([[9 * ONE, 0, 0]], [0]),
        "insufficient deposit": lambda: door.contribution([[0, 0, 0]], [0], max_deposit=1),
    }[name]()
    nonce, balance = door.snapshot()
    post(f"{door.url}/api/v1/transactions", to_json(transaction))
    with pytest.raises(TransactionFailedError) as failed:
        door.client.wait(transaction.transaction_id.hex())
    assert failed.value.code == code
    assert failed.value.message
    assert door.snapshot() == (nonce + 1, balance)
    assert door.client.model("known").contributions == get_contributions(door)


def get_contributions(door: Door) -> int:
    return len(door.client.contributions("known"))


def test_claim_and_refund_too_early_fail_and_leave_the_deposit_where_it_is(door: Door) -> None:
    done = post(f"{door.url}/api/v1/transactions", to_json(door.contribution([[0, 0, 0]], [0])))
    assert done[0] < 300
    contribution = wait_for_contribution(door)
    nonce, balance = door.snapshot()
    for kind, body in (
        (CLAIM, ["known", contribution.sequence]),
        (REFUND, ["known", contribution.sequence, []]),
    ):
        transaction = build_transaction(door.content(kind, body), [door.key])
        post(f"{door.url}/api/v1/transactions", to_json(transaction))
        with pytest.raises(TransactionFailedError) as failed:
            door.client.wait(transaction.transaction_id.hex())
        assert failed.value.code == "too_early"
    assert door.snapshot() == (nonce + 2, balance)
    held = door.client.contribution("known", contribution.sequence).held
    assert 0 < held == contribution.deposit <= PRICE_MAX


def wait_for_contribution(door: Door) -> Any:
    """Return the newest contribution once the nonce says that it is final."""
    transfer = door.client.transfer(door.client.account().account, 1)
    assert transfer.status == "ok"
    return door.client.contributions("known", 1)[0]


@pytest.mark.parametrize(
    ("tensor", "code"),
    [
        ({"shape": [1, 2], "data": [0, 0]}, "wrong_feature_count"),
        ({"shape": [1, 3], "data": [0, 0]}, None),
        ({"shape": [1, 3], "data": [1e30, 0, 0]}, "feature_out_of_range"),
        ({"shape": [1, 3], "data": ["x", 0, 0]}, None),
        ({"shape": [1, 3], "data": [100.0, 0, 0]}, "feature_out_of_range"),
    ],
)
def test_prediction_of_nonsense_is_refused_with_its_reason(
    door: Door, tensor: dict[str, Any], code: str | None
) -> None:
    inputs = [{"name": "features", "datatype": "FP64", **tensor}]
    status, _, problem = post(f"{door.url}/v2/models/known/infer", {"inputs": inputs})
    assert status == 400
    assert problem["error"]
    assert code is None or problem["code"] == code


def test_prediction_with_nan_is_refused(door: Door) -> None:
    body = (
        b'{"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 3],'
        b' "data": [NaN, 0, 0]}]}'
    )
    status, _, problem = post(f"{door.url}/v2/models/known/infer", body)
    assert status == 400
    assert problem["error"]


def test_client_names_what_is_wrong_before_it_sends(door: Door) -> None:
    before = door.snapshot()
    for features, labels in (
        ([[float("nan"), 0, 0]], [0]),
        ([[0.0, 0.0]], [0]),
        ([[0.0, 0.0, 0.0]], [7]),
    ):
        with pytest.raises(Exception, match=r"feature|class|NaN"):
            door.client.contribute("known", features, labels)
    with pytest.raises(RefusedError):
        door.client.predict("unknown", [[0.0, 0.0, 0.0]])
    assert door.snapshot() == before
