"""Versions of a model by name, what differs between two, uploads and evaluations."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ledger.model_tensors import ModelArrays, decode_model_tensors, tensors_key
from ledger.model_uploads import ModelUpload, decode_upload, upload_key
from ledger.model_validation import (
    ValidationSet,
    decode_evaluation,
    decode_validation,
    evaluation_prefix,
    validation_key,
)
from ledger.model_versions import LATEST, Aliases, aliases_key, decode_aliases
from ledger.stored_records import decode_own
from ml_runtime.models.gaussian_mixture import SAMPLES_DRAWN_MAX, GaussianMixture
from ml_runtime.registry import get_family
from node.api.json_codec import format_time
from node.api.problems import problem_responses
from node.api.routes_models import (
    ModelNamePath,
    compute_accuracy,
    compute_mean_loss,
    find_model,
)
from node.api.service import Service
from node.api.version_access import resolve_version
from primitives.errors import InvalidInputError

__all__ = ["router"]

EVALUATIONS_MAX = 1_000
SEED_CHARACTERS = 64

NUMBERS_DRAWN_MAX = 1 << 20
"""Numbers of all samples of an answer: anybody may ask, and a sample may have a million."""

router = APIRouter(prefix="/api/v1/models", tags=["models"])

VersionName = Annotated[
    str, Query(max_length=64, description="Number or alias of a version.", examples=["latest"])
]


class AliasView(BaseModel):
    """A name of a version."""

    alias: str
    version: int


class AliasList(BaseModel):
    """All names; ``latest`` and ``best`` are given by the ledger, the others by the owner."""

    items: list[AliasView]


class TensorDifference(BaseModel):
    """By how much one tensor differs."""

    tensor: str
    numbers: int = Field(description="In the tensor of the second version.")
    changed: int = Field(description="Numbers that differ, those that were added among them.")
    largest: int = Field(description="Largest absolute difference, in the tensor's fixed point.")
    mean: float = Field(description="Mean absolute difference of those that differ.")


class VersionDifference(BaseModel):
    """By how much two versions of a model differ."""

    model: str
    first: int
    second: int
    tensors: list[TensorDifference]


class UploadedPartView(BaseModel):
    """Numbers of a tensor that are there."""

    tensor: str
    start: int
    count: int
    transaction_id: str = Field(description="Whose payload they are.")


class UploadView(BaseModel):
    """Parameters on their way into a model; an upload goes on with what is missing."""

    items: list[UploadedPartView]


class PieceView(BaseModel):
    """A piece of the validation set."""

    piece: int
    commitment: str
    transaction_id: str | None = Field(description="That showed it; null while it is hidden.")
    samples: int | None


class EvaluationView(BaseModel):
    """How good a version was on a piece of the validation set."""

    evaluation: int
    height: int
    time: str
    version: int
    piece: int
    samples: int
    correct: int
    accuracy: float | None
    mean_loss: float | None


class EvaluationList(BaseModel):
    """The validation set and what came of it, oldest first."""

    pieces: list[PieceView]
    items: list[EvaluationView]


class SampleView(BaseModel):
    """Samples drawn from a mixture; the same seed always draws the same."""

    model: str
    version: int
    seed: str
    samples: list[list[int]] = Field(description="Features in Q16, one row a sample.")


@router.get(
    "/{name}/aliases",
    operation_id="list_aliases",
    summary="Names of a model's versions",
    responses=problem_responses("unknown_model", "not_ready"),
)
async def list_aliases(service: Service, name: ModelNamePath) -> AliasList:
    """Return every name and the version that it stands for."""
    ledger = service.ledger
    find_model(ledger, name, None)
    tensors = ledger.read(tensors_key(name), decode_model_tensors)
    aliases = ledger.read(aliases_key(name), decode_aliases) or Aliases()
    items = [AliasView(alias=each.alias, version=each.version) for each in aliases.aliases]
    newest = 0 if tensors is None else tensors.version
    return AliasList(items=[AliasView(alias=LATEST, version=newest), *items])


@router.get(
    "/{name}/diff",
    operation_id="diff_versions",
    summary="By how much two versions differ",
    responses=problem_responses("unknown_model", "unknown_version", "version_retired", "not_ready"),
)
async def diff_versions(
    service: Service,
    name: ModelNamePath,
    first: Annotated[VersionName, Query(alias="from")],
    second: Annotated[VersionName, Query(alias="to")] = LATEST,
) -> VersionDifference:
    """Compare the parameters of two versions, tensor by tensor."""
    numbers = [resolve_version(service.ledger, name, each) for each in (first, second)]
    opened = [
        await service.inference.open(service.follower, name, number, None) for number in numbers
    ]
    before, after = (each.loaded.state for each in opened)
    return VersionDifference(
        model=name,
        first=numbers[0],
        second=numbers[1],
        tensors=await service.inference.run_aside(
            lambda: [_compare(each, before, after) for each in sorted(after)]
        ),
    )


@router.get(
    "/{name}/upload",
    operation_id="get_upload",
    summary="Parameters on their way into a model",
    responses=problem_responses("unknown_model", "not_ready"),
)
async def get_upload(service: Service, name: ModelNamePath) -> UploadView:
    """Return which parts are there, so that an interrupted upload can go on."""
    ledger = service.ledger
    find_model(ledger, name, None)
    upload = ledger.read(upload_key(name), decode_upload) or ModelUpload()
    return UploadView(
        items=[
            UploadedPartView(
                tensor=part.tensor,
                start=part.start,
                count=part.count,
                transaction_id=part.transaction_id.hex(),
            )
            for part in upload.parts
        ]
    )


@router.get(
    "/{name}/evaluations",
    operation_id="list_evaluations",
    summary="How good versions were on the validation set",
    responses=problem_responses("unknown_model", "not_ready"),
)
async def list_evaluations(service: Service, name: ModelNamePath) -> EvaluationList:
    """Return the pieces of the validation set and the newest judgements, oldest first."""
    ledger = service.ledger
    find_model(ledger, name, None)
    known = ledger.read(validation_key(name), decode_validation) or ValidationSet()
    # Anybody may ask for evaluations, so old ones must not keep new ones from being seen.
    found = ledger.scan(evaluation_prefix(name), limit=EVALUATIONS_MAX, reverse=True)
    pieces = [
        PieceView(
            piece=number,
            commitment=piece.commitment.hex(),
            transaction_id=None if piece.transaction_id is None else piece.transaction_id.hex(),
            samples=None if piece.transaction_id is None else piece.samples,
        )
        for number, piece in enumerate(known.pieces)
    ]
    return EvaluationList(
        pieces=pieces,
        items=[
            _make_evaluation(int.from_bytes(key[-8:], "big"), value)
            for key, value in reversed(found)
        ],
    )


@router.get(
    "/{name}/samples",
    operation_id="draw_samples",
    summary="Samples drawn from a mixture",
    responses=problem_responses(
        "unknown_model",
        "unknown_version",
        "not_learnt",
        "unsupported",
        "too_large",
        "too_many_requests",
        "not_ready",
    ),
)
async def draw_samples(
    service: Service,
    name: ModelNamePath,
    seed: Annotated[str, Query(pattern=f"^[0-9a-f]{{{SEED_CHARACTERS}}}$", description="Hex.")],
    count: Annotated[int, Query(ge=1, le=SAMPLES_DRAWN_MAX)] = 1,
    version: VersionName = LATEST,
) -> SampleView:
    """Return what ``draw_samples`` put the digest of on the ledger, or any other draw."""
    number = resolve_version(service.ledger, name, version)
    opened = await service.inference.open(service.follower, name, number, None)
    spec = opened.loaded.description.spec
    family = get_family(spec.family)
    if not isinstance(family, GaussianMixture):
        raise InvalidInputError("unsupported", f"{family.name} generates no samples")
    if count * spec.feature_count > NUMBERS_DRAWN_MAX:
        raise InvalidInputError(
            "too_large",
            f"{count} samples of {spec.feature_count} numbers are more than {NUMBERS_DRAWN_MAX}",
            field="count",
            value=count,
            limit=NUMBERS_DRAWN_MAX // spec.feature_count,
        )
    state = opened.loaded.state
    drawn = await service.inference.run_aside(
        lambda: family.generate(spec, state, bytes.fromhex(seed), count)
    )
    return SampleView(model=name, version=number, seed=seed, samples=drawn.tolist())


def _compare(name: str, before: ModelArrays, after: ModelArrays) -> TensorDifference:
    second = after[name]
    first = np.zeros_like(second)
    known = before[name]
    # A model that grew has the old numbers in the corner of the new ones.
    corner = tuple(slice(0, min(each)) for each in zip(known.shape, second.shape, strict=True))
    first[corner] = known[corner]
    changes = np.abs(second - first)
    changed = int(np.count_nonzero(changes))
    return TensorDifference(
        tensor=name,
        numbers=int(second.size),
        changed=changed,
        largest=int(changes.max(initial=0)),
        mean=float(changes.sum() / changed) if changed else 0.0,
    )


def _make_evaluation(number: int, value: bytes) -> EvaluationView:
    record = decode_own(value, decode_evaluation)
    return EvaluationView(
        evaluation=number,
        height=record.height,
        time=format_time(record.timestamp_ms),
        version=record.version,
        piece=record.piece,
        samples=record.samples,
        correct=record.correct,
        accuracy=compute_accuracy(record.correct, record.samples),
        mean_loss=compute_mean_loss(record.loss, record.samples),
    )
