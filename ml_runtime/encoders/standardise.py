"""A mean and a scale for each feature, written down: q = ⌊(x - mean) · scale + ½⌋, both in Q16.

The constants are measured once, by whoever creates the model, and never again: statistics of a
client's own data would make equal inputs unequal. Source: docs/spec/ml.md §8.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from ml_runtime.encoders.encoder import (
    VALUE_MAX,
    Encoder,
    Inputs,
    make_count_refusal,
    make_definition_refusal,
)
from ml_runtime.encoders.rounding import from_q16, read_rows, round_scaled
from ml_runtime.samples import Integers
from primitives.codec import Encodable
from primitives.fields import FieldReader

__all__ = ["FEATURES_MAX", "StandardiseEncoder", "read_standardise"]

FEATURES_MAX: Final = 4096
"""Most features; their constants are stored with the model, up to 18 bytes for each."""


@dataclass(frozen=True, slots=True)
class StandardiseEncoder(Encoder):
    """How numbers become integers, each feature in its own way.

    Parameters
    ----------
    means
        What is subtracted from each feature, Q16.
    scales
        What it is then multiplied by, Q16, not negative: usually one over a standard deviation.
    """

    takes: ClassVar[Inputs] = "rows"

    means: tuple[int, ...]
    scales: tuple[int, ...]

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return ["standardise", 1, list(self.means), list(self.scales)]

    def feature_count(self, given: int | None = None) -> int:
        """Return the number of means; refuses rows of another length."""
        if given not in (None, len(self.means)):
            raise make_count_refusal("features", given, len(self.means))
        return len(self.means)

    def encode(self, features: Any) -> Integers:
        """Return rows of numbers as Q16 integers, int64[n, d].

        Raises
        ------
        InvalidInputError
            ``malformed``, ``wrong_feature_count``, ``feature_not_finite`` or
            ``feature_out_of_range`` beyond 2^48.
        """
        rows = read_rows(features, len(self.means))
        means = from_q16(np.array(self.means, dtype=np.int64))
        scales = np.array(self.scales, dtype=np.float64)
        with np.errstate(over="ignore"):
            return round_scaled((rows - means) * scales, rows)


def read_standardise(reader: FieldReader) -> StandardiseEncoder:
    """Return the encoder whose constants come next.

    Raises
    ------
    InvalidInputError
        ``invalid_encoder`` if there is no feature, or not one scale for each mean.
    """
    means = _read_constants(reader, "means", -VALUE_MAX)
    scales = _read_constants(reader, "scales", 0)
    if not means or len(means) != len(scales):
        raise make_definition_refusal(
            "scales",
            f"must be one for each of the means, at least one, found {len(scales)}",
            len(scales),
            max(len(means), 1),
        )
    return StandardiseEncoder(means, scales)


def _read_constants(reader: FieldReader, name: str, low: int) -> tuple[int, ...]:
    values = reader.array(name, FEATURES_MAX)
    numbers = tuple(value for value in values if type(value) is int)
    if len(numbers) != len(values):
        raise make_definition_refusal(name, "must hold integers alone")
    wrong = next((number for number in numbers if not low <= number <= VALUE_MAX), None)
    if wrong is not None:
        limit = low if wrong < low else VALUE_MAX
        raise make_definition_refusal(
            name, f"must lie in [{low}, {VALUE_MAX}], found {wrong}", wrong, limit
        )
    return numbers
