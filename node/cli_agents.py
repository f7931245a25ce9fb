"""The command ``agents``: options and help; what it does is in ``node/commands/agents.py``."""

from __future__ import annotations

from node.cli_agents_options import (
    Agents,
    AnyDays,
    Bounty,
    CampaignDays,
    Campaigns,
    Changes,
    DataSource,
    Days,
    Family,
    Initial,
    Mechanism,
    Pieces,
    RefundDays,
    Report,
    Reset,
    Rule,
    Scenario,
    Seed,
    ShowKinds,
    Stake,
    VoluntaryFee,
    Weight,
)
from node.cli_options import Output
from node.commands.terminal import OutputFormat, handles_problems

__all__ = ["agents"]


@handles_problems
def agents(
    *,
    scenario: Scenario = None,
    mechanism: Mechanism = None,
    family: Family = None,
    data: DataSource = None,
    days: Days = None,
    kinds: Agents = None,
    habit: Changes = None,
    weight: Weight = None,
    refund_days: RefundDays = None,
    any_days: AnyDays = None,
    initial: Initial = None,
    voluntary_fee: VoluntaryFee = None,
    rule: Rule = None,
    reset: Reset = False,
    bounty: Bounty = None,
    stake: Stake = None,
    pieces: Pieces = None,
    campaigns: Campaigns = None,
    campaign_days: CampaignDays = None,
    seed: Seed = None,
    report: Report = None,
    show_kinds: ShowKinds = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Simulate people who contribute for pay, on the real executor, in this process."""
    from node.commands.agents import AgentsOptions, list_kinds, run_agents

    if show_kinds:
        list_kinds(output)
        return
    options = AgentsOptions(
        scenario=scenario,
        mechanism=mechanism,
        family=family,
        data=data,
        days=days,
        agents=kinds,
        habits=tuple(habit or ()),
        weight=weight,
        refund_days=refund_days,
        any_days=any_days,
        initial=initial,
        voluntary_fee=voluntary_fee,
        rule=rule,
        reset=reset,
        bounty=bounty,
        stake=stake,
        pieces=pieces,
        campaigns=campaigns,
        campaign_days=campaign_days,
        seed=seed,
    )
    run_agents(options, report, output)
