"""How far an evaluation is said to be is how far it is."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from ledger.draws import Draw
from ledger.model_records import decode_model, model_key
from ledger.parameters import Parameters
from node.api import campaign_progress
from node.api.campaign_progress import count_items
from node.api.campaign_views import show_decimal
from node.api.campaign_wording import describe_duration, describe_next
from node.api.open_campaigns import find_open_number
from node.api.routes_campaigns import _fit_items
from tests.helpers.campaigns import BAD, GOOD, MODEL, CampaignWorld

RULES: list[tuple[str, dict[str, Any]]] = [
    ("market_single", {"reset": False}),
    ("market_single", {"reset": True}),
    ("market_grouped", {"reset": True}),
    ("shapley", {}),
    ("shapley", {"metric": "loss", "clip_percent": 50}),
    ("leave_one_out", {}),
]


def collect(rule: str, **changes: Any) -> CampaignWorld:
    world = CampaignWorld(rule)
    people = [world.alice, world.bob, world.carol, world.alice]
    batches = [GOOD, BAD, GOOD, BAD]
    world.collect(*zip(people, batches, strict=True), **changes)
    return world


@pytest.mark.parametrize(("rule", "changes"), RULES)
def test_every_item_counts_for_one_under_every_rule(rule: str, changes: dict[str, Any]) -> None:
    world = collect(rule, **changes)
    performed, last, phase = 0, 0, ""
    while world.campaign.is_open:
        count = count_items(world.campaign, world.measures)
        assert count is not None
        assert count.done == performed
        assert count.estimated > performed
        assert count.chains_done == len(world.measures)
        last, phase = count.estimated, world.campaign.phase
        performed += 1
        assert world.advance(1).code == "ok"
    # What remains to be learnt is guessed until everybody was paid, at most all of it.
    unlearnt = 0 if phase == "learning" else len(world.campaign.entries)
    assert performed <= last <= performed + unlearnt
    assert count_items(world.campaign, world.measures) is None


def test_walks_that_end_early_are_counted_as_they_ended() -> None:
    world = CampaignWorld("shapley")
    people = [world.owner, world.alice, world.bob, world.carol, *world.others[:5]]
    contributions = [(each, (GOOD, BAD)[place % 2]) for place, each in enumerate(people[1:], 1)]
    world.collect(*contributions, (world.others[5], GOOD), budget=2, truncation=1)
    performed = 0
    while world.campaign.is_open:
        count = count_items(world.campaign, world.measures)
        assert count is not None
        assert count.done == performed
        performed += 1
        world.advance(1)


def test_what_would_take_long_to_count_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = collect("market_grouped", reset=True)
    world.advance(9)
    exact = count_items(world.campaign, world.measures)
    monkeypatch.setattr(campaign_progress, "EFFORT_MAX", 0)
    guessed = count_items(world.campaign, world.measures)
    assert exact is not None
    assert guessed is not None
    assert guessed.chains_done == exact.chains_done
    world.advance(17)
    guessed = count_items(world.campaign, world.measures)
    assert guessed is not None
    assert guessed.chains_done > 0
    assert guessed.estimated >= guessed.done > 0


def test_as_many_items_are_advised_as_fit() -> None:
    world = collect("leave_one_out")
    model = world.chain.store.read(model_key(MODEL), decode_model)
    assert model is not None
    spec = model.description.spec
    small = Parameters(compute_units_per_account_max=2_000_000)
    assert _fit_items(spec, world.campaign, Parameters()) == 1_024
    assert 1 <= _fit_items(spec, world.campaign, small) < 20


def test_whoever_can_do_something_is_told_until_when() -> None:
    world = CampaignWorld("market_single")
    world.open(min_contributions=1)
    draw = Draw(b"\x01" * 32, 5_000)
    waiting = describe_next(world.campaign, Draw(), 0)
    assert (waiting.action, waiting.by, waiting.deadline_ms) == ("wait_for_draw", "nobody", None)
    assert "Within 1 minute" in waiting.sentence
    drawn = describe_next(world.campaign, draw, 64_999)
    assert (drawn.action, drawn.deadline_ms, drawn.is_due) == ("show_drawn_piece", 65_000, False)
    assert describe_next(world.campaign, draw, 65_000).is_due
    world.show_drawn()
    now_ms = world.campaign.phase_ms
    assert not describe_next(world.campaign, draw, now_ms).is_due
    world.contribute(world.alice, *GOOD)
    early = describe_next(world.campaign, draw, now_ms)
    assert early.is_due
    assert "or with 1 of them" in early.sentence
    world.advance()
    reveal = describe_next(world.campaign, draw, now_ms)
    assert (reveal.action, reveal.by, reveal.is_due) == ("show_pieces", "provider", False)
    world.show_rest()
    assert describe_next(world.campaign, draw, now_ms).action == "advance"
    world.evaluate()
    assert describe_next(world.campaign, draw, now_ms).action == "none"


def test_numbers_are_shown_as_people_read_them() -> None:
    assert show_decimal(Fraction(-1, 10**9)) == "0.000000"
    assert show_decimal(Fraction(10**40, 3)) == f"{10**40 // 3}.333333"
    assert show_decimal(Fraction(-5, 4)) == "-1.250000"
    assert [describe_duration(each) for each in (1_500, 3_600_000, 172_800_000, 0)] == [
        "1.5 seconds",
        "1 hour",
        "2 days",
        "0 seconds",
    ]


def test_the_phase_is_read_without_the_rest_of_the_record() -> None:
    world = CampaignWorld("market_single")
    reader = world.chain.store
    assert find_open_number(reader, MODEL, None) is None
    world.collect((world.alice, GOOD))
    while world.campaign.is_open:
        assert find_open_number(reader, MODEL, None) == 0
        world.advance(1)
    assert find_open_number(reader, MODEL, None) is None
    world.open()
    assert find_open_number(reader, MODEL, None) == 1
    assert find_open_number(reader, MODEL, 1) is None
