"""What transactions about exchanges are refused for, each by its code; and nothing moves then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from incentives.exchange import Offer
from ledger.admission import check_stateless
from ledger.exchange_records import (
    Submission,
    exchange_pieces_key,
    exchange_progress_key,
    hide_pieces,
    submission_key,
)
from ledger.exchange_terms import Layout, decode_exchange_terms
from ledger.hidden_pieces import PIECES_MAX
from ledger.model_versions import pinned_version_key
from ledger.payload import Payload
from ledger.receipt import Receipt, ReceiptStatus
from ledger.transactions.exchange_settlement import ADVANCE_EXCHANGE, AdvanceExchange
from ledger.transactions.exchanges import (
    OPEN_EXCHANGE,
    REVEAL_MODEL,
    SHOW_EXCHANGE_PIECE,
    SUBMIT_MODEL,
    OpenExchange,
    RevealModel,
    ShowExchangePiece,
    SubmitModel,
)
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.models import CreateModel
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import SparseSamples, encode_batch
from ml_runtime.spec import make_spec
from primitives.codec import Encodable, decode, encode
from primitives.errors import InvalidInputError, InvariantViolationError
from tests.helpers.exchanges import (
    ALICE,
    BALANCE,
    BOB,
    BOUNTY,
    CAROL,
    DAVE,
    GOOD,
    HOST,
    LAYOUT,
    LENGTH_MS,
    LOW,
    OFFER,
    STAKE,
    TERMS,
    WAIT_MS,
    Fair,
    hold_fair,
    make_data,
    name_of,
    salt_of,
)
from tests.helpers.ledger import make_network, make_salt, make_transaction
from tests.helpers.probe_kind import PROBE_CODE, install_probe
from tests.ledger.test_contribution_transactions import describe

COMMITMENT = bytes(range(32))


def refused(receipt: Receipt, code: str) -> bool:
    return (receipt.status, receipt.code) == (ReceiptStatus.FAILED, code) and bool(receipt.message)


def start(**changes: Any) -> Fair:
    """Return a fair to which Alice submitted a good model."""
    fair = Fair()
    fair.train(ALICE, "good", GOOD)
    fair.open(**changes)
    fair.submit(ALICE, "good")
    return fair


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"offer": Offer("beauty", 1, 1, 0)}, "exchange.metric"),
        ({"offer": replace(OFFER, threshold=1_000_001)}, "exchange.threshold"),
        ({"layout": replace(LAYOUT, class_count=1)}, "exchange.class_count"),
        ({"layout": replace(LAYOUT, class_count=0)}, "exchange.metric"),
        ({"layout": replace(LAYOUT, samples="wide")}, "exchange.layout"),
        ({"layout": replace(LAYOUT, feature_low=9, feature_high=8)}, "exchange.feature_low"),
        ({"length_ms": 10**15}, "exchange.length_ms"),
        ({"reveal_wait_ms": 10**15}, "exchange.reveal_wait_ms"),
    ],
)
def test_terms_that_contradict_themselves_are_refused_before_a_block(
    changes: dict[str, Any], field: str
) -> None:
    network = make_network()
    body = OpenExchange(replace(TERMS, **changes), (COMMITMENT,))
    transaction = make_transaction(network, HOST, "open_exchange", body.to_fields())
    with pytest.raises(InvalidInputError) as found:
        check_stateless(transaction, network.chain_id, network.genesis.parameters, 0)
    assert (found.value.code, found.value.field) == ("invalid_exchange", field)


def test_terms_without_fault_pass_and_come_back() -> None:
    network = make_network()
    body = OpenExchange(TERMS, (COMMITMENT,))
    transaction = make_transaction(network, HOST, "open_exchange", body.to_fields())
    check_stateless(transaction, network.chain_id, network.genesis.parameters, 0)
    fields = decode(encode(TERMS.to_fields()), bytes_max=10_000)
    assert decode_exchange_terms(fields) == TERMS
    assert Layout(0, "dense", 1, 0, 0).task == "regression"
    sparse = replace(TERMS, layout=replace(LAYOUT, samples="sparse", feature_count=1 << 20))
    assert sparse.largest_piece == (8, 2**20 // 12)
    assert TERMS.largest_piece == (8, 16)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "Upper"}, "malformed"),
        ({"name": ""}, "malformed"),
        ({"description": "x" * 1_025}, "too_large"),
        ({"offer": replace(OFFER, bounty=0)}, "out_of_range"),
        ({"offer": replace(OFFER, bounty=2**63)}, "out_of_range"),
        ({"offer": replace(OFFER, stake=-1)}, "out_of_range"),
        ({"offer": replace(OFFER, stake=2**63)}, "out_of_range"),
        ({"offer": replace(OFFER, threshold=-1)}, "out_of_range"),
        ({"submissions_max": 0}, "out_of_range"),
        ({"submissions_max": 257}, "out_of_range"),
        ({"length_ms": 0}, "out_of_range"),
        ({"reveal_wait_ms": 59_999}, "out_of_range"),
        ({"piece_samples_max": 65_537}, "out_of_range"),
        ({"layout": replace(LAYOUT, feature_count=0)}, "out_of_range"),
        ({"layout": replace(LAYOUT, feature_high=2**41)}, "out_of_range"),
    ],
)
def test_terms_out_of_range_are_refused(changes: dict[str, Any], code: str) -> None:
    fields = OpenExchange(replace(TERMS, **changes), (COMMITMENT,)).to_fields()
    with pytest.raises(InvalidInputError) as found:
        OPEN_EXCHANGE.decode_body(decode(encode(fields), bytes_max=10_000))
    assert found.value.code == code


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (OPEN_EXCHANGE, OpenExchange(TERMS, ())),
        (OPEN_EXCHANGE, OpenExchange(TERMS, (COMMITMENT, COMMITMENT))),
        (OPEN_EXCHANGE, OpenExchange(TERMS, tuple(make_salt(n) for n in range(PIECES_MAX + 1)))),
        (SUBMIT_MODEL, SubmitModel("cup", COMMITMENT[1:], 0)),
        (SUBMIT_MODEL, SubmitModel("cup", COMMITMENT, -1)),
        (SUBMIT_MODEL, SubmitModel("-cup", COMMITMENT, 0)),
        (REVEAL_MODEL, RevealModel("cup", "Upper", 0, COMMITMENT)),
        (REVEAL_MODEL, RevealModel("cup", "good", -1, COMMITMENT)),
        (REVEAL_MODEL, RevealModel("cup", "good", 0, COMMITMENT + b"x")),
        (SHOW_EXCHANGE_PIECE, ShowExchangePiece("cup", PIECES_MAX)),
        (ADVANCE_EXCHANGE, AdvanceExchange("cup", 0)),
        (ADVANCE_EXCHANGE, AdvanceExchange("cup", 1_025)),
    ],
)
def test_body_out_of_form_is_refused(kind: Any, body: Any) -> None:
    with pytest.raises(InvalidInputError):
        kind.decode_body(decode(encode(body.to_fields()), bytes_max=100_000))


def test_name_is_used_once_for_good() -> None:
    fair = Fair()
    fair.open()
    assert refused(fair.open(), "exchange_exists")
    fair.wait(LENGTH_MS)
    assert fair.advance().code == "ok"
    assert refused(fair.open(), "exchange_exists")
    assert fair.gain(HOST) == 0


def test_bounty_that_cannot_be_paid_is_refused() -> None:
    fair = Fair()
    offer = replace(OFFER, bounty=BALANCE + 1)
    assert refused(fair.open(offer=offer), "insufficient_balance")
    assert refused(fair.advance(), "unknown_exchange")
    assert fair.gain(HOST) == 0


def test_nothing_can_be_done_about_an_unknown_exchange() -> None:
    fair = Fair()
    fair.train(ALICE, "good", GOOD)
    assert refused(fair.submit(ALICE, "good"), "unknown_exchange")
    assert refused(fair.reveal(ALICE, "good"), "unknown_exchange")
    assert refused(fair.show(0), "unknown_exchange")
    assert refused(fair.advance(), "unknown_exchange")
    assert fair.gain(ALICE) == 0


def test_late_submission_is_refused() -> None:
    fair = Fair()
    fair.train(ALICE, "good", GOOD)
    opened = fair.open()
    fair.now_ms = opened.data[1] - 2
    assert fair.submit(ALICE, "good").code == "ok"
    assert refused(fair.submit(ALICE, "good"), "submissions_closed")
    assert fair.gain(ALICE) == -STAKE


def test_submission_is_refused_for_who_knows_the_test_set() -> None:
    fair = start()
    fair.train(HOST, "own", GOOD)
    assert refused(fair.submit(HOST, "own"), "own_exchange")


def test_same_submission_twice_is_refused() -> None:
    fair = start()
    assert refused(fair.submit(ALICE, "good"), "already_submitted")
    assert fair.gain(ALICE) == -STAKE


def test_stake_above_what_was_allowed_or_is_there_is_refused() -> None:
    fair = Fair()
    fair.train(ALICE, "good", GOOD)
    fair.open(offer=replace(OFFER, stake=BALANCE + 1))
    assert refused(fair.submit(ALICE, "good", max_stake=BALANCE), "stake_too_low")
    assert refused(fair.submit(ALICE, "good", max_stake=BALANCE + 1), "insufficient_balance")
    assert (fair.gain(ALICE), fair.progress.entries) == (0, ())


def test_full_exchange_takes_changed_submissions_alone() -> None:
    fair = start(submissions_max=1)
    fair.train(ALICE, "better", GOOD, times=2)
    fair.train(BOB, "late", GOOD)
    assert refused(fair.submit(BOB, "late"), "exchange_full")
    assert fair.submit(ALICE, "better").code == "ok"
    assert fair.gain(BOB) == 0


def test_copied_commitment_cannot_be_opened() -> None:
    fair = start()
    copied = SubmitModel("cup", fair.seal(ALICE, "good"), STAKE)
    assert fair.send(BOB, "submit_model", copied).code == "ok"
    fair.train(BOB, "copy", GOOD)
    fair.wait(LENGTH_MS)
    assert fair.reveal(ALICE, "good").code == "ok"
    for model in ("copy", "good"):
        body = RevealModel("cup", model, 1, salt_of("good"))
        code = "wrong_commitment" if model == "copy" else "not_owner"
        assert refused(fair.send(BOB, "reveal_model", body), code)


def test_reveal_is_refused_at_the_wrong_time() -> None:
    fair = start()
    fair.train(BOB, "other", GOOD)
    fair.submit(BOB, "other")
    assert refused(fair.reveal(ALICE, "good"), "too_early")
    fair.wait(LENGTH_MS)
    assert refused(fair.reveal(CAROL, "good"), "not_submitted")
    assert refused(fair.reveal(ALICE, "nothing"), "unknown_model")
    assert refused(fair.reveal(ALICE, "other"), "not_owner")
    assert refused(fair.reveal(ALICE, "good", version=2), "version_not_held")
    body = RevealModel("cup", "good", 1, make_salt(1))
    assert refused(fair.send(ALICE, "reveal_model", body), "wrong_commitment")
    assert fair.reveal(ALICE, "good").code == "ok"
    assert refused(fair.reveal(ALICE, "good"), "already_revealed")
    fair.wait(WAIT_MS)
    assert refused(fair.reveal(BOB, "other"), "reveals_closed")
    assert refused(fair.reveal(ALICE, "good"), "already_revealed")


def test_model_of_this_very_block_cannot_be_opened() -> None:
    fair = start()
    fair.wait(LENGTH_MS)
    nonce = fair.chain.account(ALICE.id).nonce
    network = fair.chain.network
    created = CreateModel(describe("fresh")).to_fields()
    opened = RevealModel("cup", "fresh", 0, salt_of("fresh")).to_fields()
    block = fair.chain.run(
        [
            make_transaction(network, ALICE, "create_model", created, nonce=nonce),
            make_transaction(network, ALICE, "reveal_model", opened, nonce=nonce + 1),
        ],
        timestamp_ms=fair.now_ms,
    )
    assert [receipt.code for receipt in block.receipts] == ["ok", "version_not_held"]


@pytest.mark.parametrize(
    ("layout", "offer", "named"),
    [
        (Layout(0, "dense", 2, 0, ONE), Offer("loss", 1, 1, 0), "task"),
        (replace(LAYOUT, class_count=3), OFFER, "class_count"),
        (replace(LAYOUT, samples="sparse"), OFFER, "layout"),
        (replace(LAYOUT, feature_count=3), OFFER, "feature_count"),
        (replace(LAYOUT, feature_low=-8 * ONE - 1), OFFER, "features"),
        (replace(LAYOUT, feature_high=8 * ONE + 1), OFFER, "features"),
    ],
)
def test_model_that_cannot_take_the_test_set_is_refused(
    layout: Layout, offer: Offer, named: str
) -> None:
    fair = start(layout=layout, offer=offer)
    fair.wait(LENGTH_MS)
    receipt = fair.reveal(ALICE, "good")
    assert refused(receipt, "model_does_not_fit")
    assert named in receipt.message


def test_model_that_fits_into_no_block_is_refused() -> None:
    fair = Fair()
    spec = make_spec("nearest_neighbours", "dense", 2, 2, {"capacity": 4_096})
    fair.train(ALICE, "slow", GOOD, spec)
    fair.open(piece_samples_max=65_536)
    fair.submit(ALICE, "slow")
    fair.wait(LENGTH_MS)
    assert refused(fair.reveal(ALICE, "slow"), "evaluation_too_large")


def test_piece_is_refused_at_the_wrong_time_and_from_others() -> None:
    fair = start()
    fair.train(BOB, "other", GOOD)
    fair.submit(BOB, "other")
    assert refused(fair.show(0), "too_early")
    fair.wait(LENGTH_MS)
    assert refused(fair.show(0), "too_early")
    fair.reveal(ALICE, "good")
    fair.wait(WAIT_MS)
    assert refused(fair.show(0, sender=ALICE), "not_organiser")
    unknown = ShowExchangePiece("cup", 3)
    assert refused(fair.send(HOST, "show_exchange_piece", unknown, fair.pieces[0]), "unknown_piece")
    assert refused(fair.show(1), "wrong_order")
    swapped = ShowExchangePiece("cup", 0)
    piece = fair.pieces[1]
    assert refused(fair.send(HOST, "show_exchange_piece", swapped, piece), "wrong_commitment")
    assert fair.show(0).code == "ok"
    assert refused(fair.show(0), "already_shown")


def test_piece_is_refused_if_there_is_nothing_to_judge() -> None:
    fair = start()
    fair.wait(LENGTH_MS + WAIT_MS)
    assert refused(fair.show(0), "nothing_revealed")


def make_sparse(starts: list[int]) -> bytes:
    ones = np.ones(1, dtype=np.int64)
    samples = SparseSamples(np.array(starts, dtype=np.int64), 0 * ones, ones, 2)
    return encode_batch(samples, 0 * ones)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (make_data([LOW], [0], "values"), "wrong_targets"),
        (make_data([LOW] * 9, [0] * 9), "too_many_samples"),
        (make_data([[0]], [0]), "wrong_feature_count"),
        (make_data([[9 * ONE, 0]], [0]), "feature_out_of_range"),
        (make_data([LOW], [2]), "unknown_class"),
        (make_sparse([0, 1]), "wrong_layout"),
    ],
)
def test_piece_that_does_not_suit_the_exchange_is_refused(data: bytes, code: str) -> None:
    fair = Fair(pieces=(Payload(make_salt(1), data),))
    fair.train(ALICE, "good", GOOD)
    fair.open()
    fair.submit(ALICE, "good")
    fair.wait(LENGTH_MS)
    fair.reveal(ALICE, "good")
    assert refused(fair.show(0), code)
    fair.wait(WAIT_MS)
    assert fair.advance().data[0] == "not_shown"
    assert fair.gain(ALICE) == BOUNTY


def test_target_out_of_range_is_refused() -> None:
    spec = make_spec("linear_regression", "dense", 2, 0)
    fair = Fair(pieces=(Payload(make_salt(1), make_data([LOW], [1 << 27], "values")),))
    fair.train(ALICE, "line", ([LOW], [0]), spec, "values")
    fair.open(layout=Layout(0, "dense", 2, 0, ONE), offer=Offer("loss", 1, 1, 0))
    fair.submit(ALICE, "line")
    fair.wait(LENGTH_MS)
    fair.reveal(ALICE, "line")
    assert refused(fair.show(0), "target_out_of_range")


def test_sparse_pieces_are_taken_and_widened() -> None:
    spec = make_spec("averaged_perceptron", "sparse", 4, 2)
    data = make_sparse([0, 1])
    fair = Fair(pieces=(Payload(make_salt(1), data),))
    description = describe("wide", spec=spec)
    assert fair.send(ALICE, "create_model", CreateModel(description)).code == "ok"
    fair.open(layout=Layout(2, "sparse", 4, 0, ONE), offer=replace(OFFER, threshold=0))
    fair.submit(ALICE, "wide")
    fair.wait(LENGTH_MS)
    fair.reveal(ALICE, "wide")
    assert fair.show(0).code == "ok"
    assert fair.advance().data[0] == "won"


def test_payload_that_is_no_batch_is_refused_before_a_block() -> None:
    network = make_network()
    fields = ShowExchangePiece("cup", 0).to_fields()
    payload = Payload(make_salt(1), b"no batch")
    transaction = make_transaction(network, HOST, "show_exchange_piece", fields, payload=payload)
    with pytest.raises(InvalidInputError) as found:
        check_stateless(transaction, network.chain_id, network.genesis.parameters, 0)
    assert found.value.code == "malformed_payload"
    bare = make_transaction(network, HOST, "show_exchange_piece", fields)
    with pytest.raises(InvariantViolationError):
        SHOW_EXCHANGE_PIECE.check(bare, ShowExchangePiece("cup", 0), network.genesis.parameters)


def test_records_that_contradict_each_other_stop_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = install_probe(monkeypatch)

    def break_by(fair: Fair, key: bytes, record: Any) -> None:
        def act(context: ExecutionContext) -> list[Encodable]:
            context.put(key, record)
            return []

        network, account = fair.chain.network, fair.chain.account(DAVE.id)
        broken = make_transaction(network, DAVE, PROBE_CODE, probe.add(act), nonce=account.nonce)
        fair.now_ms += 1
        assert fair.chain.run([broken], timestamp_ms=fair.now_ms).receipts[0].code == "ok"

    own = submission_key("cup", ALICE.id)
    pin = pinned_version_key(name_of(ALICE), 1)
    hidden = hide_pieces([make_salt(1), make_salt(2), make_salt(3)])
    for key, record in (
        (own, None),
        (own, Submission(COMMITMENT, 0)),
        (exchange_pieces_key("cup"), hidden),
        (pin, None),
    ):
        fair = hold_fair({ALICE: GOOD})
        break_by(fair, key, record)
        with pytest.raises(InvariantViolationError):
            fair.advance()
    fair = hold_fair({ALICE: GOOD})
    break_by(fair, exchange_progress_key("cup"), None)
    assert refused(fair.advance(), "unknown_exchange")
