"""Exchanges through the executor: full flows, time-outs, and what is paid in the end."""

from __future__ import annotations

import pytest

from incentives.exchange import Offer
from ledger import execution
from ledger.exchange_judging import (
    UNITS_PER_SETTLED,
    Span,
    compute_item_budget,
    compute_item_units,
    compute_loading_units,
    compute_settling_units,
    plan_judging,
)
from ledger.exchange_records import (
    STATUSES,
    ExchangeEntry,
    ExchangeProgress,
    decode_exchange,
    decode_exchange_pieces,
    exchange_key,
    exchange_pieces_key,
)
from ledger.exchange_terms import SUBMISSIONS_MAX, Layout
from ledger.parameters import Parameters
from ledger.snapshot_export import iterate_payload_ids
from ledger.transactions import exchange_settlement
from ml_runtime.fixed_point import ONE
from ml_runtime.spec import make_spec
from tests.helpers.exchanges import (
    ALICE,
    BAD,
    BOB,
    BOUNTY,
    CAROL,
    DAVE,
    GOOD,
    HIGH,
    HOST,
    LENGTH_MS,
    LOW,
    MIDDLING,
    PIECES,
    SPEC,
    STAKE,
    TERMS,
    WAIT_MS,
    Fair,
    hold_fair,
    make_pieces,
    name_of,
)
from tests.helpers.ledger import Chain, make_network

SAMPLES = sum(len(targets) for _, targets in PIECES)


def test_best_model_wins_the_bounty_and_the_stake_of_who_kept_silent() -> None:
    fair = Fair()
    for account, data in ((ALICE, MIDDLING), (BOB, GOOD), (CAROL, BAD)):
        fair.train(account, name_of(account), data)
    opened = fair.open()
    assert list(opened.data) == ["cup", fair.now_ms + LENGTH_MS]
    assert fair.gain(HOST) == -BOUNTY
    for account in (ALICE, BOB, CAROL):
        fair.submit(account, name_of(account))
    assert fair.gain(BOB) == -STAKE
    fair.wait(LENGTH_MS)
    assert list(fair.reveal(ALICE, name_of(ALICE)).data) == ["cup", 1, 3]
    assert list(fair.reveal(BOB, name_of(BOB)).data) == ["cup", 2, 3]
    fair.wait(WAIT_MS)
    assert [list(fair.show(piece).data) for piece in range(3)] == [[0, 2, 2], [1, 2, 1], [2, 1, 0]]
    assert list(fair.advance().data) == ["won", 6, BOB.id]
    assert fair.gain(HOST) == -BOUNTY
    assert (fair.gain(ALICE), fair.gain(BOB), fair.gain(CAROL)) == (0, BOUNTY + STAKE, -STAKE)
    assert fair.gain(DAVE) == 0
    correct = [fair.submission(each).correct for each in (ALICE, BOB, CAROL)]
    samples = [fair.submission(each).samples for each in (ALICE, BOB, CAROL)]
    assert (correct, samples) == ([4, SAMPLES, 0], [SAMPLES, SAMPLES, 0])
    assert fair.submission(CAROL).standing_name == "sealed"
    assert (fair.progress.winner, fair.progress.is_closed) == (BOB.id, True)
    assert fair.advance().code == "exchange_closed"


def test_records_read_back_as_they_were_written() -> None:
    fair = hold_fair({ALICE: GOOD, BOB: BAD})
    fair.advance(4)
    before = fair.progress, fair.submission(ALICE), fair.submission(BOB)
    store = fair.chain.store
    store.forget_cached()
    assert (fair.progress, fair.submission(ALICE), fair.submission(BOB)) == before
    exchange = store.read(exchange_key("cup"), decode_exchange)
    assert exchange is not None
    assert (exchange.organiser, exchange.terms) == (HOST.id, fair.terms)
    pieces = store.read(exchange_pieces_key("cup"), decode_exchange_pieces)
    assert pieces is not None
    assert pieces.samples == SAMPLES
    assert [piece.entries for piece in pieces.hidden.pieces] == [4, 4, 2]


def test_snapshot_takes_the_shown_test_set_along() -> None:
    """A node that joined by it could not judge what was left, and stopped."""
    fair = Fair()
    fair.train(ALICE, "one", GOOD)
    fair.open()
    fair.submit(ALICE, "one")
    fair.wait(LENGTH_MS)
    fair.reveal(ALICE, "one")
    before = set(iterate_payload_ids(fair.chain.values, fair.chain.store.tip().height))
    shown = [fair.show(0).transaction_id, fair.show(1).transaction_id]
    after = set(iterate_payload_ids(fair.chain.values, fair.chain.store.tip().height))
    assert after - before == set(shown)


def test_tie_goes_to_who_submitted_first() -> None:
    fair = hold_fair({BOB: GOOD, ALICE: GOOD})
    assert fair.advance().data[2] == BOB.id


def test_who_submits_anew_keeps_the_stake_and_loses_the_place() -> None:
    fair = Fair()
    for account in (ALICE, BOB):
        fair.train(account, name_of(account), GOOD)
    fair.train(ALICE, "other", BAD)
    fair.open()
    fair.submit(ALICE, "other")
    fair.submit(BOB, name_of(BOB))
    assert list(fair.submit(ALICE, name_of(ALICE)).data) == ["cup", 2]
    assert fair.gain(ALICE) == -STAKE
    assert [entry.account for entry in fair.progress.entries] == [BOB.id, ALICE.id]
    fair.wait(LENGTH_MS)
    assert fair.reveal(ALICE, "other").code == "wrong_commitment"
    for account in (ALICE, BOB):
        assert fair.reveal(account, name_of(account)).code == "ok"
    fair.show_all()
    assert fair.advance().data[2] == BOB.id


def test_nobody_wins_below_the_threshold() -> None:
    offer = Offer("accuracy", 800_001, BOUNTY, STAKE)
    fair = hold_fair({ALICE: MIDDLING, BOB: BAD}, offer=offer)
    assert list(fair.advance().data) == ["not_won", 6, None]
    assert [fair.gain(each) for each in (HOST, ALICE, BOB)] == [0, 0, 0]


def test_threshold_is_met_exactly() -> None:
    offer = Offer("accuracy", 800_000, BOUNTY, 0)
    assert hold_fair({ALICE: MIDDLING}, offer=offer).advance().data[2] == ALICE.id


def test_loss_of_a_classifier_decides() -> None:
    fair = hold_fair({ALICE: BAD, BOB: GOOD}, offer=Offer("loss", 1 << 30, BOUNTY, STAKE))
    assert fair.advance().data[2] == BOB.id
    assert 0 <= fair.submission(BOB).loss < fair.submission(ALICE).loss


@pytest.mark.parametrize(("threshold", "status"), [(1 << 40, "won"), (0, "not_won")])
def test_regression_is_judged_by_its_loss(threshold: int, status: str) -> None:
    spec = make_spec("linear_regression", "dense", 2, 0)
    layout = Layout(0, "dense", 2, 0, 4 * ONE)
    pieces = make_pieces((([LOW, HIGH], [0, 8 * ONE]), ([HIGH], [8 * ONE])), "values")
    fair = Fair(pieces=pieces)
    fair.train(ALICE, "fresh", ([LOW], [0]), spec, "values")
    fair.train(BOB, "taught", ([HIGH, LOW], [8 * ONE, 0]), spec, "values", times=20)
    fair.open(layout=layout, offer=Offer("loss", threshold, BOUNTY, STAKE))
    fair.submit(ALICE, "fresh")
    fair.submit(BOB, "taught")
    fair.wait(LENGTH_MS)
    fair.reveal(ALICE, "fresh")
    fair.reveal(BOB, "taught")
    fair.show_all()
    assert list(fair.advance().data) == [status, 4, BOB.id if status == "won" else None]
    assert fair.submission(BOB).loss < fair.submission(ALICE).loss


def test_exchange_without_submissions_ends_at_its_deadline() -> None:
    fair = Fair()
    fair.open()
    assert fair.advance(after_ms=LENGTH_MS - 1).code == "too_early"
    assert list(fair.advance().data) == ["not_won", 0, None]
    assert fair.gain(HOST) == 0


def test_stakes_go_to_the_organiser_if_nobody_opens_a_model() -> None:
    fair = Fair()
    for account in (ALICE, BOB):
        fair.train(account, name_of(account), GOOD)
    opened = fair.open()
    for account in (ALICE, BOB):
        fair.submit(account, name_of(account))
    fair.now_ms = opened.data[1] + WAIT_MS - 2
    assert fair.advance().code == "too_early"
    assert list(fair.advance().data) == ["not_won", 0, None]
    assert [fair.gain(each) for each in (HOST, ALICE, BOB)] == [2 * STAKE, -STAKE, -STAKE]
    assert fair.show(0).code == "nothing_revealed"


@pytest.mark.parametrize("shown", [0, 2])
def test_organiser_that_does_not_show_everything_loses_the_bounty(shown: int) -> None:
    fair = Fair()
    for account in (ALICE, BOB, CAROL):
        fair.train(account, name_of(account), BAD)
    opened = fair.open(offer=Offer("accuracy", 500_000, 1_001, STAKE))
    for account in (CAROL, ALICE, BOB):
        fair.submit(account, name_of(account))
    fair.wait(LENGTH_MS)
    for account in (ALICE, BOB):
        fair.reveal(account, name_of(account))
    fair.now_ms = opened.data[1] + WAIT_MS
    for piece in range(shown):
        fair.show(piece)
    fair.now_ms = opened.data[1] + 2 * WAIT_MS - 2
    assert fair.advance().code == "too_early"
    assert fair.show(shown, after_ms=1).code == "too_late"
    assert list(fair.advance().data) == ["not_shown", 0, None]
    gains = [fair.gain(each) for each in (HOST, ALICE, BOB, CAROL)]
    assert gains == [-1_001, 501, 500, 0]
    assert fair.advance().code == "exchange_closed"


def test_test_set_is_shown_as_soon_as_all_models_are_opened() -> None:
    fair = hold_fair({ALICE: GOOD, BOB: BAD})
    assert fair.now_ms < fair.chain.network.genesis.timestamp_ms + LENGTH_MS + WAIT_MS
    assert fair.advance().data[0] == "won"


@pytest.mark.parametrize("items", [1, 2, 5])
def test_judging_in_many_blocks_comes_to_the_same_as_in_one(items: int) -> None:
    models = {ALICE: MIDDLING, BOB: GOOD, CAROL: BAD}
    at_once, bit_by_bit = hold_fair(models), hold_fair(models)
    assert at_once.advance().data[1] == 9
    judged = 0
    while not bit_by_bit.progress.is_closed:
        receipt = bit_by_bit.advance(items)
        assert receipt.code == "ok"
        assert receipt.data[1] <= items
        judged += receipt.data[1]
        # A node that starts anew in between goes on where the state says.
        bit_by_bit.chain.store.forget_cached()
    assert judged == 9
    assert bit_by_bit.progress == at_once.progress
    for account in models:
        assert bit_by_bit.submission(account) == at_once.submission(account)
        assert bit_by_bit.gain(account) == at_once.gain(account)


def test_block_without_room_for_a_model_judges_those_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fair = hold_fair({ALICE: MIDDLING, BOB: GOOD})
    size = 8 * 6
    monkeypatch.setattr(execution, "MODEL_BYTES_MAX", size - 1)
    assert fair.advance().code == "models_full"
    assert fair.progress.entry == 0
    monkeypatch.setattr(execution, "MODEL_BYTES_MAX", size)
    assert list(fair.advance().data) == ["judging", 3, None]
    assert list(fair.advance().data) == ["won", 3, BOB.id]


def test_model_that_a_lower_quota_shuts_out_is_set_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fair = hold_fair({ALICE: GOOD, BOB: MIDDLING})
    fair.advance(1)
    monkeypatch.setattr(exchange_settlement, "compute_item_budget", lambda _parameters: 0)
    assert list(fair.advance(1).data) == ["not_won", 0, None]
    assert fair.submission(ALICE).standing_name == "set_aside"
    assert [fair.gain(each) for each in (HOST, ALICE, BOB)] == [0, 0, 0]


def test_items_are_metered_one_by_one_and_loading_once() -> None:
    fair = hold_fair({ALICE: GOOD, BOB: BAD})
    fair.open(name="empty-cup")
    idle = fair.advance(1_000).compute_units
    fair.terms = TERMS
    units = [fair.advance(items).compute_units for items in (1, 2, 3)]
    item, loading = compute_item_units(TERMS, SPEC), compute_loading_units(SPEC)
    # The name and the number of items take some bytes more or less.
    bases = [units[0] - item - loading, units[1] - 2 * item - loading]
    assert bases[0] == bases[1] == units[2] - 3 * item - loading
    assert abs(bases[0] - idle - 2 * UNITS_PER_SETTLED) < 200
    assert abs(fair.advance().compute_units - idle) < 200


def test_money_is_never_stuck_under_the_lowest_limits() -> None:
    for lowest in (
        Parameters(compute_units_per_block_max=2_000_000),
        Parameters(compute_units_per_account_max=2_000_000),
    ):
        assert compute_item_budget(lowest) == 850_000
        assert compute_settling_units(lowest, SUBMISSIONS_MAX) == 1_000_000
    assert compute_settling_units(Parameters(), SUBMISSIONS_MAX) == 12_800_000


def test_plan_skips_the_sealed_and_sets_the_large_aside() -> None:
    entries = (
        ExchangeEntry(ALICE.id),
        ExchangeEntry(BOB.id, 5, 2),
        ExchangeEntry(CAROL.id, 50, 2),
        ExchangeEntry(DAVE.id, 5, 1),
        ExchangeEntry(HOST.id),
    )
    progress = ExchangeProgress(STATUSES.index("judging"), None, entries, 1, 2)
    plan = plan_judging(progress, pieces=4, items=5, budget=20)
    assert plan.spans == (Span(1, 2, 2), Span(2, 0, 0), Span(3, 0, 3))
    assert plan.units == 2 + 2 * 5 + 1 + 3 * 5
    assert plan_judging(progress, pieces=4, items=1, budget=20).spans == (Span(1, 2, 1),)
    assert plan_judging(progress, pieces=4, items=2, budget=20).spans[-1] == Span(1, 2, 2)


def test_replay_from_stored_payloads_reaches_the_same_roots() -> None:
    fair = hold_fair({ALICE: GOOD, BOB: BAD})
    fair.advance(2)
    fair.advance()
    store = fair.chain.store
    replay = Chain(make_network(accounts=5, balance=1_000_000), payloads=fair.chain.payloads)
    for height in range(1, store.tip().height + 1):
        header, transactions = store.block(height)
        block = replay.executor.execute(header, transactions)
        assert block.state_root == store.stored_block(height).state_root
        replay.finalize(block)


def test_free_exchange_moves_the_bounty_alone() -> None:
    fair = hold_fair({ALICE: GOOD, BOB: BAD}, offer=Offer("accuracy", 0, 1, 0))
    assert fair.gain(BOB) == 0
    fair.advance()
    assert [fair.gain(each) for each in (HOST, ALICE, BOB)] == [-1, 1, 0]
