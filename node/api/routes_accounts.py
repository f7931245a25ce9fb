"""Accounts: money, nonce and karma, now or at an earlier height."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from ledger.karma_records import (
    Karma,
    current_points,
    decode_karma,
    karma_prefix,
    overall_karma_key,
)
from ledger.leaderboard import read_half_life
from ledger.reader import LedgerReader
from ledger.schema import Account, account_key, decode_account
from ledger.stored_records import decode_own
from node.api.json_codec import parse_account
from node.api.pages import HeightQuery
from node.api.problems import problem_responses
from node.api.service import Service
from primitives.accounts import AccountId, account_to_text

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/accounts", tags=["accounts"])

MODELS_LISTED_MAX = 1_000

AccountPath = Annotated[str, Path(description="`qr1…`, 41 characters.")]


class ModelKarmaView(BaseModel):
    """Karma of an account on one model, and what it did there; counts never fall."""

    model: str
    karma: int = Field(description="As far as it has faded by that block.")
    validated_samples: int
    reported_samples: int = Field(description="Of others, rightly reported.")
    contributions: int = Field(description="With at least one validated sample.")
    badges: int = Field(description="Earned on this model.")
    active_days: int = Field(description="With a contribution that was validated.")
    longest_streak: int = Field(description="Most such days in a row, at most 64.")
    classes: int = Field(description="Classes that its validated samples are of.")
    regions: int = Field(description="Regions that they lie in, of 64.")
    sponsored_samples: int = Field(description="Whose deposit somebody else paid.")


class AccountView(BaseModel):
    """An account; one that nobody has paid yet is all zero."""

    account: str
    height: int = Field(description="The final block as of which this holds.")
    balance: str = Field(description="Free money, in the smallest unit.")
    nonce: str = Field(description="What the next transaction must carry.")
    public_key: str | None = Field(description="The current key, once it is not the first.")
    karma: int = Field(description="Over all models, as far as it has faded by that block.")
    validated_samples: int
    reported_samples: int = Field(description="Of others, rightly reported.")
    contributions: int = Field(description="With at least one validated sample.")
    models: int = Field(description="Models with validated samples.")
    badges: int = Field(description="On all models and overall.")
    active_days: int = Field(description="With a contribution that was validated.")
    longest_streak: int = Field(description="Most such days in a row, at most 64.")
    karma_by_model: list[ModelKarmaView] = Field(
        description=f"By name of the model, at most {MODELS_LISTED_MAX}."
    )


@router.get(
    "/{account}",
    operation_id="get_account",
    summary="Money, nonce and karma of an account",
    responses=problem_responses("unknown_height", "not_ready"),
)
async def get_account(
    service: Service, account: AccountPath, height: HeightQuery = None
) -> AccountView:
    """Return an account as of a final block; every account exists, most hold nothing."""
    account_id = parse_account(account)
    ledger = service.ledger
    record = ledger.read(account_key(account_id), decode_account, height) or Account()
    karma = ledger.read(overall_karma_key(account_id), decode_karma, height) or Karma()
    at = service.follower.tip.height if height is None else height
    now_ms = ledger.header(at).timestamp_ms
    return AccountView(
        account=account_to_text(account_id),
        height=at,
        balance=str(record.balance),
        nonce=str(record.nonce),
        public_key=None if record.public_key is None else record.public_key.hex(),
        karma=current_points(karma, now_ms, read_half_life(ledger, height=height)),
        validated_samples=karma.valid,
        reported_samples=karma.reported,
        contributions=karma.contributions,
        models=karma.models,
        badges=karma.badges,
        active_days=karma.days.count,
        longest_streak=karma.days.longest_streak,
        karma_by_model=_list_karma(ledger, account_id, height, now_ms),
    )


def _list_karma(
    ledger: LedgerReader, account: AccountId, height: int | None, now_ms: int
) -> list[ModelKarmaView]:
    prefix = karma_prefix(account)
    views = []
    for key, value in ledger.scan(prefix, height=height, limit=MODELS_LISTED_MAX):
        karma = decode_own(value, decode_karma)
        name = key[len(prefix) :].decode()
        points = current_points(karma, now_ms, read_half_life(ledger, name, height))
        views.append(_make_model_karma(name, points, karma))
    return views


def _make_model_karma(model: str, points: int, karma: Karma) -> ModelKarmaView:
    return ModelKarmaView(
        model=model,
        karma=points,
        validated_samples=karma.valid,
        reported_samples=karma.reported,
        contributions=karma.contributions,
        badges=karma.badges,
        active_days=karma.days.count,
        longest_streak=karma.days.longest_streak,
        classes=karma.classes.bit_count(),
        regions=karma.regions.bit_count(),
        sponsored_samples=karma.sponsored,
    )
