"""What an exchange waits for, in words: its phase, what can be sent now, and until when.

Times are those of blocks: the phase is that of the last final block, and a transaction that is sent
now is judged by the time of the block that it comes into.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.transactions.exchange_access import ExchangeState
from node.api.json_codec import format_time
from primitives.accounts import account_to_text

__all__ = ["PHASES", "Outlook", "count_items", "describe_exchange"]

PHASES = ("submitting", "opening", "showing", "judging", "due", "closed")


class Outlook(NamedTuple):
    """Where an exchange stands and what comes next.

    Parameters
    ----------
    phase : one of `PHASES`; due is one that anybody can end because a time has passed.
    sentence : for people.
    action : kind of the transaction that it waits for; None if it is closed.
    until_ms : time of the blocks until which that can be sent; None without an end.
    """

    phase: str
    sentence: str
    action: str | None
    until_ms: int | None


def describe_exchange(found: ExchangeState, now_ms: int) -> Outlook:
    """Return where an exchange stands at the time of a block."""
    progress = found.progress
    if progress.is_closed:
        return Outlook("closed", _describe_end(found), None, None)
    if progress.is_judging:
        done, total = count_items(found)
        return Outlook(
            "judging",
            f"Models are judged on the test set: {done} of {total} judgements are made. Anybody"
            " can drive it on.",
            "advance_exchange",
            None,
        )
    return _describe_open(found, now_ms)


def count_items(found: ExchangeState) -> tuple[int, int]:
    """Return how many judgements were made, and how many there are; what is set aside is made."""
    progress, pieces = found.progress, len(found.pieces.hidden.pieces)
    opened = [entry.is_opened for entry in progress.entries]
    return sum(opened[: progress.entry]) * pieces + progress.piece, sum(opened) * pieces


def _describe_open(found: ExchangeState, now_ms: int) -> Outlook:
    exchange, entries = found.exchange, found.progress.entries
    opened = sum(entry.is_opened for entry in entries)
    if now_ms < exchange.deadline_ms:
        sentence = (
            f"Models are submitted until {format_time(exchange.deadline_ms)}, {len(entries)} so"
            " far; then they are opened."
        )
        return Outlook("submitting", sentence, "submit_model", exchange.deadline_ms)
    if not entries:
        return _due("Nobody submitted a model: the bounty goes back to the organiser.")
    if now_ms < found.reveals_end_ms:
        sentence = (
            f"{opened} of {len(entries)} models are opened, the others can be until"
            f" {format_time(found.reveals_end_ms)}; then the test set is shown."
        )
        return Outlook("opening", sentence, "reveal_model", found.reveals_end_ms)
    if not opened:
        return _due("No model was opened in time: bounty and stakes go to the organiser.")
    if now_ms < found.shows_end_ms:
        pieces = found.pieces.hidden.pieces
        shown = sum(piece.transaction_id is not None for piece in pieces)
        sentence = (
            f"The organiser shows the test set, {shown} of {len(pieces)} pieces so far; all are to"
            f" be shown by {format_time(found.shows_end_ms)}."
        )
        return Outlook("showing", sentence, "show_exchange_piece", found.shows_end_ms)
    return _due(
        "The organiser did not show the test set in time: the bounty goes to those who opened"
        f" their model, {opened} in all."
    )


def _due(what: str) -> Outlook:
    return Outlook("due", f"{what} Anybody can end it.", "advance_exchange", None)


def _describe_end(found: ExchangeState) -> str:
    progress = found.progress
    opened = sum(entry.is_opened for entry in progress.entries)
    if progress.winner is not None:
        return f"{account_to_text(progress.winner)} won the bounty."
    if progress.status_name == "not_shown":
        return (
            "The organiser did not show the test set in time: the bounty was shared by those who"
            f" opened their model, {opened} in all."
        )
    if not progress.entries:
        return "Nobody submitted a model: the bounty went back to the organiser."
    if not opened:
        return "No model was opened in time: bounty and stakes went to the organiser."
    return "No model met the threshold: the bounty went back to the organiser."
