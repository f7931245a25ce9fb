"""What transactions about an existing exchange begin with: its records, and which time it is."""

from __future__ import annotations

from typing import NamedTuple

from ledger.errors import TransactionFailedError
from ledger.exchange_records import (
    Exchange,
    ExchangePieces,
    ExchangeProgress,
    Submission,
    decode_exchange,
    decode_exchange_pieces,
    decode_exchange_progress,
    decode_submission,
    exchange_key,
    exchange_pieces_key,
    exchange_progress_key,
    submission_key,
)
from ledger.schema import StateReader
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import AccountId
from primitives.errors import InvariantViolationError

__all__ = [
    "ExchangeState",
    "find_exchange",
    "get_exchange",
    "get_submission",
    "put_progress",
]


class ExchangeState(NamedTuple):
    """The records of one exchange, its submissions apart."""

    exchange: Exchange
    progress: ExchangeProgress
    pieces: ExchangePieces

    @property
    def name(self) -> str:
        """Name of the exchange."""
        return self.exchange.terms.name

    @property
    def reveals_end_ms(self) -> int:
        """From then on no model is opened, and the test set is shown."""
        if self.progress.all_opened_ms is not None:
            return self.progress.all_opened_ms
        return self.exchange.deadline_ms + self.exchange.terms.reveal_wait_ms

    @property
    def shows_end_ms(self) -> int:
        """From then on the test set is too late."""
        return self.reveals_end_ms + self.exchange.terms.reveal_wait_ms


def find_exchange(state: StateReader, name: str) -> ExchangeState | None:
    """Return the records of an exchange, or None if there is none of this name."""
    exchange = state.get(exchange_key(name), decode_exchange)
    progress = state.get(exchange_progress_key(name), decode_exchange_progress)
    pieces = state.get(exchange_pieces_key(name), decode_exchange_pieces)
    if exchange is None or progress is None or pieces is None:
        return None
    return ExchangeState(exchange, progress, pieces)


def get_exchange(context: ExecutionContext, name: str) -> ExchangeState:
    """Return the records of an exchange; fails with ``unknown_exchange``."""
    found = find_exchange(context, name)
    if found is None:
        raise TransactionFailedError("unknown_exchange", f"there is no exchange {name!r}")
    return found


def get_submission(context: ExecutionContext, name: str, account: AccountId) -> Submission:
    """Return the submission of an account that has a place among the entries.

    Raises
    ------
    InvariantViolationError
        If there is none: the records do not fit together.
    """
    submission = context.get(submission_key(name, account), decode_submission)
    if submission is None:
        raise InvariantViolationError(f"{account.hex()} submitted nothing to {name!r}")
    return submission


def put_progress(context: ExecutionContext, name: str, progress: ExchangeProgress) -> None:
    """Write how far an exchange is."""
    context.put(exchange_progress_key(name), progress)
