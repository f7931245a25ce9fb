"""What the work of an evaluation costs, before it is done.

Exact for what is certain to come next; beyond that every item is taken for the dearest that the
campaign can have. Source: docs/spec/ledger.md §7.27.
"""

from __future__ import annotations

from typing import Final

from incentives.valuation_registry import get_valuation_rule
from ledger.campaign_evaluation import MEASURE, START, Item
from ledger.campaign_records import Campaign, CampaignEntry
from ledger.errors import TransactionFailedError
from ledger.hidden_pieces import HiddenPiece
from ledger.parameters import Parameters
from ml_runtime.family import count_parameters
from ml_runtime.registry import get_family
from ml_runtime.spec import ModelSpec

__all__ = [
    "UNITS_PER_PAYOUT",
    "check_item_fits",
    "compute_advance_units",
    "compute_batch_units",
    "compute_start_units",
]

UNITS_PER_ITEM: Final = 100_000
"""Reading and decoding a payload, however few samples it holds: measured at about 90 µs."""

UNITS_PER_ENTRY: Final = 4
UNITS_PER_STEP: Final = 2_000
"""One step of a rule's arithmetic, on integers of a kilobyte at worst: measured at 1.5 µs."""

UNITS_PER_PAYOUT: Final = 20_000
UNITS_PER_PARAMETER: Final = 4
UNITS_PER_KEPT: Final = 40
"""For a parameter of the scratch model: read from its record, written, hashed, maybe installed."""

ENVELOPE_UNITS_MAX: Final = 150_000
"""Metered for the envelope of `advance_campaign`, with a sponsor's signature."""


def compute_batch_units(spec: ModelSpec, samples: int, entries: int) -> int:
    """Return what training or measuring a batch costs."""
    family = get_family(spec.family)
    return UNITS_PER_ITEM + UNITS_PER_ENTRY * entries + family.cost(spec, samples, entries)


def compute_start_units(spec: ModelSpec, campaign: Campaign) -> int:
    """Return what starting a chain costs, or settling the campaign where there is none."""
    case = campaign.to_case()
    effort = get_valuation_rule(campaign.terms.rule).compute_effort(case)
    parameters = count_parameters(get_family(spec.family), spec)
    units = UNITS_PER_ITEM + UNITS_PER_STEP * effort + UNITS_PER_PARAMETER * parameters
    return units + UNITS_PER_PAYOUT * len(campaign.entries)


def compute_advance_units(spec: ModelSpec, campaign: Campaign, items: int) -> int:
    """Return what so many items of a campaign cost, or more than that."""
    units, left = _compute_kept_units(spec), items
    costs: dict[Item, int] = {}
    for item in campaign.evaluation.foresee(campaign.scoring_pieces):
        if not left:
            return units
        if campaign.phase == "learning" and item.kind == MEASURE:
            return units
        if item not in costs:
            costs[item] = _compute_item_units(spec, campaign, item)
        units, left = units + costs[item], left - 1
    return units + left * _compute_dearest(spec, campaign)


def check_item_fits(spec: ModelSpec, parameters: Parameters, units: int) -> None:
    """Check that an item can be performed at all, alone in a transaction.

    Raises
    ------
    TransactionFailedError
        ``evaluation_too_large``.
    """
    limit = min(parameters.compute_units_per_account_max, parameters.compute_units_per_block_max)
    needed = ENVELOPE_UNITS_MAX + _compute_kept_units(spec) + units
    if needed > limit:
        raise TransactionFailedError(
            "evaluation_too_large",
            f"one step of the evaluation would need {needed} compute units, the limit is {limit}",
        )


def _compute_kept_units(spec: ModelSpec) -> int:
    return UNITS_PER_KEPT * count_parameters(get_family(spec.family), spec)


def _compute_item_units(spec: ModelSpec, campaign: Campaign, item: Item) -> int:
    if item.kind == START:
        return compute_start_units(spec, campaign)
    if item.kind == MEASURE:
        piece = campaign.pieces.pieces[item.number]
        return compute_batch_units(spec, piece.samples, piece.entries)
    entry = campaign.entries[item.number]
    return compute_batch_units(spec, entry.samples, entry.entries)


def _compute_dearest(spec: ModelSpec, campaign: Campaign) -> int:
    """Return what no item exceeds: this is asked of every transaction, so it must be quick."""
    batches: tuple[HiddenPiece | CampaignEntry, ...]
    batches = (*campaign.pieces.pieces, *campaign.entries)
    samples = max(each.samples for each in batches)
    entries = max(each.entries for each in batches)
    work = compute_batch_units(spec, samples, entries)
    return max(work, compute_start_units(spec, campaign))
