"""``quorate leaderboard``, ``badges``, ``model support`` and ``model collect-support``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from node.commands.inspect import print_transaction
from node.commands.keys import find_account, open_client
from node.commands.terminal import ExitCode, OutputFormat, fail, print_answer, render_table
from quorate.client import Client
from quorate.recognition import Support

__all__ = ["collect_support", "list_badges", "show_leaderboard", "support_model"]


def show_leaderboard(url: str, model: str | None, limit: int, output: OutputFormat) -> None:
    """Say who has the most karma, on a model or overall."""
    with Client(url) as client:
        leaders = client.recognition.leaderboard(model, limit=limit)
    rows = [
        [
            each.rank,
            each.account,
            each.karma,
            each.validated_samples,
            each.reported_samples,
            each.badges,
        ]
        for each in leaders
    ]
    headings = ["rank", "account", "karma", "validated", "reported", "badges"]
    text = render_table(headings, rows) if rows else "nobody has karma yet"
    print_answer([asdict(each) for each in leaders], text, output)


def list_badges(url: str, account: str | None, output: OutputFormat) -> None:
    """List an account's badges, or without an account those that there are."""
    with Client(url) as client:
        criteria = client.recognition.criteria()
        earned = None if account is None else client.recognition.badges(account)
    if earned is None:
        rows = [[each.title, each.scope, each.criterion] for each in criteria]
        text = render_table(["badge", "looks at", "given when"], rows)
        print_answer([asdict(each) for each in criteria], text, output)
        return
    given = {each.badge: each.criterion for each in criteria}
    held: list[list[object]] = [
        [each.title, each.model or "all work", each.height, given.get(each.badge, "")]
        for each in earned
    ]
    text = render_table(["badge", "on", "height", "given when"], held) if held else "no badges yet"
    print_answer([asdict(each) for each in earned], text, output)


def support_model(
    url: str, key: Path | None, model: str, amount: int | None, output: OutputFormat
) -> None:
    """Pay for a model or, without an amount, say what is suggested, was paid and is owed."""
    if amount is None:
        with Client(url) as client:
            owner = None if key is None else find_account(None, key)
            support = client.recognition.read_support(model, owner)
        print_answer(asdict(support), _describe(support), output)
        return
    if key is None:
        raise fail("paying needs a --key", ExitCode.USAGE)
    with open_client(url, key) as client:
        print_transaction(client.recognition.support(model, amount), output)


def collect_support(url: str, key: Path, model: str, output: OutputFormat) -> None:
    """Take one's share of what was paid for a model."""
    with open_client(url, key) as client:
        print_transaction(client.recognition.collect(model), output)


def _describe(support: Support) -> str:
    suggested = f"{support.voluntary_fee:,}" if support.voluntary_fee else "nothing"
    lines = [
        f"{support.model}: predictions are free; the owner suggests {suggested}",
        f"{support.paid:,} were paid so far, {support.held:,} of them not collected yet;"
        f" shared by {support.validated_samples:,} validated samples",
    ]
    if support.owed is not None:
        lines.append(f"{support.owed:,} are yours; see `quorate model collect-support`")
    return "\n".join(lines)
