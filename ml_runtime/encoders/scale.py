"""One scale and one offset for all features: q = ⌊x · scale + offset + ½⌋, both in Q16.

The only encoder of single numbers, so it suits every feature count and sparse entries as well; what
a sparse sample leaves out stays zero. Source: docs/spec/ml.md §8.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ml_runtime.encoders.encoder import VALUE_MAX, Encoder, Inputs
from ml_runtime.encoders.rounding import read_numbers, round_scaled
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import Integers
from primitives.codec import Encodable
from primitives.fields import FieldReader

__all__ = ["ScaleEncoder", "read_scale"]


@dataclass(frozen=True, slots=True)
class ScaleEncoder(Encoder):
    """How numbers become integers, all in the same way.

    Parameters
    ----------
    scale
        What a feature is multiplied by, Q16; 65536 leaves it as it is.
    offset
        What is added after that, Q16.
    """

    takes: ClassVar[Inputs] = "numbers"

    scale: int = ONE
    offset: int = 0

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return ["scale", 1, self.scale, self.offset]

    def feature_count(self, given: int | None = None) -> int | None:
        """Return as many features as numbers are given."""
        return given

    def encode(self, features: Any) -> Integers:
        """Return features as Q16 integers of the same shape.

        Parameters
        ----------
        features
            Numbers, in any array-like.

        Raises
        ------
        InvalidInputError
            ``feature_not_finite`` for NaN or infinity, ``feature_out_of_range`` beyond 2^48,
            ``malformed`` for what is no number.
        """
        numbers = read_numbers(features)
        with np.errstate(over="ignore"):
            return round_scaled(numbers * self.scale + self.offset, numbers)


def read_scale(reader: FieldReader) -> ScaleEncoder:
    """Return the encoder whose constants come next."""
    return ScaleEncoder(
        scale=reader.integer("scale", -VALUE_MAX, VALUE_MAX),
        offset=reader.integer("offset", -VALUE_MAX, VALUE_MAX),
    )
