"""The command ``agents``: options and help; what it does is in ``node/commands/agents.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli_options import Output
from node.commands.terminal import OutputFormat, handles_problems

__all__ = ["agents"]


@handles_problems
def agents(
    *,
    scenario: Annotated[
        str | None,
        typer.Option(help="Start from a scenario with a name: published or crowd."),
    ] = None,
    mechanism: Annotated[
        str | None,
        typer.Option(
            help="points, deposit_refund_take (the default), prediction_market or contribution_pay."
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="Family of models; default: averaged_perceptron, in campaigns"
            " gaussian_naive_bayes (words: bernoulli_naive_bayes)."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="digits, words, or a file: .csv (class last) or .npz; default: digits."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="Simulated days of contributions; default: 10.")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option("--agents", help="How many of each kind; default: honest=3,label_flipper=1."),
    ] = None,
    habit: Annotated[
        list[str] | None,
        typer.Option(help="Change a habit of a kind: honest.wait_mean_s=1800. May be repeated."),
    ] = None,
    weight: Annotated[
        int | None, typer.Option(help="Of the price, in thousandths of a coin; default: 167.")
    ] = None,
    refund_days: Annotated[
        float | None, typer.Option(help="Wait until refunds and reports; default: 1.")
    ] = None,
    any_days: Annotated[
        float | None, typer.Option(help="Wait until anybody takes what is left; default: 9.")
    ] = None,
    initial: Annotated[
        float | None,
        typer.Option(
            help="Share of the data that the model learnt before; default: 0.08, in campaigns 0.03."
        ),
    ] = None,
    voluntary_fee: Annotated[
        float | None,
        typer.Option(help="Coins that callers pay now and then for an answer; default: 0."),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="Of campaigns: market_single or market_grouped (the default) for"
            " prediction_market, shapley (the default) or leave_one_out for contribution_pay."
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Markets train and measure again in each pass.")
    ] = False,
    bounty: Annotated[
        float | None,
        typer.Option(
            help="Coins promised in each campaign; default: 50,000 in markets, else 1,000."
        ),
    ] = None,
    stake: Annotated[
        float | None,
        typer.Option(help="Coins that go with a contribution to a campaign; default: 400."),
    ] = None,
    pieces: Annotated[
        int | None, typer.Option(help="Pieces of hidden test data in each campaign; default: 5.")
    ] = None,
    campaigns: Annotated[
        int | None, typer.Option(help="Campaigns, one after the other; default: 4.")
    ] = None,
    campaign_days: Annotated[
        float | None, typer.Option(help="From one campaign to the next; default: 0.25.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all chance; default: 1.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with pictures to this HTML file.")
    ] = None,
    show_kinds: Annotated[
        bool, typer.Option("--list", help="Show kinds of agents, their habits, and scenarios.")
    ] = False,
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
