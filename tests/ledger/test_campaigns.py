"""Campaigns from their opening to what the model learns, through the executor."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incentives.accounting import verify_settlement
from incentives.valuation import Settlement
from incentives.valuation_registry import VALUATION_RULES, get_valuation_rule
from ledger.block_models import BlockModels
from ledger.campaign_costs import compute_advance_units
from ledger.campaign_payments import pay_settlement
from ledger.campaign_records import Campaign
from ledger.contribution_records import contribution_key, decode_contribution
from ledger.execution import BlockExecution
from ledger.model_tensors import ORIGINS
from ledger.parameters import Parameters
from ledger.schema import CHAIN_SUPPLY, decode_supply
from ledger.snapshot_export import iterate_payload_ids
from ledger.state import BlockState
from ml_runtime.fixed_point import ONE
from ml_runtime.spec import make_spec
from primitives.errors import InvariantViolationError
from tests.helpers.campaigns import (
    BAD,
    GOOD,
    HIGH,
    LENGTH_MS,
    LOW,
    MIDDLE,
    MODEL,
    PIECE,
    WAIT_MS,
    CampaignWorld,
    has_fingerprints,
)
from tests.helpers.ledger import make_header

RULES = [rule.name for rule in VALUATION_RULES]
START = 1_000_000


def paid_for(campaign: Campaign) -> list[int]:
    return [outcome.payout for outcome in campaign.outcomes]


def test_campaign_passes_through_its_phases() -> None:
    world = CampaignWorld()
    opened = world.open()
    assert (opened.code, list(opened.data)) == ("ok", [0, 4])
    campaign = world.campaign
    assert (campaign.phase, campaign.held, campaign.provider) == ("draw", 1_000, world.owner.id)
    assert world.balance(world.owner) == START - 1_000
    drawn = world.wait_for_draw()
    assert list(world.show_drawn().data) == [0, "participation", 4]
    assert (world.campaign.drawn, len(world.campaign.scoring_pieces)) == (drawn, 3)
    assert list(world.contribute(world.alice, *GOOD).data) == [0, 0, 10, 1, 2, 0]
    assert world.balance(world.alice) == START - 10
    assert list(world.advance(after_ms=LENGTH_MS).data) == [0, "reveal", 0]
    hidden = [piece for piece in range(4) if piece != drawn]
    for piece in hidden[:-1]:
        assert world.show(piece).data[1] == "reveal"
    assert world.show(hidden[-1]).data[1] == "evaluation"
    # Start, base on three pieces, train, three pieces again, find nothing more, settle.
    assert list(world.advance().data) == [0, "settled", 10]
    assert world.campaign.samples == 12


def test_contribution_is_judged_and_not_learnt_until_the_campaign_is_settled() -> None:
    world = CampaignWorld()
    world.collect((world.alice, GOOD))
    progress = world.progress
    assert (progress.contributions, progress.judged, progress.correct) == (1, 2, 1)
    assert (progress.samples, world.version(1)) == (0, None)
    record = world.chain.store.read(contribution_key(MODEL, 0), decode_contribution)
    assert record is not None
    assert (record.book.held, record.book.open_samples, record.by_class) == (
        0,
        0,
        ((0, 1, 1), (1, 1, 0)),
    )
    world.evaluate()
    version = world.version(1)
    assert version is not None
    assert (ORIGINS[version.origin], version.contributions, version.samples) == ("settled", 1, 2)
    assert (world.progress.samples, world.progress.valid) == (2, 2)
    assert world.progress.last_update_ms == world.now_ms
    assert not world.has_scratch


def test_market_pays_who_helped_out_of_who_harmed() -> None:
    """Alice brings the count from 6 to 12, Bob from 12 to 0: he runs out after 10/12 of N."""
    world = CampaignWorld("market_single", pieces=[PIECE] * 4)
    world.collect((world.alice, GOOD), (world.bob, BAD), reset=True)
    world.evaluate()
    assert world.measures == ((6, 12, 0), (12,))
    campaign = world.campaign
    # First pass: r = 10, +5 for Alice. Second: 990 rounds at 6/12.
    assert [each.value for each in campaign.outcomes] == [5 + 495, -10]
    assert paid_for(campaign) == [510, 0]
    assert [each.kept for each in campaign.outcomes] == [True, False]
    assert campaign.returned == 1_020 - 510
    assert world.balance(world.alice) == START + 500
    assert world.balance(world.bob) == START - 10
    assert world.balance(world.owner) == START - 490
    assert world.karma(world.alice) == (2, 2)
    assert world.progress.samples == 2


@pytest.mark.parametrize(
    ("rule", "reset", "measures", "payouts"),
    [
        ("market_single", False, ((6, 12, 0, 12),), [346, 0, 683]),
        ("market_single", True, ((6, 12, 0, 12), (12, 12)), [510, 0, 20]),
        ("market_grouped", False, ((6, 12, 0, 12),), [515, 0, 515]),
        ("market_grouped", True, ((6, 12, 0, 12), (12,)), [265, 0, 265]),
    ],
)
def test_markets_single_or_grouped_with_scores_taken_anew_or_not(
    rule: str, reset: bool, measures, payouts: list[int]
) -> None:
    """Where scores are reused, who repairs what was broken is paid for it again in every round."""
    world = CampaignWorld(rule)
    contributions = ((world.alice, GOOD), (world.bob, BAD), (world.alice, GOOD))
    world.collect(*contributions, reset=reset)
    world.evaluate()
    assert world.measures == measures
    assert paid_for(world.campaign) == payouts


def test_breaking_and_repairing_under_two_names_pays_only_where_scores_are_reused() -> None:
    gains = {}
    for reset in (False, True):
        world = CampaignWorld("market_grouped")
        mallory, again = world.bob, world.carol
        world.collect(
            (world.alice, GOOD), (mallory, BAD), (again, GOOD), (world.alice, GOOD), reset=reset
        )
        world.evaluate()
        gains[reset] = sum(world.balance(each) for each in (mallory, again)) - 2 * START
    assert gains == {False: 663, True: 0}


def test_contribution_pay_by_exact_shapley_values() -> None:
    world = CampaignWorld("shapley")
    world.collect((world.alice, GOOD), (world.bob, BAD), stake=0)
    world.evaluate()
    assert world.measures == ((6,), (12,), (0,), (0,))
    values = [each.value for each in world.campaign.outcomes]
    assert values == [3, -9]
    assert sum(values) == 0 - 6
    assert paid_for(world.campaign) == [1_000, 0]
    assert world.karma(world.alice) == (2, 2)
    assert world.karma(world.bob) == (0, 0)


def test_loss_is_a_metric_of_contribution_pay() -> None:
    world = CampaignWorld("leave_one_out", pieces=[PIECE] * 2)
    world.collect((world.alice, GOOD), (world.bob, BAD), metric="loss")
    world.evaluate()
    (everybody,), (without_alice,), (without_bob,) = world.measures
    assert max(everybody, without_alice, without_bob) <= 0
    assert [each.value for each in world.campaign.outcomes] == [
        everybody - without_alice,
        everybody - without_bob,
    ]


def test_numbers_are_valued_by_contribution_pay() -> None:
    spec = make_spec("linear_regression", "dense", 2, 0)
    features, numbers = [LOW, HIGH], [0, 8 * ONE]
    piece = (features, numbers)
    world = CampaignWorld("shapley", spec=spec, pieces=[piece] * 2, targets="values")
    assert world.open(metric="loss", contributions_max=1).code == "ok"
    assert world.show_drawn().code == "ok"
    assert world.contribute(world.alice, features * 20, numbers * 20, kind="values").code == "ok"
    world.show_rest()
    world.evaluate()
    (before,), (after,) = world.measures
    assert before < after <= 0
    assert world.campaign.outcomes[0].payout == 1_010
    labels = CampaignWorld("shapley", spec=spec, pieces=[piece] * 2)
    labels.open(metric="loss")
    assert labels.show_drawn().code == "wrong_targets"


def test_many_contributors_are_valued_by_walks() -> None:
    world = CampaignWorld("shapley", pieces=[PIECE] * 2)
    makers = (world.alice, world.bob, world.carol, *world.others)
    assert len(makers) == 11
    world.collect(*((maker, GOOD) for maker in makers), budget=2, truncation=1)
    world.evaluate()
    # Base, everybody, and four walks that end once the first has taught everything.
    assert [len(each) for each in world.measures] == [1, 1, 1, 1, 1, 1]
    values = [each.value for each in world.campaign.outcomes]
    assert sum(values) == 2
    assert sum(paid_for(world.campaign)) == 1_000 + 110
    assert world.progress.samples == 22


def test_karma_falls_with_harm_in_a_later_campaign_and_not_below_nothing() -> None:
    world = CampaignWorld("shapley")
    world.collect((world.alice, GOOD), (world.bob, GOOD))
    world.evaluate()
    assert world.karma(world.bob) == (2, 2)
    world.collect((world.bob, ([LOW, HIGH] * 9, [1, 0] * 9)))
    world.evaluate()
    assert (world.campaign.number, world.measures) == (1, ((12,), (0,)))
    assert world.karma(world.bob) == (0, 2)
    assert world.karma(world.alice) == (2, 2)


def test_sponsor_gets_the_stake_back_and_the_contributor_the_gain() -> None:
    world = CampaignWorld()
    world.open()
    world.show_drawn()
    assert world.contribute(world.alice, *GOOD, sponsor=world.bob).code == "ok"
    assert world.balance(world.bob) == START - 10
    world.advance(after_ms=LENGTH_MS)
    world.show_rest()
    world.evaluate()
    assert world.balance(world.bob) == START
    assert world.balance(world.alice) == START + 500


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("items", [1, 2, 7])
def test_interrupted_evaluation_comes_to_the_same(rule: str, items: int) -> None:
    found = []
    for step in (256, items):
        world = CampaignWorld(rule, pieces=[PIECE, GOOD, PIECE])
        contributions = ((world.alice, GOOD), (world.bob, BAD), (world.carol, GOOD))
        world.collect(*contributions, (world.alice, BAD), reset=rule.startswith("market"))
        receipts = world.evaluate(step, crashes=step == items)
        assert len(receipts) == 1 or step == items
        version = world.version(1)
        found.append(
            (
                world.campaign.outcomes,
                world.campaign.returned,
                world.campaign.evaluation,
                world.measures,
                world.arrays(),
                None if version is None else version.digest,
                world.chain.balances(),
                world.karma(world.alice),
                world.karma(world.bob),
                sum(receipt.data[2] for receipt in receipts),
            )
        )
    assert found[0] == found[1]


@pytest.mark.parametrize("rule", RULES)
def test_items_never_cost_more_than_was_metered_before(rule: str) -> None:
    spec = make_spec("nearest_centroid", "dense", 2, 2)
    world = CampaignWorld(rule)
    world.collect((world.alice, GOOD), (world.bob, BAD), (world.alice, GOOD))
    before = world.campaign
    nothing = compute_advance_units(spec, before, 0)
    costs = []
    while world.campaign.is_open:
        costs.append(compute_advance_units(spec, world.campaign, 1) - nothing)
        world.advance(1)
    for items in range(1, len(costs) + 1):
        assert compute_advance_units(spec, before, items) - nothing >= sum(costs[:items])


def test_everybody_can_compute_the_settlement_from_what_is_on_record() -> None:
    world = CampaignWorld("market_grouped")
    world.collect((world.alice, GOOD), (world.bob, BAD), reset=True)
    world.evaluate()
    campaign = world.campaign
    rule = get_valuation_rule(campaign.terms.rule)
    settlement = rule.settle(campaign.to_case(), world.measures)
    verify_settlement(campaign.held, (*settlement.payouts, settlement.returned))
    assert list(settlement.payouts) == paid_for(campaign)


def test_participation_ends_with_enough_contributions() -> None:
    world = CampaignWorld()
    world.open(min_contributions=2, contributions_max=3)
    world.show_drawn()
    world.contribute(world.alice, *GOOD)
    assert world.advance().code == "not_due"
    world.contribute(world.bob, *GOOD)
    assert world.advance().data[1] == "reveal"
    full = CampaignWorld()
    full.collect((full.alice, GOOD), contributions_max=1)
    assert len(full.campaign.entries) == 1


def test_model_learns_what_was_kept_from_where_the_evaluation_stands() -> None:
    """The last chain, of everybody but Bob, has taught the first of the two that are kept."""
    world = CampaignWorld("leave_one_out")
    world.collect((world.alice, GOOD), (world.bob, GOOD))
    receipts = world.evaluate(1)
    assert [receipt.data[1] for receipt in receipts[-3:]] == ["evaluation", "learning", "settled"]
    assert world.campaign.evaluation.learnt == (0, 1)
    again = CampaignWorld("shapley")
    again.collect((again.alice, GOOD), (again.bob, GOOD))
    again.evaluate()
    assert world.arrays() == again.arrays()


def test_model_stays_as_it_is_if_nothing_is_kept() -> None:
    world = CampaignWorld("market_single")
    world.collect((world.alice, ([LOW, HIGH], [1, 0])))
    world.evaluate()
    assert world.measures == ((6, 0),)
    assert (world.version(1), world.progress.samples) == (None, 0)
    assert paid_for(world.campaign) == [0]
    assert world.campaign.returned == 1_010


def test_snapshots_carry_the_pieces_that_were_shown() -> None:
    world = CampaignWorld()
    world.collect((world.alice, GOOD))
    height = world.chain.store.tip().height
    ids = list(iterate_payload_ids(world.chain.values, height))
    shown = [piece.transaction_id for piece in world.campaign.pieces.pieces]
    assert set(shown) <= set(ids)
    assert world.campaign.entries[0].transaction_id in ids


def test_copycat_earns_nothing_in_a_market_and_half_by_shapley() -> None:
    shares = {}
    for rule in ("market_single", "shapley"):
        world = CampaignWorld(rule)
        world.collect((world.alice, GOOD), (world.bob, GOOD))
        world.evaluate()
        shares[rule] = [each.payout - 10 for each in world.campaign.outcomes]
    assert shares == {"market_single": [500, 0], "shapley": [500, 500]}


def test_value_of_an_outcome_is_exact() -> None:
    world = CampaignWorld("market_single", pieces=[([LOW, MIDDLE, HIGH], [0, 0, 1])] * 8)
    world.collect((world.alice, GOOD), (world.bob, BAD), (world.alice, GOOD))
    world.evaluate()
    values = [each.value for each in world.campaign.outcomes]
    assert values[1] == -10
    assert any(value.denominator > 1 for value in values)
    assert all(isinstance(value, Fraction) for value in values)


@settings(max_examples=12)
@given(st.data())
def test_money_adds_up_whatever_anybody_tries(data: st.DataObject) -> None:
    """Everything in any order and at any time: held is always what the open campaign promises."""
    rule = data.draw(st.sampled_from(RULES))
    world = CampaignWorld(rule, pieces=[PIECE] * 2)
    senders = st.sampled_from([world.owner, world.alice, world.bob])
    world.open(reset=rule.startswith("market") and data.draw(st.booleans()), contributions_max=3)
    for _ in range(data.draw(st.integers(5, 25))):
        sender = data.draw(senders)
        match data.draw(st.integers(0, 6)):
            case 0:
                world.open(sender)
            case 1 if world.campaign.phase == "draw":
                world.wait_for_draw()
            case 2:
                world.show_drawn()
            case 3:
                world.show(data.draw(st.integers(0, 1)), sender=sender)
            case 4:
                samples = data.draw(st.sampled_from([GOOD, BAD]))
                world.contribute(sender, *samples, verbatim=data.draw(st.booleans()))
            case 5:
                world.advance(data.draw(st.integers(1, 9)), sender=sender)
            case _:
                world.advance(after_ms=data.draw(st.sampled_from([WAIT_MS, LENGTH_MS])))
        campaign = world.campaign
        supply = world.chain.store.read(CHAIN_SUPPLY, decode_supply)
        assert supply is not None
        is_paid = not campaign.is_open or campaign.phase == "learning"
        assert supply.held == (0 if is_paid else campaign.held)
        paid = sum(each.payout for each in campaign.outcomes) + campaign.returned + campaign.burnt
        assert paid == (campaign.held if is_paid else 0)
        works = campaign.phase in ("evaluation", "learning")
        is_begun = campaign.evaluation.chain is not None or bool(world.measures)
        assert world.has_scratch is (works and is_begun)
        assert has_fingerprints(world) is (bool(campaign.entries) and not is_paid)


def test_paying_a_contribution_that_is_not_on_record_stops_the_node() -> None:
    world = CampaignWorld()
    world.open()
    world.show_drawn()
    world.contribute(world.alice, *GOOD)
    settlement = Settlement((1_010,), (Fraction(1),), (True,), 0)
    campaign = replace(world.campaign, entries=(replace(world.campaign.entries[0], sequence=9),))
    store = world.chain.store
    models = BlockModels([], store.load_model_state, store.read_chunk)
    state = BlockState([], store.tip_state)
    header = make_header(world.chain.network, world.chain.tip_header)
    context = BlockExecution(header, Parameters(), state, models, lambda _: None)
    with pytest.raises(InvariantViolationError, match="no contribution 9"):
        pay_settlement(context, MODEL, campaign, settlement)
