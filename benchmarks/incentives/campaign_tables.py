"""The questions about prediction markets and contribution pay."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Final

from benchmarks.incentives.table import Case, Table
from node.agents.outcome import Outcome
from node.commands.agents import AgentsOptions

__all__ = ["make_campaign_tables"]

KINDS: Final = ("honest", "sybil", "copycat", "free_rider", "echo", "lazy", "noisy")
MARKET: Final = "prediction_market"
PAY: Final = "contribution_pay"
BOUNTIES: Final = {MARKET: "50,000", PAY: "1,000"}
MONEY: Final = (
    "honest, % of start",
    "flipper, % of start",
    "provider paid, coins",
    "accuracy before",
    "after",
)
CANDIDATE: Final = (
    "it has, % of start",
    "honest others, %",
    "flipper, %",
    "of its contributions kept, %",
    "provider paid, coins",
    "accuracy after",
)
SEEDS: Final = 20
"""Who comes first in a campaign is paid most, by luck, so a few seeds would not tell much."""

STEPS: Final = ("at first", "after 1", "after 2", "after 3", "after 4")


def make_campaign_tables() -> list[Table]:
    """Return all tables about campaigns."""
    return [
        _make_money_table(
            "market",
            "Prediction market: three honest agents and one that flips labels",
            [
                _make_market("grouped, reset", "market_grouped", reset=True),
                _make_market(
                    "grouped, reset, 60 wrong labels an hour", habits=("label_flipper.batch=60",)
                ),
                _make_market("grouped, reused", "market_grouped", reset=False),
                _make_market("single, reset", "market_single", reset=True),
                _make_market("single, reused", "market_single", reset=False),
                _make_market("grouped, reset, a beginning of 8 %", initial=0.08),
                _make_market("grouped, reset, nearest_neighbours", family="nearest_neighbours"),
                _make_market("grouped, reset, averaged_perceptron", family="averaged_perceptron"),
            ],
        ),
        Table(
            "market-steps",
            "Prediction market, grouped, reset: from campaign to campaign",
            "Balances in percent of the start, accuracy in percent, of the same runs.",
            [
                Case(kind, AgentsOptions(mechanism=MARKET, rule="market_grouped", reset=True), kind)
                for kind in ("honest", "label_flipper", "provider", "accuracy")
            ],
            STEPS,
            _step_columns,
            seeds=SEEDS,
        ),
        _make_money_table(
            "pay",
            "Contribution pay: three honest agents and one that flips labels",
            [
                Case("shapley", AgentsOptions(mechanism=PAY, rule="shapley")),
                Case("leave_one_out", AgentsOptions(mechanism=PAY, rule="leave_one_out")),
                Case(
                    "shapley, averaged_perceptron",
                    AgentsOptions(mechanism=PAY, rule="shapley", family="averaged_perceptron"),
                ),
            ],
        ),
        Table(
            "pay-steps",
            "Contribution pay, shapley: from campaign to campaign",
            "Balances in percent of the start, accuracy in percent, of the same runs.",
            [
                Case(kind, AgentsOptions(mechanism=PAY, rule="shapley"), kind)
                for kind in ("honest", "label_flipper", "provider", "accuracy")
            ],
            STEPS,
            _step_columns,
            seeds=SEEDS,
        ),
        _make_comparison(MARKET, "market_grouped", reset=True),
        _make_comparison(PAY, "shapley", reset=False),
    ]


def _make_market(
    name: str,
    rule: str = "market_grouped",
    *,
    reset: bool = True,
    family: str | None = None,
    initial: float | None = None,
    habits: Sequence[str] = (),
) -> Case:
    options = AgentsOptions(
        mechanism=MARKET, rule=rule, reset=reset, family=family, initial=initial, habits=habits
    )
    return Case(name, options)


def _make_money_table(name: str, title: str, cases: list[Case]) -> Table:
    mechanism = cases[0].options.mechanism or ""
    text = (
        f"Digits, four campaigns of six hours, each with a bounty of {BOUNTIES[mechanism]} coins,"
        " stakes of 400 and about 110 hidden test samples in five pieces, one of them shown; ten"
        " samples of everybody every hour, 10,000 coins at first. Gaussian naive Bayes where"
        " nothing else is said."
    )
    return Table(name, title, text, cases, MONEY, _money_columns, pictures=2, seeds=SEEDS)


def _make_comparison(mechanism: str, rule: str, *, reset: bool) -> Table:
    cases = []
    for kind in KINDS:
        agents = "honest=3,label_flipper=1"
        if kind != "honest":
            agents = f"honest=2,label_flipper=1,{kind}=1"
        options = AgentsOptions(mechanism=mechanism, rule=rule, reset=reset, agents=agents)
        cases.append(Case(kind, options, kind))
    return Table(
        f"strategies-{rule.replace('_', '-')}",
        f"{rule}{', reset' if reset else ''}: one agent of each kind beside two honest ones and a"
        " flipper",
        "As above. The first line is a third honest agent: what the others would have as honest"
        " ones.",
        cases,
        CANDIDATE,
        _candidate_columns,
        seeds=SEEDS,
    )


def _money_columns(outcome: Outcome, _kind: str) -> list[float]:
    both = [outcome.mean_percent(kind) for kind in ("honest", "label_flipper")]
    accuracy = outcome.curves.accuracy
    return [*both, _get_paid(outcome), accuracy[0], accuracy[-1]]


def _candidate_columns(outcome: Outcome, kind: str) -> list[float]:
    row = [row for row in outcome.rows if row.kind == kind][-1]
    others = [each.percent for each in outcome.rows if each.kind == "honest" and each != row]
    made = sum(each.contributions[kind] for each in outcome.campaigns)
    kept = sum(each.kept[kind] for each in outcome.campaigns)
    return [
        row.percent,
        mean(others),
        outcome.mean_percent("label_flipper"),
        100 * kept / max(made, 1),
        _get_paid(outcome),
        outcome.curves.accuracy[-1],
    ]


def _step_columns(outcome: Outcome, kind: str) -> list[float]:
    curves = outcome.curves
    values = curves.accuracy if kind == "accuracy" else curves.balances[kind]
    # The last point is that of the end, at which nothing has changed since the last campaign.
    return list(values[: len(STEPS)])


def _get_paid(outcome: Outcome) -> float:
    return 0.0 if outcome.provider is None else outcome.provider.lost
