"""Texts into counts of listed words; all others are ignored. Source: docs/spec/ml.md §8.6."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from ml_runtime.encoders.encoder import (
    SHOWN_CHARACTERS_MAX,
    VALUE_MAX,
    Encoder,
    Inputs,
    make_definition_refusal,
)
from ml_runtime.encoders.sparse_counts import build_samples
from ml_runtime.encoders.words import read_texts, split_words
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import SparseSamples
from primitives.codec import Encodable
from primitives.fields import FieldReader

__all__ = ["VOCABULARY_BYTES_MAX", "VocabularyEncoder", "read_vocabulary"]

VOCABULARY_BYTES_MAX: Final = 16 * 1024
"""Most bytes of UTF-8 of all words together; they are stored with the model."""


@dataclass(frozen=True, slots=True)
class VocabularyEncoder(Encoder):
    """How texts become counts of known words.

    Parameters
    ----------
    words
        Distinct, each as the text splitter gives it; a word's place is its feature.
    weight
        What one occurrence counts for, Q16.
    """

    takes: ClassVar[Inputs] = "texts"

    words: tuple[str, ...]
    weight: int = ONE
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {word: place for place, word in enumerate(self.words)}
        object.__setattr__(self, "_places", places)

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return ["vocabulary", 1, list(self.words), self.weight]

    def feature_count(self, given: int | None = None) -> int:
        """Return the number of words, whatever is given."""
        del given
        return len(self.words)

    def encode_rows(self, rows: Sequence[Any]) -> SparseSamples:
        """Return texts as samples, one for each.

        Raises
        ------
        InvalidInputError
            ``malformed`` for what is no text, ``too_large`` for a text above 1 MiB,
            ``feature_out_of_range`` if a count times the weight exceeds 2^48.
        """
        places = self._places
        counts = (
            Counter(places[word] for word in split_words(text) if word in places)
            for text in read_texts(rows)
        )
        return build_samples(counts, self.weight, len(self.words))


def read_vocabulary(reader: FieldReader) -> VocabularyEncoder:
    """Return the encoder whose constants come next.

    Raises
    ------
    InvalidInputError
        ``invalid_encoder`` if there is no word, or one that no text can have or that comes twice.
    """
    values = reader.array("words", VOCABULARY_BYTES_MAX)
    words = tuple(value for value in values if type(value) is str)
    if not words or len(words) != len(values):
        raise make_definition_refusal("words", "must hold text alone, and at least one word")
    size = sum(len(word.encode()) for word in words)
    if size > VOCABULARY_BYTES_MAX:
        raise make_definition_refusal(
            "words",
            f"have {size} bytes, more than the limit of {VOCABULARY_BYTES_MAX}",
            size,
            VOCABULARY_BYTES_MAX,
        )
    # A word that the splitter would not give is dead weight, and a sign of another splitter.
    if split_words(" ".join(words)) != list(words):
        wrong = next(word for word in words if split_words(word) != [word])[:SHOWN_CHARACTERS_MAX]
        raise make_definition_refusal("words", f"must be lower-case words, found {wrong!r}", wrong)
    if len(set(words)) != len(words):
        raise make_definition_refusal("words", "must differ from each other", len(words))
    return VocabularyEncoder(words, reader.integer("weight", 1, VALUE_MAX))
