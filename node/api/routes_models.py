"""Models and their versions: what they are, how far they have come, how good they are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from ledger.model_drift import ModelDrift, decode_model_drift, model_drift_key
from ledger.model_policies import DETECTORS, DRIFT_POLICIES, GROWTH_POLICIES, ModelPolicies
from ledger.model_records import (
    MODEL_PREFIX,
    Model,
    ModelProgress,
    decode_model,
    decode_model_progress,
    model_key,
    model_progress_key,
)
from ledger.model_tally import Counts, ModelTally, decode_model_tally, model_tally_key
from ledger.model_tensors import (
    ORIGINS,
    ModelVersion,
    decode_model_tensors,
    decode_model_version,
    model_version_key,
    model_version_prefix,
    tensors_key,
)
from ledger.reader import LedgerReader
from ledger.stored_records import decode_own
from ml_runtime.registry import get_family
from node.api.json_codec import format_time
from node.api.open_campaigns import find_open_number
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    HeightQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.service import Service
from primitives.accounts import account_to_text
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX

__all__ = ["ModelNamePath", "find_model", "router"]

VERSION_BYTES = 8
ACCURACY_DIGITS = 6

router = APIRouter(prefix="/api/v1/models", tags=["models"])

ModelNamePath = Annotated[str, Path(description="Name of the model.", max_length=64)]


class TermsView(BaseModel):
    """What the model promises for contributions."""

    mechanism: str
    weight: str
    refund_wait_ms: int
    owner_wait_ms: int
    any_wait_ms: int
    sponsored_samples_max: int
    karma_price: str
    karma_percent_max: int
    karma_half_life_ms: int
    voluntary_fee: str


class PoliciesView(BaseModel):
    """What the owner decided about the model's life."""

    growth: str = Field(description="Who may add classes and features.")
    detector: str = Field(description="What watches for drift.")
    drift: str = Field(description="What happens on a drift.")
    decay_shift: int
    checkpoint_interval: int
    versions_kept: int = Field(description="0: all.")


class CountView(BaseModel):
    """How good a model is on one class or group."""

    name: str
    judged: int
    correct: int
    accuracy: float | None


class DriftView(BaseModel):
    """What watches the model found."""

    warnings: int
    drifts: int
    height: int = Field(description="Of the last drift; 0 before the first.")
    version: int = Field(description="In force before the last drift.")


class ProgressView(BaseModel):
    """How far a model has come."""

    version: int
    contributions: int
    samples: int
    correct: int = Field(description="Samples predicted rightly just before they were learnt.")
    judged: int = Field(description="Samples predicted before they were learnt.")
    accuracy: float | None = Field(description="correct ÷ judged; null before the first sample.")
    mean_loss: float | None = Field(
        description="Per sample judged: bits of surprise, squared error, squared distance or score."
    )
    drift: DriftView | None = Field(
        description="Null without a detector or before it saw a sample."
    )
    by_class: list[CountView]
    by_group: list[CountView]
    validated: int = Field(description="Samples validated by refunds.")
    last_update: str = Field(description="RFC 3339, UTC.")
    last_update_ms: int


class ModelView(BaseModel):
    """A model as of a final block."""

    name: str
    height: int = Field(description="The final block as of which this holds.")
    owner: str
    description: str
    family: str
    layout: str
    feature_count: int
    class_names: list[str]
    parameters: dict[str, int] = Field(description="Settings of the family that differ.")
    encoder: list[Any] = Field(
        description="Kind, version and constants of the encoder: docs/spec/ml.md, section 8."
    )
    incentive: TermsView
    licence: str
    guidelines: str
    task: str = Field(description="classification, regression, clustering, outliers or none.")
    tensors: dict[str, list[int]] = Field(description="Shapes, of a model trained elsewhere.")
    groups: list[str] = Field(description="Sites, regions or cohorts that samples may name.")
    policies: PoliciesView
    created_height: int
    created: str = Field(description="RFC 3339, UTC.")
    open_campaign: int | None = Field(
        description="Number of the campaign that is open; null if none is."
    )
    progress: ProgressView


class ModelPage(BaseModel):
    """Models by name."""

    items: list[ModelView]
    next_cursor: str | None


class VersionView(BaseModel):
    """One version of a model's parameters."""

    model: str
    version: int
    height: int = Field(description="Of the block that made it.")
    time: str = Field(description="Of that block, RFC 3339, UTC.")
    timestamp_ms: int
    samples: int = Field(description="Learnt so far.")
    correct: int
    judged: int
    accuracy: float | None
    mean_loss: float | None
    contributions: int = Field(description="Learnt so far.")
    origin: str = Field(description="What made it: contributions, growth, a reversion and so on.")
    digest: str = Field(description="Hash of the parameters.")


class VersionPage(BaseModel):
    """Versions, newest first."""

    items: list[VersionView]
    next_cursor: str | None


@router.get(
    "",
    operation_id="list_models",
    summary="Models by name",
    responses=problem_responses("unknown_height", "not_ready"),
)
async def list_models(
    service: Service,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
    height: HeightQuery = None,
) -> ModelPage:
    """Return a page of models."""
    ledger = service.ledger
    at = service.follower.tip.height if height is None else height
    found = ledger.scan(MODEL_PREFIX, height=at, start_after=decode_cursor(cursor), limit=limit + 1)
    page = found[:limit]
    return ModelPage(
        items=[_make_model_view(ledger, decode_own(value, decode_model), at) for _, value in page],
        next_cursor=encode_cursor(page[-1][0]) if len(found) > limit else None,
    )


@router.get(
    "/{name}",
    operation_id="get_model",
    summary="One model",
    responses=problem_responses("unknown_model", "unknown_height", "not_ready"),
)
async def get_model(service: Service, name: ModelNamePath, height: HeightQuery = None) -> ModelView:
    """Return what a model is and how far it has come."""
    ledger = service.ledger
    at = service.follower.tip.height if height is None else height
    return _make_model_view(ledger, find_model(ledger, name, at), at)


@router.get(
    "/{name}/versions",
    operation_id="list_versions",
    summary="Versions of a model, newest first",
    responses=problem_responses("unknown_model", "not_ready"),
)
async def list_versions(
    service: Service,
    name: ModelNamePath,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
) -> VersionPage:
    """Return a page of versions: accuracy over block heights."""
    ledger = service.ledger
    find_model(ledger, name, None)
    found = ledger.scan(
        model_version_prefix(name),
        start_after=decode_cursor(cursor),
        limit=limit + 1,
        reverse=True,
    )
    page = found[:limit]
    items = [
        _make_version_view(
            name,
            int.from_bytes(key[-VERSION_BYTES:], "big"),
            decode_own(value, decode_model_version),
        )
        for key, value in page
    ]
    return VersionPage(
        items=items, next_cursor=encode_cursor(page[-1][0]) if len(found) > limit else None
    )


@router.get(
    "/{name}/versions/{version}",
    operation_id="get_version",
    summary="One version of a model",
    responses=problem_responses("unknown_model", "unknown_version", "not_ready"),
)
async def get_version(
    service: Service,
    name: ModelNamePath,
    version: Annotated[int, Path(ge=0, le=COUNTER_MAX, description="0 has learnt nothing.")],
) -> VersionView:
    """Return what is on record about a version; it never changes."""
    ledger = service.ledger
    find_model(ledger, name, None)
    record = ledger.read(model_version_key(name, version), decode_model_version)
    if record is None:
        raise InvalidInputError(
            "unknown_version",
            f"model {name!r} has no version {version}",
            field="version",
            value=version,
        )
    return _make_version_view(name, version, record)


def find_model(ledger: LedgerReader, name: str, height: int | None) -> Model:
    """Return a model as of a height; refuses with ``unknown_model``."""
    model = ledger.read(model_key(name), decode_model, height)
    if model is None:
        raise InvalidInputError(
            "unknown_model", f"there is no model {name!r}", field="model", value=name
        )
    return model


def _make_model_view(ledger: LedgerReader, model: Model, height: int) -> ModelView:
    description, terms = model.description, model.description.terms
    return ModelView(
        name=description.name,
        height=height,
        owner=account_to_text(model.owner),
        description=description.description,
        family=description.spec.family,
        layout=description.spec.layout,
        feature_count=description.spec.feature_count,
        class_names=list(description.class_names),
        parameters=dict(description.spec.parameters),
        encoder=description.encoder.to_fields(),
        incentive=TermsView(
            mechanism=terms.mechanism,
            weight=str(terms.weight),
            refund_wait_ms=terms.refund_wait_ms,
            owner_wait_ms=terms.owner_wait_ms,
            any_wait_ms=terms.any_wait_ms,
            sponsored_samples_max=terms.sponsored_samples_max,
            karma_price=str(terms.karma_price),
            karma_percent_max=terms.karma_percent_max,
            karma_half_life_ms=terms.karma_half_life_ms,
            voluntary_fee=str(terms.voluntary_fee),
        ),
        licence=description.licence,
        guidelines=description.guidelines,
        task=get_family(description.spec.family).task(description.spec),
        tensors={name: list(shape) for name, shape in description.spec.tensors},
        groups=list(description.groups),
        policies=_make_policies_view(description.policies),
        created_height=model.created_height,
        created=format_time(model.created_ms),
        open_campaign=find_open_number(ledger, description.name, height),
        progress=_make_progress_view(ledger, model, height),
    )


def _make_progress_view(ledger: LedgerReader, model: Model, height: int) -> ProgressView:
    name = model.description.name
    progress = ledger.read(model_progress_key(name), decode_model_progress, height)
    if progress is None:
        progress = ModelProgress(last_update_ms=model.created_ms)
    tensors = ledger.read(tensors_key(name), decode_model_tensors, height)
    tally = ledger.read(model_tally_key(name), decode_model_tally, height) or ModelTally()
    description = model.description
    return ProgressView(
        version=0 if tensors is None else tensors.version,
        contributions=progress.contributions,
        samples=progress.samples,
        correct=progress.correct,
        judged=progress.judged,
        accuracy=compute_accuracy(progress.correct, progress.judged),
        mean_loss=compute_mean_loss(progress.loss, progress.judged),
        drift=_make_drift_view(ledger.read(model_drift_key(name), decode_model_drift, height)),
        by_class=_make_count_views(description.class_names, tally.classes),
        by_group=_make_count_views(description.groups, tally.groups),
        validated=progress.valid,
        last_update=format_time(progress.last_update_ms),
        last_update_ms=progress.last_update_ms,
    )


def _make_version_view(name: str, version: int, record: ModelVersion) -> VersionView:
    return VersionView(
        model=name,
        version=version,
        height=record.height,
        time=format_time(record.timestamp_ms),
        timestamp_ms=record.timestamp_ms,
        samples=record.samples,
        correct=record.correct,
        judged=record.judged,
        accuracy=compute_accuracy(record.correct, record.judged),
        mean_loss=compute_mean_loss(record.loss, record.judged),
        contributions=record.contributions,
        origin=ORIGINS[record.origin],
        digest=record.digest.hex(),
    )


def _make_policies_view(policies: ModelPolicies) -> PoliciesView:
    return PoliciesView(
        growth=GROWTH_POLICIES[policies.growth],
        detector=DETECTORS[policies.detector],
        drift=DRIFT_POLICIES[policies.drift],
        decay_shift=policies.decay_shift,
        checkpoint_interval=policies.checkpoint_interval,
        versions_kept=policies.versions_kept,
    )


def _make_drift_view(drift: ModelDrift | None) -> DriftView | None:
    if drift is None:
        return None
    return DriftView(
        warnings=drift.warnings, drifts=drift.drifts, height=drift.height, version=drift.version
    )


def _make_count_views(names: tuple[str, ...], counts: Counts) -> list[CountView]:
    """Return the counts by name; a class without any sample yet is not among them."""
    return [
        CountView(
            name=name, judged=judged, correct=correct, accuracy=compute_accuracy(correct, judged)
        )
        for name, (judged, correct) in zip(names, counts, strict=False)
    ]


def compute_mean_loss(loss: int, judged: int) -> float | None:
    """Return the loss of a sample on average, for people; None without any."""
    return round(loss / judged / 65536, ACCURACY_DIGITS) if judged else None


def compute_accuracy(correct: int, judged: int) -> float | None:
    """Return the share of right predictions, for people; None without any."""
    return round(correct / judged, ACCURACY_DIGITS) if judged else None
