"""A model's validation set: committed to before, shown later, asked again and again.

The owner commits to pieces by the salted hash of their payloads and may show one after another.
Whoever asks for an evaluation has the version in force judged on a piece that was shown; what came
of it is on record for good. Source: docs/spec/ledger.md §5.8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ledger.model_records import LOSS_SUM_MAX
from ledger.schema import read_record
from primitives.codec import Value, encode
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "PIECES_MAX",
    "VALIDATION_PREFIX",
    "ModelEvaluation",
    "ValidationPiece",
    "ValidationSet",
    "decode_evaluation",
    "decode_validation",
    "evaluation_key",
    "evaluation_prefix",
    "validation_key",
]

VALIDATION_PREFIX: Final = b"validation/"
PIECES_MAX: Final = 256


def validation_key(name: str) -> bytes:
    """Return the state key of a model's validation set."""
    return VALIDATION_PREFIX + name.encode()


def evaluation_prefix(name: str) -> bytes:
    """Return what the state keys of all evaluations of a model start with."""
    return b"evaluation/" + name.encode() + b"/"


def evaluation_key(name: str, number: int) -> bytes:
    """Return the state key of one evaluation; numbers begin at 0 for every model."""
    return evaluation_prefix(name) + number.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class ValidationPiece:
    """One piece: what it was committed by, and which transaction showed it, if one did."""

    commitment: bytes
    transaction_id: bytes | None = None
    samples: int = 0


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """All pieces of a model, in the order in which they were committed, and how often it was asked.

    Parameters
    ----------
    pieces : never taken away.
    evaluations : the number of the next one.
    """

    pieces: tuple[ValidationPiece, ...] = ()
    evaluations: int = 0

    def show(self, number: int, transaction_id: bytes, samples: int) -> ValidationSet:
        """Return the set with one piece shown."""
        pieces = list(self.pieces)
        shown = replace(pieces[number], transaction_id=transaction_id, samples=samples)
        pieces[number] = shown
        return replace(self, pieces=tuple(pieces))

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        pieces = [[p.commitment, p.transaction_id, p.samples] for p in self.pieces]
        return encode((pieces, self.evaluations))


def decode_validation(data: bytes) -> ValidationSet:
    """Return the set whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "validation", 2)
    pieces = tuple(_read_piece(value) for value in reader.array("pieces", PIECES_MAX))
    return ValidationSet(pieces, reader.counter("evaluations"))


@dataclass(frozen=True, slots=True)
class ModelEvaluation:
    """How good a version was on a piece of the validation set.

    Parameters
    ----------
    height, timestamp_ms : of the block.
    version : that was judged: the one in force before the block.
    piece : number of the piece.
    samples, correct : how many, and with how many of them the model agreed.
    loss : of all samples together, Q16.
    """

    height: int
    timestamp_ms: int
    version: int
    piece: int
    samples: int
    correct: int
    loss: int

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.height,
                self.timestamp_ms,
                self.version,
                self.piece,
                self.samples,
                self.correct,
                self.loss,
            )
        )


def decode_evaluation(data: bytes) -> ModelEvaluation:
    """Return the evaluation whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "evaluation", 7)
    return ModelEvaluation(
        height=reader.counter("height"),
        timestamp_ms=reader.counter("timestamp_ms"),
        version=reader.counter("version"),
        piece=reader.integer("piece", 0, PIECES_MAX - 1),
        samples=reader.counter("samples"),
        correct=reader.counter("correct"),
        loss=reader.integer("loss", -LOSS_SUM_MAX, LOSS_SUM_MAX),
    )


def _read_piece(value: Value) -> ValidationPiece:
    reader = FieldReader(value, "validation.pieces", 3)
    return ValidationPiece(
        reader.bytes("commitment", HASH_BYTES),
        reader.optional_bytes("transaction_id", HASH_BYTES),
        reader.integer("samples", 0, COUNTER_MAX),
    )
