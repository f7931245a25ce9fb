"""``quorate stake``: pools, delegations, commissions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node.commands.inspect import print_transaction
from node.commands.keys import find_account, open_client
from node.commands.terminal import ExitCode, OutputFormat, fail, print_answer, render_table
from primitives.errors import InvalidInputError
from quorate.client import Client
from quorate.errors import TransactionFailedError
from quorate.staking import AccountStakes, StakePool, Unbonding

__all__ = [
    "add_stake",
    "list_stakes",
    "parse_percent",
    "remove_stake",
    "set_commission",
    "show_account_stakes",
    "show_stake",
    "withdraw_stakes",
]

BASIS_POINTS_PER_PERCENT = 100


def list_stakes(url: str, output: OutputFormat) -> None:
    """List pools, and say what the running epoch has brought so far."""
    with Client(url) as client:
        pools, rewards = client.stakes.pools(), client.stakes.rewards()
    rows = [
        [
            _name(pool.name, pool.validator),
            pool.tokens,
            _show_price(pool),
            _show_percent(pool.commission_basis_points),
            pool.blocks,
            pool.epochs,
            pool.uptime_karma,
            _show_state(pool),
        ]
        for pool in pools
    ]
    headings = ["validator", "staked", "share", "commission", "blocks", "epochs", "karma", "state"]
    text = (
        render_table(headings, rows)
        if rows
        else "no pools yet: a stake or the end of an epoch makes them"
    )
    answer = {"pools": [asdict(pool) for pool in pools], "rewards": dict(rewards)}
    print_answer(answer, f"{text}\n{_describe_rewards(rewards)}", output)


def show_stake(url: str, validator: str, output: OutputFormat) -> None:
    """Show one pool."""
    with Client(url) as client:
        pool = client.stakes.pool(_find_validator(client, validator))
    commission = _show_percent(pool.commission_basis_points)
    if pool.next_commission_basis_points != pool.commission_basis_points:
        following = _show_percent(pool.next_commission_basis_points)
        commission += f", {following} from epoch {pool.next_epoch} on"
    rows: list[list[object]] = [
        ["account", pool.validator],
        ["state", _show_state(pool)],
        ["staked", _describe_pool(pool)],
        ["commission", commission],
        ["proposed", f"{pool.blocks:,} blocks in {pool.epochs:,} epochs that are over"],
        ["karma", f"{pool.uptime_karma:,} for uptime"],
        ["slashed", f"{pool.slashed:,}"],
    ]
    text = f"{_name(pool.name, pool.validator)}\n"
    text += "\n".join(f"  {name:<11} {value}" for name, value in rows)
    print_answer(asdict(pool), text, output)


def show_account_stakes(
    url: str, account: str | None, key: Path | None, output: OutputFormat
) -> None:
    """Show what an account has staked, and what is coming back."""
    owner = find_account(account, key)
    with Client(url) as client:
        stakes = client.stakes.mine(owner)
    print_answer(asdict(stakes), _describe_stakes(stakes), output)


def add_stake(url: str, key: Path, validator: str, amount: int, output: OutputFormat) -> None:
    """Stake on a validator."""
    with open_client(url, key) as client:
        print_transaction(client.stakes.stake(_find_validator(client, validator), amount), output)


def remove_stake(
    url: str, key: Path, validator: str, shares: int | None, output: OutputFormat
) -> None:
    """Begin to take a stake back."""
    with open_client(url, key) as client:
        account = _find_validator(client, validator)
        try:
            done = client.stakes.unstake(account, shares)
        except TransactionFailedError as error:
            if error.code != "not_enough_stake" or shares is not None:
                raise
            # The ledger would say that it was asked for 0 shares, by which it means all.
            raise fail(
                f"not_enough_stake: nothing of yours is staked on {validator}; see `quorate stake"
                " mine`",
                ExitCode.REJECTED,
            ) from error
        leaving = client.stakes.mine(height=done.height).unbondings
    epoch = int(done.result["epoch"])
    heights = [
        each.withdrawable_height
        for each in leaving
        if (each.validator, each.epoch) == (account, epoch)
    ]
    first = heights[0] if heights else None
    answer = {**asdict(done), "withdrawable_height": first}
    text = f"{int(done.result['tokens']):,} left the pool at height {done.height}"
    if first is not None:
        text += f"; `quorate stake withdraw` pays them out from height {first} on"
    print_answer(answer, text, output)


def withdraw_stakes(url: str, key: Path, validator: str | None, output: OutputFormat) -> None:
    """Have paid out what has matured, transaction by transaction."""
    with open_client(url, key) as client:
        only = None if validator is None else _find_validator(client, validator)
        stakes = client.stakes.mine()
        leaving = [each for each in stakes.unbondings if only in (None, each.validator)]
        ready = [each for each in leaving if each.is_withdrawable]
        if not ready:
            raise fail(_explain_nothing(leaving, stakes.height), ExitCode.REJECTED)
        done = [client.stakes.withdraw(each.validator, each.epoch) for each in ready]
    rows = [
        [_name(each.name, each.validator), each.epoch, paid.height, paid.result["paid"]]
        for each, paid in zip(ready, done, strict=True)
    ]
    text = render_table(["validator", "left in epoch", "height", "paid"], rows)
    print_answer([asdict(paid) for paid in done], text, output)


def set_commission(url: str, key: Path, percent: str, output: OutputFormat) -> None:
    """Announce a commission."""
    basis_points = parse_percent(percent)
    with open_client(url, key) as client:
        print_transaction(client.stakes.set_commission(basis_points), output)


def parse_percent(text: str) -> int:
    """Return the basis points of a percentage.

    Raises
    ------
    InvalidInputError
        ``malformed``: it is none from 0 to 100 with at most two digits after the point.

    Examples
    --------
    >>> parse_percent("2.5")
    250
    """
    found = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?%?", text)
    if found is not None:
        whole, part = found.groups(default="")
        basis_points = int(whole) * BASIS_POINTS_PER_PERCENT + int(part.ljust(2, "0"))
        if basis_points <= 100 * BASIS_POINTS_PER_PERCENT:
            return basis_points
    raise InvalidInputError(
        "malformed",
        f"a commission lies in 0 to 100 percent, with at most two digits after the point, found"
        f" {text!r}",
        field="percent",
        value=text,
        limit=100,
    )


def _find_validator(client: Client, text: str) -> str:
    """Return the account of a validator that is named by name or account."""
    if text.startswith("qr1"):
        return text
    members = client.governance.members()
    for member in members:
        if member.name == text:
            return member.account
    known = ", ".join(member.name for member in members if "validator" in member.roles)
    raise InvalidInputError(
        "unknown_member",
        f"no member is called {text!r}; validators are {known}",
        field="validator",
        value=text,
    )


def _describe_rewards(rewards: Mapping[str, Any]) -> str:
    return (
        f"epoch {rewards['epoch']} has brought {int(rewards['pot']):,} in fees in"
        f" {rewards['blocks']} blocks; they and at most {int(rewards['issuance']):,} of new money"
        f" are shared at height {rewards['epoch_end_height']}, now {rewards['height']}"
    )


def _describe_stakes(stakes: AccountStakes) -> str:
    lines = [f"{stakes.account} at height {stakes.height}"]
    if stakes.delegations:
        staked = [
            [_name(each.name, each.validator), each.shares, each.tokens]
            for each in stakes.delegations
        ]
        lines.append(render_table(["staked on", "shares", "worth"], staked))
    else:
        lines.append("nothing staked; see `quorate stake list`")
    if stakes.unbondings:
        leaving = [
            [
                _name(each.name, each.validator),
                each.epoch,
                each.tokens,
                "now" if each.is_withdrawable else f"from height {each.withdrawable_height} on",
            ]
            for each in stakes.unbondings
        ]
        headings = ["coming back from", "left in epoch", "worth", "can be withdrawn"]
        lines.append("\n" + render_table(headings, leaving))
    return "\n".join(lines)


def _explain_nothing(leaving: list[Unbonding], height: int) -> str:
    if not leaving:
        return "nothing is on its way out; see `quorate stake remove`"
    first = min(leaving, key=lambda each: each.withdrawable_height)
    return (
        f"nothing can be withdrawn yet: {first.tokens:,} of {_name(first.name, first.validator)}"
        f" from height {first.withdrawable_height} on, now {height}"
    )


def _name(name: str | None, account: str) -> str:
    return account if name is None else name


def _describe_pool(pool: StakePool) -> str:
    if not pool.shares:
        return "nothing"
    return f"{pool.tokens:,} for {pool.shares:,} shares, each worth {_show_price(pool)}"


def _show_price(pool: StakePool) -> str:
    return "-" if pool.share_price is None else f"{pool.share_price:.6f}"


def _show_percent(basis_points: int) -> str:
    return f"{basis_points / BASIS_POINTS_PER_PERCENT:g} %"


def _show_state(pool: StakePool) -> str:
    if pool.is_tombstoned:
        return "slashed for good"
    return "has a seat" if pool.has_seat else "no seat"
