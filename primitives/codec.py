"""Canonical encoding: exactly one byte string per value, and nothing else is accepted.

The format is a subset of msgpack: arrays of fixed order, integers, byte strings, UTF-8 text,
booleans and nil. Maps, floats and extension types do not exist. A decoder proves canonicity by
encoding again what it read and comparing, so hashes and signatures can be taken over the
*received* bytes. Source: docs/spec/encoding.md §2.

This module knows nothing of fields: ``primitives.fields`` reads records out of decoded arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias, cast

import msgpack

from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["DEPTH_MAX", "INTEGER_MAX", "INTEGER_MIN", "Encodable", "Value", "decode", "encode"]

Value: TypeAlias = "bool | int | bytes | str | list[Value] | None"
"""What `decode` returns."""

Encodable: TypeAlias = "bool | int | bytes | str | Sequence[Encodable] | None"
"""What `encode` accepts: a `Value` in which tuples may stand for lists."""

DEPTH_MAX = 16
"""Arrays within arrays; a scalar has depth 0. `encode` never exceeds it."""

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1

# An array header may claim as many elements as the input has bytes, at every level of nesting, and
# the parser allocates what is claimed. Below this size the product is harmless; above it the claims
# are first walked through without building anything.
_UNVERIFIED_CLAIMS_BYTES_MAX = 1024

_SCALARS = frozenset({type(None), bool, int, bytes, str})


def encode(value: Encodable) -> bytes:
    """Return the canonical encoding of a value.

    Parameters
    ----------
    value : nil, boolean, integer in [-2^63, 2^64), bytes, text, or a list or tuple of those (no
        named tuples), at most `DEPTH_MAX` deep.

    Returns
    -------
    bytes
        The only encoding that `decode` accepts for this value.

    Raises
    ------
    InvariantViolationError
        If the value is of another type, out of range, too deep, or text that is not Unicode. What
        we encode is ours, so this is a bug of the caller and not an input fault.
    """
    _check_encodable(value, DEPTH_MAX)
    try:
        return _pack(value)
    except (OverflowError, ValueError) as error:
        raise InvariantViolationError(f"value has no canonical encoding: {error}") from error


def decode(data: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX) -> Value:
    """Return the value whose canonical encoding is `data`.

    Parameters
    ----------
    data : the received bytes.
    bytes_max : most bytes that are looked at; longer input is refused unread.
    depth_max : most arrays within arrays, in [0, `DEPTH_MAX`].

    Returns
    -------
    Value
        Built of exact built-in types only, so ``type(x) is int`` tells an integer from a boolean.

    Raises
    ------
    InvalidInputError
        ``too_large`` if the input exceeds `bytes_max` or `depth_max`; ``malformed`` if it is not
        one msgpack value of the permitted types; ``not_canonical`` if the same value has another,
        canonical encoding.

    Notes
    -----
    Memory stays within a constant factor of ``len(data)``, whatever the headers claim.
    """
    if len(data) > bytes_max:
        raise InvalidInputError(
            "too_large",
            f"input of {len(data)} bytes exceeds the limit of {bytes_max}",
            value=len(data),
            limit=bytes_max,
        )
    value = _unpack(data)
    _check_decoded(value, depth_max)
    if _pack(value) != data:
        raise InvalidInputError("not_canonical", "input is not the canonical encoding of its value")
    return cast(Value, value)


# Annotated as objects because the extension module carries no types.
def _pack(value: object) -> bytes:
    return cast(bytes, msgpack.packb(value))


def _unpack(data: bytes) -> object:
    """Parse one msgpack value, without yet knowing that it is canonical."""
    try:
        if len(data) > _UNVERIFIED_CLAIMS_BYTES_MAX:
            unpacker = msgpack.Unpacker(max_buffer_size=len(data))
            unpacker.feed(data)
            unpacker.skip()
        return msgpack.unpackb(data, object_hook=_refuse, ext_hook=_refuse)
    except (ValueError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise InvalidInputError("malformed", f"input is not valid msgpack: {reason}") from error


def _refuse(*_: Any) -> NoReturn:
    raise ValueError("maps and extension types are not part of the encoding")


def _check_decoded(value: object, depth_left: int) -> None:
    """Refuse floats, timestamps and depth; the parser has already refused what else is foreign."""
    kind = type(value)
    if kind is not list:
        if kind not in _SCALARS:
            raise _type_refusal(kind)
        return
    if depth_left <= 0:
        raise InvalidInputError("too_large", "input is nested deeper than the limit")
    items = cast(list[object], value)
    # The types are compared in C; only arrays that hold arrays cost a Python loop.
    if _SCALARS.issuperset(map(type, items)):
        return
    for item in items:
        if type(item) is list:
            _check_decoded(item, depth_left - 1)
        elif type(item) not in _SCALARS:
            raise _type_refusal(type(item))


def _type_refusal(kind: type) -> InvalidInputError:
    return InvalidInputError(
        "malformed", f"input holds a {kind.__name__}, which is not part of the encoding"
    )


def _check_encodable(value: object, depth_left: int) -> None:
    """Refuse what the packer would accept although the encoding has no such type."""
    kind = type(value)
    # Exact types: the packer gives some subclasses of tuple a meaning of their own.
    if kind is list or kind is tuple:
        if depth_left <= 0:
            raise InvariantViolationError(f"value is nested deeper than {DEPTH_MAX}")
        items = cast(Sequence[object], value)
        if not _SCALARS.issuperset(map(type, items)):
            for item in items:
                if type(item) not in _SCALARS:
                    _check_encodable(item, depth_left - 1)
    elif value is not None and not isinstance(value, (int, bytes, str)):
        raise InvariantViolationError(f"{kind.__name__} has no canonical encoding")
