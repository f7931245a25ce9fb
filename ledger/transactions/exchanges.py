"""Transactions that take part in an exchange: open, submit and reveal a model, show a test piece.

What they lead to is `ledger.transactions.exchange_settlement`'s affair.
Source: docs/spec/ledger.md §7.28 to §7.31.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ledger.contribution_records import SAMPLES_MAX
from ledger.errors import TransactionFailedError
from ledger.exchange_judging import UNITS_PER_NUMBER, weigh_model
from ledger.exchange_records import (
    SALT_BYTES,
    STATUSES,
    Exchange,
    ExchangeEntry,
    ExchangePieces,
    ExchangeProgress,
    OpenedModel,
    Submission,
    commit_to_model,
    decode_exchange,
    decode_submission,
    exchange_key,
    exchange_pieces_key,
    hide_pieces,
    submission_key,
)
from ledger.exchange_terms import (
    ExchangeTerms,
    check_exchange_terms,
    decode_exchange_terms,
    read_exchange_name,
)
from ledger.hidden_pieces import PIECES_MAX, read_commitments
from ledger.model_records import decode_model, model_key
from ledger.model_versions import (
    PinnedVersion,
    decode_pinned_version,
    pin_version,
    pinned_version_key,
)
from ledger.parameters import Parameters
from ledger.schema import AMOUNT_MAX, StateReader
from ledger.transaction import Transaction
from ledger.transactions.exchange_access import (
    ExchangeState,
    find_exchange,
    get_exchange,
    get_submission,
    put_progress,
)
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import (
    get_model,
    get_version_before,
    read_model_name,
    require_owner,
)
from ml_runtime.family import check_targets, count_parameters
from ml_runtime.registry import get_family
from ml_runtime.samples import (
    Batch,
    DenseSamples,
    check_samples,
    decode_batch,
    sample_count,
    widen,
)
from ml_runtime.spec import ModelSpec
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "OPEN_EXCHANGE",
    "REVEAL_MODEL",
    "SHOW_EXCHANGE_PIECE",
    "SUBMIT_MODEL",
    "UNITS_PER_RECORD",
    "OpenExchange",
    "RevealModel",
    "ShowExchangePiece",
    "SubmitModel",
]

UNITS_PER_RECORD: Final = 1_000
"""For each submission or piece in a list that is read, written and hashed again."""


@dataclass(frozen=True, slots=True)
class OpenExchange:
    """Hold out a bounty for the best model on a hidden test set."""

    terms: ExchangeTerms
    commitments: tuple[bytes, ...]

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.terms.to_fields(), list(self.commitments)]


@dataclass(frozen=True, slots=True)
class SubmitModel:
    """Submit a model that nobody can see yet.

    Parameters
    ----------
    exchange : its name.
    commitment : see `ledger.exchange_records.commit_to_model`.
    max_stake : most that may be held.
    """

    exchange: str
    commitment: bytes
    max_stake: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.exchange, self.commitment, self.max_stake]


@dataclass(frozen=True, slots=True)
class RevealModel:
    """Say which model was submitted.

    Parameters
    ----------
    exchange : its name.
    model : its name.
    version : the one in force, or one that has an alias: others may have trained the model since.
    salt : of the commitment, `SALT_BYTES`.
    """

    exchange: str
    model: str
    version: int
    salt: bytes

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.exchange, self.model, self.version, self.salt]


@dataclass(frozen=True, slots=True)
class ShowExchangePiece:
    """Show a piece of the test set: it is the payload."""

    exchange: str
    piece: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.exchange, self.piece]


class OpenExchangeKind:
    """Holds the bounty and fixes the test set."""

    code: Final = 29
    name: Final = "open_exchange"
    has_payload: Final = False
    result_fields: Final = ("exchange", "deadline_ms")

    def decode_body(self, value: list[Value]) -> OpenExchange:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 2)
        terms = decode_exchange_terms(reader.value())
        values = reader.array("commitments", PIECES_MAX)
        reader.end()
        return OpenExchange(terms, read_commitments(values, f"{self.name}.commitments", least=1))

    def check(self, _transaction: Transaction, body: OpenExchange, parameters: Parameters) -> None:
        """Check that the terms do not contradict each other; raises ``invalid_exchange``."""
        check_exchange_terms(body.terms, wait_ms_max=parameters.wait_ms_max)

    def cost(self, _state: StateReader, _transaction: Transaction, body: OpenExchange) -> int:
        """Return some units for each piece."""
        return UNITS_PER_RECORD * len(body.commitments)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: OpenExchange
    ) -> list[Encodable]:
        """Open the exchange; fails with ``exchange_exists`` or ``insufficient_balance``."""
        terms = body.terms
        key = exchange_key(terms.name)
        if context.get(key, decode_exchange) is not None:
            raise TransactionFailedError(
                "exchange_exists", f"an exchange is named {terms.name!r} already"
            )
        context.hold(context.sender, terms.offer.bounty)
        exchange = Exchange(context.sender, context.height, context.timestamp_ms, terms)
        context.put(key, exchange)
        context.put(exchange_pieces_key(terms.name), hide_pieces(body.commitments))
        put_progress(context, terms.name, ExchangeProgress())
        return [terms.name, exchange.deadline_ms]


class SubmitModelKind:
    """Holds the stake and notes the commitment; whoever submits anew goes to the end."""

    code: Final = 30
    name: Final = "submit_model"
    has_payload: Final = False
    result_fields: Final = ("exchange", "submissions")

    def decode_body(self, value: list[Value]) -> SubmitModel:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 3)
        body = SubmitModel(
            read_exchange_name(reader),
            reader.bytes("commitment", HASH_BYTES),
            reader.integer("max_stake", 0, AMOUNT_MAX),
        )
        reader.end()
        return body

    def check(self, _transaction: Transaction, _body: SubmitModel, _parameters: Parameters) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: SubmitModel) -> int:
        """Return some units for each submission that there is."""
        return _entry_units(state, body.exchange)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: SubmitModel
    ) -> list[Encodable]:
        """Take the submission.

        Raises
        ------
        TransactionFailedError
            ``unknown_exchange``, ``submissions_closed``, ``own_exchange``, ``stake_too_low``,
            ``already_submitted``, ``exchange_full`` or ``insufficient_balance``.
        """
        found = get_exchange(context, body.exchange)
        progress = found.progress
        _check_submission(context, found, body)
        entries = list(progress.entries)
        place = progress.find(context.sender)
        if place is None:
            context.hold(context.sender, found.exchange.terms.offer.stake)
        else:
            # Its stake is held already; its place was that of another model.
            del entries[place]
        entries.append(ExchangeEntry(context.sender))
        put_progress(context, body.exchange, replace(progress, entries=tuple(entries)))
        submission = Submission(body.commitment, context.timestamp_ms)
        context.put(submission_key(body.exchange, context.sender), submission)
        return [body.exchange, len(entries)]


class RevealModelKind:
    """Opens a submission, and pins the model until it was judged: it may learn on meanwhile."""

    code: Final = 31
    name: Final = "reveal_model"
    has_payload: Final = False
    result_fields: Final = ("exchange", "opened", "submissions")

    def decode_body(self, value: list[Value]) -> RevealModel:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 4)
        body = RevealModel(
            read_exchange_name(reader),
            read_model_name(reader),
            reader.counter("version"),
            reader.bytes("salt", SALT_BYTES),
        )
        reader.end()
        return body

    def check(self, _transaction: Transaction, _body: RevealModel, _parameters: Parameters) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: RevealModel) -> int:
        """Return some units for each submission, and one for each of the model's parameters."""
        units = _entry_units(state, body.exchange)
        model = state.get(model_key(body.model), decode_model)
        if model is None:
            return units
        spec = model.description.spec
        return units + count_parameters(get_family(spec.family), spec)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: RevealModel
    ) -> list[Encodable]:
        """Open the submission.

        Raises
        ------
        TransactionFailedError
            ``unknown_exchange``, ``not_submitted``, ``already_revealed``, ``too_early``,
            ``reveals_closed``, ``unknown_model``, ``not_owner``, ``version_not_held``,
            ``wrong_commitment``, ``model_does_not_fit`` or ``evaluation_too_large``.
        """
        found = get_exchange(context, body.exchange)
        place = found.progress.find(context.sender)
        if place is None:
            raise TransactionFailedError(
                "not_submitted", f"the sender submitted nothing to exchange {body.exchange!r}"
            )
        submission = get_submission(context, body.exchange, context.sender)
        _check_reveal_time(context, found, submission)
        pinned = _open_commitment(context, body, submission)
        entry = _weigh(context, found.exchange.terms, pinned.spec)
        pin_version(context, body.model, pinned)
        opened = OpenedModel(body.model, body.version, pinned.spec, pinned.tensors.digest)
        context.put(
            submission_key(body.exchange, context.sender),
            replace(submission, opened=opened).move_to("opened"),
        )
        progress = found.progress.open(place, entry, context.timestamp_ms)
        put_progress(context, body.exchange, progress)
        count = sum(each.is_opened for each in progress.entries)
        return [body.exchange, count, len(progress.entries)]


class ShowExchangePieceKind:
    """Shows a piece of the test set; with the last one judging begins."""

    code: Final = 32
    name: Final = "show_exchange_piece"
    has_payload: Final = True
    result_fields: Final = ("piece", "samples", "pieces_left")

    def decode_body(self, value: list[Value]) -> ShowExchangePiece:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 2)
        body = ShowExchangePiece(
            read_exchange_name(reader), reader.integer("piece", 0, PIECES_MAX - 1)
        )
        reader.end()
        return body

    def check(
        self, transaction: Transaction, _body: ShowExchangePiece, parameters: Parameters
    ) -> None:
        """Check that the payload is a batch; raises as `decode_batch`."""
        if transaction.payload is None:
            raise InvariantViolationError("a piece was checked without its payload")
        limit = parameters.samples_per_contribution_max
        decode_batch(transaction.payload.data, samples_max=limit)

    def cost(self, state: StateReader, transaction: Transaction, body: ShowExchangePiece) -> int:
        """Return some units for each piece, and for each number of this one."""
        found = find_exchange(state, body.exchange)
        if found is None:
            return 0
        numbers = transaction.payload_bytes // 8
        return UNITS_PER_RECORD * len(found.pieces.hidden.pieces) + UNITS_PER_NUMBER * numbers

    def apply(
        self, context: ExecutionContext, transaction: Transaction, body: ShowExchangePiece
    ) -> list[Encodable]:
        """Show the piece.

        Raises
        ------
        TransactionFailedError
            ``unknown_exchange``, ``not_organiser``, ``unknown_piece``, ``already_shown``,
            ``too_early``, ``nothing_revealed``, ``too_late``, ``wrong_order``,
            ``wrong_commitment``, ``too_many_samples``, or what the batch does not suit.
        """
        found = get_exchange(context, body.exchange)
        hidden = found.pieces.hidden
        _check_show_time(context, found, body.piece)
        if transaction.payload_commitment != hidden.pieces[body.piece].commitment:
            raise TransactionFailedError(
                "wrong_commitment",
                f"piece {body.piece} was committed to as"
                f" {hidden.pieces[body.piece].commitment.hex()}",
            )
        data = context.read_payload(context.transaction_id)
        batch = _check_piece(found.exchange.terms, decode_batch(data, samples_max=SAMPLES_MAX))
        samples = sample_count(batch.samples)
        shown = hidden.show(body.piece, context.transaction_id, samples, _count_entries(batch))
        context.put(exchange_pieces_key(body.exchange), ExchangePieces(shown))
        left = len(shown.pieces) - body.piece - 1
        if not left:
            judging = replace(found.progress, status=STATUSES.index("judging"))
            put_progress(context, body.exchange, judging)
        return [body.piece, samples, left]


def _entry_units(state: StateReader, name: str) -> int:
    found = find_exchange(state, name)
    return 0 if found is None else UNITS_PER_RECORD * len(found.progress.entries)


def _check_submission(context: ExecutionContext, found: ExchangeState, body: SubmitModel) -> None:
    """Fail unless the sender may submit this now."""
    exchange, entries = found.exchange, found.progress.entries
    if context.timestamp_ms >= exchange.deadline_ms:
        raise TransactionFailedError(
            "submissions_closed",
            f"models were submitted until {exchange.deadline_ms} ms, it is"
            f" {context.timestamp_ms} ms",
        )
    if context.sender == exchange.organiser:
        raise TransactionFailedError(
            "own_exchange", "whoever knows the test set cannot submit a model"
        )
    stake = exchange.terms.offer.stake
    if body.max_stake < stake:
        raise TransactionFailedError(
            "stake_too_low", f"the stake is {stake}, more than the {body.max_stake} allowed"
        )
    known = context.get(submission_key(found.name, context.sender), decode_submission)
    if known is not None and known.commitment == body.commitment:
        raise TransactionFailedError(
            "already_submitted", f"{body.commitment.hex()} is what the sender submitted already"
        )
    limit = exchange.terms.submissions_max
    if known is None and len(entries) >= limit:
        raise TransactionFailedError(
            "exchange_full", f"{len(entries)} models were submitted, the most there can be"
        )


def _check_reveal_time(
    context: ExecutionContext, found: ExchangeState, submission: Submission
) -> None:
    """Fail unless a submission can be opened now."""
    now_ms = context.timestamp_ms
    if submission.opened is not None:
        raise TransactionFailedError(
            "already_revealed", f"the sender submitted {submission.opened.name!r}"
        )
    if now_ms < found.exchange.deadline_ms:
        raise TransactionFailedError(
            "too_early",
            f"models can be opened from {found.exchange.deadline_ms} ms on, it is {now_ms} ms",
        )
    if now_ms >= found.reveals_end_ms:
        raise TransactionFailedError(
            "reveals_closed",
            f"models could be opened until {found.reveals_end_ms} ms, it is {now_ms} ms",
        )


def _open_commitment(
    context: ExecutionContext, body: RevealModel, submission: Submission
) -> PinnedVersion:
    """Return the version that the sender's commitment stands for."""
    require_owner(context, get_model(context, body.model))
    held = _find_version(context, body)
    digest = held.tensors.digest
    if commit_to_model(body.salt, context.sender, held.spec, digest) != submission.commitment:
        raise TransactionFailedError(
            "wrong_commitment",
            f"{submission.commitment.hex()} is no commitment of the sender to version"
            f" {body.version} of model {body.model!r} with parameters {digest.hex()} and this salt",
        )
    return held


def _find_version(context: ExecutionContext, body: RevealModel) -> PinnedVersion:
    """Return a version as it was before this block, or as it is pinned.

    Unlike for aliases it does not matter whether the model grew in this very block.
    """
    model, current = get_version_before(context, body.model)
    if current.version == body.version:
        return PinnedVersion(1, model.description.spec, current)
    key = pinned_version_key(body.model, body.version)
    pinned = context.get(key, decode_pinned_version)
    if pinned is None:
        raise TransactionFailedError(
            "version_not_held",
            f"only the version in force, {current.version}, and versions that have an alias can be"
            f" opened, not {body.version}",
        )
    return pinned


def _weigh(context: ExecutionContext, terms: ExchangeTerms, spec: ModelSpec) -> ExchangeEntry:
    """Return what judging a model takes; fails if it does not fit the exchange or a block."""
    try:
        units, loading = weigh_model(terms, spec, context.parameters)
    except InvalidInputError as error:
        raise TransactionFailedError(error.code, error.message) from error
    return ExchangeEntry(context.sender, units, loading)


def _check_show_time(context: ExecutionContext, found: ExchangeState, piece: int) -> None:
    """Fail unless the sender may show this piece now."""
    if context.sender != found.exchange.organiser:
        raise TransactionFailedError(
            "not_organiser", f"only the organiser of {found.name!r} can show its test set"
        )
    hidden, now_ms = found.pieces.hidden, context.timestamp_ms
    if piece >= len(hidden.pieces):
        raise TransactionFailedError(
            "unknown_piece", f"the test set of {found.name!r} has {len(hidden.pieces)} pieces"
        )
    if hidden.pieces[piece].transaction_id is not None:
        raise TransactionFailedError("already_shown", f"piece {piece} was shown before")
    if now_ms < found.reveals_end_ms:
        raise TransactionFailedError(
            "too_early",
            f"models can be opened until {found.reveals_end_ms} ms, it is {now_ms} ms",
        )
    if not any(entry.is_opened for entry in found.progress.entries):
        raise TransactionFailedError("nothing_revealed", "no model was opened: nothing to judge")
    if now_ms >= found.shows_end_ms:
        raise TransactionFailedError(
            "too_late", f"pieces could be shown until {found.shows_end_ms} ms, it is {now_ms} ms"
        )
    if piece != hidden.next_hidden:
        raise TransactionFailedError(
            "wrong_order", f"piece {hidden.next_hidden} is next, not {piece}"
        )


def _check_piece(terms: ExchangeTerms, batch: Batch) -> Batch:
    """Return a piece in the layout of the exchange; fails if it does not suit it."""
    layout = terms.layout
    batch = widen(batch, layout.feature_count)
    wanted = "labels" if layout.class_count else "values"
    if batch.kind != wanted:
        raise TransactionFailedError(
            "wrong_targets", f"{layout.task} is judged by {wanted}, not {batch.kind}"
        )
    count = sample_count(batch.samples)
    if count > terms.piece_samples_max:
        raise TransactionFailedError(
            "too_many_samples",
            f"a piece of {count} samples is above the limit {terms.piece_samples_max}",
        )
    try:
        check_samples(
            batch.samples,
            layout.samples,
            layout.feature_count,
            layout.feature_low,
            layout.feature_high,
        )
        check_targets(layout.task, layout.class_count, batch.targets)
    except InvalidInputError as error:
        raise TransactionFailedError(error.code, error.message) from error
    return batch


def _count_entries(batch: Batch) -> int:
    samples = batch.samples
    values = samples.features if isinstance(samples, DenseSamples) else samples.values
    return int(values.size)


OPEN_EXCHANGE: Final = OpenExchangeKind()
SUBMIT_MODEL: Final = SubmitModelKind()
REVEAL_MODEL: Final = RevealModelKind()
SHOW_EXCHANGE_PIECE: Final = ShowExchangePieceKind()
