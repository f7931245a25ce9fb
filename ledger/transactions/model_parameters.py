"""Transactions that bring parameters from elsewhere: upload_part, finish_upload, update_tensors.

Source: docs/spec/ledger.md §7.18 to §7.20.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Final

import numpy as np

from ledger.errors import TransactionFailedError
from ledger.model_records import Model, decode_model, model_key, model_progress_key
from ledger.model_tensors import ORIGINS
from ledger.model_uploads import (
    ELEMENTS_MAX,
    ModelUpload,
    UploadedPart,
    decode_upload,
    upload_key,
)
from ledger.parameters import Parameters
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions.campaign_contributions import refuse_open_campaign
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import (
    get_model,
    get_progress,
    read_model_name,
    require_owner,
)
from ml_runtime.family import State, count_parameters
from ml_runtime.models.external_tensors import NUMBER_LIMIT, ExternalTensors, add_update
from ml_runtime.registry import get_family
from ml_runtime.samples import Integers
from primitives.codec import Encodable, Value, decode
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import FieldReader

__all__ = [
    "FINISH_UPLOAD",
    "UPDATE_TENSORS",
    "UPLOAD_PART",
    "FinishUpload",
    "UpdateTensors",
    "UploadPart",
]

UPLOADED: Final = ORIGINS.index("uploaded")
UPDATED: Final = ORIGINS.index("updated")
UNITS_PER_NUMBER: Final = 6
UNITS_PER_PART: Final = 2_500
UNITS_PER_CHANGE: Final = 20

_NUMBER_BYTES: Final = 8
_TENSOR_BYTES: Final = 64
_UPDATE_BYTES_MAX: Final = 1 << 20
_UPDATE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class UploadPart:
    """Send some numbers of a tensor; they are the payload, little-endian int64."""

    model: str
    tensor: str
    start: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.tensor, self.start]


@dataclass(frozen=True, slots=True)
class FinishUpload:
    """Give the model the parameters that were uploaded, if all are there and within bounds."""

    model: str

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model]


@dataclass(frozen=True, slots=True)
class UpdateTensors:
    """Add changes to some numbers of a tensor; they are the payload."""

    model: str

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model]


class UploadPartKind:
    """Keeps a part until the upload is finished."""

    code: Final = 19
    name: Final = "upload_part"
    has_payload: Final = True
    result_fields: Final = ("tensor", "start", "count")

    def decode_body(self, value: list[Value]) -> UploadPart:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 3)
        body = UploadPart(
            read_model_name(reader),
            reader.text("tensor", _TENSOR_BYTES),
            reader.integer("start", 0, ELEMENTS_MAX),
        )
        reader.end()
        return body

    def check(self, transaction: Transaction, _body: UploadPart, _parameters: Parameters) -> None:
        """Check that the payload is whole numbers; raises ``malformed_payload``."""
        size = transaction.payload_bytes
        if size == 0 or size % _NUMBER_BYTES:
            raise InvalidInputError(
                "malformed_payload",
                f"a part must hold numbers of {_NUMBER_BYTES} bytes each, found {size} bytes",
                field="payload",
                value=size,
                limit=_NUMBER_BYTES,
            )

    def cost(self, state: StateReader, _transaction: Transaction, body: UploadPart) -> int:
        """Return some units for each part that is there: all of them are compared and written."""
        upload = state.get(upload_key(body.model), decode_upload)
        return 0 if upload is None else UNITS_PER_PART * len(upload.parts)

    def apply(
        self, context: ExecutionContext, transaction: Transaction, body: UploadPart
    ) -> list[Encodable]:
        """Note the part.

        Raises
        ------
        TransactionFailedError
            ``not_owner``, ``wrong_tensors``, ``overlapping_part``, ``too_many_parts``, or
            ``unsupported`` for a family that takes no parameters.
        """
        model = get_model(context, body.model)
        require_owner(context, model)
        count = transaction.payload_bytes // _NUMBER_BYTES
        spec = model.description.spec
        shapes = get_family(spec.family).shapes(spec)
        if body.tensor not in shapes or body.start + count > prod(shapes[body.tensor]):
            raise TransactionFailedError(
                "wrong_tensors",
                f"a model of this spec has {_describe(shapes)}, not {body.tensor!r} up to"
                f" {body.start + count}",
            )
        key = upload_key(body.model)
        upload = context.get(key, decode_upload) or ModelUpload()
        part = UploadedPart(body.tensor, body.start, count, context.transaction_id)
        try:
            context.put(key, upload.add(part))
        except InvalidInputError as error:
            raise TransactionFailedError(error.code, error.message) from error
        return [body.tensor, body.start, count]


class FinishUploadKind:
    """Checks what was uploaded against the model's bounds and puts it into force."""

    code: Final = 20
    name: Final = "finish_upload"
    has_payload: Final = False
    result_fields: Final = ("numbers",)

    def decode_body(self, value: list[Value]) -> FinishUpload:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 1)
        body = FinishUpload(read_model_name(reader))
        reader.end()
        return body

    def check(
        self, _transaction: Transaction, _body: FinishUpload, _parameters: Parameters
    ) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: FinishUpload) -> int:
        """Return some units for each number that is read, checked and written."""
        model = state.get(model_key(body.model), decode_model)
        if model is None:
            return 0
        spec = model.description.spec
        return UNITS_PER_NUMBER * count_parameters(get_family(spec.family), spec)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: FinishUpload
    ) -> list[Encodable]:
        """Put the parameters into force.

        Raises
        ------
        TransactionFailedError
            ``not_owner``, ``incomplete_upload``, ``unsupported``, or ``parameter_out_of_range``
            with the tensor and the bound. What was uploaded stays, to be put right.
        """
        model = get_model(context, body.model)
        require_owner(context, model)
        refuse_open_campaign(context, body.model)
        upload = context.get(upload_key(body.model), decode_upload) or ModelUpload()
        spec = model.description.spec
        family = get_family(spec.family)
        state = _assemble(context, upload, family.shapes(spec))
        try:
            family.check_state(spec, state)
        except InvalidInputError as error:
            raise TransactionFailedError(error.code, error.message) from error
        context.put(upload_key(body.model), None)
        context.replace_model(body.model, state)
        _note(context, model, UPLOADED)
        return [sum(array.size for array in state.values())]


class UpdateTensorsKind:
    """Adds changes to some numbers of a model that is trained elsewhere."""

    code: Final = 21
    name: Final = "update_tensors"
    has_payload: Final = True
    result_fields: Final = ("changes",)

    def decode_body(self, value: list[Value]) -> UpdateTensors:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 1)
        body = UpdateTensors(read_model_name(reader))
        reader.end()
        return body

    def check(
        self, transaction: Transaction, _body: UpdateTensors, _parameters: Parameters
    ) -> None:
        """Check the payload as far as no model is needed; raises ``malformed_payload``."""
        if transaction.payload is None:
            raise InvariantViolationError("an update was checked without its payload")
        _decode_update(transaction.payload.data)

    def cost(self, _state: StateReader, transaction: Transaction, _body: UpdateTensors) -> int:
        """Return some units for each number that changes."""
        return UNITS_PER_CHANGE * transaction.payload_bytes // (2 * _NUMBER_BYTES)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: UpdateTensors
    ) -> list[Encodable]:
        """Add the changes; fails with ``not_owner``, ``unsupported`` or ``wrong_tensors``."""
        model = get_model(context, body.model)
        require_owner(context, model)
        refuse_open_campaign(context, body.model)
        spec = model.description.spec
        if spec.family != ExternalTensors.name:
            raise TransactionFailedError(
                "unsupported",
                f"{spec.family} learns from samples; updates are for {ExternalTensors.name}",
            )
        changes = _decode_update(context.read_payload(context.transaction_id))
        shapes = dict(spec.tensors)
        for tensor, places, _ in changes:
            if tensor not in shapes or int(places[-1]) >= prod(shapes[tensor]):
                raise TransactionFailedError(
                    "wrong_tensors",
                    f"the model has {_describe(shapes)}, not {tensor!r} up to {int(places[-1])}",
                )
        state = context.change_model(body.model, [tensor for tensor, _, _ in changes])
        _note(context, model, UPDATED)
        for tensor, places, amounts in changes:
            add_update(state, tensor, places, amounts)
        return [sum(len(places) for _, places, _ in changes)]


def _note(context: ExecutionContext, model: Model, origin: int) -> None:
    name = model.description.name
    progress = replace(get_progress(context, name), last_update_ms=context.timestamp_ms)
    context.put(model_progress_key(name), progress)
    context.note_progress(name, progress, origin)


def _assemble(
    context: ExecutionContext, upload: ModelUpload, shapes: dict[str, tuple[int, ...]]
) -> State:
    """Return the tensors whose parts were uploaded; fails with ``incomplete_upload``."""
    parts: dict[str, list[UploadedPart]] = {name: [] for name in shapes}
    for part in upload.parts:
        parts[part.tensor].append(part)
    state: State = {}
    for name, shape in shapes.items():
        there = sum(part.count for part in parts[name])
        if there != prod(shape):
            raise TransactionFailedError(
                "incomplete_upload", f"{there} of the {prod(shape)} numbers of {name!r} are there"
            )
        # Parts do not overlap, so as many numbers as there are places fill them all. Each goes into
        # its place at once: a large tensor is in memory once, not as parts and whole.
        numbers = np.empty(prod(shape), dtype=np.int64)
        for part in parts[name]:
            data = context.read_payload(part.transaction_id)
            numbers[part.start : part.start + part.count] = np.frombuffer(data, dtype="<i8")
        state[name] = numbers.reshape(shape)
    return state


def _describe(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} of {prod(shape)}" for name, shape in shapes.items())


def _decode_update(data: bytes) -> list[tuple[str, Integers, Integers]]:
    """Return tensor, places and changes of an update, strictly.

    The canonical array is ``[1, [[tensor, places, changes]…]]``: places u64, ascending strictly,
    and as many changes, int64, both little-endian.
    """
    try:
        value = decode(data, bytes_max=_UPDATE_BYTES_MAX, depth_max=3)
        reader = FieldReader(value, "update", 2)
        reader.integer("version", _UPDATE_VERSION, _UPDATE_VERSION)
        items = reader.array("tensors", _TENSOR_BYTES)
        found = [_decode_change(item) for item in items]
    except InvalidInputError as error:
        raise InvalidInputError("malformed_payload", error.message, field="payload") from error
    names = [name for name, _, _ in found]
    if not names or names != sorted(set(names)):
        raise InvalidInputError(
            "malformed_payload", "update.tensors must ascend by name, at least one", field="payload"
        )
    return found


def _decode_change(value: Value) -> tuple[str, Integers, Integers]:
    reader = FieldReader(value, "update.tensors", 3)
    name = reader.text("tensor", _TENSOR_BYTES)
    places = _read_numbers(reader, "places")
    changes = _read_numbers(reader, "changes")
    reader.end()
    fits = len(places) == len(changes) > 0 and int(places[0]) >= 0
    # Differences could leave int64, and a place far beyond the tensor would look like an ascent.
    if not fits or not bool((places[1:] > places[:-1]).all()):
        raise InvalidInputError(
            "malformed", "update.places must ascend strictly, one for each change, at least one"
        )
    if int(np.abs(changes).max()) > NUMBER_LIMIT or int(changes.min()) < -NUMBER_LIMIT:
        raise InvalidInputError(
            "malformed", f"update.changes must lie within ±{NUMBER_LIMIT}", limit=NUMBER_LIMIT
        )
    return name, places, changes


def _read_numbers(reader: FieldReader, name: str) -> Integers:
    data = reader.bytes(name, bytes_max=_UPDATE_BYTES_MAX)
    if len(data) % _NUMBER_BYTES:
        raise InvalidInputError("malformed", f"update.{name} must be whole numbers of 8 bytes")
    return np.frombuffer(data, dtype="<i8").astype(np.int64)


UPLOAD_PART: Final = UploadPartKind()
FINISH_UPLOAD: Final = FinishUploadKind()
UPDATE_TENSORS: Final = UpdateTensorsKind()
