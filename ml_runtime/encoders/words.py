"""Texts into words, by tables that are the same in every language and at any time.

A word begins with a letter or a number and goes on with letters, numbers and marks; all else
separates. Nothing is normalised, stemmed or segmented: Chinese and Japanese give whole runs of
characters, and a letter with its accent in one code point differs from the same in two.
Source: docs/spec/ml.md §8.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from ml_runtime.encoders.encoder import make_input_refusal
from ml_runtime.encoders.word_tables import compute_lower_case, compute_marks, compute_starts
from primitives.errors import InvalidInputError

__all__ = ["TEXT_BYTES_MAX", "check_text", "read_texts", "split_words"]

TEXT_BYTES_MAX: Final = 1024 * 1024
"""Longest text, in bytes of UTF-8."""


def split_words(text: str) -> list[str]:
    """Return the words of a text, lower-cased, in order.

    Examples
    --------
    >>> split_words("Don't PANIC: 42 Straßen, İzmir!")
    ['don', 't', 'panic', '42', 'straßen', 'izmir']
    """
    return _compile_word().findall(text.translate(compute_lower_case()))


def read_texts(rows: Sequence[Any]) -> Iterator[str]:
    """Return the texts one by one, each checked as `check_text` does.

    Raises
    ------
    InvalidInputError
        ``malformed`` also for a single text in place of a list of them.
    """
    if isinstance(rows, str | bytes):
        # It would pass for a list of texts of one character each.
        raise make_input_refusal("rows", "one text", "a list of texts")
    for position, text in enumerate(rows):
        yield check_text(text, f"rows[{position}]", TEXT_BYTES_MAX)


def check_text(text: object, field: str, bytes_max: int) -> str:
    """Return what is text and not too long.

    Raises
    ------
    InvalidInputError
        ``malformed`` for another type or half a surrogate pair, ``too_large``.
    """
    if not isinstance(text, str):
        raise make_input_refusal(field, type(text).__name__, "text")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise make_input_refusal(field, "half a surrogate pair", "text") from error
    if size > bytes_max:
        raise InvalidInputError(
            "too_large",
            f"{field} has {size} bytes, more than the limit of {bytes_max}",
            field=field,
            value=size,
            limit=bytes_max,
        )
    return text


@cache
def _compile_word() -> re.Pattern[str]:
    starts, marks = _make_class(compute_starts()), _make_class(compute_marks())
    return re.compile(f"[{starts}][{starts}{marks}]*")


def _make_class(ranges: tuple[tuple[int, int], ...]) -> str:
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
