"""Commands about stakes: ``quorate stake …``.

Names, options and help; what a command does is in ``node/commands/``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from node.cli_options import AMOUNT_MAX, DEFAULT_URL, Key, OptionalKey, Output, Url
from node.commands.terminal import OutputFormat, handles_problems

__all__ = ["stake_commands"]

stake_commands = typer.Typer(
    help="Let money stand behind validators, and take it back.", no_args_is_help=True
)

Validator = Annotated[
    str, typer.Argument(help="The validator, by name or account.", show_default=False)
]


@stake_commands.command("list")
@handles_problems
def stake_list(url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """List what stands behind validators, their commissions and what the epoch brought."""
    from node.commands.stakes import list_stakes

    list_stakes(url, output)


@stake_commands.command("show")
@handles_problems
def stake_show(
    validator: Validator, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """Show what stands behind one validator, and what it did."""
    from node.commands.stakes import show_stake

    show_stake(url, validator, output)


@stake_commands.command("mine")
@handles_problems
def stake_mine(
    account: Annotated[
        str | None, typer.Argument(help="Account, qr1…; default: that of --key.")
    ] = None,
    key: OptionalKey = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show what an account has staked, what is coming back and from when on; asks no password."""
    from node.commands.stakes import show_account_stakes

    show_account_stakes(url, account, key, output)


@stake_commands.command("add")
@handles_problems
def stake_add(
    validator: Validator,
    amount: Annotated[
        int,
        typer.Argument(min=1, max=AMOUNT_MAX, help="Most that is taken.", show_default=False),
    ],
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Stake money on a validator; what buys no whole share stays with you."""
    from node.commands.stakes import add_stake

    add_stake(url, key, validator, amount, output)


@stake_commands.command("remove")
@handles_problems
def stake_remove(
    validator: Validator,
    key: Key,
    shares: Annotated[
        int | None,
        typer.Option(min=1, max=AMOUNT_MAX, help="So many shares; default: all that you have."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Begin to take a stake back, and say from when on it can be withdrawn."""
    from node.commands.stakes import remove_stake

    remove_stake(url, key, validator, shares, output)


@stake_commands.command("withdraw")
@handles_problems
def stake_withdraw(
    key: Key,
    validator: Annotated[
        str | None, typer.Argument(help="Only from this validator, by name or account.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Have everything paid out whose wait is over."""
    from node.commands.stakes import withdraw_stakes

    withdraw_stakes(url, key, validator, output)


@stake_commands.command("commission")
@handles_problems
def stake_commission(
    percent: Annotated[
        str,
        typer.Argument(
            help="Your part of what your pool earns, 0 to 100, two digits after the point.",
            show_default=False,
        ),
    ],
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Set, as a validator, your commission from the next epoch on."""
    from node.commands.stakes import set_commission

    set_commission(url, key, percent, output)
