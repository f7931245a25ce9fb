"""What transactions about an existing model begin with: the model, its progress, its owner."""

from __future__ import annotations

from ledger.errors import TransactionFailedError
from ledger.model_records import (
    Model,
    ModelProgress,
    check_model_name,
    decode_model,
    decode_model_progress,
    model_key,
    model_progress_key,
)
from ledger.model_tensors import ModelTensors, decode_model_tensors, tensors_key
from ledger.transactions.kind import ExecutionContext
from primitives.errors import InvariantViolationError
from primitives.fields import FieldReader

__all__ = [
    "get_model",
    "get_progress",
    "get_version_before",
    "read_model_name",
    "require_owner",
]

_MODEL_NAME_BYTES = 64


def read_model_name(reader: FieldReader) -> str:
    """Read the name of a model from a body; raises ``malformed``."""
    name = reader.text("model", _MODEL_NAME_BYTES)
    check_model_name(name)
    return name


def get_model(context: ExecutionContext, name: str) -> Model:
    """Return a model; fails with ``unknown_model``."""
    model = context.get(model_key(name), decode_model)
    if model is None:
        raise TransactionFailedError("unknown_model", f"there is no model {name!r}")
    return model


def get_progress(context: ExecutionContext, name: str) -> ModelProgress:
    """Return how far an existing model has come."""
    progress = context.get(model_progress_key(name), decode_model_progress)
    if progress is None:
        raise InvariantViolationError(f"model {name!r} has no progress record")
    return progress


def get_version_before(context: ExecutionContext, name: str) -> tuple[Model, ModelTensors]:
    """Return a model and its version as they were before this block.

    What transactions of this block made of a model has no number yet, so nothing can be said of it
    that anybody could look up. Fails with ``version_not_held`` for a model of this very block.
    """
    model = context.get(model_key(name), decode_model, before_block=True)
    tensors = context.get(tensors_key(name), decode_model_tensors, before_block=True)
    if model is None or tensors is None:
        raise TransactionFailedError(
            "version_not_held", f"model {name!r} is new in this block and has no version before it"
        )
    return model, tensors


def require_owner(context: ExecutionContext, model: Model) -> None:
    """Fail with ``not_owner`` unless the sender created the model."""
    if context.sender != model.owner:
        raise TransactionFailedError(
            "not_owner", f"only the owner of {model.description.name!r} can do this"
        )
