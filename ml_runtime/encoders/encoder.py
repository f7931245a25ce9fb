"""What every encoder is, and the refusals that encoders share.

An encoder turns what people have into the integers that models take. It is part of a model, so
that every client encodes alike. Definitions are read by validators and hence in integers alone;
encoding is the work of clients and of the API, never of a replicated path.
Source: docs/spec/ml.md §8.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias

from ml_runtime.samples import Integers, SparseSamples
from primitives.codec import Encodable
from primitives.errors import InvalidInputError

__all__ = [
    "SHOWN_CHARACTERS_MAX",
    "VALUE_MAX",
    "Encoder",
    "Inputs",
    "make_count_refusal",
    "make_definition_refusal",
    "make_input_refusal",
    "make_range_refusal",
]

VALUE_MAX: Final = 1 << 48
"""Largest absolute value of an encoded feature and of a constant of an encoder, Q16."""

SHOWN_CHARACTERS_MAX: Final = 64
"""Most characters of a word or category that a refusal repeats."""

Inputs: TypeAlias = Literal["numbers", "rows", "texts", "categories"]


class Encoder(ABC):
    """How inputs become the features of a model; a value, equal to others of the same fields.

    ``takes`` says what it is made for: ``numbers`` one by one, whichever feature they are of;
    ``rows`` of numbers, which mean something together; ``texts``; or rows of ``categories``.
    """

    __slots__ = ()

    takes: ClassVar[Inputs]

    @abstractmethod
    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""

    @abstractmethod
    def feature_count(self, given: int | None = None) -> int | None:
        """Return the number of features of a sample.

        Parameters
        ----------
        given
            How many numbers or categories a row has; None if that is open, as for a text.

        Returns
        -------
        int or None
            None if it is open, which only an encoder of single numbers leaves it.

        Raises
        ------
        InvalidInputError
            ``wrong_feature_count`` if such rows are not what the encoder takes.
        """

    def encode(self, features: Any) -> Integers:
        """Return rows of numbers as Q16 integers, int64[n, d].

        Raises
        ------
        InvalidInputError
            ``malformed`` for what is no number, or if the encoder takes no numbers;
            ``wrong_feature_count``, ``feature_not_finite``, ``norm_out_of_range`` or
            ``feature_out_of_range``.
        """
        del features
        raise make_input_refusal("features", "rows of numbers", self.takes)

    def encode_rows(self, rows: Sequence[Any]) -> SparseSamples:
        """Return texts or rows of categories as samples, one for each.

        Raises
        ------
        InvalidInputError
            ``malformed`` for what is neither, or if the encoder takes numbers; ``too_large``,
            ``wrong_feature_count``, ``unknown_category`` or ``feature_out_of_range``.
        """
        del rows
        raise make_input_refusal("rows", "texts or categories", self.takes)


def make_input_refusal(field: str, given: str, wanted: str) -> InvalidInputError:
    """Return the refusal of an input that is of another kind."""
    return InvalidInputError(
        "malformed",
        f"{field} are {given}, the encoder takes {wanted}",
        field=field,
        value=given,
        limit=wanted,
    )


def make_count_refusal(field: str, given: int, wanted: int) -> InvalidInputError:
    """Return the refusal of rows with another number of features."""
    return InvalidInputError(
        "wrong_feature_count",
        f"{field} has {given} features, the encoder takes {wanted}",
        field=field,
        value=given,
        limit=wanted,
    )


def make_range_refusal(field: str, value: object) -> InvalidInputError:
    """Return the refusal of a feature beyond what can be encoded."""
    return InvalidInputError(
        "feature_out_of_range",
        f"{field} holds {value}, beyond the {VALUE_MAX >> 16} that can be encoded",
        field=field,
        value=str(value),
        limit=str(VALUE_MAX >> 16),
    )


def make_definition_refusal(
    field: str, rule: str, value: object = None, limit: object = None
) -> InvalidInputError:
    """Return the refusal of a definition; `rule` ends a sentence that begins with the field."""
    path = f"encoder.{field}"
    return InvalidInputError(
        "invalid_encoder", f"{path} {rule}", field=path, value=value, limit=limit
    )
