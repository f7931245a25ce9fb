"""Columns of categories into features that are one or zero. Source: docs/spec/ml.md §8.8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from ml_runtime.encoders.encoder import (
    SHOWN_CHARACTERS_MAX,
    Encoder,
    Inputs,
    make_count_refusal,
    make_definition_refusal,
    make_input_refusal,
)
from ml_runtime.encoders.sparse_counts import build_samples
from ml_runtime.encoders.words import TEXT_BYTES_MAX, check_text
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import SparseSamples
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader

__all__ = ["CATEGORIES_BYTES_MAX", "CategoryColumn", "OneHotEncoder", "read_one_hot"]

CATEGORIES_BYTES_MAX: Final = 16 * 1024
"""Most bytes of UTF-8 of all names and categories together; they are stored with the model."""

COLUMNS_MAX: Final = 1024
CATEGORIES_MAX: Final = 4096
"""Most categories of a column."""


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """A column by its name, and the categories that it may hold, in the order of their features."""

    name: str
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OneHotEncoder(Encoder):
    """How categories become features.

    Parameters
    ----------
    columns
        In the order of their features.
    refuses_unknown
        Whether a category that is not listed is refused; else its column is all zeros.
    """

    takes: ClassVar[Inputs] = "categories"

    columns: tuple[CategoryColumn, ...]
    refuses_unknown: bool = False
    _places: tuple[dict[str, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places, start = [], 0
        for column in self.columns:
            places.append({name: start + place for place, name in enumerate(column.categories)})
            start += len(column.categories)
        object.__setattr__(self, "_places", tuple(places))

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        columns = [[column.name, list(column.categories)] for column in self.columns]
        return ["one_hot", 1, columns, int(self.refuses_unknown)]

    def feature_count(self, given: int | None = None) -> int:
        """Return the number of categories of all columns; refuses rows of another length."""
        if given not in (None, len(self.columns)):
            raise make_count_refusal("rows", given, len(self.columns))
        return sum(len(column.categories) for column in self.columns)

    def encode_rows(self, rows: Sequence[Any]) -> SparseSamples:
        """Return rows of categories as samples, one for each.

        Parameters
        ----------
        rows
            Each a sequence of texts in the order of the columns, or a mapping by their names.

        Raises
        ------
        InvalidInputError
            ``malformed`` for what is no such row, ``wrong_feature_count`` for more or fewer
            categories than columns, ``unknown_category``.
        """
        if isinstance(rows, str | bytes):
            raise make_input_refusal("rows", "one text", "a list of rows")
        counts = (self._count_row(row, f"rows[{place}]") for place, row in enumerate(rows))
        return build_samples(counts, ONE, self.feature_count())

    def _count_row(self, row: object, path: str) -> dict[int, int]:
        counts: dict[int, int] = {}
        for number, given in enumerate(self._read_row(row, path)):
            category = check_text(given, f"{path}[{number}]", TEXT_BYTES_MAX)
            place = self._places[number].get(category)
            if place is not None:
                counts[place] = 1
            elif self.refuses_unknown:
                raise _unknown_category(f"{path}[{number}]", category, self.columns[number])
        return counts

    def _read_row(self, row: object, path: str) -> Iterator[object]:
        if isinstance(row, Mapping):
            missing = next((each.name for each in self.columns if each.name not in row), None)
            if missing is not None:
                raise make_input_refusal(path, "a row by name", f"a column {missing!r}")
            if len(row) != len(self.columns):
                raise make_count_refusal(path, len(row), len(self.columns))
            return (row[column.name] for column in self.columns)
        if not isinstance(row, Sequence) or isinstance(row, str | bytes):
            raise make_input_refusal(path, type(row).__name__, "a row of categories")
        if len(row) != len(self.columns):
            raise make_count_refusal(path, len(row), len(self.columns))
        return iter(row)


def read_one_hot(reader: FieldReader) -> OneHotEncoder:
    """Return the encoder whose constants come next.

    Raises
    ------
    InvalidInputError
        ``invalid_encoder`` if there is no column, a column without a category, a name or category
        that comes twice, or more than 16 KiB of them.
    """
    values = reader.array("columns", COLUMNS_MAX)
    columns = tuple(_read_column(value) for value in values)
    _check_distinct("columns", [column.name for column in columns])
    size = sum(
        len(text.encode()) for column in columns for text in (column.name, *column.categories)
    )
    if size > CATEGORIES_BYTES_MAX:
        raise make_definition_refusal(
            "columns",
            f"have {size} bytes, more than the limit of {CATEGORIES_BYTES_MAX}",
            size,
            CATEGORIES_BYTES_MAX,
        )
    return OneHotEncoder(columns, bool(reader.integer("refuses_unknown", 0, 1)))


def _read_column(value: Value) -> CategoryColumn:
    reader = FieldReader(value, "encoder.columns", 2)
    name = reader.text("name", CATEGORIES_BYTES_MAX)
    values = reader.array("categories", CATEGORIES_MAX)
    reader.end()
    categories = tuple(each for each in values if type(each) is str)
    if len(categories) != len(values):
        raise make_definition_refusal(
            "columns", f"must hold text alone, found other in {name[:SHOWN_CHARACTERS_MAX]!r}"
        )
    _check_distinct("columns", categories)
    return CategoryColumn(name, categories)


def _unknown_category(field: str, category: str, column: CategoryColumn) -> InvalidInputError:
    shown, name = category[:SHOWN_CHARACTERS_MAX], column.name[:SHOWN_CHARACTERS_MAX]
    count = len(column.categories)
    return InvalidInputError(
        "unknown_category",
        f"{field} is {shown!r}, which is none of the {count} categories of {name!r}",
        field=field,
        value=shown,
        limit=count,
    )


def _check_distinct(path: str, names: Sequence[str]) -> None:
    if not names or len(set(names)) != len(names):
        raise make_definition_refusal(
            path, "must have at least one name and one category each, all different", len(names)
        )
