"""Transactions that ask a model: commit_validation, show_validation, evaluate_model, draw_samples.

Source: docs/spec/ledger.md §7.21 to §7.24.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ledger.contribution_records import SAMPLES_MAX
from ledger.errors import TransactionFailedError
from ledger.model_records import Model, decode_model, model_key
from ledger.model_validation import (
    PIECES_MAX,
    ModelEvaluation,
    ValidationPiece,
    ValidationSet,
    decode_validation,
    evaluation_key,
    validation_key,
)
from ledger.parameters import Parameters, get_limits
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import (
    get_model,
    get_version_before,
    read_model_name,
    require_owner,
)
from ml_runtime.evaluation import evaluate
from ml_runtime.family import check_batch
from ml_runtime.models.gaussian_mixture import SAMPLES_DRAWN_MAX, GaussianMixture
from ml_runtime.registry import get_family
from ml_runtime.samples import Batch, decode_batch, sample_count, widen
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash

__all__ = [
    "COMMIT_VALIDATION",
    "DRAW_SAMPLES",
    "EVALUATE_MODEL",
    "SHOW_VALIDATION",
    "CommitValidation",
    "DrawSamples",
    "EvaluateModel",
    "ShowValidation",
]

SEED_BYTES: Final = 32
UNITS_PER_DRAWN_NUMBER: Final = 60
_ENTRIES_MAX: Final = get_limits("payload_bytes_max")[1] // 8
"""Features that the largest payload holds: 8 bytes a dense one, 12 a sparse one."""


@dataclass(frozen=True, slots=True)
class CommitValidation:
    """Commit to more pieces of a model's validation set, by their payloads' commitments."""

    model: str
    commitments: tuple[bytes, ...]

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, list(self.commitments)]


@dataclass(frozen=True, slots=True)
class ShowValidation:
    """Show a piece that was committed to: it is the payload."""

    model: str
    piece: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.piece]


@dataclass(frozen=True, slots=True)
class EvaluateModel:
    """Judge the version in force on a piece that was shown."""

    model: str
    piece: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.piece]


@dataclass(frozen=True, slots=True)
class DrawSamples:
    """Draw samples from a model that generates them."""

    model: str
    seed: bytes
    count: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.seed, self.count]


class CommitValidationKind:
    """Adds pieces to a model's validation set; they can be shown, never changed."""

    code: Final = 22
    name: Final = "commit_validation"
    has_payload: Final = False
    result_fields: Final = ("first_piece", "pieces")

    def decode_body(self, value: list[Value]) -> CommitValidation:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 2)
        model = read_model_name(reader)
        values = reader.array("commitments", PIECES_MAX)
        reader.end()
        items = FieldReader(values, f"{self.name}.commitments", len(values))
        commitments = tuple(items.bytes(str(place), HASH_BYTES) for place in range(len(values)))
        if not commitments:
            raise InvalidInputError(
                "malformed", f"{self.name}.commitments must not be empty", field=self.name
            )
        return CommitValidation(model, commitments)

    def check(
        self, _transaction: Transaction, _body: CommitValidation, _parameters: Parameters
    ) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: CommitValidation) -> int:
        """Return 0: the envelope's own units cover it."""
        return 0

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: CommitValidation
    ) -> list[Encodable]:
        """Add the pieces; fails with ``not_owner`` or ``too_many_pieces``."""
        require_owner(context, get_model(context, body.model))
        known = context.get(validation_key(body.model), decode_validation) or ValidationSet()
        pieces = known.pieces + tuple(ValidationPiece(each) for each in body.commitments)
        if len(pieces) > PIECES_MAX:
            raise TransactionFailedError(
                "too_many_pieces", f"a validation set has at most {PIECES_MAX} pieces"
            )
        context.put(validation_key(body.model), replace(known, pieces=pieces))
        return [len(known.pieces), len(pieces)]


class _JudgingKind:
    """What showing a piece and asking again share."""

    name: str

    def decode_piece(self, value: list[Value]) -> tuple[str, int]:
        """Return model and piece of a body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 2)
        found = (read_model_name(reader), reader.integer("piece", 0, PIECES_MAX - 1))
        reader.end()
        return found

    def judge(
        self,
        context: ExecutionContext,
        name: str,
        number: int,
        known: ValidationSet,
        data: bytes,
    ) -> list[Encodable]:
        """Judge the version before this block on a piece and put what came of it on record."""
        model, tensors = get_version_before(context, name)
        batch = _check(model, decode_batch(data, samples_max=SAMPLES_MAX))
        spec = model.description.spec
        state = context.read_model(name, before_block=True)
        result = evaluate(get_family(spec.family), spec, state, batch)
        count = sample_count(batch.samples)
        record = ModelEvaluation(
            height=context.height,
            timestamp_ms=context.timestamp_ms,
            version=tensors.version,
            piece=number,
            samples=count,
            correct=result.correct,
            loss=result.loss,
        )
        context.put(evaluation_key(name, known.evaluations), record)
        after = replace(known, evaluations=known.evaluations + 1)
        context.put(validation_key(name), after)
        return [known.evaluations, count, result.correct]


class ShowValidationKind(_JudgingKind):
    """Shows a piece of the validation set and judges the model on it."""

    code: Final = 23
    name: Final = "show_validation"
    has_payload: Final = True
    result_fields: Final = ("evaluation", "samples", "correct")

    def decode_body(self, value: list[Value]) -> ShowValidation:
        """Return the body; raises `InvalidInputError`."""
        return ShowValidation(*self.decode_piece(value))

    def check(
        self, transaction: Transaction, _body: ShowValidation, parameters: Parameters
    ) -> None:
        """Check that the payload is a batch; raises as `decode_batch`."""
        if transaction.payload is None:
            raise InvariantViolationError("a piece was checked without its payload")
        limit = parameters.samples_per_contribution_max
        decode_batch(transaction.payload.data, samples_max=limit)

    def cost(self, state: StateReader, transaction: Transaction, body: ShowValidation) -> int:
        """Return what the model's family asks for the batch."""
        model = state.get(model_key(body.model), decode_model)
        if model is None:
            return 0
        spec = model.description.spec
        # A dense sample has 8 bytes for each feature, a sparse one at least 8 for all.
        entries = transaction.payload_bytes // 8
        samples = entries // spec.feature_count if spec.layout == "dense" else entries
        return get_family(spec.family).cost(spec, min(samples, SAMPLES_MAX), entries)

    def apply(
        self, context: ExecutionContext, transaction: Transaction, body: ShowValidation
    ) -> list[Encodable]:
        """Show the piece.

        Raises
        ------
        TransactionFailedError
            ``not_owner``, ``unknown_piece``, ``already_shown``, ``wrong_commitment``, or what the
            batch does not suit.
        """
        model = get_model(context, body.model)
        require_owner(context, model)
        known, piece = _find_piece(context, body.model, body.piece)
        if piece.transaction_id is not None:
            raise TransactionFailedError("already_shown", f"piece {body.piece} was shown before")
        if transaction.payload_commitment != piece.commitment:
            raise TransactionFailedError(
                "wrong_commitment",
                f"piece {body.piece} was committed to as {piece.commitment.hex()}",
            )
        data = context.read_payload(context.transaction_id)
        samples = sample_count(decode_batch(data, samples_max=SAMPLES_MAX).samples)
        shown = known.show(body.piece, context.transaction_id, samples)
        return self.judge(context, body.model, body.piece, shown, data)


class EvaluateModelKind(_JudgingKind):
    """Judges the version in force on a piece that was shown; anybody may ask."""

    code: Final = 24
    name: Final = "evaluate_model"
    has_payload: Final = False
    result_fields: Final = ("evaluation", "samples", "correct")

    def decode_body(self, value: list[Value]) -> EvaluateModel:
        """Return the body; raises `InvalidInputError`."""
        return EvaluateModel(*self.decode_piece(value))

    def check(
        self, _transaction: Transaction, _body: EvaluateModel, _parameters: Parameters
    ) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: EvaluateModel) -> int:
        """Return what the model's family asks for a batch of the piece's size."""
        known = state.get(validation_key(body.model), decode_validation)
        model = state.get(model_key(body.model), decode_model)
        if known is None or model is None or body.piece >= len(known.pieces):
            return 0
        spec = model.description.spec
        samples = known.pieces[body.piece].samples
        # Of wide sparse samples a payload holds a few entries only.
        entries = min(samples * spec.feature_count, _ENTRIES_MAX)
        return get_family(spec.family).cost(spec, samples, entries)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: EvaluateModel
    ) -> list[Encodable]:
        """Judge it; fails with ``unknown_piece``, ``not_shown`` or ``version_not_held``."""
        get_model(context, body.model)
        known, piece = _find_piece(context, body.model, body.piece)
        if piece.transaction_id is None:
            raise TransactionFailedError("not_shown", f"piece {body.piece} was not shown yet")
        data = context.read_payload(piece.transaction_id)
        return self.judge(context, body.model, body.piece, known, data)


class DrawSamplesKind:
    """Draws samples from a model, by a seed; the receipt says which they are."""

    code: Final = 25
    name: Final = "draw_samples"
    has_payload: Final = False
    result_fields: Final = ("version", "digest")

    def decode_body(self, value: list[Value]) -> DrawSamples:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 3)
        body = DrawSamples(
            read_model_name(reader),
            reader.bytes("seed", SEED_BYTES),
            reader.integer("count", 1, SAMPLES_DRAWN_MAX),
        )
        reader.end()
        return body

    def check(self, _transaction: Transaction, _body: DrawSamples, _parameters: Parameters) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: DrawSamples) -> int:
        """Return some units for each number that is drawn."""
        model = state.get(model_key(body.model), decode_model)
        if model is None:
            return 0
        return UNITS_PER_DRAWN_NUMBER * body.count * model.description.spec.feature_count

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: DrawSamples
    ) -> list[Encodable]:
        """Draw from the version before this block, so that anybody can draw the same again.

        Raises
        ------
        TransactionFailedError
            ``unsupported``, ``not_learnt`` or ``version_not_held``.
        """
        get_model(context, body.model)
        model, tensors = get_version_before(context, body.model)
        spec = model.description.spec
        family = get_family(spec.family)
        if not isinstance(family, GaussianMixture):
            raise TransactionFailedError("unsupported", f"{family.name} generates no samples")
        state = context.read_model(body.model, before_block=True)
        try:
            drawn = family.generate(spec, state, body.seed, body.count)
        except InvalidInputError as error:
            raise TransactionFailedError(error.code, error.message) from error
        return [tensors.version, tagged_hash(Tag.CHUNK, drawn.astype("<i8").tobytes())]


def _check(model: Model, batch: Batch) -> Batch:
    """Return a batch in the model's shape; fails if it does not suit the model."""
    spec = model.description.spec
    family = get_family(spec.family)
    batch = widen(batch, spec.feature_count)
    task = family.task(spec)
    wanted = {"classification": "labels", "regression": "values"}.get(task, "none")
    if batch.kind != wanted or task == "none":
        raise TransactionFailedError(
            "wrong_targets", f"a model for {task} is judged by {wanted}, not {batch.kind}"
        )
    try:
        check_batch(family, spec, batch.samples, batch.targets)
    except InvalidInputError as error:
        raise TransactionFailedError(error.code, error.message) from error
    return batch


def _find_piece(
    context: ExecutionContext, name: str, number: int
) -> tuple[ValidationSet, ValidationPiece]:
    known = context.get(validation_key(name), decode_validation) or ValidationSet()
    if number >= len(known.pieces):
        raise TransactionFailedError(
            "unknown_piece", f"the validation set of {name!r} has {len(known.pieces)} pieces"
        )
    return known, known.pieces[number]


COMMIT_VALIDATION: Final = CommitValidationKind()
SHOW_VALIDATION: Final = ShowValidationKind()
EVALUATE_MODEL: Final = EvaluateModelKind()
DRAW_SAMPLES: Final = DrawSamplesKind()
