"""The parameters of models in the state: descriptors, chunks and the record of each version.

A tensor is little-endian int64 in row-major order, cut into chunks of 64 KiB that are stored by
their hash. The state holds the descriptor, so a version shares every chunk that it did not change
with the one before, and a chunk is proved by its hash. Source: docs/spec/ledger.md §5.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ledger.schema import read_record
from primitives.codec import Encodable, Value, encode
from primitives.errors import CorruptStateError, InvalidInputError, InvariantViolationError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash

__all__ = [
    "CHUNK_BYTES",
    "ORIGINS",
    "ChunkReader",
    "ModelArrays",
    "ModelTensors",
    "ModelVersion",
    "TensorDescriptor",
    "check_arrays",
    "chunk_arrays",
    "decode_model_tensors",
    "decode_model_version",
    "load_arrays",
    "model_version_key",
    "model_version_prefix",
    "tensors_key",
    "total_bytes",
]

CHUNK_BYTES: Final = 64 * 1024
ELEMENT_BYTES: Final = 8
_CHUNK_ELEMENTS: Final = CHUNK_BYTES // ELEMENT_BYTES
_ELEMENT_TYPE: Final = np.dtype("<i8")

_TENSORS_MAX: Final = 64
_TENSOR_NAME_BYTES_MAX: Final = 64
_DIMENSIONS_MAX: Final = 4
_CHUNKS_MAX: Final = 128 * 1024
_LOSS_SUM_MAX: Final = 1 << 62

ORIGINS: Final = (
    "created",
    "contributed",
    "grown",
    "reverted",
    "uploaded",
    "updated",
    "drifted",
    "settled",
)
"""What can make a version; what is not contributed is stored whole."""

ModelArrays = dict[str, NDArray[np.int64]]
"""The parameters of a model: C-contiguous, with fixed names and shapes."""

ChunkReader = Callable[[bytes], bytes | None]
"""Finds a chunk by its hash."""


def tensors_key(name: str) -> bytes:
    """Return the state key of a model's current parameters."""
    return b"tensor/" + name.encode()


def model_version_prefix(name: str) -> bytes:
    """Return what the state keys of all versions of a model start with."""
    return b"version/" + name.encode() + b"/"


def model_version_key(name: str, version: int) -> bytes:
    """Return the state key of the record of one version of a model."""
    return model_version_prefix(name) + version.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class TensorDescriptor:
    """One tensor by its chunks.

    Parameters
    ----------
    name : within the model.
    shape : lengths of its dimensions.
    chunks : hashes of its chunks in order; all but the last have `CHUNK_BYTES` bytes.
    """

    name: str
    shape: tuple[int, ...]
    chunks: tuple[bytes, ...]

    def to_fields(self) -> list[Encodable]:
        """Return the fields of its encoding."""
        return [self.name, self.shape, self.chunks]


@dataclass(frozen=True, slots=True)
class ModelTensors:
    """The parameters of one version of a model.

    Parameters
    ----------
    version : its number, 0 at creation.
    tensors : in ascending order of their names.
    """

    version: int
    tensors: tuple[TensorDescriptor, ...]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.version, [tensor.to_fields() for tensor in self.tensors]))

    @property
    def total_bytes(self) -> int:
        """Memory that the parameters take."""
        return sum(prod(tensor.shape) for tensor in self.tensors) * ELEMENT_BYTES

    @property
    def digest(self) -> bytes:
        """Hash of all parameters, whatever the version's number, 32 bytes."""
        fields = [tensor.to_fields() for tensor in self.tensors]
        return tagged_hash(Tag.MODEL_STATE, encode(fields))


def decode_model_tensors(data: bytes) -> ModelTensors:
    """Return the descriptor whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "tensors", 2)
    version = reader.counter("version")
    tensors = tuple(_read_tensor(item) for item in reader.array("tensors", _TENSORS_MAX))
    for before, after in pairwise(tensors):
        if before.name >= after.name:
            raise InvalidInputError(
                "malformed",
                f"tensors must ascend by name, found {after.name!r} after {before.name!r}",
                field="tensors.tensors",
                value=after.name,
                limit=before.name,
            )
    return ModelTensors(version, tensors)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """What is on record about one version of a model.

    Parameters
    ----------
    height : of the block that made it.
    timestamp_ms : of that block.
    samples : samples that the model was trained on so far.
    correct, judged : prequential accuracy so far: right predictions, all predictions.
    loss : losses of all predictions together, Q16.
    contributions : how many contributions it has learnt, so that it can be computed again.
    origin : place in `ORIGINS` of what made it, besides contributions.
    digest : of the parameters, see `ModelTensors.digest`.
    """

    height: int
    timestamp_ms: int
    samples: int
    correct: int
    judged: int
    loss: int
    contributions: int
    origin: int
    digest: bytes

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.height,
                self.timestamp_ms,
                self.samples,
                self.correct,
                self.judged,
                self.loss,
                self.contributions,
                self.origin,
                self.digest,
            )
        )


def decode_model_version(data: bytes) -> ModelVersion:
    """Return the version record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "version", 9)
    return ModelVersion(
        height=reader.counter("height"),
        timestamp_ms=reader.counter("timestamp_ms"),
        samples=reader.counter("samples"),
        correct=reader.counter("correct"),
        judged=reader.counter("judged"),
        loss=reader.integer("loss", -_LOSS_SUM_MAX, _LOSS_SUM_MAX),
        contributions=reader.counter("contributions"),
        origin=reader.integer("origin", 0, len(ORIGINS) - 1),
        digest=reader.bytes("digest", HASH_BYTES),
    )


def check_arrays(arrays: ModelArrays) -> None:
    """Check that arrays can be stored and read back as they are.

    Raises
    ------
    InvariantViolationError
        If an array is not int64 and C-contiguous, or there are too many, or too many dimensions.
    """
    if len(arrays) > _TENSORS_MAX:
        raise InvariantViolationError(f"a model has {len(arrays)} tensors, above {_TENSORS_MAX}")
    for name, array in arrays.items():
        if array.dtype != np.int64 or not array.flags.c_contiguous:
            raise InvariantViolationError(f"tensor {name!r} must be int64 and C-contiguous")
        if array.ndim > _DIMENSIONS_MAX or array.nbytes > _CHUNKS_MAX * CHUNK_BYTES:
            raise InvariantViolationError(f"tensor {name!r} of shape {array.shape} is too large")


def chunk_arrays(
    version: int,
    arrays: ModelArrays,
    previous: tuple[ModelTensors, ModelArrays] | None,
    chunks: dict[bytes, bytes],
) -> ModelTensors:
    """Describe arrays, and put the chunks that the version before does not have into `chunks`.

    Parameters
    ----------
    version : number of the version.
    arrays : parameters, of the same names and shapes as before.
    previous : descriptor and arrays of the version before, if there is one.
    chunks : hash → bytes; receives the new chunks.

    Notes
    -----
    Comparing memory is ten times as fast as hashing it, so unchanged chunks keep their hashes. An
    array that is the very one of the version before is not even compared.
    """
    tensors = []
    described = {} if previous is None else {tensor.name: tensor for tensor in previous[0].tensors}
    for name in sorted(arrays):
        flat = arrays[name].reshape(-1)
        before = described.get(name)
        known = None if before is None or previous is None else (before, previous[1][name])
        if known is not None and known[1] is arrays[name]:
            tensors.append(known[0])
            continue
        hashes = _chunk_hashes(flat, known, chunks)
        tensors.append(TensorDescriptor(name, arrays[name].shape, hashes))
    return ModelTensors(version, tuple(tensors))


def load_arrays(tensors: ModelTensors, read_chunk: ChunkReader) -> ModelArrays:
    """Return the arrays that a descriptor stands for.

    Raises
    ------
    CorruptStateError
        If a chunk is missing, or its bytes are not those of its hash or too few.
    """
    return {tensor.name: _load_array(tensor, read_chunk) for tensor in tensors.tensors}


def _chunk_hashes(
    flat: NDArray[np.int64],
    known: tuple[TensorDescriptor, NDArray[np.int64]] | None,
    chunks: dict[bytes, bytes],
) -> tuple[bytes, ...]:
    hashes = []
    for number, start in enumerate(range(0, flat.size, _CHUNK_ELEMENTS)):
        part = flat[start : start + _CHUNK_ELEMENTS]
        if known is not None:
            descriptor, array = known
            old_part = array.reshape(-1)[start : start + _CHUNK_ELEMENTS]
            # A model that grew has more chunks than before.
            if number < len(descriptor.chunks) and np.array_equal(part, old_part):
                hashes.append(descriptor.chunks[number])
                continue
        data = part.astype(_ELEMENT_TYPE, copy=False).tobytes()
        chunk_hash = tagged_hash(Tag.CHUNK, data)
        chunks[chunk_hash] = data
        hashes.append(chunk_hash)
    return tuple(hashes)


def _load_array(tensor: TensorDescriptor, read_chunk: ChunkReader) -> NDArray[np.int64]:
    size = prod(tensor.shape) * ELEMENT_BYTES
    # A shape that the chunks cannot fill must not make us ask for that much memory.
    room = np.empty(min(size, len(tensor.chunks) * CHUNK_BYTES), dtype=np.uint8)
    found = 0
    for chunk_hash in tensor.chunks:
        data = read_chunk(chunk_hash)
        if data is None:
            raise CorruptStateError(f"chunk {chunk_hash.hex()} is missing")
        if tagged_hash(Tag.CHUNK, data) != chunk_hash:
            raise CorruptStateError(f"chunk {chunk_hash.hex()} does not have that hash")
        # Into its place at once: a large tensor is in memory once, not as parts and whole.
        if found + len(data) <= len(room):
            room[found : found + len(data)] = np.frombuffer(data, dtype=np.uint8)
        found += len(data)
    if found != size:
        raise CorruptStateError(f"tensor {tensor.name!r} of shape {tensor.shape} has {found} bytes")
    # In the machine's own byte order, which most often is the same.
    return room.view(_ELEMENT_TYPE).astype(np.int64, copy=False).reshape(tensor.shape)


def _read_tensor(value: Value) -> TensorDescriptor:
    reader = FieldReader(value, "tensors.tensors", 3)
    name = reader.text("name", _TENSOR_NAME_BYTES_MAX)
    lengths = reader.array("shape", _DIMENSIONS_MAX)
    shape = FieldReader(lengths, "tensors.shape", len(lengths))
    hashes = reader.array("chunks", _CHUNKS_MAX)
    chunks = FieldReader(hashes, "tensors.chunks", len(hashes))
    return TensorDescriptor(
        name,
        tuple(shape.integer("length", 0, COUNTER_MAX) for _ in lengths),
        tuple(chunks.bytes("hash", HASH_BYTES) for _ in hashes),
    )


def total_bytes(arrays: Mapping[str, NDArray[np.int64]]) -> int:
    """Return the memory that arrays take, in bytes."""
    return sum(array.nbytes for array in arrays.values())
