"""Commands about exchanges: a bounty for the best model on a hidden test set.

Names, options and help; what a command does is in ``node/commands/exchanges.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli_options import DEFAULT_URL, Key, Model, Output, Url
from node.commands.terminal import OutputFormat, handles_problems

__all__ = ["exchange_commands"]

exchange_commands = typer.Typer(
    help="Hold out a bounty for the best model, or win one.", no_args_is_help=True
)

Exchange = Annotated[str, typer.Argument(help="Name of the exchange.", show_default=False)]
Duration = "A number and s, m, h or d."


@exchange_commands.command("open")
@handles_problems
def exchange_open(
    exchange: Exchange,
    samples: Annotated[
        Path,
        typer.Argument(
            metavar="CSV",
            help="The test set: features, then the answer in the last column, as for `contribute`.",
            show_default=False,
        ),
    ],
    *,
    like: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="A model that takes such samples: its classes and features are asked for.",
        ),
    ],
    keep: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where the test set goes; secret until it is shown."),
    ],
    bounty: Annotated[int, typer.Option(min=1, help="Money for the best model; held at once.")],
    threshold: Annotated[
        float, typer.Option(min=0, help="Accuracy to reach, 0 to 1; or the greatest mean loss.")
    ],
    metric: Annotated[str, typer.Option(help="accuracy or loss.")] = "accuracy",
    stake: Annotated[
        int, typer.Option(min=0, help="Money of every submission; back to who opens the model.")
    ] = 0,
    length: Annotated[str, typer.Option(help=f"How long models are submitted. {Duration}")] = "7d",
    reveal_wait: Annotated[
        str,
        typer.Option(
            help=f"How long models can be opened, and again the test set shown. {Duration}"
        ),
    ] = "1d",
    pieces: Annotated[
        int, typer.Option(min=1, max=256, help="Into how many the test set is cut.")
    ] = 1,
    submissions: Annotated[
        int, typer.Option(min=1, max=256, help="How many accounts can take part.")
    ] = 256,
    description: Annotated[
        str, typer.Option(help="For people: what the samples are, which model to look at.")
    ] = "",
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Hold out a bounty for the best model on samples that nobody sees before.

    The pieces of the test set and their salts are kept in FOLDER. If they are lost, so is the
    bounty.
    """
    from node.commands.exchanges import OpenOptions, open_exchange

    options = OpenOptions(
        like=like,
        keep=keep,
        bounty=bounty,
        threshold=threshold,
        metric=metric,
        stake=stake,
        length=length,
        reveal_wait=reveal_wait,
        pieces=pieces,
        submissions=submissions,
        description=description,
    )
    open_exchange(url, key, exchange, samples, options, output)


@exchange_commands.command("list")
@handles_problems
def exchange_list(
    status: Annotated[
        str | None,
        typer.Option(help="Only those that are open, judging, won, not_won or not_shown."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List exchanges, and until when models can be submitted."""
    from node.commands.exchanges import list_exchanges

    list_exchanges(url, status, output)


@exchange_commands.command("show")
@handles_problems
def exchange_show(
    exchange: Exchange, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """Say what an exchange asks for, where it stands, and how good its models are."""
    from node.commands.exchanges import show_exchange

    show_exchange(url, exchange, output)


@exchange_commands.command("submit")
@handles_problems
def exchange_submit(
    exchange: Exchange,
    model: Model,
    *,
    keep: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where what opens the submission goes; secret.")
    ],
    version: Annotated[
        str, typer.Option("--version", help="In force, or one with an alias; by number or alias.")
    ] = "latest",
    alias: Annotated[
        str | None,
        typer.Option(
            help="Give the version this name, so that it can be opened whatever the model learns.",
            show_default=False,
        ),
    ] = None,
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Submit a model of yours that nobody can see yet; the stake is held.

    What opens it later is kept in FOLDER. If that is lost, so is the stake.
    """
    from node.commands.exchanges import submit_model

    submit_model(url, key, exchange, model, output, version=version, alias=alias, keep=keep)


@exchange_commands.command("reveal")
@handles_problems
def exchange_reveal(
    file: Annotated[Path, typer.Argument(help="File of `exchange submit`.", show_default=False)],
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Open your submission, once nothing more can be submitted."""
    from node.commands.exchanges import reveal_model

    reveal_model(url, key, file, output)


@exchange_commands.command("show-piece")
@handles_problems
def exchange_show_piece(
    files: Annotated[
        list[Path], typer.Argument(help="Files of `exchange open`.", show_default=False)
    ],
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show the test set, once the models are opened. Can be interrupted and run again."""
    from node.commands.exchanges import show_pieces

    show_pieces(url, key, files, output)


@exchange_commands.command("advance")
@handles_problems
def exchange_advance(
    exchange: Exchange,
    items: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Most judgements of a transaction.", show_default=False),
    ] = None,
    *,
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Have the models judged and the bounty paid; anybody can. Can be interrupted."""
    from node.commands.exchanges import advance_exchange

    advance_exchange(url, key, exchange, items, output)
