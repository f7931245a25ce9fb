"""From the numbers that people have to the integers that models take; used by clients only.

This file, and no other of this package, computes with floats: it runs before anything is signed or
after anything is read, never in a replicated path. An encoder is part of a model, so that every
client encodes alike: q = round(x · scale + offset), scale and offset in Q16, halves away from -∞.
Source: docs/spec/ml.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_runtime.fixed_point import ONE
from ml_runtime.samples import Integers
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader

__all__ = ["Encoder", "decode_encoder", "from_q16"]

_LIMIT = 1 << 48


@dataclass(frozen=True, slots=True)
class Encoder:
    """How features become integers.

    Parameters
    ----------
    scale
        What a feature is multiplied by, Q16; 65536 leaves it as it is.
    offset
        What is added after that, Q16.
    """

    scale: int = ONE
    offset: int = 0

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return ["scale", 1, self.scale, self.offset]

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
        try:
            numbers: NDArray[np.float64] = np.asarray(features, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                "malformed", f"features must be numbers: {error}", field="features"
            ) from error
        if not np.isfinite(numbers).all():
            position = tuple(int(each) for each in np.argwhere(~np.isfinite(numbers))[0])
            raise InvalidInputError(
                "feature_not_finite",
                f"feature {list(position)} is {numbers[position]}, features must be finite",
                field=f"features{list(position)}",
                value=str(numbers[position]),
            )
        scaled = np.floor(numbers * self.scale + self.offset + 0.5)
        if scaled.size and float(np.abs(scaled).max()) > _LIMIT:
            raise InvalidInputError(
                "feature_out_of_range",
                f"a feature is {float(np.abs(numbers).max())}, beyond what can be encoded",
                field="features",
                value=str(float(np.abs(numbers).max())),
                limit=str(_LIMIT // ONE),
            )
        return scaled.astype(np.int64, order="C")


def decode_encoder(value: Value) -> Encoder:
    """Return the encoder whose fields are ``value``.

    Raises
    ------
    InvalidInputError
        ``invalid_encoder``.
    """
    try:
        reader = FieldReader(value, "encoder", 4)
        kind = reader.text("kind", 16)
        reader.integer("version", 1, 1)
        encoder = Encoder(
            scale=reader.integer("scale", -_LIMIT, _LIMIT),
            offset=reader.integer("offset", -_LIMIT, _LIMIT),
        )
        reader.end()
    except InvalidInputError as error:
        raise InvalidInputError(
            "invalid_encoder", error.message, field=error.field, value=error.value
        ) from error
    if kind != "scale":
        raise InvalidInputError(
            "invalid_encoder", f"encoder.kind {kind!r} is unknown; known is scale", value=kind
        )
    return encoder


def from_q16(numbers: Integers) -> NDArray[np.float64]:
    """Return Q16 integers as floats, for people."""
    return numbers / float(ONE)
