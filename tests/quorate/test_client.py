"""The client against a real API over a real ledger: what users do, and what they are told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import quorate
from ledger.transactions.registry import KINDS
from primitives.accounts import account_to_text
from quorate import bodies
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, FEATURE_COUNT, connect, create, make_rows
from tests.helpers.ledger import INITIAL_BALANCE


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path) as running:
        yield running


@pytest.fixture
def alice(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[0])


@pytest.fixture
def bob(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[1])


def later(scene: ApiScene, milliseconds: int) -> None:
    """Make a block whose time is later than that of the last one."""
    scene.run(timestamp_ms=scene.chain.tip_header.timestamp_ms + milliseconds)


def test_codes_of_kinds_are_those_of_the_ledger() -> None:
    assert {kind.name: kind.code for kind in KINDS} == {
        "transfer": bodies.TRANSFER,
        "create_model": bodies.CREATE_MODEL,
        "contribute": bodies.CONTRIBUTE,
        "refund": bodies.REFUND,
        "report": bodies.REPORT,
        "claim": bodies.CLAIM,
        "propose": bodies.PROPOSE,
        "rotate_validator_key": bodies.ROTATE_VALIDATOR_KEY,
        "report_evidence": bodies.REPORT_EVIDENCE,
        "vote": bodies.VOTE,
        "withdraw_proposal": bodies.WITHDRAW_PROPOSAL,
        "leave_validators": bodies.LEAVE_VALIDATORS,
        "update_member": bodies.UPDATE_MEMBER,
        "request_membership": bodies.REQUEST_MEMBERSHIP,
        "rotate_account_key": bodies.ROTATE_ACCOUNT_KEY,
        "set_alias": bodies.SET_ALIAS,
        "revert_model": bodies.REVERT_MODEL,
        "extend_model": bodies.EXTEND_MODEL,
        "upload_part": bodies.UPLOAD_PART,
        "finish_upload": bodies.FINISH_UPLOAD,
        "update_tensors": bodies.UPDATE_TENSORS,
        "commit_validation": bodies.COMMIT_VALIDATION,
        "show_validation": bodies.SHOW_VALIDATION,
        "evaluate_model": bodies.EVALUATE_MODEL,
        "draw_samples": bodies.DRAW_SAMPLES,
        "open_exchange": bodies.OPEN_EXCHANGE,
        "submit_model": bodies.SUBMIT_MODEL,
        "reveal_model": bodies.REVEAL_MODEL,
        "show_exchange_piece": bodies.SHOW_EXCHANGE_PIECE,
        "advance_exchange": bodies.ADVANCE_EXCHANGE,
        "stake": bodies.STAKE,
        "unstake": bodies.UNSTAKE,
        "withdraw_stake": bodies.WITHDRAW_STAKE,
        "set_commission": bodies.SET_COMMISSION,
        "support_model": bodies.SUPPORT_MODEL,
        "collect_support": bodies.COLLECT_SUPPORT,
        "open_campaign": bodies.OPEN_CAMPAIGN,
        "show_piece": bodies.SHOW_PIECE,
        "advance_campaign": bodies.ADVANCE_CAMPAIGN,
    }


def test_importing_the_client_loads_neither_compiler_nor_server() -> None:
    program = (
        "import sys, quorate; "
        "print([name for name in ('numba', 'fastapi', 'node', 'plyvel') if name in sys.modules])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "[]"


def test_status_and_blocks(scene: ApiScene, alice: quorate.Client) -> None:
    for _ in range(3):
        scene.run()
    status = alice.status()
    assert status.height == 3
    assert status.is_ready
    assert status.node_connected
    assert [block.height for block in alice.blocks(limit=2)] == [3, 2]
    assert len(alice.blocks(limit=10)) == 4


def test_a_transfer_moves_money(scene: ApiScene, alice: quorate.Client) -> None:
    recipient = account_to_text(scene.chain.network.accounts[1].id)
    transaction = alice.transfer(recipient, 40)
    assert (transaction.status, transaction.height) == ("ok", 1)
    assert alice.account().balance == INITIAL_BALANCE - 40
    assert alice.account(recipient).balance == INITIAL_BALANCE + 40
    assert alice.account(height=0).balance == INITIAL_BALANCE
    assert alice.transaction(transaction.transaction_id) == transaction


def test_a_model_learns_and_predicts(alice: quorate.Client) -> None:
    create(alice)
    rows, labels = make_rows(60)
    transaction = alice.contribute("sides", rows, labels)
    assert transaction.result["sequence"] == 0
    assert transaction.result["samples"] == 60
    held_out, truth = make_rows(40, seed=2)
    prediction = alice.predict("sides", held_out)
    assert list(prediction.labels) == truth.tolist()
    assert prediction.class_names == tuple(CLASS_NAMES[label] for label in truth)
    assert all(sum(row) == pytest.approx(1, abs=0.01) for row in prediction.probabilities)
    assert (prediction.model, prediction.version) == ("sides", 1)
    assert prediction.height == alice.status().height
    assert prediction.state_root == alice.status().state_root


@pytest.mark.parametrize(
    "family", ["averaged_perceptron", "multinomial_naive_bayes", "nearest_centroid"]
)
def test_sparse_models_take_rows_and_sparse_matrices_alike(
    alice: quorate.Client, family: str
) -> None:
    rows, labels = make_rows(60)
    rows[rows < 0.5] = 0
    for name, features in (("rows", rows), ("matrix", csr_matrix(rows))):
        create(alice, name, family=family, layout="sparse")
        alice.contribute(name, features, labels)
    by_rows = alice.predict("rows", rows)
    assert by_rows.labels == alice.predict("rows", csr_matrix(rows)).labels
    assert by_rows.labels == alice.predict("matrix", rows).labels
    assert [version.digest for version in alice.versions("rows")] == [
        version.digest for version in alice.versions("matrix")
    ]
    assert np.mean(np.array(by_rows.labels) == labels) > 0.95


def test_a_dense_model_takes_contributions_from_a_sparse_matrix(alice: quorate.Client) -> None:
    create(alice)
    rows, labels = make_rows(5)
    assert alice.contribute("sides", csr_matrix(rows), labels).status == "ok"


def test_earlier_versions_and_heights_answer_as_they_did(alice: quorate.Client) -> None:
    create(alice)
    rows, labels = make_rows(10)
    first = alice.contribute("sides", rows, labels)
    before = alice.predict("sides", rows)
    alice.contribute("sides", rows, (labels + 1) % 3)
    alice.contribute("sides", rows, (labels + 1) % 3)
    assert alice.predict("sides", rows).labels != before.labels
    assert alice.predict("sides", rows, version=1).labels == before.labels
    at_height = alice.predict("sides", rows, height=first.height)
    assert at_height.labels == before.labels
    assert (at_height.version, at_height.height) == (1, first.height)
    assert at_height.state_root == before.state_root


def test_models_versions_and_contributions_are_listed(
    alice: quorate.Client, bob: quorate.Client
) -> None:
    create(alice)
    create(alice, "other")
    rows, labels = make_rows(4)
    bob.contribute("sides", rows, labels)
    bob.contribute("sides", rows, [CLASS_NAMES[label] for label in labels])
    assert [model.name for model in alice.models()] == ["other", "sides"]
    model = alice.model("sides")
    assert (model.version, model.contributions, model.samples) == (2, 2, 8)
    assert model.incentive.weight == 1
    assert model.accuracy is not None
    assert [version.version for version in alice.versions("sides")] == [2, 1, 0]
    assert [version.version for version in alice.versions("sides", limit=1)] == [2]
    assert [item.sequence for item in alice.contributions("sides")] == [1, 0]
    contribution = alice.contribution("sides", 0)
    assert (contribution.samples, contribution.open_samples) == (4, 4)
    assert contribution.deposit == contribution.held > 0


def test_an_honest_contributor_is_refunded_and_respected(
    scene: ApiScene, alice: quorate.Client, bob: quorate.Client
) -> None:
    create(alice)
    rows, labels = make_rows(30)
    sequence = bob.contribute("sides", rows, labels).result["sequence"]
    assert bob.account().balance < INITIAL_BALANCE
    later(scene, 2_000)
    refund = bob.refund("sides", sequence)
    assert refund.result["samples"] == 30
    assert int(refund.result["paid"]) > 0
    assert bob.account().balance == INITIAL_BALANCE
    assert bob.account().karma == 30
    assert bob.account().karma_by_model == {"sides": 30}
    assert bob.contribution("sides", sequence).open_samples == 0


def test_karma_stands_in_for_money_and_fades_where_the_terms_say_so(
    scene: ApiScene, alice: quorate.Client, bob: quorate.Client
) -> None:
    half_life_ms = 60_000
    create(
        alice,
        incentive=quorate.Incentive(
            "deposit_refund_take",
            weight=1,
            refund_wait_ms=1_000,
            karma_price=100,
            karma_percent_max=50,
            karma_half_life_ms=half_life_ms,
        ),
    )
    rows, labels = make_rows(30)
    bob.contribute("sides", rows, labels)
    later(scene, 1_000)
    bob.refund("sides", 0)
    later(scene, half_life_ms)
    assert (bob.account().karma, bob.account().karma_by_model) == (30, {"sides": 15})
    staked = bob.contribute("sides", rows[:2], labels[:2], karma=4)
    assert staked.result["karma_per_sample"] == 2
    with pytest.raises(quorate.TransactionFailedError) as caught:
        alice.contribute("sides", rows[:2], labels[:2], karma=4)
    assert caught.value.code == "insufficient_karma"


def test_a_flipped_label_is_reported_and_its_rest_claimed(
    scene: ApiScene, alice: quorate.Client, bob: quorate.Client
) -> None:
    create(alice)
    rows, labels = make_rows(60)
    bob.contribute("sides", rows, labels)
    later(scene, 2_000)
    bob.refund("sides", 0)
    carol = connect(scene, scene.chain.network.accounts[2])
    bad_rows, bad_labels = make_rows(2, seed=5)
    carol.contribute("sides", bad_rows, (bad_labels + 1) % 3)
    later(scene, 2_000)
    report = bob.report("sides", 1, [0])
    assert report.result["samples"] == 1
    assert bob.account().balance > INITIAL_BALANCE
    later(scene, 10_000)
    claim = alice.claim("sides", 1)
    assert int(claim.result["paid"]) > 0
    assert carol.account().balance < INITIAL_BALANCE


def test_a_failed_transaction_is_an_exception_with_its_code(alice: quorate.Client) -> None:
    create(alice)
    rows, labels = make_rows(2)
    alice.contribute("sides", rows, labels)
    with pytest.raises(quorate.TransactionFailedError) as caught:
        alice.refund("sides", 0)
    assert caught.value.code == "too_early"
    assert caught.value.transaction.status == "failed"
    with pytest.raises(quorate.TransactionFailedError) as caught:
        alice.contribute("sides", rows, labels, max_deposit=1)
    assert caught.value.code == "insufficient_deposit"
    with pytest.raises(quorate.TransactionFailedError) as caught:
        create(alice)
    assert caught.value.code == "model_exists"


def test_many_may_be_sent_before_any_is_final(scene: ApiScene, alice: quorate.Client) -> None:
    create(alice)
    scene.node.makes_blocks = False
    rows, labels = make_rows(12)
    pending = [
        alice.contribute("sides", rows[start : start + 3], labels[start : start + 3], wait=False)
        for start in range(0, 12, 3)
    ]
    assert {transaction.status for transaction in pending} == {"pending"}
    with pytest.raises(quorate.NotFinalError) as caught:
        alice.wait(pending[0].transaction_id, timeout_s=0.01)
    assert caught.value.transaction_id == pending[0].transaction_id
    waiting, scene.node.waiting = scene.node.waiting, []
    scene.run(waiting)
    sequences = [alice.wait(item.transaction_id).result["sequence"] for item in pending]
    assert sequences == [0, 1, 2, 3]


def test_what_does_not_exist_is_not_found(alice: quorate.Client) -> None:
    for ask in (
        lambda: alice.model("nothing"),
        lambda: alice.predict("nothing", [[1.0]]),
        lambda: alice.versions("nothing"),
        lambda: alice.contribution("nothing", 0),
        lambda: alice.transaction("00" * 32),
    ):
        with pytest.raises(quorate.NotFoundError):
            ask()


@pytest.mark.parametrize(
    ("features", "labels", "code"),
    [
        ([[1.0] * (FEATURE_COUNT + 1)], [0], "wrong_feature_count"),
        ([[1.0] * 5 + [float("nan")]], [0], "feature_not_finite"),
        ([[1.0] * 5 + [float("inf")]], [0], "feature_not_finite"),
        ([[1.0] * 5 + [1e30]], [0], "feature_out_of_range"),
        ([[1.0] * FEATURE_COUNT], [3], "unknown_class"),
        ([[1.0] * FEATURE_COUNT], [-1], "unknown_class"),
        ([[1.0] * FEATURE_COUNT], ["up"], "unknown_class"),
        ([[1.0] * FEATURE_COUNT], [0.5], "malformed"),
        ([[1.0] * FEATURE_COUNT], [0, 1], "malformed"),
        ([1.0] * FEATURE_COUNT, [0], "malformed"),
        ([["a"] * FEATURE_COUNT], [0], "malformed"),
        (csr_matrix(np.ones((1, FEATURE_COUNT + 1))), [0], "wrong_feature_count"),
        (csr_matrix(np.full((1, FEATURE_COUNT), np.nan)), [0], "feature_not_finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_batch_is_refused_before_anything_is_sent(
    scene: ApiScene, alice: quorate.Client, features: object, labels: list[object], code: str
) -> None:
    create(alice)
    height = scene.node.height
    with pytest.raises(quorate.InvalidInputError) as caught:
        alice.contribute("sides", features, labels)
    assert caught.value.code == code
    assert scene.node.height == height


def test_a_feature_beyond_the_models_range_fails_with_the_limit(alice: quorate.Client) -> None:
    create(alice)
    with pytest.raises((quorate.TransactionFailedError, quorate.RefusedError)) as caught:
        alice.contribute("sides", [[1_000.0] * FEATURE_COUNT], [0])
    assert caught.value.code == "feature_out_of_range"


def test_a_model_that_cannot_be_is_refused_by_name(alice: quorate.Client) -> None:
    with pytest.raises(quorate.InvalidInputError):
        create(alice, "Not A Name")
    with pytest.raises(quorate.InvalidInputError):
        create(alice, class_names=("one",))
    with pytest.raises(quorate.RefusedError) as caught:
        create(alice, family="crystal_ball")
    assert caught.value.code == "unknown_family"


def test_reading_needs_no_key_but_acting_does(scene: ApiScene) -> None:
    with connect(scene) as reader:
        assert reader.status().height == 0
        with pytest.raises(quorate.InvalidInputError) as caught:
            reader.claim("sides", 0)
        assert caught.value.code == "no_private_key"
