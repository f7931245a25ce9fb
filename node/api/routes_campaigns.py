"""Campaigns: how they stand, what they wait for, and the measures that they were settled by."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path

from ledger.campaign_costs import ENVELOPE_UNITS_MAX, compute_advance_units
from ledger.campaign_evaluation import MeasureLog, decode_measure_log, measure_log_key
from ledger.campaign_records import (
    CAMPAIGN_PREFIX,
    Campaign,
    campaign_count_key,
    campaign_key,
    decode_campaign,
    find_open_campaign,
)
from ledger.draws import Draw, decode_draw, draw_key
from ledger.parameters import Parameters
from ledger.reader import LedgerReader
from ledger.stored_records import decode_own
from ledger.transactions.campaigns import ITEMS_MAX
from ml_runtime.spec import ModelSpec
from node.api.campaign_progress import count_items
from node.api.campaign_views import (
    CampaignPage,
    CampaignSummary,
    CampaignView,
    make_summary,
    make_view,
)
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.routes_models import ModelNamePath, find_model
from node.api.service import Service
from node.final_state import FinalState
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX

__all__ = ["router"]

COUNT_PREFIX: Final = campaign_count_key("")
MODELS_LOOKED_AT_MAX: Final = 1_000
"""Models that one request for open campaigns looks at; a page may be shorter, or empty."""

router = APIRouter(prefix="/api/v1", tags=["campaigns"])


@router.get(
    "/campaigns",
    operation_id="list_open_campaigns",
    summary="Open campaigns of all models",
    responses=problem_responses("not_ready"),
)
async def list_open_campaigns(
    service: Service, limit: LimitQuery = PAGE_LIMIT_DEFAULT, cursor: CursorQuery = None
) -> CampaignPage:
    """Return open campaigns by model; a page may hold fewer than there is room for."""
    ledger, now_ms = service.ledger, service.follower.tip.timestamp_ms
    state = FinalState(ledger)
    counted = ledger.scan(
        COUNT_PREFIX, start_after=decode_cursor(cursor), limit=MODELS_LOOKED_AT_MAX + 1
    )
    items: list[CampaignSummary] = []
    for place, (key, _) in enumerate(counted):
        if place == MODELS_LOOKED_AT_MAX or len(items) == limit:
            return CampaignPage(items=items, next_cursor=encode_cursor(counted[place - 1][0]))
        model = key[len(COUNT_PREFIX) :].decode()
        campaign = find_open_campaign(state, model)
        if campaign is not None:
            items.append(make_summary(model, campaign, _read_draw(ledger, campaign), now_ms))
    return CampaignPage(items=items, next_cursor=None)


@router.get(
    "/models/{name}/campaigns",
    operation_id="list_campaigns",
    summary="Campaigns of a model, newest first",
    responses=problem_responses("unknown_model", "not_ready"),
)
async def list_campaigns(
    service: Service,
    name: ModelNamePath,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
) -> CampaignPage:
    """Return a page of campaigns."""
    ledger, now_ms = service.ledger, service.follower.tip.timestamp_ms
    find_model(ledger, name, None)
    found = ledger.scan(
        CAMPAIGN_PREFIX + name.encode() + b"/",
        start_after=decode_cursor(cursor),
        limit=limit + 1,
        reverse=True,
    )
    page = found[:limit]
    campaigns = [decode_own(value, decode_campaign) for _, value in page]
    return CampaignPage(
        items=[make_summary(name, each, _read_draw(ledger, each), now_ms) for each in campaigns],
        next_cursor=encode_cursor(page[-1][0]) if len(found) > limit else None,
    )


@router.get(
    "/models/{name}/campaigns/{number}",
    operation_id="get_campaign",
    summary="One campaign, with all that its settlement follows from",
    responses=problem_responses(
        "unknown_model", "unknown_campaign", "too_many_requests", "not_ready"
    ),
)
async def get_campaign(
    service: Service,
    name: ModelNamePath,
    number: Annotated[int, Path(ge=0, le=COUNTER_MAX, description="0 was the first.")],
) -> CampaignView:
    """Return a campaign: pieces, contributions, payouts, measures, and how far it has come."""
    ledger, now_ms = service.ledger, service.follower.tip.timestamp_ms
    model = find_model(ledger, name, None)
    campaign = ledger.read(campaign_key(name, number), decode_campaign)
    if campaign is None:
        raise InvalidInputError(
            "unknown_campaign",
            f"model {name!r} has no campaign {number}",
            field="number",
            value=number,
        )
    draw = _read_draw(ledger, campaign)
    log = ledger.read(measure_log_key(name, number), decode_measure_log) or MeasureLog()
    parameters, spec = service.read_parameters(), model.description.spec

    def make() -> CampaignView:
        count = count_items(campaign, log.history)
        progress = None if count is None else (count, _fit_items(spec, campaign, parameters))
        summary = make_summary(name, campaign, draw, now_ms)
        return make_view(summary, campaign, draw, log.history, progress)

    # Long fractions and a rule's arithmetic: not where predictions are waited for.
    return await service.inference.run_aside(make)


def _read_draw(ledger: LedgerReader, campaign: Campaign) -> Draw | None:
    return ledger.read(draw_key(campaign.draw_height), decode_draw)


def _fit_items(spec: ModelSpec, campaign: Campaign, parameters: Parameters) -> int:
    """Return the most items whose cost fits into one transaction; at least one is tried."""
    quota = min(parameters.compute_units_per_account_max, parameters.compute_units_per_block_max)
    fits, too_many = 1, ITEMS_MAX + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if compute_advance_units(spec, campaign, middle) + ENVELOPE_UNITS_MAX <= quota:
            fits = middle
        else:
            too_many = middle
    return fits
