"""Runs with campaigns and with voluntary fees: money, determinism, who wins, what is refused."""

import json
import re
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from node.agents.campaign_settings import CampaignSettings
from node.agents.data_sets import load_data, split_held_out
from node.agents.kinds import KINDS
from node.agents.outcome import Outcome
from node.agents.settings import (
    UNITS_PER_COIN,
    AgentsSettings,
    hold_campaigns,
    parse_habits,
)
from node.agents.simulation import simulate
from node.agents.world import World
from node.cli import application
from primitives.errors import InvalidInputError

BASE = AgentsSettings(family="gaussian_naive_bayes", initial=0.03, seed=3)
MARKET = CampaignSettings(
    "market_grouped", reset=True, bounty=50_000.0, stake=400.0, count=2, pieces=3
)
RULES = ("market_single", "market_grouped", "shapley", "leave_one_out")


def run(settings: AgentsSettings) -> Outcome:
    data = load_data(settings.data, settings.seed)
    return simulate(settings, data, lambda _done, _total: None)


@cache
def run_market() -> Outcome:
    return run(hold_campaigns(BASE, MARKET))


@cache
def run_rule(rule: str) -> Outcome:
    campaign = CampaignSettings(rule, bounty=1_000.0, count=2, pieces=3)
    agents = dict.fromkeys(KINDS, 1)
    return run(hold_campaigns(replace(BASE, agents=agents, voluntary_fee=7.5), campaign))


def invoke(options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(application, ["agents", *shlex.split(options)])
    return result.exit_code, result.stdout, result.stderr


def test_a_market_leaves_the_flipper_behind_while_the_model_learns() -> None:
    outcome = run_market()
    assert outcome.mean_percent("honest") > 110
    assert outcome.mean_percent("label_flipper") < 90
    assert outcome.curves.accuracy[-1] > outcome.curves.accuracy[0] + 10


def test_same_settings_give_the_same_json_and_another_seed_another() -> None:
    settings = hold_campaigns(BASE, MARKET)
    first = json.dumps(run_market().to_json())
    assert json.dumps(run(settings).to_json()) == first
    assert json.dumps(run(replace(settings, seed=4)).to_json()) != first


@pytest.mark.parametrize("rule", RULES)
def test_every_unit_is_accounted_for(rule: str) -> None:
    outcome = run_rule(rule)
    assert outcome.provider is not None
    rows = (*outcome.rows, outcome.provider)
    for row in rows:
        moved = -row.lost + row.taken - row.supported + row.collected
        assert row.end == pytest.approx(row.start + moved, abs=1e-6)
        assert row.lost == pytest.approx(row.deposited - row.refunded, abs=1e-6)
    ends = sum(round(row.end * UNITS_PER_COIN) for row in rows)
    held = round(outcome.ledger.held * UNITS_PER_COIN)
    assert ends + held == round(outcome.ledger.supply * UNITS_PER_COIN)
    # What stays held is what rounding left of voluntary fees, less than a unit for each account.
    supported = sum(round(row.supported * UNITS_PER_COIN) for row in rows)
    collected = sum(round(row.collected * UNITS_PER_COIN) for row in rows)
    assert held == supported - collected
    assert 0 <= held < 100
    assert outcome.ledger.burnt == 0


@pytest.mark.parametrize("rule", RULES)
def test_campaigns_say_where_stakes_and_bounty_went(rule: str) -> None:
    outcome = run_rule(rule)
    assert [each.number for each in outcome.campaigns] == [1, 2]
    for each in outcome.campaigns:
        assert each.phase == "settled"
        into = each.bounty + sum(each.staked.values())
        assert into == pytest.approx(sum(each.paid.values()) + each.returned, abs=1e-6)
        assert all(each.kept[kind] <= made for kind, made in each.contributions.items())
        assert each.samples >= sum(each.contributions.values())
        assert each.contributions["caller"] == 0
        assert each.test_samples > 0
        assert each.chains > 0
    assert outcome.provider is not None
    paid = sum(each.bounty - each.returned for each in outcome.campaigns)
    assert outcome.provider.lost == pytest.approx(paid, abs=1e-6)
    assert outcome.curves.accuracy[1:3] == tuple(each.accuracy for each in outcome.campaigns)


def test_contribution_pay_gives_every_stake_back() -> None:
    for rule in ("shapley", "leave_one_out"):
        assert all(row.lost == 0 for row in run_rule(rule).rows)


def test_callers_pay_fees_and_contributors_collect_them() -> None:
    habits = parse_habits(["caller.wait_mean_s=600", "caller.wait_sd_s=60"], {}, in_campaigns=True)
    settings = replace(BASE, agents={"honest": 2, "caller": 1}, habits=habits, voluntary_fee=5.0)
    outcome = run(hold_campaigns(settings, replace(MARKET, count=3)))
    first, second, caller = outcome.rows
    assert caller.supported > 0
    assert caller.supported % 5 == 0
    assert caller.end == caller.start - caller.supported
    assert first.collected + second.collected > 0
    assert caller.collected == 0


def test_fees_are_paid_for_what_is_judged_sample_by_sample_too() -> None:
    settings = AgentsSettings(
        days=1.0, refund_days=0.1, any_days=0.3, agents={"honest": 2, "caller": 1}, seed=2
    )
    outcome = run(
        replace(
            settings,
            voluntary_fee=3.0,
            habits=parse_habits(["caller.wait_mean_s=600", "caller.wait_sd_s=60"], {}),
        )
    )
    assert outcome.rows[2].supported > 0
    assert sum(row.collected for row in outcome.rows) == pytest.approx(
        outcome.rows[2].supported, abs=0.1
    )


def test_the_test_data_of_campaigns_are_not_what_accuracy_is_measured_on() -> None:
    data = load_data("digits", 1)
    rest, hidden = split_held_out(data)
    whole = np.concatenate([hidden.samples.features, rest.held_out.features])
    assert np.array_equal(whole, data.held_out.features)
    assert len(rest.held_out_labels) + len(hidden.labels) == len(data.held_out_labels)
    assert len(hidden.labels) > len(rest.held_out_labels) > 100
    assert rest.samples is data.samples


def test_what_the_ledger_refuses_is_a_turn_without_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    describe = World.describe_contribution

    def offer_nothing(world, willing, samples, labels):
        # The owner's helper offers one unit.
        return describe(world, min(willing, 1), samples, labels)

    monkeypatch.setattr(World, "describe_contribution", offer_nothing)
    outcome = run(hold_campaigns(BASE, replace(MARKET, count=1)))
    refused = sum(row.refused for row in outcome.rows)
    assert refused > 0
    assert outcome.ledger.failed == {"insufficient_deposit": refused}
    assert [each.phase for each in outcome.campaigns] == ["empty"]
    assert outcome.provider is not None
    assert outcome.provider.percent == 100
    assert all(row.end == row.start for row in outcome.rows)


def test_people_who_are_away_longer_than_a_campaign_leave_it_empty() -> None:
    habits = parse_habits(["honest.wait_mean_s=9000000"], {}, in_campaigns=True)
    outcome = run(hold_campaigns(replace(BASE, agents={"honest": 1}, habits=habits), MARKET))
    assert [each.phase for each in outcome.campaigns] == ["empty", "empty"]
    assert outcome.ledger.held == 0


def test_the_command_shows_campaigns_and_writes_a_page(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    options = "--mechanism prediction_market --reset --campaigns 2 --voluntary-fee 1 --seed 5"
    code, text, _ = invoke(f"{options} --report {file}")
    assert code == 0
    assert text.startswith("prediction_market on digits, gaussian_naive_bayes")
    assert re.search(r"^provider +100002 ", text, re.MULTILINE)
    assert re.search(r"^ +2  settled ", text, re.MULTILINE)
    assert "fees got" in text
    page = file.read_text(encoding="utf-8")
    root = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>"))  # noqa: S314 - our own
    (table,) = root.findall(".//table[@class='campaigns']")
    assert [row[0].text for row in table.findall("tbody/tr")] == ["1", "2"]
    assert len(table.findall("thead/tr/th")) == len(table.findall("tbody/tr")[0])
    assert "--reset --campaigns 2" in page
    # Pictures go from campaign to campaign: three points, and as many lines as kinds.
    curves = [each.get("points", "") for each in root.iter() if each.get("class") == "curve"]
    assert [len(points.split()) for points in curves] == [3, 3, 3, 3]
    assert page.count(">campaigns</text>") == 2
    answer = json.loads(invoke(f"{options} --output json")[1])
    assert answer["settings"]["campaign"]["rule"] == "market_grouped"
    assert answer["settings"]["campaign"]["reset"] is True
    assert len(answer["campaigns"]) == 2
    assert answer["provider"]["kind"] == "provider"
    assert set(answer["curves"]["balances"]) == {"honest", "label_flipper", "provider"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--mechanism prediction_market --rule shapley", "rule shapley belongs to"),
        ("--mechanism contribution_pay --rule market_single", "rule market_single belongs to"),
        ("--mechanism prediction_market --rule best", "rule must be market_single"),
        ("--mechanism points --rule shapley", "--rule is for campaigns"),
        ("--reset", "--reset is for campaigns"),
        ("--campaign-days 1", "--campaign-days is for campaigns"),
        ("--mechanism contribution_pay --reset", "reset is for markets"),
        ("--mechanism prediction_market --days 3", "--days is for mechanisms that judge"),
        ("--mechanism prediction_market --weight 3", "--weight is for mechanisms that judge"),
        ("--mechanism prediction_market --scenario crowd", "--scenario is for mechanisms"),
        ("--mechanism prediction_market --stake 0", "stake must be 1 to"),
        ("--mechanism prediction_market --bounty 0", "bounty must be 1 to"),
        ("--mechanism prediction_market --bounty nan", "bounty must be 1 to"),
        ("--mechanism prediction_market --pieces 1", "pieces must be 2 to"),
        ("--mechanism prediction_market --campaigns 0", "campaigns must be 1 to"),
        ("--mechanism prediction_market --campaigns 100", "449 are held out"),
        ("--mechanism prediction_market --campaign-days 0.01", "campaign_days must be"),
        ("--mechanism prediction_market --family k_means", "k_means has no classes"),
        ("--voluntary-fee -1", "voluntary_fee must be"),
    ],
)
def test_contradictions_end_with_one_clear_line(options: str, words: str) -> None:
    code, text, notes = invoke(options)
    assert code == 1
    assert text == ""
    assert notes.startswith("error: ")
    assert words in notes
    assert len(notes.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mechanism": "points"}, "mechanism"),
        ({"days": 3.0}, "days"),
        ({"campaign": None}, "campaign"),
    ],
)
def test_settings_that_contradict_their_campaigns_are_refused(change, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        replace(hold_campaigns(BASE, MARKET), **change)
    assert refused.value.field == field


def test_a_full_campaign_is_settled_early_and_the_next_one_opened_in_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("node.agents.campaign_settings.CONTRIBUTIONS_MAX", 6)
    outcome = run(hold_campaigns(BASE, MARKET))
    assert [sum(each.contributions.values()) for each in outcome.campaigns] == [6, 6]
    first, second = (each.ended_day for each in outcome.campaigns)
    assert first < MARKET.days - 0.05
    assert MARKET.days < second < 2 * MARKET.days - 0.05


def test_work_that_does_not_fit_into_a_transaction_is_done_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = hold_campaigns(BASE, replace(MARKET, count=1))
    whole = run(settings)
    monkeypatch.setattr("node.agents.campaigns.UNITS_SPARE", 198_000_000)
    parts = run(settings)
    assert parts.ledger.transactions > whole.ledger.transactions
    assert parts.campaigns[0].paid == whole.campaigns[0].paid
