"""Texts into counts of hashed words: no list of words, at the price of words that share a feature.

Source: docs/spec/ml.md §8.5; K. Weinberger et al., Feature Hashing for Large Scale Multitask
Learning, ICML 2009, for the sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from ml_runtime.encoders.encoder import VALUE_MAX, Encoder, Inputs
from ml_runtime.encoders.murmur_hash import compute_murmur_hash
from ml_runtime.encoders.sparse_counts import build_samples
from ml_runtime.encoders.words import read_texts, split_words
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import SparseSamples
from primitives.codec import Encodable
from primitives.fields import FieldReader

__all__ = ["HashedWordsEncoder", "read_hashed_words"]

LOG2_FEATURES_MIN: Final = 8
LOG2_FEATURES_MAX: Final = 24
WORDS_PER_TERM_MAX: Final = 3
_SIGN_BIT: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class HashedWordsEncoder(Encoder):
    """How texts become counts of terms, which are runs of words.

    Parameters
    ----------
    log2_features
        The model has 2 to this power features, 8 to 24.
    words_min, words_max
        Fewest and most words of a term, 1 to 3.
    is_signed
        Whether half of the terms count downwards, so that collisions cancel out on average.
    weight
        What one occurrence counts for, Q16.
    """

    takes: ClassVar[Inputs] = "texts"

    log2_features: int
    words_min: int = 1
    words_max: int = 1
    is_signed: bool = False
    weight: int = ONE

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return [
            "hashed_words",
            1,
            self.log2_features,
            self.words_min,
            self.words_max,
            int(self.is_signed),
            self.weight,
        ]

    def feature_count(self, given: int | None = None) -> int:
        """Return two to the power of ``log2_features``, whatever is given."""
        del given
        return 1 << self.log2_features

    def encode_rows(self, rows: Sequence[Any]) -> SparseSamples:
        """Return texts as samples, one for each.

        Raises
        ------
        InvalidInputError
            ``malformed`` for what is no text, ``too_large`` for a text above 1 MiB,
            ``feature_out_of_range`` if a count times the weight exceeds 2^48.
        """
        # Texts of one request share most of their words.
        hashes: dict[str, int] = {}
        counts = (self._count_terms(text, hashes) for text in read_texts(rows))
        return build_samples(counts, self.weight, 1 << self.log2_features)

    def _count_terms(self, text: str, hashes: dict[str, int]) -> dict[int, int]:
        counts: dict[int, int] = {}
        for term in self._list_terms(split_words(text)):
            hashed = hashes.get(term)
            if hashed is None:
                hashed = hashes[term] = compute_murmur_hash(term.encode())
            index = hashed & ((1 << self.log2_features) - 1)
            sign = -1 if self.is_signed and hashed & _SIGN_BIT else 1
            counts[index] = counts.get(index, 0) + sign
        return counts

    def _list_terms(self, words: list[str]) -> Iterator[str]:
        for size in range(self.words_min, self.words_max + 1):
            for start in range(len(words) - size + 1):
                yield " ".join(words[start : start + size])


def read_hashed_words(reader: FieldReader) -> HashedWordsEncoder:
    """Return the encoder whose constants come next."""
    log2_features = reader.integer("log2_features", LOG2_FEATURES_MIN, LOG2_FEATURES_MAX)
    words_min = reader.integer("words_min", 1, WORDS_PER_TERM_MAX)
    return HashedWordsEncoder(
        log2_features=log2_features,
        words_min=words_min,
        words_max=reader.integer("words_max", words_min, WORDS_PER_TERM_MAX),
        is_signed=bool(reader.integer("signed", 0, 1)),
        weight=reader.integer("weight", 1, VALUE_MAX),
    )
