"""Tensors of the Open Inference Protocol: JSON bodies into arrays and back.

Only form is decided here: names, datatypes, shapes and numbers. What a model makes of them is in
:mod:`node.api.inference`. Source: Open Inference Protocol (KServe V2), REST.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from primitives.errors import InvalidInputError

__all__ = [
    "ELEMENTS_MAX",
    "INPUTS_MAX",
    "InferRequest",
    "Tensor",
    "parse_infer_request",
    "tensor_to_json",
]

INPUTS_MAX = 8
OUTPUTS_MAX = 8
DIMENSIONS_MAX = 4
ELEMENTS_MAX = 8 * 1024 * 1024
"""Most elements of one tensor."""

NAME_CHARACTERS_MAX = 128

_DTYPE_OF_DATATYPE: dict[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}

Numbers = NDArray[np.float64] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array; ``data`` is int64 for whole-number datatypes and float64 for the others."""

    name: str
    datatype: str
    data: Numbers


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request for predictions.

    ``outputs`` holds the names that were asked for, in order, or None for all of them.
    """

    request_id: str | None
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...] | None


def parse_infer_request(body: bytes) -> InferRequest:
    """Return the request that a JSON body encodes.

    Raises
    ------
    InvalidInputError
        ``malformed_request``: no JSON, a missing member, or one of another type;
        ``unsupported_datatype``, ``wrong_shape``, ``malformed_tensor``, ``too_large``.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed("body", f"the body is no JSON: {error}") from error
    members = _expect_object(value, "body")
    request_id = members.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise _malformed("id", "id must be a string")
    tensors: dict[str, Tensor] = {}
    for index, item in enumerate(_expect_list(members.get("inputs"), "inputs", INPUTS_MAX)):
        tensor = _parse_tensor(_expect_object(item, f"inputs.{index}"), f"inputs.{index}")
        if tensor.name in tensors:
            raise _malformed(f"inputs.{index}.name", f"input {tensor.name} is given twice")
        tensors[tensor.name] = tensor
    return InferRequest(request_id, tensors, _parse_outputs(members.get("outputs")))


def tensor_to_json(name: str, datatype: str, array: NDArray[Any]) -> dict[str, object]:
    """Return an output tensor; data flat, in row-major order."""
    data = array.reshape(-1).tolist()
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": data}


def _parse_outputs(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    items = _expect_list(value, "outputs", OUTPUTS_MAX)
    names = (
        _expect_name(_expect_object(item, f"outputs.{index}").get("name"), f"outputs.{index}.name")
        for index, item in enumerate(items)
    )
    return tuple(names) or None


def _parse_tensor(members: dict[str, object], path: str) -> Tensor:
    name = _expect_name(members.get("name"), f"{path}.name")
    datatype = members.get("datatype")
    if not isinstance(datatype, str) or datatype not in _DTYPE_OF_DATATYPE:
        raise InvalidInputError(
            "unsupported_datatype",
            f"{path}.datatype of {name} must be one of {', '.join(_DTYPE_OF_DATATYPE)}",
            field=f"{path}.datatype",
            value=str(datatype),
        )
    shape = _parse_shape(members.get("shape"), f"{path}.shape")
    return Tensor(name, datatype, _parse_data(members.get("data"), datatype, shape, f"{path}.data"))


def _parse_shape(value: object, path: str) -> tuple[int, ...]:
    items = _expect_list(value, path, DIMENSIONS_MAX)
    shape = tuple(item for item in items if type(item) is int and item >= 0)
    if len(shape) != len(items):
        raise _malformed(path, f"{path} must hold whole numbers that are not negative")
    size = 1
    for extent in shape:
        size *= extent
    if size > ELEMENTS_MAX:
        raise InvalidInputError(
            "too_large",
            f"{path} says {size} elements, above the limit {ELEMENTS_MAX}",
            field=path,
            value=size,
            limit=ELEMENTS_MAX,
        )
    return shape


def _parse_data(value: object, datatype: str, shape: tuple[int, ...], path: str) -> Numbers:
    if not isinstance(value, list):
        raise _malformed(path, f"{path} must be an array")
    try:
        array = np.array(value) if value else np.zeros(0, np.int64)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            "malformed_tensor", f"{path} is not rectangular: {error}", field=path
        ) from error
    wanted = np.dtype(_DTYPE_OF_DATATYPE[datatype])
    if array.dtype.kind not in _KINDS_ACCEPTED[wanted.kind]:
        raise InvalidInputError(
            "malformed_tensor", f"{path} holds other than {datatype} numbers", field=path
        )
    if array.size != int(np.prod(shape)) or (array.ndim > 1 and array.shape != shape):
        raise InvalidInputError(
            "wrong_shape",
            f"{path} has the shape {list(array.shape)}, but shape says {list(shape)}",
            field=path,
            value=str(list(array.shape)),
            limit=str(list(shape)),
        )
    return _to_wide(array, wanted, path).reshape(shape)


# Whole numbers may be written for floats, never the other way round.
_KINDS_ACCEPTED = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}


def _to_wide(array: NDArray[Any], wanted: np.dtype[Any], path: str) -> Numbers:
    """Return the numbers as int64 or float64 after checking that they are of the datatype."""
    if wanted.kind == "f":
        # Rounding to the narrower float first: the client said that this is what it holds.
        with np.errstate(over="ignore"):
            return array.astype(wanted).astype(np.float64)
    if wanted.kind != "b" and array.size:
        limits = np.iinfo(wanted)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > min(limits.max, np.iinfo(np.int64).max):
            raise InvalidInputError(
                "malformed_tensor",
                f"{path} holds {low if low < limits.min else high}, outside of {wanted.name}",
                field=path,
                value=low if low < limits.min else high,
                limit=limits.min if low < limits.min else limits.max,
            )
    return array.astype(np.int64)


def _expect_object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _malformed(path, f"{path} must be an object")
    return cast(dict[str, object], value)


def _expect_list(value: object, path: str, items_max: int) -> list[object]:
    if not isinstance(value, list):
        raise _malformed(path, f"{path} must be an array")
    if len(value) > items_max:
        raise InvalidInputError(
            "too_large",
            f"{path} has {len(value)} items, above the limit {items_max}",
            field=path,
            value=len(value),
            limit=items_max,
        )
    return value


def _expect_name(value: object, path: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX:
        raise _malformed(path, f"{path} must be a name of 1 to {NAME_CHARACTERS_MAX} characters")
    return value


def _malformed(field: str, message: str) -> InvalidInputError:
    return InvalidInputError("malformed_request", message, field=field)
