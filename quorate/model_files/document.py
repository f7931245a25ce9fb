"""A whole model as one JSON document: what it is, how inputs become features, every number.

The form for people, for other languages and for archives that have to be read in thirty years.
Integers beyond 2^53 are strings, since most readers of JSON hold numbers as binary64. Other than a
pretrained model, a document may hold any state that a model can reach.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_runtime.encoders import Encoder, decode_encoder
from ml_runtime.family import State, check_shapes
from ml_runtime.registry import get_family
from ml_runtime.spec import ModelSpec, decode_spec
from primitives.errors import InvalidInputError
from quorate.model_files.tensors import TensorFile, make_file_refusal, read_json_object

__all__ = [
    "FORMAT",
    "VERSION",
    "ModelDocument",
    "decode_described",
    "decode_document",
    "encode_description",
    "encode_document",
]

FORMAT: Final = "quorate-model"
VERSION: Final = 1

EXACT_MAX: Final = 1 << 53
"""Beyond it a binary64 number does not hold every integer."""

INTEGER_MAX: Final = (1 << 63) - 1
INTEGER_CHARACTERS_MAX: Final = 20
DESCRIPTION_FIELDS: Final = ("format", "version", "spec", "class_names", "encoder")
FIELDS: Final = (*DESCRIPTION_FIELDS, "tensors")
DESCRIPTION: Final = "quorate-model"
"""Name of the metadata that hold what a model is, but for its tensors, as JSON."""

DESCRIPTION_CHARACTERS_MAX: Final = 512 * 1024
"""Half of the longest header of a safetensors file."""

SPEC_FIELDS: Final = (
    "family",
    "layout",
    "feature_count",
    "class_count",
    "parameters",
    "tensors",
)


@dataclass(frozen=True, slots=True)
class ModelDocument:
    """A model with everything that is needed to predict.

    Parameters
    ----------
    spec
        What it is.
    state
        Its parameters.
    class_names
        As many as the spec has classes.
    encoder
        How inputs become features; None if that is settled elsewhere.
    """

    spec: ModelSpec
    state: State
    class_names: tuple[str, ...] = ()
    encoder: Encoder | None = None


def encode_document(model: ModelDocument) -> bytes:
    """Return a model as JSON in UTF-8; equal models give equal bytes.

    Raises
    ------
    InvalidInputError
        ``wrong_tensors`` or ``wrong_class_count`` if spec, state and names do not fit together.
    """
    _check_model(model)
    fields = _describe(model.spec, model.class_names, model.encoder)
    fields["tensors"] = {name: model.state[name].tolist() for name in sorted(model.state)}
    text = json.dumps(_map_numbers(fields, _write_integer), separators=(",", ":"))
    return text.encode() + b"\n"


def encode_description(
    spec: ModelSpec, class_names: Sequence[str], encoder: Encoder | None
) -> dict[str, str]:
    """Return metadata of a file of tensors that says which model they are the parameters of.

    What would be longer than 512 KiB, as a very large vocabulary is, is left out: the file is then
    one of tensors alone.
    """
    fields = _map_numbers(_describe(spec, class_names, encoder), _write_integer)
    text = json.dumps(fields, separators=(",", ":"))
    return {DESCRIPTION: text} if len(text) <= DESCRIPTION_CHARACTERS_MAX else {}


def decode_described(file: TensorFile) -> ModelDocument | None:
    """Return the model in a file of tensors that says what it is, or None if it does not.

    Raises
    ------
    InvalidInputError
        As :func:`decode_document`.
    """
    text = file.metadata.get(DESCRIPTION)
    if text is None:
        return None
    document = read_json_object(text.encode(), "document")
    spec, class_names, encoder = _read_description(document, DESCRIPTION_FIELDS)
    state: State = {}
    for name, tensor in file.tensors.items():
        if tensor.dtype != np.int64:
            raise make_file_refusal(f"tensors.{name}", "must hold int64 if the file says its spec")
        state[name] = tensor.astype(np.int64, copy=False)
    model = ModelDocument(spec, state, class_names, encoder)
    _check_model(model)
    return model


def decode_document(data: bytes) -> ModelDocument:
    """Return the model that a document describes.

    Raises
    ------
    InvalidInputError
        ``malformed_file`` for what is no such document or of a version that is not known,
        ``invalid_spec``, ``invalid_encoder``, ``wrong_tensors`` or ``wrong_class_count`` for what
        is in it. Whether the numbers can begin a model is the question of ``check_state``.
    """
    document = read_json_object(data, "document")
    spec, class_names, encoder = _read_description(document, FIELDS)
    given = document["tensors"]
    shapes = get_family(spec.family).shapes(spec)
    if type(given) is not dict or set(given) != set(shapes):
        found = sorted(given) if type(given) is dict else type(given).__name__
        raise InvalidInputError(
            "wrong_tensors",
            f"a model of this spec has the tensors {sorted(shapes)}, found {str(found)[:200]}",
            field="document.tensors",
        )
    model = ModelDocument(
        spec,
        {name: _read_tensor(name, given[name], shape) for name, shape in shapes.items()},
        class_names,
        encoder,
    )
    _check_model(model)
    return model


def _describe(
    spec: ModelSpec, class_names: Sequence[str], encoder: Encoder | None
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "spec": {
            "family": spec.family,
            "layout": spec.layout,
            "feature_count": spec.feature_count,
            "class_count": spec.class_count,
            "parameters": dict(spec.parameters),
            "tensors": {name: list(shape) for name, shape in spec.tensors},
        },
        "class_names": list(class_names),
        "encoder": encoder.to_fields() if encoder else None,
    }


def _read_description(
    document: dict[str, Any], fields: tuple[str, ...]
) -> tuple[ModelSpec, tuple[str, ...], Encoder | None]:
    if document.get("format") != FORMAT or document.get("version") != VERSION:
        raise make_file_refusal("document", f"must be of format {FORMAT}, version {VERSION}")
    _check_fields("document", document, fields)
    spec = _read_spec(document["spec"])
    names = document["class_names"]
    if type(names) is not list or not all(type(name) is str for name in names):
        raise make_file_refusal("document.class_names", "must be a list of text")
    encoder = document["encoder"]
    if encoder is not None:
        encoder = decode_encoder(_check_lists("document.encoder", encoder))
    return spec, tuple(names), encoder


def _check_model(model: ModelDocument) -> None:
    check_shapes(get_family(model.spec.family), model.spec, model.state)
    if len(model.class_names) != model.spec.class_count:
        raise InvalidInputError(
            "wrong_class_count",
            f"the model has {model.spec.class_count} classes, found {len(model.class_names)} names",
            field="class_names",
            value=len(model.class_names),
            limit=model.spec.class_count,
        )


def _check_fields(path: str, value: Any, names: tuple[str, ...]) -> None:
    if type(value) is not dict or set(value) != set(names):
        raise make_file_refusal(path, f"must have {', '.join(names)}, and nothing else")


def _read_spec(value: Any) -> ModelSpec:
    _check_fields("document.spec", value, SPEC_FIELDS)
    parameters, tensors = value["parameters"], value["tensors"]
    if type(parameters) is not dict or type(tensors) is not dict:
        raise make_file_refusal("document.spec", "must have parameters and tensors by name")
    fields = [
        value["family"],
        value["layout"],
        value["feature_count"],
        value["class_count"],
        [[name, _read_integer(parameters[name])] for name in sorted(parameters)],
        [[name, tensors[name]] for name in sorted(tensors)],
    ]
    spec = decode_spec(_check_lists("document.spec", fields))
    get_family(spec.family).check(spec)
    return spec


def _check_lists(path: str, value: Any) -> Any:
    """Return what holds no objects: the ledger's encoding has none, and its readers know none."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) is dict:
            raise make_file_refusal(path, "must hold lists, text and integers, found an object")
        if type(each) is list:
            waiting.extend(each)
    return value


def _read_tensor(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    numbers: list[int] = []
    _collect(f"document.tensors.{name}", value, shape, numbers)
    return np.array(numbers, dtype=np.int64).reshape(shape)


def _collect(path: str, value: Any, shape: tuple[int, ...], numbers: list[int]) -> None:
    """Add the numbers of a nested list, which must have exactly the shape."""
    if not shape:
        number = _read_integer(value)
        if type(number) is not int or not -INTEGER_MAX <= number <= INTEGER_MAX:
            raise make_file_refusal(path, f"holds {repr(value)[:64]}, which is no 64-bit integer")
        numbers.append(number)
        return
    if type(value) is not list or len(value) != shape[0]:
        found = len(value) if type(value) is list else type(value).__name__
        raise InvalidInputError(
            "wrong_tensors",
            f"{path} must be a list of {shape[0]}, found {found}",
            field=path,
            value=found,
            limit=shape[0],
        )
    for each in value:
        _collect(path, each, shape[1:], numbers)


def _read_integer(value: Any) -> Any:
    """Return an integer that was written as text; anything else as it is, to be refused later."""
    if type(value) is str and len(value) <= INTEGER_CHARACTERS_MAX:
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdigit() and not digits.startswith("0"):
            return int(value)
    return value


def _write_integer(value: int) -> int | str:
    return value if -EXACT_MAX <= value <= EXACT_MAX else str(value)


def _map_numbers(value: Any, convert: Callable[[int], int | str]) -> Any:
    """Return nested lists and objects with every integer converted; tuples become lists."""
    if type(value) is int:
        return convert(value)
    if isinstance(value, list | tuple):
        return [_map_numbers(each, convert) for each in value]
    if type(value) is dict:
        return {name: _map_numbers(each, convert) for name, each in value.items()}
    return value
