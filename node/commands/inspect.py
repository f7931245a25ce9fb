"""``quorate status``, ``account``, ``tx show`` and ``transfer``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from node.commands.keys import open_client
from node.commands.terminal import ExitCode, OutputFormat, fail, print_answer
from quorate.client import Client
from quorate.records import Transaction

__all__ = ["print_transaction", "show_account", "show_status", "show_transaction", "transfer"]


def show_status(url: str, output: OutputFormat) -> None:
    """Say where the chain stands; exit code 3 if the node is not synced."""
    with Client(url) as client:
        status = client.status()
    node = status.raw.get("node") or {}
    rows: list[list[object]] = [
        ["chain", status.chain_id],
        ["height", status.height],
        ["block", status.block_id],
        ["state root", status.state_root],
        ["node", node.get("name", "not connected")],
        ["view", status.view],
        ["peers", _describe_peers(status.peers_connected, node.get("peers_expected"))],
        ["waiting", f"{status.mempool_transactions} transactions"],
        ["ready", "yes" if status.is_ready else "no"],
    ]
    print_answer(status.raw, "\n".join(f"{name:<11} {value}" for name, value in rows), output)
    if not status.is_ready:
        raise fail("the node is not synced", ExitCode.UNREACHABLE)


def _describe_peers(connected: int | None, expected: int | None) -> str:
    """Say how many validators this one hears, and whether they are enough to decide.

    Examples
    --------
    >>> _describe_peers(2, 3)
    '2 of 3'
    >>> _describe_peers(1, 3)
    '1 of 3: nothing becomes final here until there are 2'
    """
    if connected is None or expected is None:
        return "unknown"
    needed = expected - expected // 3
    text = f"{connected} of {expected}"
    if connected >= needed:
        return text
    return f"{text}: nothing becomes final here until there are {needed}"


def show_account(url: str, account_id: str, output: OutputFormat) -> None:
    """Show balance, nonce and karma of an account."""
    with Client(url) as client:
        account = client.account(account_id)
    rows: list[list[object]] = [
        ["balance", f"{account.balance:,}"],
        ["nonce", account.nonce],
        ["karma", account.karma],
        ["validated samples", f"{account.validated_samples:,}"],
        ["reported samples", f"{account.reported_samples:,}"],
        ["badges", account.badges],
    ]
    rows += [[f"karma on {name}", karma] for name, karma in account.karma_by_model.items()]
    text = f"{account.account}\n" + "\n".join(f"{name:<20} {value}" for name, value in rows)
    print_answer(asdict(account), text, output)


def show_transaction(url: str, transaction_id: str, output: OutputFormat) -> None:
    """Show a transaction; exit code 4 if it had no effect."""
    with Client(url) as client:
        transaction = client.transaction(transaction_id)
    print_transaction(transaction, output)
    if transaction.status in ("failed", "void"):
        raise fail(f"{transaction.code}: {transaction.message}", ExitCode.REJECTED)


def transfer(url: str, key: Path, to: str, amount: int, output: OutputFormat) -> None:
    """Send money and wait until it has arrived."""
    with open_client(url, key) as client:
        print_transaction(client.transfer(to, amount), output)


def print_transaction(transaction: Transaction, output: OutputFormat) -> None:
    """Print what became of a transaction."""
    lines = [f"transaction {transaction.transaction_id}"]
    if transaction.height is None:
        lines.append("pending")
    else:
        lines.append(f"{transaction.status} at height {transaction.height}, fee {transaction.fee}")
    lines += [f"  {name:<20} {value}" for name, value in transaction.result.items()]
    print_answer(asdict(transaction), "\n".join(lines), output)
