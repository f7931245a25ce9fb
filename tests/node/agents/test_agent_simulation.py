"""Whole runs of the simulation: money, determinism, who wins; seeds are fixed."""

import json
from dataclasses import replace
from functools import cache

import pytest

from node.agents.data_sets import load_data
from node.agents.kinds import KINDS
from node.agents.outcome import Outcome
from node.agents.settings import SCENARIOS, UNITS_PER_COIN, AgentsSettings, parse_habits
from node.agents.simulation import simulate
from primitives.errors import InvalidInputError

ALL_KINDS = dict.fromkeys(KINDS, 1)
SHORT = AgentsSettings(days=1.5, agents={"honest": 2, "label_flipper": 1}, seed=7)
CROWD = replace(SCENARIOS["crowd"], days=0.75, agents=ALL_KINDS, refund_days=0.25, any_days=1.0)


def run(settings: AgentsSettings) -> Outcome:
    data = load_data(settings.data, settings.seed)
    return simulate(settings, data, lambda _done, _total: None)


@cache
def run_short() -> Outcome:
    return run(SHORT)


@cache
def run_crowd() -> Outcome:
    return run(CROWD)


def test_same_settings_give_the_same_json_and_another_seed_another() -> None:
    settings = replace(SHORT, days=0.5, refund_days=0.1, any_days=0.3)
    first = json.dumps(run(settings).to_json())
    assert json.dumps(run(settings).to_json()) == first
    assert json.dumps(run(replace(settings, seed=8)).to_json()) != first


def test_honest_agents_end_ahead_and_flippers_behind_while_the_model_learns() -> None:
    outcome = run_short()
    assert outcome.mean_percent("honest") > 102
    assert outcome.mean_percent("label_flipper") < 95
    assert outcome.curves.accuracy[-1] > outcome.curves.accuracy[0] + 10


@pytest.mark.parametrize("outcome", [run_short, run_crowd], ids=["short", "crowd"])
def test_every_coin_is_accounted_for(outcome) -> None:
    result = outcome()
    assert result.ledger.held == 0
    assert result.ledger.burnt == 0
    for row in result.rows:
        assert row.end == pytest.approx(row.start - row.lost + row.taken, abs=1e-6)
        assert row.lost == pytest.approx(row.deposited - row.refunded, abs=1e-6)
        assert 0 <= row.validated <= row.samples
    # What agents lose, agents take: nobody else is there.
    assert sum(row.lost for row in result.rows) == pytest.approx(
        sum(row.taken for row in result.rows), abs=1e-6
    )
    assert all(row.end * UNITS_PER_COIN == round(row.end * UNITS_PER_COIN) for row in result.rows)


def test_every_kind_behaves_as_its_description_says() -> None:
    rows = {row.kind: row for row in run_crowd().rows}
    assert set(rows) == set(KINDS)
    assert rows["caller"].samples == 0
    assert rows["caller"].calls > 0
    assert rows["caller"].end == rows["caller"].start
    assert rows["sybil"].accounts == 4
    assert rows["label_flipper"].validated <= rows["label_flipper"].samples // 4
    assert rows["free_rider"].validated <= rows["free_rider"].samples // 2
    assert rows["echo"].samples == rows["echo"].validated > 0
    assert rows["copycat"].samples > 0
    assert rows["lazy"].samples < rows["honest"].samples
    assert rows["noisy"].lost > rows["honest"].lost


def test_all_is_settled_within_the_last_wait() -> None:
    outcome = run_short()
    assert outcome.stopped_day == SHORT.days
    assert outcome.ended_day <= SHORT.days + SHORT.any_days + 1
    assert outcome.curves.days[-1] == outcome.ended_day
    assert list(outcome.curves.days) == sorted(outcome.curves.days)


def test_points_move_no_money_and_give_karma() -> None:
    outcome = run(
        replace(SHORT, mechanism="points", weight=0, days=0.5, refund_days=0.1, any_days=0.3)
    )
    assert all(row.end == row.start for row in outcome.rows)
    assert outcome.rows[0].karma == outcome.rows[0].validated + outcome.rows[0].reported > 0


def test_sparse_data_batches_and_habits_of_ones_own() -> None:
    habits = parse_habits(["honest.batch=4", "honest.deposit_mean=90", "echo.batch=2"], {})
    outcome = run(
        AgentsSettings(
            data="words",
            days=0.4,
            refund_days=0.1,
            any_days=0.2,
            agents={"honest": 1, "echo": 1, "free_rider": 1, "copycat": 1},
            habits=habits,
            seed=3,
        )
    )
    assert outcome.rows[0].samples % 4 == 0
    assert outcome.rows[0].samples > 0
    assert outcome.ledger.held == 0


def test_who_has_no_money_or_finds_it_too_dear_waits() -> None:
    settings = replace(SHORT, agents={"honest": 1}, days=0.5, refund_days=0.5, any_days=0.5)
    poor = run(replace(settings, habits=parse_habits(["honest.balance=20"], {}))).rows[0]
    assert poor.no_money > 0
    thrifty = run(replace(settings, habits=parse_habits(["honest.deposit_mean=1"], {}))).rows[0]
    assert thrifty.too_dear > 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"family": "gaussian_mixture"}, "invalid_spec"),
        ({"family": "linear_regression"}, "invalid_spec"),
        ({"family": "external_tensors"}, "invalid_spec"),
        ({"family": "k_means"}, "invalid_spec"),
        ({"family": "nobody"}, "unknown_family"),
        ({"weight": 1 << 60}, "out_of_range"),
        ({"weight": -1}, "out_of_range"),
        ({"mechanism": "points"}, "invalid_incentive"),
    ],
)
def test_a_model_that_cannot_be_is_refused(change, code) -> None:
    with pytest.raises(InvalidInputError) as refused:
        run(replace(SHORT, **change))
    assert refused.value.code == code
