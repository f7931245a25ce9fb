"""What people are respected and thanked for: badges, leaderboards, voluntary fees."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from incentives.badges import BADGES
from incentives.support import SupportPot, SupportShare, settle
from ledger.badge_records import badge_key, list_badges
from ledger.karma_records import Karma, decode_karma, karma_key
from ledger.leaderboard import list_leaders
from ledger.model_records import decode_model_progress, model_progress_key
from ledger.reader import LedgerReader
from ledger.support_records import decode_pot, decode_share, support_pot_key, support_share_key
from node.api.json_codec import format_time, parse_account
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    HeightQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.routes_models import ModelNamePath, find_model
from node.api.service import Service
from primitives.accounts import AccountId, account_to_text

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["recognition"])

AccountPath = Annotated[str, Path(description="`qr1…`, 41 characters.")]

_TITLES = {badge.badge_id: badge.title for badge in BADGES}


class BadgeView(BaseModel):
    """A badge that can be earned."""

    badge: str = Field(description="Stable identifier.")
    title: str = Field(description="For people.")
    criterion: str = Field(description="What it is given for, in a sentence.")
    scope: Literal["model", "overall"] = Field(
        description="Whether work on one model is looked at, or all work."
    )


class BadgeList(BaseModel):
    """All badges that there are; they are titles, and nothing depends on them."""

    items: list[BadgeView]


class EarnedBadgeView(BaseModel):
    """A badge of an account; it stays."""

    badge: str = Field(description="Stable identifier; see `/api/v1/badges`.")
    title: str
    model: str | None = Field(description="On which it was earned; null for all work together.")
    height: int = Field(description="Of the block in which the criterion was met.")
    time: str = Field(description="Of that block, RFC 3339, UTC.")
    timestamp_ms: int


class EarnedBadgePage(BaseModel):
    """Badges of an account, by identifier and model."""

    items: list[EarnedBadgeView]
    next_cursor: str | None


class LeaderView(BaseModel):
    """An account on a leaderboard."""

    rank: int = Field(description="From 1; accounts with equal karma by account.")
    account: str
    karma: int = Field(description="As far as it has faded by that block.")
    validated_samples: int
    reported_samples: int = Field(description="Of others, rightly reported.")
    badges: int = Field(description="On the model, or all of them without a model.")


class LeaderboardView(BaseModel):
    """The accounts with the most karma, most first."""

    height: int = Field(description="The final block as of which this holds.")
    model: str | None = Field(description="Null for karma over all models.")
    is_complete: bool = Field(
        description="False if there are more records of karma than are looked at."
    )
    items: list[LeaderView]


class SupportView(BaseModel):
    """Voluntary fees of a model; whoever taught it shares them, and nothing depends on them."""

    model: str
    height: int = Field(description="The final block as of which this holds.")
    voluntary_fee: str = Field(description="What the owner suggests; 0 if nothing.")
    paid: str = Field(description="Ever paid in.")
    held: str = Field(description="Of it, what was not collected yet.")
    validated_samples: int = Field(
        description="Of everybody, by which a payment is shared; none can be made while it is 0."
    )
    account: str | None = Field(description="The account that was asked for.")
    account_validated_samples: int | None = Field(description="Its own; null without `account`.")
    owed: str | None = Field(description="What it could collect now; null without `account`.")


@router.get(
    "/badges",
    operation_id="list_badges",
    summary="Badges that can be earned, and what for",
    responses=problem_responses(),
)
async def list_published_badges() -> BadgeList:
    """Return the published criteria."""
    return BadgeList(
        items=[
            BadgeView(
                badge=badge.badge_id,
                title=badge.title,
                criterion=badge.sentence,
                scope=badge.scope,
            )
            for badge in BADGES
        ]
    )


@router.get(
    "/accounts/{account}/badges",
    operation_id="list_account_badges",
    summary="Badges of an account",
    responses=problem_responses("unknown_height", "not_ready"),
)
async def list_account_badges(
    service: Service,
    account: AccountPath,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
    height: HeightQuery = None,
) -> EarnedBadgePage:
    """Return a page of the badges that an account has earned."""
    owner = parse_account(account)
    found = list_badges(
        service.ledger,
        owner,
        height=height,
        start_after=decode_cursor(cursor),
        limit=limit + 1,
    )
    page = found[:limit]
    last = encode_cursor(badge_key(owner, *page[-1][:2])) if len(found) > limit else None
    return EarnedBadgePage(
        items=[
            EarnedBadgeView(
                badge=badge_id,
                title=_TITLES.get(badge_id, badge_id),
                model=model or None,
                height=earned.height,
                time=format_time(earned.timestamp_ms),
                timestamp_ms=earned.timestamp_ms,
            )
            for badge_id, model, earned in page
        ],
        next_cursor=last,
    )


@router.get(
    "/leaderboard",
    operation_id="get_leaderboard",
    summary="Who has the most karma, on a model or overall",
    responses=problem_responses(
        "unknown_model", "unknown_height", "too_many_requests", "not_ready"
    ),
)
async def get_leaderboard(
    service: Service,
    model: Annotated[
        str | None, Query(max_length=64, description="Name of a model; all together if absent.")
    ] = None,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    height: HeightQuery = None,
) -> LeaderboardView:
    """Return the accounts with the most karma, as far as it has faded."""
    ledger = service.ledger
    at = ledger.tip().height if height is None else height
    if model is not None:
        find_model(ledger, model, at)
    # Every record of karma is looked at, so this is done where predictions do not wait for it.
    board = await service.inference.run_aside(
        lambda: list_leaders(ledger, model or "", height=at, limit=limit)
    )
    return LeaderboardView(
        height=at,
        model=model,
        is_complete=board.is_complete,
        items=[
            LeaderView(
                rank=rank,
                account=account_to_text(leader.account),
                karma=leader.points,
                validated_samples=leader.valid,
                reported_samples=leader.reported,
                badges=leader.badges,
            )
            for rank, leader in enumerate(board.leaders, 1)
        ],
    )


@router.get(
    "/models/{name}/support",
    operation_id="get_model_support",
    summary="Voluntary fees of a model, and what an account is owed of them",
    responses=problem_responses("unknown_model", "unknown_height", "not_ready"),
)
async def get_model_support(
    service: Service,
    name: ModelNamePath,
    account: Annotated[str | None, Query(description="`qr1…`: also say what it is owed.")] = None,
    height: HeightQuery = None,
) -> SupportView:
    """Return what is suggested and what was paid."""
    ledger = service.ledger
    at = ledger.tip().height if height is None else height
    model = find_model(ledger, name, at)
    asked = None if account is None else parse_account(account)
    record = ledger.read(support_pot_key(name), decode_pot, at)
    pot = SupportPot() if record is None else record.pot
    progress = ledger.read(model_progress_key(name), decode_model_progress, at)
    valid, owed = None, None
    if asked is not None:
        valid, owed = _compute_owed(ledger, pot, asked, name, at)
    return SupportView(
        model=name,
        height=at,
        voluntary_fee=str(model.description.terms.voluntary_fee),
        paid=str(pot.paid),
        held=str(pot.held),
        validated_samples=0 if progress is None else progress.valid,
        account=None if asked is None else account_to_text(asked),
        account_validated_samples=valid,
        owed=None if owed is None else str(owed),
    )


def _compute_owed(
    ledger: LedgerReader, pot: SupportPot, account: AccountId, model: str, height: int
) -> tuple[int, int]:
    """Return an account's validated samples, and what it would be paid in the next block."""
    karma = ledger.read(karma_key(account, model), decode_karma, height) or Karma()
    known = ledger.read(support_share_key(account, model), decode_share, height)
    share = SupportShare() if known is None else known.share
    return karma.valid, settle(pot, share, karma.valid).owed
