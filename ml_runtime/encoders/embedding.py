"""Vectors that another program computed: checked for length and norm, then scaled and rounded.

Which program it was is for the model's guidelines to say. The norm is a check against the commonest
mistakes, an embedding of another program or one that was not normalised. It is compared by its
square, since a square root need not be the same in every language. Source: docs/spec/ml.md §8.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ml_runtime.encoders.encoder import VALUE_MAX, Encoder, Inputs, make_count_refusal
from ml_runtime.encoders.rounding import Numbers, read_rows, round_scaled
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import FEATURES_MAX, Integers
from primitives.codec import Encodable
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader

__all__ = ["EmbeddingEncoder", "read_embedding"]


@dataclass(frozen=True, slots=True)
class EmbeddingEncoder(Encoder):
    """How vectors become integers.

    Parameters
    ----------
    dimension
        Numbers of a vector.
    norm_low, norm_high
        Least and greatest Euclidean norm, Q16; a norm of one needs room for rounding on both sides.
    scale
        What a number is multiplied by, Q16.
    """

    takes: ClassVar[Inputs] = "rows"

    dimension: int
    norm_low: int
    norm_high: int
    scale: int = ONE

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return ["embedding", 1, self.dimension, self.norm_low, self.norm_high, self.scale]

    def feature_count(self, given: int | None = None) -> int:
        """Return the dimension; refuses rows of another length."""
        if given not in (None, self.dimension):
            raise make_count_refusal("features", given, self.dimension)
        return self.dimension

    def encode(self, features: Any) -> Integers:
        """Return vectors as Q16 integers, int64[n, dimension].

        Raises
        ------
        InvalidInputError
            ``malformed``, ``wrong_feature_count``, ``feature_not_finite``, ``norm_out_of_range`` or
            ``feature_out_of_range`` beyond 2^48.
        """
        rows = read_rows(features, self.dimension)
        with np.errstate(over="ignore"):
            self._check_norms(rows)
            return round_scaled(rows * self.scale, rows)

    def _check_norms(self, rows: Numbers) -> None:
        low, high = self.norm_low / ONE, self.norm_high / ONE
        squares = np.zeros(len(rows))
        # From left to right, because the order of a sum decides its last bits.
        for column in rows.T:
            squares += column * column
        wrong = np.flatnonzero((squares < low * low) | (squares > high * high))
        if wrong.size:
            position = int(wrong[0])
            norm = float(np.sqrt(squares[position]))
            raise InvalidInputError(
                "norm_out_of_range",
                f"vector {position} has the norm {norm}, which must lie in [{low}, {high}]",
                field=f"features[{position}]",
                value=str(norm),
                limit=str(low if squares[position] < low * low else high),
            )


def read_embedding(reader: FieldReader) -> EmbeddingEncoder:
    """Return the encoder whose constants come next."""
    dimension = reader.integer("dimension", 1, FEATURES_MAX)
    norm_low = reader.integer("norm_low", 0, VALUE_MAX)
    return EmbeddingEncoder(
        dimension=dimension,
        norm_low=norm_low,
        norm_high=reader.integer("norm_high", norm_low, VALUE_MAX),
        scale=reader.integer("scale", -VALUE_MAX, VALUE_MAX),
    )
