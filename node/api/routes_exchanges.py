"""Exchanges: bounties for the best model, what was submitted, and how good it was."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from incentives.exchange import meets_threshold
from ledger.exchange_judging import compute_items, weigh_model
from ledger.exchange_records import (
    EXCHANGE_PREFIX,
    STATUSES,
    Submission,
    decode_submission,
    submission_key,
)
from ledger.exchange_terms import ExchangeTerms
from ledger.model_tensors import ModelTensors, decode_model_tensors, tensors_key
from ledger.model_versions import LATEST, decode_pinned_version, pinned_version_key
from ledger.transactions.exchange_access import ExchangeState, find_exchange
from ledger.transactions.exchange_settlement import ITEMS_MAX, compute_settlement
from ml_runtime.spec import ModelSpec
from node.api.exchange_wording import count_items, describe_exchange
from node.api.json_codec import account_or_none, format_time
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.routes_models import compute_accuracy, compute_mean_loss, find_model
from node.api.service import ApiService, Service
from node.api.version_access import resolve_version
from node.final_state import FinalState
from primitives.accounts import AccountId, account_to_text
from primitives.codec import encode
from primitives.errors import CorruptStateError, InvalidInputError

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/exchanges", tags=["exchanges"])

NamePath = Annotated[str, Path(description="Name of the exchange.", max_length=64)]
StatusQuery = Annotated[
    str | None, Query(description=f"Only exchanges of this status: {', '.join(STATUSES)}.")
]


class TestLayoutView(BaseModel):
    """What a model must fit, and every sample of the test set."""

    task: str
    class_count: int = Field(description="0 for regression.")
    samples: str = Field(description="dense or sparse.")
    feature_count: int
    feature_low: int = Field(description="No feature is below, Q16.")
    feature_high: int = Field(description="No feature is above, Q16.")


class SummaryView(BaseModel):
    """An exchange in a list."""

    name: str
    organiser: str
    status: str = Field(description="open, judging, or how it ended.")
    phase: str = Field(description="submitting, opening, showing, judging, due or closed.")
    metric: str
    bounty: str
    stake: str
    submissions: int
    opened: int
    deadline: str = Field(description="Until then models are submitted; RFC 3339, UTC.")
    deadline_ms: int


class SummaryPage(BaseModel):
    """Exchanges by name."""

    items: list[SummaryView]
    next_cursor: str | None


class TestPieceView(BaseModel):
    """A piece of the test set."""

    piece: int
    commitment: str
    transaction_id: str | None = Field(description="That showed it; null while it is hidden.")
    samples: int | None


class SubmissionView(BaseModel):
    """A model that somebody submitted."""

    account: str
    commitment: str
    submitted: str = Field(description="RFC 3339, UTC.")
    standing: str = Field(description="sealed, opened, or set_aside as too large by now.")
    model: str | None = Field(description="Null while it is sealed, as are version and digest.")
    version: int | None
    digest: str | None
    samples: int = Field(description="Of the test set that it was judged on so far.")
    correct: int
    accuracy: float | None
    mean_loss: float | None
    is_good_enough: bool | None = Field(description="Null until it was judged on everything.")


class PayoutView(BaseModel):
    """What an account was paid in the end, stake and bounty together."""

    account: str
    amount: str


class ExchangeView(BaseModel):
    """An exchange as of the last final block."""

    name: str
    height: int = Field(description="The final block as of which this holds.")
    time: str = Field(description="Of that block, by which the phase goes; RFC 3339, UTC.")
    organiser: str
    description: str
    layout: TestLayoutView
    metric: str = Field(description="accuracy or loss.")
    threshold: int = Field(description="Accuracy: parts per million; loss: greatest mean, Q16.")
    bounty: str
    stake: str = Field(description="Of every submission; comes back to who opens the model.")
    submissions_max: int
    piece_samples_max: int
    created: str
    created_height: int
    deadline: str
    deadline_ms: int
    reveals_end: str = Field(description="Until then models are opened.")
    reveals_end_ms: int
    shows_end: str = Field(description="Until then the test set is shown.")
    shows_end_ms: int
    status: str
    phase: str = Field(description="submitting, opening, showing, judging, due or closed.")
    sentence: str = Field(description="Where it stands and what comes next.")
    action: str | None = Field(description="Kind of the transaction that it waits for.")
    until: str | None = Field(description="Until when that can be sent; null without an end.")
    until_ms: int | None
    items: int = Field(description="Judgements, one model on one piece, in all.")
    items_done: int
    items_next: int = Field(description="As many as one advance_exchange should name now.")
    pieces: list[TestPieceView]
    submissions: list[SubmissionView] = Field(description="Earliest first.")
    winner: str | None
    payouts: list[PayoutView] = Field(description="Empty until it is closed.")


class FitView(BaseModel):
    """Whether a version of a model could be submitted and judged."""

    exchange: str
    model: str
    version: int
    fits: bool
    code: str | None = Field(description="Why not, as `reveal_model` would fail.")
    reason: str | None
    spec: str = Field(description="What the commitment is made of: the encoding of the spec …")
    digest: str = Field(description="… and the hash of the parameters.")


@router.get(
    "",
    operation_id="list_exchanges",
    summary="Bounties for models, by name",
    responses=problem_responses("malformed_request", "not_ready"),
)
async def list_exchanges(
    service: Service,
    status: StatusQuery = None,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
) -> SummaryPage:
    """Return a page of exchanges; with a status a page may be short and not the last."""
    if status is not None and status not in STATUSES:
        raise InvalidInputError(
            "malformed_request",
            f"status knows {', '.join(STATUSES)}; found {status!r}",
            field="status",
            value=status,
            limit=", ".join(STATUSES),
        )
    ledger = service.ledger
    found = ledger.scan(EXCHANGE_PREFIX, start_after=decode_cursor(cursor), limit=limit + 1)
    names = [key[len(EXCHANGE_PREFIX) :].decode() for key, _ in found[:limit]]
    shown = [_find(service, name) for name in names]
    now_ms = ledger.header(ledger.tip().height).timestamp_ms
    return SummaryPage(
        items=[
            _make_summary(each, now_ms)
            for each in shown
            if status is None or each.progress.status_name == status
        ],
        next_cursor=encode_cursor(found[limit - 1][0]) if len(found) > limit else None,
    )


@router.get(
    "/{name}",
    operation_id="get_exchange",
    summary="One exchange: terms, phase, models and who won",
    responses=problem_responses("unknown_exchange", "not_ready"),
)
async def get_exchange(service: Service, name: NamePath) -> ExchangeView:
    """Return an exchange with everything that was submitted to it."""
    return _make_view(service, _find(service, name))


@router.get(
    "/{name}/fit",
    operation_id="check_fit",
    summary="Whether a model could be judged",
    responses=problem_responses(
        "unknown_exchange", "unknown_model", "unknown_version", "not_ready"
    ),
)
async def check_fit(
    service: Service,
    name: NamePath,
    model: Annotated[str, Query(max_length=64, description="Name of the model.")],
    version: Annotated[str, Query(max_length=64, description="Number or alias.")] = LATEST,
) -> FitView:
    """Say beforehand what would become of a submission: a stake does not return otherwise."""
    terms = _find(service, name).exchange.terms
    number = resolve_version(service.ledger, model, version)
    spec, tensors = _find_held(service, model, number)
    problem: InvalidInputError | None = None
    try:
        weigh_model(terms, spec, service.read_parameters())
    except InvalidInputError as error:
        problem = error
    return FitView(
        exchange=name,
        model=model,
        version=number,
        fits=problem is None,
        code=None if problem is None else problem.code,
        reason=None if problem is None else problem.message,
        spec=encode(spec.to_fields()).hex(),
        digest=tensors.digest.hex(),
    )


def _find(service: ApiService, name: str) -> ExchangeState:
    found = find_exchange(FinalState(service.ledger), name)
    if found is None:
        raise InvalidInputError(
            "unknown_exchange", f"there is no exchange {name!r}", field="name", value=name
        )
    return found


def _find_held(service: ApiService, name: str, number: int) -> tuple[ModelSpec, ModelTensors]:
    """Return a version that can be opened: the one in force, or one that has an alias."""
    ledger = service.ledger
    model = find_model(ledger, name, None)
    current = ledger.read(tensors_key(name), decode_model_tensors)
    if current is not None and current.version == number:
        return model.description.spec, current
    pinned = ledger.read(pinned_version_key(name, number), decode_pinned_version)
    if pinned is None:
        raise InvalidInputError(
            "unknown_version",
            f"version {number} of {name!r} is neither in force nor has it an alias, so it could not"
            " be opened",
            field="version",
            value=number,
        )
    return pinned.spec, pinned.tensors


def _make_summary(found: ExchangeState, now_ms: int) -> SummaryView:
    exchange, progress = found.exchange, found.progress
    offer = exchange.terms.offer
    return SummaryView(
        name=found.name,
        organiser=account_to_text(exchange.organiser),
        status=progress.status_name,
        phase=describe_exchange(found, now_ms).phase,
        metric=offer.metric,
        bounty=str(offer.bounty),
        stake=str(offer.stake),
        submissions=len(progress.entries),
        opened=sum(entry.is_opened for entry in progress.entries),
        deadline=format_time(exchange.deadline_ms),
        deadline_ms=exchange.deadline_ms,
    )


def _make_view(service: ApiService, found: ExchangeState) -> ExchangeView:
    exchange, progress, terms = found.exchange, found.progress, found.exchange.terms
    height = service.ledger.tip().height
    now_ms = service.ledger.header(height).timestamp_ms
    outlook = describe_exchange(found, now_ms)
    submissions = [_read_submission(service, found.name, each.account) for each in progress.entries]
    done, items = count_items(found)
    pieces = len(found.pieces.hidden.pieces)
    return ExchangeView(
        name=found.name,
        height=height,
        time=format_time(now_ms),
        organiser=account_to_text(exchange.organiser),
        description=terms.description,
        layout=_make_layout(terms),
        metric=terms.offer.metric,
        threshold=terms.offer.threshold,
        bounty=str(terms.offer.bounty),
        stake=str(terms.offer.stake),
        submissions_max=terms.submissions_max,
        piece_samples_max=terms.piece_samples_max,
        created=format_time(exchange.created_ms),
        created_height=exchange.created_height,
        deadline=format_time(exchange.deadline_ms),
        deadline_ms=exchange.deadline_ms,
        reveals_end=format_time(found.reveals_end_ms),
        reveals_end_ms=found.reveals_end_ms,
        shows_end=format_time(found.shows_end_ms),
        shows_end_ms=found.shows_end_ms,
        status=progress.status_name,
        phase=outlook.phase,
        sentence=outlook.sentence,
        action=outlook.action,
        until=None if outlook.until_ms is None else format_time(outlook.until_ms),
        until_ms=outlook.until_ms,
        items=items,
        items_done=done,
        items_next=compute_items(progress, pieces, service.read_parameters(), ITEMS_MAX),
        pieces=_make_pieces(found),
        submissions=[
            _make_submission(found, entry.account, submission)
            for entry, submission in zip(progress.entries, submissions, strict=True)
        ],
        winner=account_or_none(progress.winner),
        payouts=_make_payouts(found, submissions) if progress.is_closed else [],
    )


def _make_layout(terms: ExchangeTerms) -> TestLayoutView:
    layout = terms.layout
    return TestLayoutView(
        task=layout.task,
        class_count=layout.class_count,
        samples=layout.samples,
        feature_count=layout.feature_count,
        feature_low=layout.feature_low,
        feature_high=layout.feature_high,
    )


def _make_pieces(found: ExchangeState) -> list[TestPieceView]:
    return [
        TestPieceView(
            piece=number,
            commitment=piece.commitment.hex(),
            transaction_id=None if piece.transaction_id is None else piece.transaction_id.hex(),
            samples=None if piece.transaction_id is None else piece.samples,
        )
        for number, piece in enumerate(found.pieces.hidden.pieces)
    ]


def _read_submission(service: ApiService, name: str, account: AccountId) -> Submission:
    submission = service.ledger.read(submission_key(name, account), decode_submission)
    if submission is None:
        raise CorruptStateError(f"a submission of exchange {name!r} is missing in the state")
    return submission


def _make_submission(
    found: ExchangeState, account: AccountId, submission: Submission
) -> SubmissionView:
    opened, samples = submission.opened, submission.samples
    offer = found.exchange.terms.offer
    is_judged = submission.standing_name == "opened" and 0 < samples == found.pieces.samples
    measure = submission.correct if offer.metric == "accuracy" else -submission.loss
    return SubmissionView(
        account=account_to_text(account),
        commitment=submission.commitment.hex(),
        submitted=format_time(submission.submitted_ms),
        standing=submission.standing_name,
        model=None if opened is None else opened.name,
        version=None if opened is None else opened.version,
        digest=None if opened is None else opened.digest.hex(),
        samples=samples,
        correct=submission.correct,
        accuracy=compute_accuracy(submission.correct, samples),
        mean_loss=compute_mean_loss(submission.loss, samples),
        is_good_enough=meets_threshold(offer, measure, samples) if is_judged else None,
    )


def _make_payouts(found: ExchangeState, submissions: list[Submission]) -> list[PayoutView]:
    is_shown = found.progress.status_name != "not_shown"
    settlement = compute_settlement(found, submissions, is_shown=is_shown)
    return [
        PayoutView(account=account_to_text(AccountId(account)), amount=str(amount))
        for account, amount in settlement.payouts
    ]
