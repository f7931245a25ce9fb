"""Test data that somebody commits to before it can matter, and shows after.

A set of pieces is committed to by the salted hashes of their payloads, each a batch of samples. A
piece is shown by a transaction whose payload opens the commitment. One of them may be *drawn*: by
the hash of a seed, which the provider committed to as well, and the id of a later block. The
provider does not know the block when it commits, and the block's leader does not know the seed, so
neither chooses the piece alone; a provider that leads that block, or has the leader's help, can try
as many blocks as it can hash in a view. A provider that keeps the seed to itself is one that does
not show the drawn piece: what that costs, the rules of the caller say.
Source: docs/spec/ledger.md §5.10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash

__all__ = [
    "PIECES_MAX",
    "SEED_BYTES",
    "HiddenPiece",
    "HiddenPieces",
    "commit_to_seed",
    "draw_piece",
    "read_commitments",
    "read_hidden_pieces",
]

PIECES_MAX: Final = 256
SEED_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class HiddenPiece:
    """One piece.

    Parameters
    ----------
    commitment : salted hash of the payload, as envelopes carry it.
    transaction_id : that showed it, whose payload it is; None until then.
    samples, entries : how many samples, and features in all of them together; 0 until then.
    """

    commitment: bytes
    transaction_id: bytes | None = None
    samples: int = 0
    entries: int = 0


@dataclass(frozen=True, slots=True)
class HiddenPieces:
    """All pieces, in the order in which they were committed to."""

    pieces: tuple[HiddenPiece, ...]

    @property
    def next_hidden(self) -> int | None:
        """Number of the first piece that was not shown, or None if all were."""
        for number, piece in enumerate(self.pieces):
            if piece.transaction_id is None:
                return number
        return None

    def show(self, number: int, transaction_id: bytes, samples: int, entries: int) -> HiddenPieces:
        """Return the set with one piece shown."""
        pieces = list(self.pieces)
        pieces[number] = replace(
            pieces[number], transaction_id=transaction_id, samples=samples, entries=entries
        )
        return HiddenPieces(tuple(pieces))

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return [[p.commitment, p.transaction_id, p.samples, p.entries] for p in self.pieces]


def read_hidden_pieces(values: list[Value]) -> HiddenPieces:
    """Return the pieces whose fields are `values`; raises as `FieldReader` does."""
    return HiddenPieces(tuple(_read_piece(value) for value in values))


def read_commitments(values: list[Value], name: str, *, least: int) -> tuple[bytes, ...]:
    """Return the commitments of a body.

    Parameters
    ----------
    values : of the field, at most `PIECES_MAX`.
    name : of the field, for messages.
    least : how many there must be.

    Raises
    ------
    InvalidInputError
        ``malformed``: too few, or two that are the same.
    """
    reader = FieldReader(values, name, len(values))
    commitments = tuple(reader.bytes(str(place), HASH_BYTES) for place in range(len(values)))
    if len(commitments) < least or len(set(commitments)) != len(commitments):
        raise InvalidInputError(
            "malformed",
            f"{name} must hold at least {least} commitments, each once, found {len(commitments)}",
            field=name,
            value=len(commitments),
            limit=least,
        )
    return commitments


def commit_to_seed(seed: bytes) -> bytes:
    """Return the commitment to a seed of 32 bytes."""
    return tagged_hash(Tag.SEED, seed)


def draw_piece(seed: bytes, block_id: bytes, count: int) -> int:
    """Return which of `count` pieces is drawn.

    The hash has 256 bits and `count` is at most 256, so no piece is favoured by more than 2^-247.
    """
    drawn = tagged_hash(Tag.DRAW, seed + block_id)
    return int.from_bytes(drawn, "big") % count


def _read_piece(value: Value) -> HiddenPiece:
    reader = FieldReader(value, "pieces", 4)
    return HiddenPiece(
        reader.bytes("commitment", HASH_BYTES),
        reader.optional_bytes("transaction_id", HASH_BYTES),
        reader.integer("samples", 0, COUNTER_MAX),
        reader.integer("entries", 0, COUNTER_MAX),
    )
