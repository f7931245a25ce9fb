"""Every code with which campaigns refuse, every way in which they end without a settlement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from incentives.terms import Terms
from incentives.valuation import Chain
from ledger import campaign_work
from ledger.admission import check_stateless
from ledger.campaign_costs import (
    compute_advance_units,
    compute_batch_units,
    compute_start_units,
)
from ledger.campaign_evaluation import (
    CampaignScratch,
    Evaluation,
    Item,
    decode_measure_log,
    decode_scratch,
    read_evaluation,
)
from ledger.campaign_records import CampaignCount, decode_campaign_count, read_campaign_terms
from ledger.hidden_pieces import commit_to_seed
from ledger.model_policies import GROWTH_POLICIES, ModelPolicies
from ledger.model_records import decode_model, model_key
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.transactions.campaigns import SHOW_PIECE, AdvanceCampaign, OpenCampaign, ShowPiece
from ledger.transactions.contributions import Claim, Judgement
from ledger.transactions.model_parameters import FinishUpload
from ledger.transactions.model_versions import ExtendModel, RevertModel
from ml_runtime.spec import make_spec
from primitives.codec import encode
from primitives.errors import CorruptStateError, InvalidInputError, InvariantViolationError
from tests.helpers.campaigns import (
    BAD,
    GOOD,
    LENGTH_MS,
    LOW,
    MODEL,
    PIECE,
    SEED,
    WAIT_MS,
    CampaignWorld,
    encode_samples,
    make_terms,
)
from tests.helpers.ledger import make_network, make_salt, make_transaction

START = 1_000_000
DAYS = 3_650 * 24 * 3_600_000
PIECES = (b"\x01" * 32, b"\x02" * 32)


def admit(body: list[Any], kind: str = "open_campaign", payload: Payload | None = None) -> str:
    """Return the code with which a transaction is refused before any block, or ok."""
    network = make_network()
    transaction = make_transaction(network, network.accounts[0], kind, body, payload=payload)
    try:
        check_stateless(transaction, network.chain_id, network.genesis.parameters, 0)
    except InvalidInputError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize(
    ("rule", "changes", "code"),
    [
        ("market_single", {}, "ok"),
        ("shapley", {"metric": "loss", "stake": 0, "budget": 64, "truncation": 5}, "ok"),
        ("lottery", {}, "invalid_campaign"),
        ("market_single", {"stake": 0}, "invalid_campaign"),
        ("market_single", {"metric": "loss"}, "invalid_campaign"),
        ("market_grouped", {"clip_percent": 50}, "invalid_campaign"),
        ("shapley", {"metric": "beauty"}, "invalid_campaign"),
        ("shapley", {"reset": True}, "invalid_campaign"),
        ("leave_one_out", {"budget": 2}, "invalid_campaign"),
        (
            "shapley",
            {"min_contributions": 3, "contributions_max": 2},
            "invalid_campaign",
        ),
        ("shapley", {"length_ms": DAYS + 1}, "invalid_campaign"),
        ("shapley", {"reveal_wait_ms": DAYS + 1}, "invalid_campaign"),
        ("shapley", {"reveal_wait_ms": 59_999}, "out_of_range"),
        ("shapley", {"bounty": 0}, "out_of_range"),
        ("shapley", {"budget": 65}, "out_of_range"),
        ("shapley", {"contributions_max": 257}, "out_of_range"),
        ("shapley", {"clip_percent": 0}, "out_of_range"),
    ],
)
def test_terms_that_cannot_be_are_refused_before_a_block(
    rule: str, changes: dict[str, Any], code: str
) -> None:
    body = OpenCampaign(MODEL, make_terms(rule, **changes), bytes(32), PIECES)
    assert admit(body.to_fields()) == code


def test_bodies_out_of_form_are_refused_before_a_block() -> None:
    one = OpenCampaign(MODEL, make_terms(), bytes(32), PIECES[:1])
    assert admit(one.to_fields()) == "malformed"
    assert admit(AdvanceCampaign(MODEL, 0).to_fields(), "advance_campaign") == "out_of_range"
    assert admit(AdvanceCampaign(MODEL, 1_024).to_fields(), "advance_campaign") == "ok"
    payload = Payload(make_salt(1), encode_samples(*PIECE))
    assert admit(ShowPiece(MODEL, 0, b"short").to_fields(), "show_piece", payload) == "malformed"
    assert admit(ShowPiece(MODEL, 0, SEED).to_fields(), "show_piece", payload) == "ok"
    junk = Payload(make_salt(1), b"junk")
    assert admit(ShowPiece(MODEL, 0).to_fields(), "show_piece", junk) == "malformed_payload"


def test_piece_is_not_checked_without_its_payload() -> None:
    network = make_network()
    body = ShowPiece(MODEL, 0)
    transaction = make_transaction(network, network.accounts[0], "show_piece", body.to_fields())
    with pytest.raises(InvariantViolationError, match="without its payload"):
        SHOW_PIECE.check(transaction, body, Parameters())


def test_only_the_owner_opens_and_one_at_a_time() -> None:
    world = CampaignWorld()
    assert world.open(world.alice).code == "not_owner"
    assert world.open(bounty=START + 1).code == "insufficient_balance"
    assert world.open().code == "ok"
    assert world.open().code == "campaign_open"
    assert world.balance(world.owner) == START - 1_000


@pytest.mark.parametrize(
    ("world", "changes", "code"),
    [
        (lambda: CampaignWorld("market_single", mechanism="contribution_pay"), {}, "wrong_rule"),
        (lambda: CampaignWorld("shapley", mechanism="points"), {}, "wrong_rule"),
        (
            lambda: CampaignWorld(spec=make_spec("linear_regression", "dense", 2, 0)),
            {},
            "unsupported",
        ),
        (
            lambda: CampaignWorld(
                "shapley", spec=make_spec("external_tensors", "dense", 1, 0, tensors={"a": (8,)})
            ),
            {},
            "unsupported",
        ),
        (
            lambda: CampaignWorld(spec=make_spec("nearest_centroid", "dense", 1 << 18, 2)),
            {},
            "model_too_large",
        ),
        (
            lambda: CampaignWorld(
                spec=make_spec("nearest_centroid", "dense", 1 << 15, 2),
                parameters=Parameters(compute_units_per_account_max=2_000_000),
            ),
            {},
            "evaluation_too_large",
        ),
    ],
)
def test_model_that_cannot_have_such_a_campaign(world, changes: dict[str, Any], code: str) -> None:
    assert world().open(**changes).code == code


def test_transactions_without_a_model_or_a_campaign_fail() -> None:
    world = CampaignWorld()
    assert world.show(0).code == "no_campaign"
    assert world.advance().code == "no_campaign"
    assert world.contribute(world.alice, *GOOD).code == "no_campaign"
    for kind, body, payload in (
        (
            "open_campaign",
            OpenCampaign("none", make_terms(), commit_to_seed(SEED), PIECES),
            None,
        ),
        ("show_piece", ShowPiece("none", 0), world.pieces[0]),
        ("advance_campaign", AdvanceCampaign("none", 1), None),
    ):
        receipt = world.send(world.owner, kind, body.to_fields(), payload)
        assert receipt.code == "unknown_model"


def test_drawn_piece_alone_is_shown_first() -> None:
    world = CampaignWorld()
    world.open()
    assert world.show(0, SEED).code == "not_drawn"
    drawn = world.wait_for_draw()
    other = (drawn + 1) % 4
    assert world.show(drawn, SEED, sender=world.alice).code == "not_owner"
    assert world.show(drawn, b"\x06" * 32).code == "wrong_seed"
    assert world.show(drawn).code == "wrong_seed"
    assert world.show(other, SEED).code == "wrong_piece"
    assert world.show(drawn, SEED, payload=world.pieces[other]).code == "wrong_commitment"
    assert world.contribute(world.alice, *GOOD).code == "no_campaign"
    assert world.show(drawn, SEED).code == "ok"
    assert world.show(other).code == "wrong_phase"


def test_other_pieces_are_shown_in_their_order() -> None:
    world = CampaignWorld()
    world.open(contributions_max=1)
    world.show_drawn()
    world.contribute(world.alice, *GOOD)
    first, second, _ = world.campaign.scoring_pieces
    assert world.show(second).code == "wrong_piece"
    assert world.show(world.campaign.drawn or 0).code == "wrong_piece"
    assert world.show(first, SEED).code == "wrong_seed"
    assert world.show(first, payload=world.pieces[second]).code == "wrong_commitment"
    assert world.contribute(world.bob, *GOOD).code == "no_campaign"
    assert world.show(first).code == "ok"


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        (([[0]], [0]), "wrong_feature_count"),
        (([LOW], [7]), "unknown_class"),
        (([[9 << 16, 0]], [0]), "feature_out_of_range"),
    ],
)
def test_piece_must_suit_the_model(piece: Any, code: str) -> None:
    world = CampaignWorld(pieces=[piece] * 2)
    world.open()
    assert world.show_drawn().code == code


def test_contribution_that_does_not_fit_is_refused() -> None:
    world = CampaignWorld(groups=("north",))
    world.open()
    world.show_drawn()
    assert world.contribute(world.alice, *GOOD, max_deposit=9).code == "insufficient_deposit"
    poor = world.others[0]
    world.send(poor, "transfer", [world.alice.id, START - 5])
    assert world.contribute(poor, *GOOD).code == "insufficient_balance"
    assert world.contribute(world.alice, [LOW], [2]).code == "unknown_class"
    assert world.contribute(world.alice, [LOW], [0], kind="values").code == "wrong_targets"
    groups = {"groups": np.array([1], dtype=np.int64)}
    assert world.contribute(world.alice, [LOW], [0], **groups).code == "unknown_group"
    groups = {"groups": np.array([0], dtype=np.int64)}
    assert world.contribute(world.alice, [LOW], [0], max_deposit=10, **groups).code == "ok"
    assert len(world.campaign.entries) == 1


def test_contributions_stop_before_their_valuation_would_not_fit_into_a_transaction() -> None:
    world = CampaignWorld(parameters=Parameters(2**20, compute_units_per_account_max=2_000_000))
    assert world.open().code == "evaluation_too_large"
    assert world.open(contributions_max=60).code == "ok"
    world.show_drawn()
    codes = [world.contribute(world.alice, *GOOD).code for _ in range(60)]
    assert set(codes) == {"ok", "evaluation_too_large"}
    # None gets in after the first that did not.
    assert codes == sorted(codes, reverse=True)
    assert len(world.campaign.entries) == codes.count("ok")


def test_piece_that_could_not_be_measured_is_refused() -> None:
    spec = make_spec("multilayer_perceptron", "dense", 100, 2, {"hidden1": 100})
    piece = ([[0] * 100] * 60, [0] * 60)
    world = CampaignWorld(
        "shapley",
        spec=spec,
        pieces=[piece] * 2,
        parameters=Parameters(unfinal_blocks_max=2, compute_units_per_account_max=2_500_000),
    )
    assert world.open(contributions_max=1).code == "ok"
    assert world.show_drawn().code == "evaluation_too_large"


def test_nothing_is_due_before_its_time() -> None:
    world = CampaignWorld()
    world.open()
    assert world.advance(after_ms=10 * WAIT_MS).code == "not_due"
    world.wait_for_draw()
    assert world.advance(after_ms=WAIT_MS - 1).code == "not_due"
    world.show_drawn()


def test_provider_that_withholds_the_drawn_piece_loses_a_tenth() -> None:
    world = CampaignWorld()
    world.open(bounty=1_005)
    drawn = world.wait_for_draw()
    assert world.show(drawn, SEED, after_ms=WAIT_MS).code == "too_late"
    assert list(world.advance().data) == [0, "withheld", 0]
    campaign = world.campaign
    assert (campaign.returned, campaign.burnt, campaign.is_open) == (905, 100, False)
    assert world.balance(world.owner) == START - 100
    assert world.open().data[0] == 1


def test_provider_that_keeps_pieces_back_loses_the_bounty_to_those_who_took_part() -> None:
    world = CampaignWorld()
    world.open(bounty=1_000, contributions_max=3)
    world.show_drawn()
    for sender in (world.alice, world.bob, world.alice):
        assert world.contribute(sender, *GOOD).code == "ok"
    first = world.campaign.scoring_pieces[0]
    assert world.show(first).code == "ok"
    assert world.advance().code == "not_due"
    assert world.show(world.campaign.scoring_pieces[1], after_ms=WAIT_MS).code == "too_late"
    assert list(world.advance().data) == [0, "not_revealed", 0]
    assert [each.payout for each in world.campaign.outcomes] == [344, 343, 343]
    assert world.balance(world.alice) == START + 334 + 333
    assert world.balance(world.bob) == START + 333
    assert world.balance(world.owner) == START - 1_000
    assert (world.progress.samples, world.version(1)) == (0, None)


def test_campaign_to_which_nobody_came_returns_its_bounty() -> None:
    world = CampaignWorld()
    world.open()
    world.show_drawn()
    assert world.advance().code == "not_due"
    assert list(world.advance(after_ms=LENGTH_MS).data) == [0, "empty", 0]
    assert world.balance(world.owner) == START
    assert world.campaign.returned == 1_000


def test_nothing_else_changes_the_model_while_a_campaign_is_open() -> None:
    growing = ModelPolicies(growth=GROWTH_POLICIES.index("owner"))
    world = CampaignWorld(policies=growing)
    world.open()
    changes = (
        ("extend_model", ExtendModel(MODEL, ("third",), 2)),
        ("revert_model", RevertModel(MODEL, 0)),
        ("finish_upload", FinishUpload(MODEL)),
    )
    for kind, body in changes:
        assert world.send(world.owner, kind, body.to_fields()).code == "campaign_open"
    world.show_drawn()
    world.advance(after_ms=LENGTH_MS)
    assert world.campaign.phase == "empty"
    assert world.send(world.owner, "extend_model", changes[0][1].to_fields()).code == "ok"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("refund", Judgement(MODEL, 0)),
        ("report", Judgement(MODEL, 0)),
        ("claim", Claim(MODEL, 0)),
    ],
)
def test_what_a_campaign_collected_is_not_refunded_reported_or_claimed(kind: str, body) -> None:
    world = CampaignWorld()
    world.collect((world.alice, GOOD))
    sender = world.bob if kind == "report" else world.alice
    assert world.send(sender, kind, body.to_fields()).code == "settled_by_campaign"


def test_models_of_other_mechanisms_learn_at_once() -> None:
    world = CampaignWorld("shapley", mechanism="points", terms=Terms("points", 0, 0, 0, 0))
    assert world.contribute(world.alice, *GOOD).code == "ok"
    assert world.progress.samples == 2


def test_items_beyond_what_is_certain_are_metered_as_the_dearest() -> None:
    """One in four is a start, since a chain is measured on three pieces; and one settles."""
    world = CampaignWorld("shapley")
    world.collect((world.alice, GOOD), (world.bob, BAD))
    spec = make_spec("nearest_centroid", "dense", 2, 2)
    dearest = compute_batch_units(spec, 4, 8)
    start = compute_start_units(spec, world.campaign)
    assert start > dearest

    def beyond(certain: int) -> list[int]:
        found = [compute_advance_units(spec, world.campaign, certain + items) for items in range(9)]
        return [each - found[0] for each in found]

    expected = [0]
    for items, starts in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (6, 3), (7, 3), (8, 3)):
        expected.append(items * dearest + starts * (start - dearest) + 2 * 100_000)
    assert beyond(1) == expected
    world.advance(2)
    # Two measures are left of the first chain.
    assert beyond(2) == expected
    certain = [compute_advance_units(spec, world.campaign, items) for items in range(3)]
    assert certain == [each * dearest + certain[0] for each in range(3)]


def test_settling_is_an_item_of_its_own_so_that_starts_do_not_pay_for_it() -> None:
    world = CampaignWorld("shapley")
    world.collect((world.alice, GOOD), (world.bob, BAD))
    spec = make_spec("nearest_centroid", "dense", 2, 2)
    nothing = compute_advance_units(spec, world.campaign, 0)
    start = compute_advance_units(spec, world.campaign, 1) - nothing
    while world.campaign.evaluation.chain != Chain(()):
        assert not world.campaign.outcomes
        assert world.advance(1).data[1] == "evaluation"
    settle = compute_advance_units(spec, world.campaign, 1) - nothing
    assert settle == start + 2 * 100_000
    assert world.advance(1).data[1] == "learning"


def test_learning_is_metered_to_its_end_and_no_further() -> None:
    world = CampaignWorld("market_single")
    world.collect((world.alice, GOOD), (world.bob, BAD), (world.carol, GOOD))
    spec = make_spec("nearest_centroid", "dense", 2, 2)
    while world.campaign.phase == "evaluation":
        world.advance(1)
    assert world.campaign.phase == "learning"
    two = compute_advance_units(spec, world.campaign, 2)
    assert compute_advance_units(spec, world.campaign, 1) < two
    assert compute_advance_units(spec, world.campaign, 1_000) == two
    assert list(world.advance(1_000).data) == [0, "settled", 2]


def test_scratch_that_is_lost_or_of_other_shapes_stops_the_node(monkeypatch) -> None:
    scratch = CampaignScratch.from_arrays({"a": np.arange(4, dtype=np.int64)})
    assert decode_scratch(scratch.encode()) == scratch
    assert scratch.to_arrays({"a": (2, 2)})["a"].tolist() == [[0, 1], [2, 3]]
    for shapes in ({"b": (4,)}, {"a": (5,)}):
        with pytest.raises(CorruptStateError, match="not of its model's shapes"):
            scratch.to_arrays(shapes)
    world = CampaignWorld()
    world.collect((world.alice, GOOD))
    world.advance(1)
    monkeypatch.setattr(campaign_work, "scratch_key", lambda _: b"nowhere")
    with pytest.raises(InvariantViolationError, match="lost its scratch"):
        world.advance(1)


def test_piece_that_was_not_shown_is_not_measured(monkeypatch) -> None:
    world = CampaignWorld()
    world.open(contributions_max=1)
    world.show_drawn()
    world.contribute(world.alice, *GOOD)
    campaign = world.campaign
    hidden = campaign.scoring_pieces[0]
    monkeypatch.setattr(Evaluation, "next_item", lambda *_: Item("measure", hidden))
    work = campaign_work.CampaignWork(_Nothing(), _model(world), campaign)
    with pytest.raises(InvariantViolationError, match="was not shown"):
        work.perform(1)


class _Nothing:
    """A context that nobody asks anything."""


def _model(world: CampaignWorld) -> Any:
    return world.chain.store.read(model_key(MODEL), decode_model)


@pytest.mark.parametrize(
    "decode",
    [
        decode_scratch,
        decode_measure_log,
        lambda data: read_evaluation([data] * 7),
        lambda data: read_campaign_terms([data]),
    ],
)
def test_records_out_of_form_are_refused(decode) -> None:
    with pytest.raises(InvalidInputError):
        decode(encode((["x"],)))


def test_count_of_campaigns_is_read_back() -> None:
    assert decode_campaign_count(CampaignCount(7).encode()) == CampaignCount(7)
