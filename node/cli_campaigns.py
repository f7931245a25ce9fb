"""Commands about campaigns: open one, follow it, show its test data, settle it, check it.

Names, options and help; what a command does is in ``node/commands/campaigns.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli_options import DEFAULT_URL, Key, Model, Output, Url
from node.commands.terminal import OutputFormat, handles_problems

__all__ = ["campaign_commands"]

campaign_commands = typer.Typer(
    help="Pay for samples by what they are worth: prediction markets and contribution pay.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path,
    typer.Option("--folder", help="Where the secrets of campaigns are kept.", show_default=False),
]
Number = Annotated[
    int | None,
    typer.Argument(min=0, help="Number of the campaign; the newest if left out."),
]


@campaign_commands.command("open")
@handles_problems
def campaign_open(
    model: Model,
    samples: Annotated[
        Path,
        typer.Argument(
            metavar="CSV",
            help="Test data: features, then the class in the last column, as for `contribute`.",
            show_default=False,
        ),
    ],
    *,
    folder: Folder,
    rule: Annotated[
        str,
        typer.Option(help="market_single, market_grouped, shapley or leave_one_out."),
    ],
    bounty: Annotated[int, typer.Option(min=1, help="Money to be won; held from now on.")],
    stake: Annotated[int, typer.Option(min=0, help="Goes with every contribution.")] = 0,
    pieces: Annotated[int, typer.Option(min=2, max=256, help="Into how many to cut.")] = 10,
    metric: Annotated[str, typer.Option(help="accuracy, or loss for contribution pay.")] = (
        "accuracy"
    ),
    reset: Annotated[
        bool | None,
        typer.Option(
            "--reset/--no-reset",
            help="Whether each pass of a market measures again; it does if left out.",
        ),
    ] = None,
    clip_percent: Annotated[
        int, typer.Option(min=1, max=100, help="Most that one contributor can win, of the bounty.")
    ] = 100,
    budget: Annotated[
        int, typer.Option(min=1, max=64, help="Pairs of orders, above 8 contributors to shapley.")
    ] = 1,
    truncation: Annotated[
        int, typer.Option(min=0, help="End an order this near to the measure of everything.")
    ] = 0,
    contributions_max: Annotated[
        int, typer.Option(min=1, max=256, help="Participation ends with so many.")
    ] = 256,
    min_contributions: Annotated[
        int, typer.Option(min=0, max=256, help="With so many anybody can end it; 0: time alone.")
    ] = 0,
    length: Annotated[str, typer.Option(help="Of participation: 90s, 30m, 12h or 7d.")] = "7d",
    reveal_wait: Annotated[
        str, typer.Option(help="Time to show the drawn piece, then all others; at least 60s.")
    ] = "1d",
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Collect contributions to your model, and promise to pay for what they bring.

    The samples and a seed are kept in FOLDER. Without that file you cannot show them, and a
    tenth of the bounty is lost, or all of it once others have contributed.
    """
    from node.commands.campaigns import open_campaign, read_duration

    terms = {
        "rule": rule,
        "metric": metric,
        "bounty": bounty,
        "stake": stake,
        "reset": reset,
        "clip_percent": clip_percent,
        "budget": budget,
        "truncation": truncation,
        "contributions_max": contributions_max,
        "min_contributions": min_contributions,
        "length_ms": read_duration(length),
        "reveal_wait_ms": read_duration(reveal_wait),
    }
    open_campaign(url, key, model, samples, output, piece_count=pieces, folder=folder, terms=terms)


@campaign_commands.command("list")
@handles_problems
def campaign_list(
    model: Annotated[
        str | None, typer.Argument(help="Name of a model; all that are open if left out.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List the campaigns of a model, newest first, or those of all models that are open."""
    from node.commands.campaigns import list_campaigns

    list_campaigns(url, model, output)


@campaign_commands.command("show")
@handles_problems
def campaign_show(
    model: Model,
    number: Number = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show a campaign: what it waits for, who contributed, who was paid what."""
    from node.commands.campaigns import show_campaign

    show_campaign(url, model, number, output)


@campaign_commands.command("reveal")
@handles_problems
def campaign_reveal(
    model: Model,
    *,
    folder: Folder,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the block that draws a piece.")
    ] = 600,
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show what is due now: first the drawn piece, in the end all others.

    Can be interrupted and run again.
    """
    from node.commands.campaigns import reveal_pieces

    reveal_pieces(url, key, model, folder, output, timeout_s=timeout)


@campaign_commands.command("advance")
@handles_problems
def campaign_advance(
    model: Model,
    key: Key,
    items: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Items of one transaction; as many as fit if left out."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Do what is due until nothing is: end a phase, value contributions, pay. Anybody may.

    Can be interrupted and run again, by somebody else as well.
    """
    from node.commands.campaigns import advance_campaign

    advance_campaign(url, key, model, output, items=items)


@campaign_commands.command("verify")
@handles_problems
def campaign_verify(
    model: Model,
    number: Number = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Compute a settlement again from what is on record, and say whether that was paid."""
    from node.commands.campaigns import verify_campaign

    verify_campaign(url, model, number, output)
