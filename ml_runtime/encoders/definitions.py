"""Which kinds of encoders there are, and how a definition is read. Source: docs/spec/ml.md §8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ml_runtime.encoders.embedding import read_embedding
from ml_runtime.encoders.encoder import SHOWN_CHARACTERS_MAX, Encoder, make_definition_refusal
from ml_runtime.encoders.hashed_words import read_hashed_words
from ml_runtime.encoders.one_hot import read_one_hot
from ml_runtime.encoders.scale import read_scale
from ml_runtime.encoders.standardise import read_standardise
from ml_runtime.encoders.vocabulary import read_vocabulary
from primitives.codec import Value
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader

__all__ = ["decode_encoder"]

# By kind: how many fields its array has, kind and version included, and who reads the others.
_KINDS: Final[dict[str, tuple[int, Callable[[FieldReader], Encoder]]]] = {
    "embedding": (6, read_embedding),
    "hashed_words": (7, read_hashed_words),
    "one_hot": (4, read_one_hot),
    "scale": (4, read_scale),
    "standardise": (4, read_standardise),
    "vocabulary": (4, read_vocabulary),
}


def decode_encoder(value: Value) -> Encoder:
    """Return the encoder whose fields are ``value``.

    Raises
    ------
    InvalidInputError
        ``invalid_encoder``.
    """
    kind = value[0] if type(value) is list and value else None
    if type(kind) is not str or kind not in _KINDS:
        known, shown = ", ".join(_KINDS), repr(kind)[:SHOWN_CHARACTERS_MAX]
        raise make_definition_refusal("kind", f"must be one of {known}", shown, known)
    count, read = _KINDS[kind]
    try:
        reader = FieldReader(value, "encoder", count)
        reader.text("kind", len(kind))
        reader.integer("version", 1, 1)
        encoder = read(reader)
        reader.end()
    except InvalidInputError as error:
        raise InvalidInputError(
            "invalid_encoder",
            error.message,
            field=error.field,
            value=error.value,
            limit=error.limit,
        ) from error
    return encoder
