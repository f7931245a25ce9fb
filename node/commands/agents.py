"""``quorate agents``: run a scenario, show what came of it, write a page about it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from node.agents.campaign_settings import (
    CAMPAIGN_INITIAL,
    CAMPAIGN_MECHANISMS,
    CampaignSettings,
    get_campaign_family,
    make_campaign_settings,
)
from node.agents.data_sets import load_data
from node.agents.habits import Habits
from node.agents.kinds import KINDS
from node.agents.outcome import AgentRow, Outcome
from node.agents.report_page import make_page
from node.agents.settings import (
    SCENARIOS,
    AgentsSettings,
    hold_campaigns,
    parse_agents,
    parse_habits,
)
from node.agents.simulation import simulate
from node.commands.progress import show_progress
from node.commands.terminal import OutputFormat, print_answer, print_note, render_table
from primitives.errors import InvalidInputError

__all__ = ["AgentsOptions", "list_kinds", "run_agents"]


@dataclass(frozen=True, slots=True)
class AgentsOptions:
    """Options of ``quorate agents``; see its help. None means: as in the scenario."""

    scenario: str | None = None
    mechanism: str | None = None
    family: str | None = None
    data: str | None = None
    days: float | None = None
    agents: str | None = None
    habits: Sequence[str] = ()
    weight: int | None = None
    refund_days: float | None = None
    any_days: float | None = None
    initial: float | None = None
    voluntary_fee: float | None = None
    rule: str | None = None
    reset: bool = False
    bounty: float | None = None
    stake: float | None = None
    pieces: int | None = None
    campaigns: int | None = None
    campaign_days: float | None = None
    seed: int | None = None


_PLAIN = (
    "mechanism",
    "family",
    "data",
    "days",
    "weight",
    "refund_days",
    "any_days",
    "initial",
    "voluntary_fee",
    "seed",
)
_OF_CAMPAIGNS = ("rule", "reset", "bounty", "stake", "pieces", "campaigns", "campaign_days")
_OF_PRICES = ("scenario", "days", "weight", "refund_days", "any_days")


def run_agents(options: AgentsOptions, report: Path | None, output: OutputFormat) -> None:
    """Run a scenario and show the outcome.

    Parameters
    ----------
    options : what to run.
    report : file to write the page to.
    output : text for people, JSON for scripts.

    Raises
    ------
    InvalidInputError
        An option, or the data, make no sense.
    """
    settings = make_settings(options)
    if report is not None and not report.parent.is_dir():
        raise InvalidInputError(
            "malformed", f"there is no folder for the page {report}", field="report"
        )
    data = load_data(settings.data, settings.seed)
    started = time.monotonic()
    with show_progress("simulating") as tell:
        outcome = simulate(settings, data, tell)
    took_s = time.monotonic() - started
    if report is not None:
        report.write_text(make_page(outcome, make_command(options, report)), encoding="utf-8")
    print_answer(outcome.to_json(), _describe(outcome), output)
    rate = 60 * outcome.ledger.transactions / max(took_s, 0.001)
    print_note(
        f"\n{outcome.ledger.transactions:,} transactions in {took_s:.1f} s, {rate:,.0f} a minute"
        + (f"; the page is {report}" if report is not None else "")
    )


def make_settings(options: AgentsOptions) -> AgentsSettings:
    """Return the settings that options mean.

    Raises
    ------
    InvalidInputError
        ``malformed`` or ``out_of_range``.
    """
    if options.scenario is not None and options.scenario not in SCENARIOS:
        raise InvalidInputError(
            "malformed",
            f"no scenario is named {options.scenario!r}; known are {', '.join(SCENARIOS)}",
            field="scenario",
            value=options.scenario,
        )
    settings = AgentsSettings() if options.scenario is None else SCENARIOS[options.scenario]
    mechanism = options.mechanism or settings.mechanism
    in_campaigns = mechanism in CAMPAIGN_MECHANISMS
    _refuse_contradictions(options, mechanism, in_campaigns=in_campaigns)
    given = {name: getattr(options, name) for name in _PLAIN if getattr(options, name) is not None}
    if in_campaigns:
        settings = hold_campaigns(settings, _make_campaign(options, mechanism))
        family = get_campaign_family(options.data or settings.data)
        given = {"family": family, "initial": CAMPAIGN_INITIAL, **given}
    # Points take no money, so the usual price would only be refused.
    if given.get("mechanism") == "points" and "weight" not in given:
        given["weight"] = 0
    if options.agents is not None:
        given["agents"] = parse_agents(options.agents)
    if options.habits:
        given["habits"] = parse_habits(options.habits, settings.habits, in_campaigns=in_campaigns)
    return replace(settings, **given)


def _make_campaign(options: AgentsOptions, mechanism: str) -> CampaignSettings:
    return make_campaign_settings(
        mechanism,
        options.rule,
        reset=options.reset,
        bounty=options.bounty,
        stake=options.stake,
        pieces=options.pieces,
        count=options.campaigns,
        days=options.campaign_days,
    )


def _refuse_contradictions(options: AgentsOptions, mechanism: str, *, in_campaigns: bool) -> None:
    """Refuse options that mean nothing under a mechanism; raises ``malformed``."""
    for name in _OF_PRICES if in_campaigns else _OF_CAMPAIGNS:
        if getattr(options, name) in (None, False):
            continue
        option = "--" + name.replace("_", "-")
        others = "mechanisms that judge sample by sample" if in_campaigns else "campaigns"
        raise InvalidInputError(
            "malformed",
            f"{option} is for {others}, the mechanism is {mechanism}",
            field=name,
            value=getattr(options, name),
        )


def make_command(options: AgentsOptions, report: Path | None) -> str:
    """Return the command line that these options are."""
    words = ["quorate", "agents"]
    for field in fields(AgentsOptions):
        value = getattr(options, field.name)
        name = "--" + field.name.replace("_", "-")
        if field.name == "habits":
            words += [word for each in value for word in ("--habit", each)]
        elif value is True:
            words.append(name)
        elif value is not None and value is not False:
            words += [name, str(value)]
    if report is not None:
        words += ["--report", report.name]
    return shlex.join(words)


def list_kinds(output: OutputFormat) -> None:
    """Show the kinds of agents, their habits, and the scenarios with a name."""
    names = [field.name for field in fields(Habits)]
    rows = [
        [kind.name, *(f"{getattr(kind.habits, name):g}" for name in names)]
        for kind in KINDS.values()
    ]
    text = render_table(["kind", *names], rows)
    text += "\n\n" + "\n".join(f"{kind.name}: {kind.description}" for kind in KINDS.values())
    text += f"\n\nscenarios: {', '.join(SCENARIOS)}"
    answer = {
        "kinds": [
            {
                "kind": kind.name,
                "description": kind.description,
                "habits": {name: getattr(kind.habits, name) for name in names},
            }
            for kind in KINDS.values()
        ],
        "scenarios": {name: each.to_json() for name, each in SCENARIOS.items()},
    }
    print_answer(answer, text, output)


def _describe(outcome: Outcome) -> str:
    headings = ["agent", "start", "end", "% of start", "sent", "validated", "reported"]
    headings += ["deposited", "refunded", "taken", "lost", "karma"]
    headings += ["fees paid", "fees got"] if outcome.settings.voluntary_fee else []
    provider = [] if outcome.provider is None else [outcome.provider]
    rows = [
        _make_row(row, fees=outcome.settings.voluntary_fee > 0)
        for row in (*outcome.rows, *provider)
    ]
    curves = outcome.curves
    return (
        f"{outcome.settings.mechanism} on {outcome.data_name}, {outcome.settings.family}, seed"
        f" {outcome.settings.seed}: {outcome.stopped_day:g} days, settled on day"
        f" {outcome.ended_day:.1f}\naccuracy {curves.accuracy[0]:.1f} % →"
        f" {curves.accuracy[-1]:.1f} %\n\n"
        + render_table(headings, rows)
        + _describe_campaigns(outcome)
    )


def _make_row(row: AgentRow, *, fees: bool) -> list[str]:
    cells = [
        row.name,
        *(f"{value:.0f}" for value in (row.start, row.end)),
        f"{row.percent:.1f}",
        *(str(value) for value in (row.samples, row.validated, row.reported)),
        *(f"{value:.0f}" for value in (row.deposited, row.refunded, row.taken, row.lost)),
        str(row.karma),
    ]
    return cells + [f"{value:.0f}" for value in (row.supported, row.collected) if fees]


def _describe_campaigns(outcome: Outcome) -> str:
    """Return a table with a line for each campaign: what each kind gained."""
    if not outcome.campaigns:
        return ""
    kinds = list(outcome.settings.agents)
    rows = [
        [
            str(each.number),
            each.phase,
            str(sum(each.contributions.values())),
            str(sum(each.kept.values())),
            *(f"{each.get_gain(kind):+z.0f}" for kind in kinds),
            f"{each.returned:.0f}",
            f"{each.accuracy:.1f}",
        ]
        for each in outcome.campaigns
    ]
    gains = [f"{kind} gains" for kind in kinds]
    headings = ["campaign", "ended", "contributions", "kept", *gains, "returned", "accuracy %"]
    return "\n\n" + render_table(headings, rows)
