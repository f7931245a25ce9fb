"""The transaction that drives an exchange on: advance_exchange.

Anybody sends it. It judges as many models on as many pieces as its body says, so that a long
evaluation is spread over blocks; what was judged is in the state, so it goes on where it stopped.
When nothing is left to do, or somebody let a time pass, it pays all that is held.

Invariants: (X1) an exchange holds its bounty and one stake for each submission until it is closed,
and nothing after; (X2) it can always be closed: what cannot be judged any more is set aside, and
one item fits into any block that has room for its model; (X3) a model is pinned from its opening
until it was judged or set aside, or until an exchange closes in which nothing was judged: what
becomes of the model meanwhile does not matter, and every pin is released once.
Source: docs/spec/ledger.md §7.32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from incentives.accounting import verify_settlement
from incentives.exchange import Entry, Settlement, settle_judged, settle_unshown
from ledger.contribution_records import SAMPLES_MAX
from ledger.errors import TransactionFailedError
from ledger.exchange_judging import (
    Span,
    compute_item_budget,
    compute_settling_units,
    plan_judging,
)
from ledger.exchange_records import (
    STATUSES,
    Exchange,
    ExchangeProgress,
    OpenedModel,
    Submission,
    submission_key,
)
from ledger.exchange_terms import read_exchange_name
from ledger.hidden_pieces import HiddenPiece
from ledger.model_versions import decode_pinned_version, pinned_version_key, release_version
from ledger.parameters import Parameters, decode_parameters
from ledger.schema import CHAIN_PARAMETERS, StateReader
from ledger.transaction import Transaction
from ledger.transactions.exchange_access import (
    ExchangeState,
    find_exchange,
    get_exchange,
    get_submission,
    put_progress,
)
from ledger.transactions.kind import ExecutionContext, ModelArrays
from ml_runtime.evaluation import evaluate
from ml_runtime.registry import get_family
from ml_runtime.samples import decode_batch, sample_count, widen
from primitives.accounts import AccountId
from primitives.codec import Encodable, Value
from primitives.errors import InvariantViolationError
from primitives.fields import FieldReader

__all__ = ["ADVANCE_EXCHANGE", "ITEMS_MAX", "AdvanceExchange", "compute_settlement"]

ITEMS_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class AdvanceExchange:
    """Do what is due.

    Parameters
    ----------
    exchange : its name.
    items : models on pieces that are judged at most, 1 to `ITEMS_MAX`.
    """

    exchange: str
    items: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.exchange, self.items]


class AdvanceExchangeKind:
    """Judges models, and pays when all is done or a time has passed."""

    code: Final = 33
    name: Final = "advance_exchange"
    has_payload: Final = False
    result_fields: Final = ("status", "items", "winner")

    def decode_body(self, value: list[Value]) -> AdvanceExchange:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 2)
        body = AdvanceExchange(read_exchange_name(reader), reader.integer("items", 1, ITEMS_MAX))
        reader.end()
        return body

    def check(
        self, _transaction: Transaction, _body: AdvanceExchange, _parameters: Parameters
    ) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: AdvanceExchange) -> int:
        """Return the units of the items that are next, and of paying every submission."""
        found = find_exchange(state, body.exchange)
        parameters = state.get(CHAIN_PARAMETERS, decode_parameters)
        if found is None or parameters is None or found.progress.is_closed:
            return 0
        entries = found.progress.entries
        if not found.progress.is_judging:
            pinned = sum(entry.loading_units for entry in entries)
            return compute_settling_units(parameters, len(entries), pinned)
        units = compute_settling_units(parameters, len(entries))
        pieces = len(found.pieces.hidden.pieces)
        budget = compute_item_budget(parameters)
        return units + plan_judging(found.progress, pieces, body.items, budget).units

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: AdvanceExchange
    ) -> list[Encodable]:
        """Do what is due.

        Raises
        ------
        TransactionFailedError
            ``unknown_exchange``, ``exchange_closed``, ``too_early``; ``models_full`` if not even
            the first item's model fits into the block.
        """
        found = get_exchange(context, body.exchange)
        progress, items = found.progress, 0
        if progress.is_closed:
            raise TransactionFailedError(
                "exchange_closed", f"exchange {body.exchange!r} has been settled"
            )
        if progress.is_judging:
            progress, items = _judge(context, found, body.items)
            if progress.next_entry is None:
                progress = _settle(context, found._replace(progress=progress), is_shown=True)
        else:
            progress = _settle(context, found, is_shown=_find_due(context, found))
        put_progress(context, body.exchange, progress)
        return [progress.status_name, items, progress.winner]


def compute_settlement(
    found: ExchangeState, submissions: Sequence[Submission], *, is_shown: bool
) -> Settlement:
    """Return who gets what, also once it was paid: it follows from the records.

    Parameters
    ----------
    submissions : in the order of the entries.
    is_shown : whether the organiser is without fault.
    """
    exchange = found.exchange
    offer = exchange.terms.offer
    entries = [
        _to_entry(exchange, entry.account, submission)
        for entry, submission in zip(found.progress.entries, submissions, strict=True)
    ]
    if is_shown:
        return settle_judged(offer, exchange.organiser, entries, found.pieces.samples)
    return settle_unshown(offer, exchange.organiser, entries)


def _judge(
    context: ExecutionContext, found: ExchangeState, items: int
) -> tuple[ExchangeProgress, int]:
    """Judge what is next; return the progress after it and how many items were judged."""
    progress, pieces = found.progress, found.pieces.hidden.pieces
    plan = plan_judging(progress, len(pieces), items, compute_item_budget(context.parameters))
    done = 0
    for span in plan.spans:
        account = progress.entries[span.entry].account
        submission = get_submission(context, found.name, account)
        try:
            judged = _judge_span(context, submission, pieces[span.first : span.first + span.count])
        except TransactionFailedError:
            # The block has no room for this model. What was judged before it stays judged.
            if progress == found.progress:
                raise
            break
        context.put(submission_key(found.name, account), judged)
        done += span.count
        progress = _move_cursor(progress, span, len(pieces))
        if progress.entry > span.entry:
            _release_model(context, judged)
    return progress, done


def _judge_span(
    context: ExecutionContext, submission: Submission, pieces: Sequence[HiddenPiece]
) -> Submission:
    """Return a submission after some more pieces; fails with ``models_full``."""
    if not pieces:
        return submission.move_to("set_aside")
    opened = _get_opened(submission)
    key = pinned_version_key(opened.name, opened.version)
    pinned = context.get(key, decode_pinned_version)
    if pinned is None:
        raise InvariantViolationError(f"version {opened.version} of {opened.name} is not pinned")
    arrays = context.load_version(pinned.tensors, is_counted=True)
    for piece in pieces:
        submission = _judge_piece(context, opened, arrays, submission, piece)
    return submission


def _judge_piece(
    context: ExecutionContext,
    opened: OpenedModel,
    arrays: ModelArrays,
    submission: Submission,
    piece: HiddenPiece,
) -> Submission:
    """Return a submission after one more piece."""
    if piece.transaction_id is None:
        raise InvariantViolationError("a model is to be judged on a piece that was not shown")
    spec = opened.spec
    data = context.read_payload(piece.transaction_id)
    batch = widen(decode_batch(data, samples_max=SAMPLES_MAX), spec.feature_count)
    result = evaluate(get_family(spec.family), spec, arrays, batch)
    return submission.add(sample_count(batch.samples), result.correct, result.loss)


def _get_opened(submission: Submission) -> OpenedModel:
    """Return the model of a submission that was opened."""
    if submission.opened is None:
        raise InvariantViolationError("a submission counts as opened and names no model")
    return submission.opened


def _release_model(context: ExecutionContext, submission: Submission) -> None:
    """Let go of the version that a submission pinned when it was opened (X3)."""
    opened = _get_opened(submission)
    release_version(context, opened.name, opened.version)


def _move_cursor(progress: ExchangeProgress, span: Span, pieces: int) -> ExchangeProgress:
    """Return the progress after a span; one without pieces ends its submission."""
    after = span.first + span.count
    if span.count == 0 or after == pieces:
        return replace(progress, entry=span.entry + 1, piece=0)
    return replace(progress, entry=span.entry, piece=after)


def _find_due(context: ExecutionContext, found: ExchangeState) -> bool:
    """Return whether the organiser is without fault; fails with ``too_early`` if nothing is due.

    Before the test set was shown two things end an exchange: nobody opened a model, or the
    organiser did not show it in time.
    """
    entries, now_ms = found.progress.entries, context.timestamp_ms
    is_opened = any(entry.is_opened for entry in entries)
    if is_opened:
        due_ms = found.shows_end_ms
    else:
        due_ms = found.reveals_end_ms if entries else found.exchange.deadline_ms
    if now_ms < due_ms:
        raise TransactionFailedError(
            "too_early", f"nothing is to be done until {due_ms} ms, it is {now_ms} ms"
        )
    return not is_opened


def _settle(context: ExecutionContext, found: ExchangeState, *, is_shown: bool) -> ExchangeProgress:
    """Pay all that is held; return the progress of the closed exchange."""
    offer, progress = found.exchange.terms.offer, found.progress
    submissions = [get_submission(context, found.name, each.account) for each in progress.entries]
    settlement = compute_settlement(found, submissions, is_shown=is_shown)
    status = "not_shown"
    if is_shown:
        status = "not_won" if settlement.winner is None else "won"
    for submission in submissions:
        # While models are judged each is let go of in its turn.
        if submission.opened is not None and not progress.is_judging:
            _release_model(context, submission)
    _pay(context, offer.bounty + offer.stake * len(submissions), settlement)
    winner = settlement.winner
    return replace(
        progress,
        status=STATUSES.index(status),
        winner=None if winner is None else progress.entries[winner].account,
    )


def _to_entry(exchange: Exchange, account: AccountId, submission: Submission) -> Entry:
    """Return what the rules of paying need to know of a submission."""
    measure = None
    if submission.standing_name == "opened":
        is_counted = exchange.terms.offer.metric == "accuracy"
        measure = submission.correct if is_counted else -submission.loss
    return Entry(account, submission.opened is not None, measure)


def _pay(context: ExecutionContext, held: int, settlement: Settlement) -> None:
    """Pay a settlement that adds up to what is held (X1)."""
    verify_settlement(held, [amount for _, amount in settlement.payouts])
    for account, amount in settlement.payouts:
        context.release(AccountId(account), amount)


ADVANCE_EXCHANGE: Final = AdvanceExchangeKind()
