"""Campaigns: how they stand, what they wait for, and the measures that they were settled by."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path

from ledger.campaign_costs import (
    ENVELOPE_UNITS_MAX,
    compute_advance_units,
    compute_record_units,
)
from ledger.campaign_evaluation import MeasureLog, decode_measure_log, measure_log_key
from ledger.campaign_records import (
    CAMPAIGN_PREFIX,
    Campaign,
    campaign_count_key,
    campaign_key,
    decode_campaign,
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
from node.api.open_campaigns import find_open_number
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.routes_models import ModelNamePath, find_model
from node.api.service import ApiService, Service
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX

__all__ = ["router"]

COUNT_PREFIX: Final = campaign_count_key("")
MODELS_LOOKED_AT_MAX: Final = 200
"""Models that one request for open campaigns looks at; a page may be shorter, or empty."""

router = APIRouter(prefix="/api/v1", tags=["campaigns"])


@router.get(
    "/campaigns",
    operation_id="list_open_campaigns",
    summary="Open campaigns of all models",
    responses=problem_responses("too_many_requests", "not_ready"),
)
async def list_open_campaigns(
    service: Service, limit: LimitQuery = PAGE_LIMIT_DEFAULT, cursor: CursorQuery = None
) -> CampaignPage:
    """Return open campaigns by model; a page may hold fewer than there is room for."""
    ledger = service.ledger
    counted = ledger.scan(
        COUNT_PREFIX, start_after=decode_cursor(cursor), limit=MODELS_LOOKED_AT_MAX + 1
    )
    found: list[tuple[str, bytes]] = []
    next_cursor = None
    for place, (key, _) in enumerate(counted):
        if place == MODELS_LOOKED_AT_MAX or len(found) == limit:
            next_cursor = encode_cursor(counted[place - 1][0])
            break
        model = key[len(COUNT_PREFIX) :].decode()
        number = find_open_number(ledger, model, None)
        value = None if number is None else ledger.get(campaign_key(model, number))
        if value is not None:
            found.append((model, value))
    return CampaignPage(items=await _make_summaries(service, found), next_cursor=next_cursor)


@router.get(
    "/models/{name}/campaigns",
    operation_id="list_campaigns",
    summary="Campaigns of a model, newest first",
    responses=problem_responses("unknown_model", "too_many_requests", "not_ready"),
)
async def list_campaigns(
    service: Service,
    name: ModelNamePath,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
) -> CampaignPage:
    """Return a page of campaigns."""
    ledger = service.ledger
    find_model(ledger, name, None)
    found = ledger.scan(
        CAMPAIGN_PREFIX + name.encode() + b"/",
        start_after=decode_cursor(cursor),
        limit=limit + 1,
        reverse=True,
    )
    page = found[:limit]
    return CampaignPage(
        items=await _make_summaries(service, [(name, value) for _, value in page]),
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
    value = ledger.get(campaign_key(name, number))
    if value is None:
        raise InvalidInputError(
            "unknown_campaign",
            f"model {name!r} has no campaign {number}",
            field="number",
            value=number,
        )
    # Read together, before anything else can happen: measures go with what the record says.
    measured = ledger.get(measure_log_key(name, number))
    campaign = await service.inference.run_aside(lambda: decode_own(value, decode_campaign))
    draw = _read_draw(ledger, campaign)
    parameters, spec = service.read_parameters(), model.description.spec

    def make() -> CampaignView:
        log = MeasureLog() if measured is None else decode_own(measured, decode_measure_log)
        count = count_items(campaign, log.history)
        progress = None if count is None else (count, _fit_items(spec, campaign, parameters))
        summary = make_summary(name, campaign, draw, now_ms)
        return make_view(summary, campaign, draw, log.history, progress)

    # Long fractions and a rule's arithmetic: not where predictions are waited for.
    return await service.inference.run_aside(make)


async def _make_summaries(
    service: ApiService, found: list[tuple[str, bytes]]
) -> list[CampaignSummary]:
    """Return campaigns in short, from models and records."""
    ledger, now_ms = service.ledger, service.follower.tip.timestamp_ms
    # A record with long fractions takes tens of milliseconds: not where predictions wait.
    campaigns = await service.inference.run_aside(
        lambda: [decode_own(value, decode_campaign) for _, value in found]
    )
    return [
        make_summary(model, campaign, _read_draw(ledger, campaign), now_ms)
        for (model, _), campaign in zip(found, campaigns, strict=True)
    ]


def _read_draw(ledger: LedgerReader, campaign: Campaign) -> Draw | None:
    return ledger.read(draw_key(campaign.draw_height), decode_draw)


def _fit_items(spec: ModelSpec, campaign: Campaign, parameters: Parameters) -> int:
    """Return the most items whose cost fits into one transaction; at least one is tried."""
    quota = min(parameters.compute_units_per_account_max, parameters.compute_units_per_block_max)
    quota -= ENVELOPE_UNITS_MAX + compute_record_units(campaign)
    fits, too_many = 1, ITEMS_MAX + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if compute_advance_units(spec, campaign, middle) <= quota:
            fits = middle
        else:
            too_many = middle
    return fits
