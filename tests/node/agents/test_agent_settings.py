"""Options of the simulation: what they mean, and which are refused."""

from dataclasses import replace

import numpy as np
import pytest

from node.agents.habits import Habits, draw_deposit, draw_wait_ms
from node.agents.kinds import KINDS
from node.agents.settings import SCENARIOS, AgentsSettings, parse_agents, parse_habits
from primitives.errors import InvalidInputError


def test_published_scenario_has_the_published_habits() -> None:
    settings = SCENARIOS["published"]
    honest, bad = settings.get_habits("honest"), settings.get_habits("label_flipper")
    assert (honest.balance, honest.deposit_mean, honest.deposit_sd) == (10_000, 50, 10)
    assert (bad.balance, bad.deposit_mean, bad.deposit_sd) == (10_000, 100, 3)
    assert (honest.wait_mean_s, bad.wait_mean_s) == (600, 3_600)
    assert (settings.refund_days, settings.any_days, settings.initial) == (1, 9, 0.08)


def test_scenarios_only_name_kinds_that_there_are() -> None:
    for settings in SCENARIOS.values():
        assert set(settings.agents) <= set(KINDS)
        assert set(settings.habits) <= set(KINDS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mechanism", "lottery"),
        ("days", 0.0),
        ("days", 1_001.0),
        ("days", float("nan")),
        ("refund_days", -1.0),
        ("any_days", 0.5),
        ("any_days", float("inf")),
        ("initial", 0.0),
        ("initial", 0.95),
        ("seed", -1),
        ("seed", 2**32),
        ("agents", {}),
        ("agents", {"honest": 101}),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidInputError) as refused:
        replace(AgentsSettings(), **{field: value})
    assert refused.value.field == field
    assert field in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "honest",
        "honest=",
        "honest=0",
        "honest=-1",
        "honest=1.5",
        "saint=1",
        "honest=1,honest=2",
    ],
)
def test_agents_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="agents must be KIND=NUMBER"):
        parse_agents(text)


def test_habits_change_one_by_one() -> None:
    habits = parse_habits(["honest.wait_mean_s=1800", "honest.batch=3", "lazy.accounts=2"], {})
    assert habits["honest"] == replace(Habits(), wait_mean_s=1_800.0, batch=3)
    assert habits["lazy"] == replace(KINDS["lazy"].habits, accounts=2)
    assert isinstance(habits["honest"].batch, int)


@pytest.mark.parametrize(
    "text",
    [
        "saint.balance=1",
        "honest.colour=1",
        "honest.balance",
        "honest.balance=much",
        "honest.mistakes=1.5",
        "honest.mistakes=nan",
        "honest.wait_mean_s=0",
        "honest.batch=0",
        "honest.accounts=1000",
        "balance=1",
    ],
)
def test_habits_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_habits([text], {})


def test_deposits_are_positive_and_waits_a_second_at_least() -> None:
    chance = np.random.default_rng(1)
    wide = Habits(deposit_mean=1, deposit_sd=100, wait_mean_s=1, wait_sd_s=1_000)
    assert min(draw_deposit(wide, chance) for _ in range(500)) > 0
    assert min(draw_wait_ms(wide, chance) for _ in range(500)) == 1_000
    assert draw_deposit(Habits(deposit_mean=0, deposit_sd=0), chance) == 0
