"""A model's parameters in a file of any of the formats, chosen by the ending of its name.

Files of tensors that this project writes also say which model they are of, where the format has
room for it; those of others hold tensors alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from primitives.errors import InvalidInputError
from quorate.model_files.document import (
    ModelDocument,
    decode_described,
    decode_document,
    encode_description,
    encode_document,
)
from quorate.model_files.tensors import (
    Tensor,
    decode_npz,
    decode_safetensors,
    encode_npz,
    encode_safetensors,
)

__all__ = ["ENDINGS", "ModelFile", "check_ending", "decode_model_file", "encode_model_file"]

ENDINGS: Final = (".safetensors", ".npz", ".json")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a file holds.

    Parameters
    ----------
    tensors
        By name: int64 as fixed-point numbers, float64 in natural units.
    document
        The whole model, if the file says what it is.
    """

    tensors: Mapping[str, Tensor]
    document: ModelDocument | None


def check_ending(path: PurePath) -> str:
    """Return the format that a file's name asks for; raises ``unsupported`` for another."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InvalidInputError(
            "unsupported",
            f"{path.name} must end in {', '.join(ENDINGS)}, which says the format",
            field="path",
            value=path.name,
            limit=", ".join(ENDINGS),
        )
    return ending


def encode_model_file(model: ModelDocument, ending: str, origin: Mapping[str, str]) -> bytes:
    """Return a model as the bytes of a file.

    Parameters
    ----------
    model
        With its parameters.
    ending
        One of `ENDINGS`.
    origin
        Where it comes from, as text by name; only safetensors have room for it.
    """
    if ending == ".json":
        return encode_document(model)
    if ending == ".npz":
        return encode_npz(model.state)
    described = encode_description(model.spec, model.class_names, model.encoder)
    return encode_safetensors(model.state, {**origin, **described})


def decode_model_file(data: bytes, ending: str) -> ModelFile:
    """Return what the bytes of a file hold; raises as the decoder of its format."""
    if ending == ".json":
        document = decode_document(data)
        return ModelFile(document.state, document)
    file = decode_npz(data) if ending == ".npz" else decode_safetensors(data)
    return ModelFile(file.tensors, decode_described(file))
