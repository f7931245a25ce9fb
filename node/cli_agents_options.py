"""Options of the command ``agents``: what each means, and what it is if nothing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Agents",
    "AnyDays",
    "Bounty",
    "CampaignDays",
    "Campaigns",
    "Changes",
    "DataSource",
    "Days",
    "Family",
    "Initial",
    "Mechanism",
    "Pieces",
    "RefundDays",
    "Report",
    "Reset",
    "Rule",
    "Scenario",
    "Seed",
    "ShowKinds",
    "Stake",
    "VoluntaryFee",
    "Weight",
]

Scenario = Annotated[
    str | None,
    typer.Option(help="Start from a scenario with a name: published or crowd."),
]
Mechanism = Annotated[
    str | None,
    typer.Option(
        help="points, deposit_refund_take (the default), prediction_market or contribution_pay."
    ),
]
Family = Annotated[
    str | None,
    typer.Option(
        help="Family of models; default: averaged_perceptron, in campaigns"
        " gaussian_naive_bayes (words: bernoulli_naive_bayes)."
    ),
]
DataSource = Annotated[
    str | None,
    typer.Option(help="digits, words, or a file: .csv (class last) or .npz; default: digits."),
]
Days = Annotated[float | None, typer.Option(help="Simulated days of contributions; default: 10.")]
Agents = Annotated[
    str | None,
    typer.Option("--agents", help="How many of each kind; default: honest=3,label_flipper=1."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(help="Change a habit of a kind: honest.wait_mean_s=1800. May be repeated."),
]
Weight = Annotated[
    int | None, typer.Option(help="Of the price, in thousandths of a coin; default: 167.")
]
RefundDays = Annotated[
    float | None, typer.Option(help="Wait until refunds and reports; default: 1.")
]
AnyDays = Annotated[
    float | None, typer.Option(help="Wait until anybody takes what is left; default: 9.")
]
Initial = Annotated[
    float | None,
    typer.Option(
        help="Share of the data that the model learnt before; default: 0.08, in campaigns 0.03."
    ),
]
VoluntaryFee = Annotated[
    float | None,
    typer.Option(help="Coins that callers pay now and then for an answer; default: 0."),
]
Rule = Annotated[
    str | None,
    typer.Option(
        help="Of campaigns: market_single or market_grouped (the default) for"
        " prediction_market, shapley (the default) or leave_one_out for contribution_pay."
    ),
]
Reset = Annotated[
    bool, typer.Option("--reset", help="Markets train and measure again in each pass.")
]
Bounty = Annotated[
    float | None,
    typer.Option(help="Coins promised in each campaign; default: 50,000 in markets, else 1,000."),
]
Stake = Annotated[
    float | None,
    typer.Option(help="Coins that go with a contribution to a campaign; default: 400."),
]
Pieces = Annotated[
    int | None, typer.Option(help="Pieces of hidden test data in each campaign; default: 5.")
]
Campaigns = Annotated[int | None, typer.Option(help="Campaigns, one after the other; default: 4.")]
CampaignDays = Annotated[
    float | None, typer.Option(help="From one campaign to the next; default: 0.25.")
]
Seed = Annotated[int | None, typer.Option(help="Decides all chance; default: 1.")]
Report = Annotated[Path | None, typer.Option(help="Write a page with pictures to this HTML file.")]
ShowKinds = Annotated[
    bool, typer.Option("--list", help="Show kinds of agents, their habits, and scenarios.")
]
