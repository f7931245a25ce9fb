"""Reads samples from CSV files and from the command line."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from primitives.errors import InvalidInputError

__all__ = [
    "read_cells",
    "read_labelled",
    "read_numbers",
    "read_row",
    "read_sample_numbers",
    "read_texts",
]

SAMPLES_MAX = 65_536
"""Samples in one contribution, whatever the parameters of a chain."""


def read_row(text: str) -> list[float]:
    """Return the numbers in ``1,2.5,3``; raises ``malformed``."""
    try:
        return [float(cell) for cell in text.split(",")]
    except ValueError as error:
        raise InvalidInputError(
            "malformed", f"features must be numbers separated by commas: {error}", field="features"
        ) from error


def read_numbers(file: Path) -> list[list[float]]:
    """Return the rows of a CSV file of numbers; a first line of names is passed over."""
    return [_to_numbers(file, number, row) for number, row in _read_rows(file)]


def read_labelled(file: Path) -> tuple[list[list[float]], list[str]]:
    """Return features and classes of a CSV file whose last column is the class."""
    rows = _read_rows(file)
    features = [_to_numbers(file, number, row[:-1]) for number, row in rows]
    return features, [row[-1].strip() for _, row in rows]


def read_cells(file: Path) -> list[list[str]]:
    """Return the rows of a CSV file as they are; its first line names the columns."""
    return [row for _, row in _read_rows(file, has_heading=True)]


def read_texts(text: str | None, file: Path | None, takes: str) -> list[Any]:
    """Return one text or row of categories, or those of every line of a CSV file."""
    rows = [next(csv.reader([text]))] if text is not None else read_cells(file or Path())
    return [row[0] for row in rows] if takes == "texts" else rows


def read_sample_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers in ``0,3,5-9``, ascending; none for an empty text.

    Examples
    --------
    >>> read_sample_numbers("0,3,5-7")
    (0, 3, 5, 6, 7)
    """
    numbers: set[int] = set()
    try:
        for part in filter(None, text.split(",")):
            start, _, end = part.partition("-")
            first, last = int(start), int(end or start)
            if not first <= last < SAMPLES_MAX:
                raise ValueError(f"{part} does not ascend, or goes beyond {SAMPLES_MAX - 1}")
            numbers.update(range(first, last + 1))
    except ValueError as error:
        raise InvalidInputError(
            "malformed", f"samples must look like 0,3,5-9: {error}", field="samples", value=text
        ) from error
    return tuple(sorted(numbers))


def _read_rows(file: Path, *, has_heading: bool = False) -> list[tuple[int, list[str]]]:
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            rows = [(number, row) for number, row in enumerate(csv.reader(opened), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidInputError("malformed", f"{file}: {why}", field="file") from error
    if rows and (has_heading or not _is_number(rows[0][1][0])):
        rows = rows[1:]
    if not rows:
        raise InvalidInputError("empty_batch", f"{file} holds no samples", field="file")
    return rows


def _to_numbers(file: Path, number: int, row: list[str]) -> list[float]:
    try:
        return [float(cell) for cell in row]
    except ValueError as error:
        raise InvalidInputError(
            "malformed", f"{file}, line {number}: {error}", field="file", value=number
        ) from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
