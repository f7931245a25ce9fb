"""Commands for operators: ``config`` and ``snapshot``.

Names, options and help; what a command does is in ``node/commands/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli_options import Home, Output
from node.commands.terminal import OutputFormat, handles_problems

__all__ = ["config_commands", "snapshot_commands"]

config_commands = typer.Typer(help="Look at a node's settings.", no_args_is_help=True)
snapshot_commands = typer.Typer(help="Back up a ledger, and restore it.", no_args_is_help=True)


@config_commands.command("check")
@handles_problems
def config_check(home: Home, output: Output = OutputFormat.TEXT) -> None:
    """Say everything that is wrong with a node's settings, keys and files; exit code 1 if any."""
    from node.commands.config import check_config

    check_config(home, output)


@config_commands.command("show")
@handles_problems
def config_show(home: Home, output: Output = OutputFormat.TEXT) -> None:
    """Show every setting, its value and where it comes from; never a secret."""
    from node.commands.config import show_config

    show_config(home, output)


@snapshot_commands.command("create")
@handles_problems
def snapshot_create(
    home: Home,
    to: Annotated[Path, typer.Option(help="File to write; must not exist.")],
    output: Output = OutputFormat.TEXT,
) -> None:
    """Write the ledger of a stopped node to one file, without any key."""
    from node.commands.snapshot import create_snapshot

    create_snapshot(home, to, output)


@snapshot_commands.command("restore")
@handles_problems
def snapshot_restore(
    file: Annotated[Path, typer.Argument(help="File of `snapshot create`.", show_default=False)],
    home: Home,
    replace: Annotated[
        bool, typer.Option("--replace", help="Set a ledger that is there aside.")
    ] = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Check a snapshot and put it in place; the node starts from there and syncs on."""
    from node.commands.snapshot import restore_snapshot

    restore_snapshot(file, home, output, replaces=replace)
