"""Reading records, which are arrays of fixed order, out of decoded values.

Every refusal names the field by its path, the value found and the limit, so that a client can mend
its request. Source: docs/spec/encoding.md §3.
"""

from __future__ import annotations

import builtins
from typing import TypeVar

from primitives.codec import Value
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["COUNTER_MAX", "FieldReader"]

COUNTER_MAX = 2**63 - 1
"""Largest height, view, nonce, amount or time: it also fits a signed 64-bit integer elsewhere."""

_Kind = TypeVar("_Kind", bool, int, bytes, str, list[Value])


class FieldReader:
    """Reads the fields of one record, in order.

    Parameters
    ----------
    value : a decoded value, which must be an array.
    name : what the record is, the first part of the path in refusals (``header``).
    count : how many fields the record has.

    Raises
    ------
    InvalidInputError
        ``malformed`` if the value is not an array of exactly `count` fields.

    Examples
    --------
    >>> reader = FieldReader([7, b"abc"], "record", 2)
    >>> reader.integer("height", 0, 100), reader.bytes("id", length=3)
    (7, b'abc')
    >>> reader.end()
    """

    __slots__ = ("_fields", "_name", "_position")

    def __init__(self, value: Value, name: str, count: int) -> None:
        if type(value) is not list:
            raise InvalidInputError(
                "malformed",
                f"{name} must be an array of {count} fields, found {_describe(value)}",
                field=name,
                limit=count,
            )
        if len(value) != count:
            raise InvalidInputError(
                "malformed",
                f"{name} must have {count} fields, found {len(value)}",
                field=name,
                value=len(value),
                limit=count,
            )
        self._fields = value
        self._name = name
        self._position = 0

    def integer(self, name: str, low: int, high: int) -> int:
        """Read an integer in [low, high].

        Raises
        ------
        InvalidInputError
            ``malformed`` for another type (a boolean is not an integer), ``out_of_range``.
        """
        value = self._next(name, int)
        if not low <= value <= high:
            path = f"{self._name}.{name}"
            raise InvalidInputError(
                "out_of_range",
                f"{path} must lie in [{low}, {high}], found {value}",
                field=path,
                value=value,
                limit=high if value > high else low,
            )
        return value

    def counter(self, name: str) -> int:
        """Read an integer in [0, `COUNTER_MAX`]; raises as `integer` does."""
        return self.integer(name, 0, COUNTER_MAX)

    def boolean(self, name: str) -> bool:
        """Read a boolean; raises `InvalidInputError` ``malformed`` for another type."""
        return self._next(name, bool)

    def bytes(
        self, name: str, length: int | None = None, bytes_max: int | None = None
    ) -> builtins.bytes:
        """Read a byte string of exactly `length` or at most `bytes_max` bytes.

        Raises
        ------
        InvalidInputError
            ``malformed`` for another type or another length, ``too_large`` above `bytes_max`.
        """
        value = self._next(name, bytes)
        if length is not None and len(value) != length:
            path = f"{self._name}.{name}"
            raise InvalidInputError(
                "malformed",
                f"{path} must have {length} bytes, found {len(value)}",
                field=path,
                value=len(value),
                limit=length,
            )
        if bytes_max is not None and len(value) > bytes_max:
            raise self._too_large(name, len(value), bytes_max, "bytes")
        return value

    def optional_bytes(self, name: str, length: int) -> builtins.bytes | None:
        """Read nil or a byte string of exactly `length` bytes; raises as `bytes` does."""
        return None if self._skip_nil() else self.bytes(name, length=length)

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        """Read nil or an integer in [low, high]; raises as `integer` does."""
        return None if self._skip_nil() else self.integer(name, low, high)

    def text(self, name: str, bytes_max: int) -> str:
        """Read text of at most `bytes_max` bytes of UTF-8.

        Raises
        ------
        InvalidInputError
            ``malformed`` for another type, ``too_large`` above `bytes_max`.
        """
        value = self._next(name, str)
        size = len(value.encode())
        if size > bytes_max:
            raise self._too_large(name, size, bytes_max, "bytes")
        return value

    def array(self, name: str, items_max: int) -> list[Value]:
        """Read an array of at most `items_max` items.

        Raises
        ------
        InvalidInputError
            ``malformed`` for another type, ``too_large`` above `items_max`.
        """
        value: list[Value] = self._next(name, list)
        if len(value) > items_max:
            raise self._too_large(name, len(value), items_max, "items")
        return value

    def value(self) -> Value:
        """Read the next field whatever it is; the caller hands it to another reader."""
        if self._position >= len(self._fields):
            raise InvariantViolationError(f"{self._name} was read beyond its last field")
        value = self._fields[self._position]
        self._position += 1
        return value

    def end(self) -> None:
        """Confirm that every field was read; a reader that forgets one is a bug of ours."""
        if self._position != len(self._fields):
            raise InvariantViolationError(
                f"{self._position} of the {len(self._fields)} fields of {self._name} were read"
            )

    def _next(self, name: str, kind: type[_Kind]) -> _Kind:
        value = self.value()
        if type(value) is not kind:
            path = f"{self._name}.{name}"
            raise InvalidInputError(
                "malformed",
                f"{path} must be {_KIND_NAMES[kind]}, found {_describe(value)}",
                field=path,
            )
        return value

    def _skip_nil(self) -> bool:
        if self._position < len(self._fields) and self._fields[self._position] is None:
            self._position += 1
            return True
        return False

    def _too_large(self, name: str, size: int, limit: int, unit: str) -> InvalidInputError:
        path = f"{self._name}.{name}"
        return InvalidInputError(
            "too_large",
            f"{path} has {size} {unit}, more than the limit of {limit}",
            field=path,
            value=size,
            limit=limit,
        )


_KIND_NAMES: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    bytes: "a byte string",
    str: "text",
    list: "an array",
}


def _describe(value: Value) -> str:
    """Name a value in a refusal without echoing more than a line of it."""
    if value is None:
        return "nil"
    if isinstance(value, (bytes, str, list)):
        return f"{_KIND_NAMES[type(value)]} of length {len(value)}"
    return f"{_KIND_NAMES[type(value)]} ({value})"
