"""Parameters that were trained elsewhere, on their way into a model, part by part.

Each part is a payload; the state says which parts are there, so that an interrupted upload goes on
where it stopped, and nothing of it counts before all of them are checked together.
Source: docs/spec/ledger.md §5.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.schema import read_record
from primitives.codec import Encodable, Value, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "ELEMENTS_MAX",
    "PARTS_MAX",
    "UPLOAD_PREFIX",
    "ModelUpload",
    "UploadedPart",
    "decode_upload",
    "upload_key",
]

UPLOAD_PREFIX: Final = b"upload/"
PARTS_MAX: Final = 4_096
ELEMENTS_MAX: Final = 1 << 24
_TENSOR_NAME_BYTES_MAX: Final = 64


def upload_key(name: str) -> bytes:
    """Return the state key of the parameters that are on their way into a model."""
    return UPLOAD_PREFIX + name.encode()


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """Some numbers of one tensor.

    Parameters
    ----------
    tensor : its name.
    start, count : which numbers of the flattened tensor.
    transaction_id : whose payload holds them.
    """

    tensor: str
    start: int
    count: int
    transaction_id: bytes


@dataclass(frozen=True, slots=True)
class ModelUpload:
    """The parts that are there, ascending by tensor and start; no two overlap."""

    parts: tuple[UploadedPart, ...] = ()

    def add(self, part: UploadedPart) -> ModelUpload:
        """Return the upload with one part more; one of the same place is replaced.

        Raises
        ------
        InvalidInputError
            ``overlapping_part``, or ``too_many_parts``.
        """
        kept = [
            each
            for each in self.parts
            if (each.tensor, each.start, each.count) != (part.tensor, part.start, part.count)
        ]
        for each in kept:
            ends = (each.start + each.count, part.start + part.count)
            if each.tensor == part.tensor and each.start < ends[1] and part.start < ends[0]:
                raise InvalidInputError(
                    "overlapping_part",
                    f"numbers {part.start} to {ends[1] - 1} of {part.tensor} overlap the part from"
                    f" {each.start} to {ends[0] - 1}",
                    field="upload.start",
                    value=part.start,
                )
        if len(kept) >= PARTS_MAX:
            raise InvalidInputError(
                "too_many_parts",
                f"an upload has at most {PARTS_MAX} parts; send larger ones",
                field="upload",
                value=len(kept) + 1,
                limit=PARTS_MAX,
            )
        ordered = sorted([*kept, part], key=lambda each: (each.tensor, each.start))
        return ModelUpload(tuple(ordered))

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        parts: list[Encodable] = [
            [part.tensor, part.start, part.count, part.transaction_id] for part in self.parts
        ]
        return encode((parts,))


def decode_upload(data: bytes) -> ModelUpload:
    """Return the upload whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "upload", 1)
    return ModelUpload(tuple(_read_part(value) for value in reader.array("parts", PARTS_MAX)))


def _read_part(value: Value) -> UploadedPart:
    reader = FieldReader(value, "upload", 4)
    return UploadedPart(
        reader.text("tensor", _TENSOR_NAME_BYTES_MAX),
        reader.integer("start", 0, ELEMENTS_MAX),
        reader.integer("count", 1, ELEMENTS_MAX),
        reader.bytes("transaction_id", HASH_BYTES),
    )
