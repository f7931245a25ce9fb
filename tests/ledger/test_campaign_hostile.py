"""Campaigns under hostile use: lowered limits, everything in one block, the worst sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from incentives.valuation import Case, Chain, ValuationTerms
from incentives.valuation_registry import VALUATION_RULES
from ledger.campaign_costs import compute_due_units
from ledger.campaign_evaluation import Evaluation, MeasureLog, decode_measure_log
from ledger.campaign_records import METRICS, CampaignEntry, decode_campaign
from ledger.hidden_pieces import commit_to_seed
from ledger.parameters import Parameters, decode_parameters
from ledger.payload import Payload
from ledger.receipt import Receipt
from ledger.schema import CHAIN_PARAMETERS, CHAIN_SUPPLY, RECORD_BYTES_MAX, decode_supply
from ledger.transactions.campaigns import AdvanceCampaign, OpenCampaign, ShowPiece
from ledger.transactions.contributions import Contribute
from ml_runtime.family import ModelFamily
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import FAMILIES
from ml_runtime.samples import SparseSamples, encode_batch
from ml_runtime.spec import ModelSpec, make_spec
from primitives.errors import InvalidInputError
from tests.helpers.campaigns import (
    BAD,
    GOOD,
    HIGH,
    LENGTH_MS,
    LOW,
    MODEL,
    PIECE,
    SEED,
    CampaignWorld,
    encode_samples,
    has_fingerprints,
    make_terms,
)
from tests.helpers.ledger import TestAccount, make_salt, make_transaction
from tests.helpers.valuation import make_noise, play

START = 1_000_000
SPEC = make_spec("nearest_centroid", "dense", 2, 2)
FEATURES = 30_000
WIDE = make_spec("nearest_centroid", "dense", FEATURES, 2)
WIDE_FEATURES = [[0] * FEATURES, [4 * ONE] * FEATURES]
WIDE_SAMPLES = (WIDE_FEATURES, [0, 1])
LOWEST = 2_000_000

Step = tuple[TestAccount, str, Any, Payload | None]


def change_limits(world: CampaignWorld, limit: int) -> None:
    """Put other limits in force, as a vote does with the last block of an epoch."""
    known = world.chain.store.tip_state.get(CHAIN_PARAMETERS, decode_parameters)
    assert known is not None
    lowered = replace(known, compute_units_per_account_max=limit, compute_units_per_block_max=limit)
    world.chain.store.tip_state.remember(CHAIN_PARAMETERS, lowered)


def held(world: CampaignWorld) -> int:
    supply = world.chain.store.read(CHAIN_SUPPLY, decode_supply)
    assert supply is not None
    return supply.held


def run_block(world: CampaignWorld, steps: Sequence[Step], *, after_ms: int = 1) -> list[Receipt]:
    """Run all transactions in one block."""
    world.now_ms += after_ms
    nonces: dict[bytes, int] = {}
    transactions = []
    for sender, kind, body, payload in steps:
        nonce = nonces.setdefault(sender.id, world.chain.account(sender.id).nonce)
        nonces[sender.id] += 1
        transactions.append(
            make_transaction(
                world.network, sender, kind, body.to_fields(), nonce=nonce, payload=payload
            )
        )
    block = world.chain.run(transactions, timestamp_ms=world.now_ms)
    world.chain.check_conservation()
    return list(block.receipts)


def open_step(world: CampaignWorld, **changes: Any) -> Step:
    pieces = tuple(piece.commitment for piece in world.pieces)
    body = OpenCampaign(MODEL, make_terms(world.rule, **changes), commit_to_seed(SEED), pieces)
    return world.owner, "open_campaign", body, None


def show_step(world: CampaignWorld, piece: int, seed: bytes = b"") -> Step:
    return world.owner, "show_piece", ShowPiece(MODEL, piece, seed), world.pieces[piece]


def contribute_step(world: CampaignWorld, sender: TestAccount, features, targets) -> Step:
    world.salts += 1
    payload = Payload(make_salt(world.salts), encode_samples(features, targets))
    return sender, "contribute", Contribute(MODEL, 10, len(targets)), payload


def advance_step(world: CampaignWorld, items: int = 64) -> Step:
    return world.carol, "advance_campaign", AdvanceCampaign(MODEL, items), None


@pytest.mark.parametrize("items", [0, 1, 4])
def test_evaluation_that_no_longer_fits_is_given_up_and_everybody_gets_the_own_money(
    items: int,
) -> None:
    """An evaluation once waited for a vote that might never come, with all stakes in it."""
    world = CampaignWorld("shapley", spec=WIDE, pieces=[WIDE_SAMPLES] * 3)
    world.open(contributions_max=2)
    world.show_drawn()
    world.contribute(world.alice, *WIDE_SAMPLES, sponsor=world.others[0])
    world.contribute(world.bob, *WIDE_SAMPLES)
    world.show_rest()
    if items:
        world.advance(items)
    assert held(world) == 1_020
    arrays = world.arrays()
    change_limits(world, LOWEST)
    receipt = world.advance(1)
    assert (receipt.code, list(receipt.data)) == ("ok", [0, "aborted", 0])
    campaign = world.campaign
    assert (held(world), campaign.returned, campaign.burnt) == (0, 1_000, 0)
    assert [(each.payout, each.value, each.kept) for each in campaign.outcomes] == [
        (10, 0, False)
    ] * 2
    for account in (world.owner, world.alice, world.bob, world.others[0]):
        assert world.balance(account) == START
    assert not world.has_scratch
    assert not has_fingerprints(world)
    assert (world.arrays(), world.version(1)) == (arrays, None)
    assert world.advance().code == "no_campaign"
    assert world.open(contributions_max=2).code == "evaluation_too_large"
    change_limits(world, 200_000_000)
    assert world.open(contributions_max=2).data[0] == 1


def test_limits_that_still_leave_room_do_not_end_an_evaluation() -> None:
    world = CampaignWorld("shapley")
    world.collect((world.alice, GOOD), (world.bob, BAD), contributions_max=2)
    change_limits(world, LOWEST)
    world.evaluate(1)
    assert world.campaign.phase == "settled"


def test_model_does_not_learn_what_no_longer_fits_though_it_was_paid() -> None:
    world = CampaignWorld("market_single", spec=WIDE, pieces=[WIDE_SAMPLES] * 2)
    harm = (WIDE_FEATURES, [1, 0])
    world.collect((world.alice, WIDE_SAMPLES), (world.bob, harm), (world.carol, WIDE_SAMPLES))
    while world.campaign.phase == "evaluation":
        world.advance(1)
    assert world.campaign.phase == "learning"
    balances = world.chain.balances()
    change_limits(world, LOWEST)
    assert list(world.advance().data) == [0, "settled", 0]
    assert world.campaign.evaluation == Evaluation()
    assert (held(world), world.chain.balances()) == (0, balances)
    assert (world.version(1), world.progress.samples, world.has_scratch) == (None, 0, False)


def test_campaign_of_many_can_be_closed_under_the_lowest_limits() -> None:
    """Paying a hundred stakes back was metered above what a vote can lower the limits to."""
    world = CampaignWorld("shapley", pieces=[PIECE] * 2)
    world.open(contributions_max=100, stake=1)
    world.show_drawn()
    for number in range(100):
        sender = (world.alice, world.bob)[number % 2]
        assert world.contribute(sender, [LOW], [0]).code == "ok"
    change_limits(world, LOWEST)
    assert world.advance(after_ms=LENGTH_MS).data[1] == "not_revealed"
    assert held(world) == 0


def test_others_cannot_make_a_hidden_piece_too_large() -> None:
    """What a piece may need is known when it is committed to, whoever contributes after."""
    world = CampaignWorld("market_single", pieces=[([LOW] * 40, [0] * 40)] * 2)
    limit = 150_000 + 40 * 8 + 12_000 * 50 + 2_000 * 2 + 1_900_000
    change_limits(world, limit)
    assert world.open(contributions_max=50).code == "ok"
    assert world.show_drawn().code == "ok"
    codes = {world.contribute(world.alice, [LOW], [0]).code for _ in range(50)}
    assert codes == {"ok", "evaluation_too_large"}
    world.advance(after_ms=LENGTH_MS)
    world.show_rest()
    assert world.campaign.phase == "evaluation"
    world.evaluate(1)
    assert world.campaign.phase == "settled"


def test_whole_campaign_in_one_block_after_the_draw() -> None:
    found = []
    for together in (True, False):
        world = CampaignWorld("shapley", pieces=[PIECE] * 3)
        world.open(contributions_max=2)
        drawn = world.wait_for_draw()
        rest = [piece for piece in range(3) if piece != drawn]
        steps = [
            show_step(world, drawn, SEED),
            contribute_step(world, world.alice, *GOOD),
            advance_step(world),
            contribute_step(world, world.bob, [[3, 3], HIGH, LOW], [0, 1, 1]),
            contribute_step(world, world.others[0], [[4, 4]], [0]),
            *(show_step(world, piece) for piece in rest),
            advance_step(world, 5),
            advance_step(world, 40),
            advance_step(world),
        ]
        if together:
            codes = [receipt.code for receipt in run_block(world, steps)]
        else:
            codes = [run_block(world, [step])[0].code for step in steps]
        # The campaign was full, its time not over; what comes after its end finds none.
        expected = ["ok", "ok", "not_due", "duplicate_samples", "ok", *["ok"] * 4, "no_campaign"]
        assert codes == expected
        assert (world.campaign.phase, held(world)) == ("settled", 0)
        assert not world.has_scratch
        assert not has_fingerprints(world)
        found.append((world.campaign.outcomes, world.measures, world.arrays()))
    assert found[0] == found[1]


def test_next_campaign_opens_in_the_block_that_settles_the_one_before() -> None:
    world = CampaignWorld("market_single")
    world.collect((world.alice, GOOD))
    codes = [
        receipt.code
        for receipt in run_block(
            world,
            [
                open_step(world),
                advance_step(world, 2),
                advance_step(world),
                open_step(world),
                open_step(world),
                advance_step(world),
            ],
        )
    ]
    assert codes == ["campaign_open", "ok", "ok", "ok", "campaign_open", "not_due"]
    assert (world.campaign.number, world.campaign.phase, held(world)) == (1, "draw", 1_000)
    assert world.version(1) is not None
    world.show_drawn()
    world.contribute(world.bob, *BAD)
    world.advance(after_ms=LENGTH_MS)
    world.show_rest()
    world.evaluate()
    assert world.measures[0][0] == 12
    assert not world.has_scratch


@pytest.mark.parametrize("rule", VALUATION_RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize(("players", "each"), [(1, 1), (1, 9), (3, 4), (9, 1), (12, 2)])
def test_no_rule_measures_more_than_its_effort_and_all_of_it_is_readable(
    rule, players: int, each: int
) -> None:
    """Grouped markets once were metered as if runs were as many as contributors."""
    budget = 64 if rule.name == "shapley" else 1
    terms = ValuationTerms(10**6, 100, reset=rule.counts_answers, budget=budget)
    case = Case(tuple(range(players)) * each, 30, terms, bytes(64))
    _, history = play(rule, case, make_noise(30, players))
    assert sum(len(measures) for measures in history) <= rule.compute_effort(case)
    log = MeasureLog(tuple(history))
    assert decode_measure_log(log.encode()) == log


def test_longest_records_stay_below_what_a_record_may_have() -> None:
    world = CampaignWorld()
    world.open()
    world.show_drawn()
    world.contribute(world.alice, *GOOD)
    (entry,) = world.campaign.entries
    entries: tuple[CampaignEntry, ...] = (replace(entry, sequence=2**62),) * 256
    steps = tuple((place,) for place in range(256))
    evaluation = Evaluation(Chain(((), *steps)), 256, measures=(2**62,) * 256)
    campaign = replace(world.campaign, entries=entries, evaluation=evaluation)
    data = campaign.encode()
    assert len(data) < RECORD_BYTES_MAX
    assert decode_campaign(data) == campaign
    log = MeasureLog(((2**62,),) * 4_098)
    assert decode_measure_log(log.encode()) == log


def test_cost_of_an_end_is_metered_in_full_where_the_limits_allow() -> None:
    world = CampaignWorld()
    world.open()
    world.show_drawn()
    world.contribute(world.alice, *GOOD)
    state = world.chain.store.tip_state
    assert compute_due_units(state, SPEC, world.campaign, 1) == 5 * 2_000 + 2 * 100_000
    many = replace(world.campaign, entries=world.campaign.entries * 256)
    change_limits(world, LOWEST)
    assert compute_due_units(state, SPEC, many, 1) == LOWEST - 150_000
    change_limits(world, Parameters().compute_units_per_account_max)
    assert compute_due_units(state, SPEC, many, 1) == 260 * 2_000 + 257 * 100_000


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("metric", METRICS)
def test_every_family_that_answers_can_be_valued(family: ModelFamily, metric: str) -> None:
    spec = make_small_spec(family)
    task = family.task(spec)
    kind = {"classification": "labels", "regression": "values"}.get(task, "none")
    targets = [0, 1, 1] if kind == "labels" else [0, 0, 0]
    samples = ([LOW, HIGH, [ONE, 0]], targets)
    world = CampaignWorld("shapley", spec=spec, pieces=[samples] * 2, targets=kind)
    if task == "none":
        assert world.open(metric=metric).code == "unsupported"
        return
    world.open(metric=metric, contributions_max=2)
    world.show_drawn()
    for sender in (world.alice, world.bob):
        assert world.contribute(sender, *samples, kind=kind).code == "ok"
    world.show_rest()
    world.evaluate(1)
    assert world.campaign.phase == "settled"
    assert (held(world), len(world.measures)) == (0, 4)


def make_small_spec(family: ModelFamily) -> ModelSpec:
    """Return the first spec of two features that a family takes."""
    for classes, settings in product((2, 0), ({}, {"groups": 2}, {"components": 1})):
        try:
            spec = make_spec(family.name, "dense", 2, classes, settings)
            family.check(spec)
        except InvalidInputError:
            continue
        return spec
    return make_spec(family.name, "dense", 1, 0, tensors={"a": (8,)})


def encode_sparse(*entries: tuple[int, int]) -> bytes:
    """Return a batch of one sparse sample with the label 0."""
    starts, indices, values = (
        np.array(numbers, dtype=np.int64)
        for numbers in (
            [0, len(entries)],
            [index for index, _ in entries],
            [value for _, value in entries],
        )
    )
    return encode_batch(SparseSamples(starts, indices, values, 9), np.zeros(1, dtype=np.int64))


def test_sparse_samples_are_known_again_by_what_is_not_zero() -> None:
    spec = make_spec("multinomial_naive_bayes", "sparse", 9, 2)
    world = CampaignWorld("leave_one_out", spec=spec)
    world.pieces = [Payload(make_salt(number), encode_sparse((0, ONE))) for number in (901, 902)]

    def send(*entries: tuple[int, int]) -> str:
        world.salts += 1
        payload = Payload(make_salt(world.salts), encode_sparse(*entries))
        return world.send(world.alice, "contribute", [MODEL, 10, 1, 0], payload).code

    assert world.open().code == "ok"
    assert world.show_drawn().code == "ok"
    assert send((2, ONE), (5, ONE)) == "ok"
    assert send((2, ONE), (3, 0), (5, ONE)) == "duplicate_samples"
    assert send() == "ok"
    assert send((1, 0)) == "duplicate_samples"
    assert send((2, ONE)) == "ok"
