"""Commands about respect, thanks and sponsors: ``leaderboard``, ``badges``, ``sponsor`` and more.

Names, options and help; what a command does is in ``node/commands/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli_lifecycle import model_commands
from node.cli_options import AMOUNT_MAX, DEFAULT_URL, Key, Model, OptionalKey, Output, Url
from node.commands.terminal import OutputFormat, handles_problems

__all__ = ["badges", "leaderboard", "sponsor_commands"]

sponsor_commands = typer.Typer(help="Pay for what somebody else contributes.", no_args_is_help=True)

Request = Annotated[
    Path,
    typer.Argument(help="File of `contribute --ask-sponsor … --save`.", show_default=False),
]


@handles_problems
def leaderboard(
    model: Annotated[
        str | None, typer.Option("--model", help="On this model; default: over all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most accounts.")] = 20,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Say who has the most karma."""
    from node.commands.recognition import show_leaderboard

    show_leaderboard(url, model, limit, output)


@handles_problems
def badges(
    account: Annotated[
        str | None, typer.Argument(help="Account, qr1…; without: all there are, and what for.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List the badges of an account, or what badges are given for."""
    from node.commands.recognition import list_badges

    list_badges(url, account, output)


@model_commands.command("support")
@handles_problems
def model_support(
    model: Model,
    amount: Annotated[
        int | None,
        typer.Argument(
            min=1,
            max=AMOUNT_MAX,
            help="What you pay; without: shows what was paid and suggested.",
        ),
    ] = None,
    key: OptionalKey = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Thank those who taught a model with money; predictions stay free."""
    from node.commands.recognition import support_model

    support_model(url, key, model, amount, output)


@model_commands.command("collect-support")
@handles_problems
def model_collect_support(
    model: Model, key: Key, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """Take your share of what was paid for a model."""
    from node.commands.recognition import collect_support

    collect_support(url, key, model, output)


@sponsor_commands.command("show")
@handles_problems
def sponsor_show(file: Request, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """Show what a request would have you pay for, and whether it can still be sent."""
    from node.commands.sponsors import show_request

    show_request(url, file, output)


@sponsor_commands.command("sign")
@handles_problems
def sponsor_sign(
    file: Request,
    key: Key,
    sure: Annotated[bool, typer.Option("--sure", help="Do not ask on a terminal.")] = False,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Pay for a request: show it, sign it and send it."""
    from node.commands.sponsors import sign_request

    sign_request(url, key, file, output, is_sure=sure)
