"""Contributions to a model: whose, how good, what of the deposit is left and until when."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from incentives.book import iterate_samples
from ledger.contribution_records import (
    Contribution,
    contribution_key,
    contribution_prefix,
    decode_contribution,
)
from ledger.model_records import Model
from ledger.model_tally import GroupCounts
from ledger.stored_records import decode_own
from node.api.json_codec import format_time
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    HeightQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.routes_models import (
    CountView,
    ModelNamePath,
    compute_accuracy,
    compute_mean_loss,
    find_model,
)
from node.api.service import Service
from primitives.accounts import AccountId, account_to_text
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX

__all__ = ["router"]

SEQUENCE_BYTES = 8

router = APIRouter(prefix="/api/v1/models/{name}/contributions", tags=["contributions"])


class ReporterView(BaseModel):
    """Who reported which samples."""

    account: str
    samples: list[int]


class ContributionView(BaseModel):
    """One contribution."""

    model: str
    sequence: int
    transaction_id: str
    contributor: str
    depositor: str = Field(description="Who paid the deposit: the contributor or its sponsor.")
    height: int
    time: str = Field(description="Of its block, RFC 3339, UTC.")
    timestamp_ms: int
    samples: int
    correct: int = Field(description="Samples predicted rightly just before they were learnt.")
    accuracy: float | None
    mean_loss: float | None = Field(description="Of its samples, just before they were learnt.")
    by_class: list[CountView] = Field(description="Classes that it has samples of.")
    by_group: list[CountView]
    deposit_per_sample: str
    deposit: str = Field(description="Put in at first.")
    held: str = Field(description="Of it, what is left to claim.")
    open_samples: int = Field(description="Samples on which something may still be claimed.")
    validated_samples: int = Field(description="By refunds so far.")
    karma_per_sample: int = Field(description="Points staked in place of a part of the deposit.")
    karma_held: int = Field(description="Points that return if their samples are validated.")
    refund_from: str = Field(description="When refunds and reports begin, RFC 3339, UTC.")
    owner_claim_from: str
    any_claim_from: str


class FullContributionView(ContributionView):
    """One contribution, sample by sample."""

    open_sample_numbers: list[int]
    reporters: list[ReporterView]


class ContributionPage(BaseModel):
    """Contributions, newest first."""

    items: list[ContributionView]
    next_cursor: str | None


@router.get(
    "",
    operation_id="list_contributions",
    summary="Contributions to a model, newest first",
    responses=problem_responses("unknown_model", "unknown_height", "not_ready"),
)
async def list_contributions(
    service: Service,
    name: ModelNamePath,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
    height: HeightQuery = None,
) -> ContributionPage:
    """Return a page of contributions."""
    ledger = service.ledger
    model = find_model(ledger, name, height)
    found = ledger.scan(
        contribution_prefix(name),
        height=height,
        start_after=decode_cursor(cursor),
        limit=limit + 1,
        reverse=True,
    )
    page = found[:limit]
    items = [
        ContributionView(
            **_fields(model, _sequence_of(key), decode_own(value, decode_contribution))
        )
        for key, value in page
    ]
    return ContributionPage(
        items=items, next_cursor=encode_cursor(page[-1][0]) if len(found) > limit else None
    )


@router.get(
    "/{sequence}",
    operation_id="get_contribution",
    summary="One contribution, sample by sample",
    responses=problem_responses(
        "unknown_model", "unknown_contribution", "unknown_height", "not_ready"
    ),
)
async def get_contribution(
    service: Service,
    name: ModelNamePath,
    sequence: Annotated[int, Path(ge=0, le=COUNTER_MAX, description="0 was the first.")],
    height: HeightQuery = None,
) -> FullContributionView:
    """Return a contribution with the samples that are open and those that were reported."""
    ledger = service.ledger
    model = find_model(ledger, name, height)
    contribution = ledger.read(contribution_key(name, sequence), decode_contribution, height)
    if contribution is None:
        raise InvalidInputError(
            "unknown_contribution",
            f"model {name!r} has no contribution {sequence}",
            field="sequence",
            value=sequence,
        )
    book = contribution.book
    return FullContributionView(
        **_fields(model, sequence, contribution),
        open_sample_numbers=list(iterate_samples(book.open_samples)),
        reporters=[
            ReporterView(
                account=account_to_text(AccountId(account)), samples=list(iterate_samples(samples))
            )
            for account, samples in book.reporters
        ],
    )


def _sequence_of(key: bytes) -> int:
    return int.from_bytes(key[-SEQUENCE_BYTES:], "big")


def _make_counts(names: tuple[str, ...], counts: GroupCounts) -> list[CountView]:
    return [
        CountView(
            name=names[number],
            judged=judged,
            correct=correct,
            accuracy=compute_accuracy(correct, judged),
        )
        for number, judged, correct in counts
    ]


def _fields(model: Model, sequence: int, contribution: Contribution) -> dict[str, Any]:
    description, book = model.description, contribution.book
    terms = description.terms
    made_ms = contribution.timestamp_ms
    return {
        "model": description.name,
        "sequence": sequence,
        "transaction_id": contribution.transaction_id.hex(),
        "contributor": account_to_text(contribution.contributor),
        "depositor": account_to_text(contribution.depositor),
        "height": contribution.height,
        "time": format_time(made_ms),
        "timestamp_ms": made_ms,
        "samples": book.samples,
        "correct": contribution.correct,
        "accuracy": compute_accuracy(contribution.correct, book.samples),
        "mean_loss": compute_mean_loss(contribution.loss, book.samples),
        "by_class": _make_counts(description.class_names, contribution.by_class),
        "by_group": _make_counts(description.groups, contribution.by_group),
        "deposit_per_sample": str(book.share),
        "deposit": str(book.share * book.samples),
        "held": str(book.held),
        "open_samples": book.open_samples.bit_count(),
        "validated_samples": contribution.validated,
        "karma_per_sample": book.karma_share,
        "karma_held": book.karma_held,
        "refund_from": format_time(made_ms + terms.refund_wait_ms),
        "owner_claim_from": format_time(made_ms + terms.owner_wait_ms),
        "any_claim_from": format_time(made_ms + terms.any_wait_ms),
    }
