"""What the work of an evaluation costs, before it is done.

Exact for what is certain to come next; beyond that every item is taken for the dearest that the
campaign can have. What can be performed at all does not depend on who else takes part: room for the
longest record that the terms allow is set aside from the beginning, or else contributors could make
a provider's hidden pieces unfit. Source: docs/spec/ledger.md §7.27.
"""

from __future__ import annotations

from typing import Final

from incentives.valuation_registry import get_valuation_rule
from ledger.campaign_evaluation import MEASURE, SETTLE, START, Item
from ledger.campaign_records import Campaign, CampaignEntry
from ledger.contribution_records import SAMPLES_MAX
from ledger.errors import TransactionFailedError
from ledger.hidden_pieces import HiddenPiece
from ledger.parameters import Parameters, decode_parameters
from ledger.schema import CHAIN_PARAMETERS, StateReader
from ml_runtime.family import count_parameters
from ml_runtime.registry import get_family
from ml_runtime.spec import ModelSpec

__all__ = [
    "check_item_fits",
    "compute_advance_units",
    "compute_batch_units",
    "compute_collecting_units",
    "compute_due_units",
    "compute_record_units",
    "compute_settle_units",
    "compute_start_units",
    "is_out_of_reach",
]

UNITS_PER_ITEM: Final = 100_000
"""Reading and decoding a payload, however few samples it holds: measured at about 90 µs."""

UNITS_PER_ENTRY: Final = 4
UNITS_PER_STEP: Final = 2_000
"""One step of a rule's arithmetic, on integers of a kilobyte at worst: measured at 1.5 µs."""

UNITS_PER_PAYOUT: Final = 100_000
"""Balances and karma of one contribution, its fingerprints removed: measured at about 80 µs."""

UNITS_PER_PARAMETER: Final = 4
UNITS_PER_KEPT: Final = 40
"""For a parameter of the scratch model: read from its record, written, hashed, maybe installed."""

UNITS_PER_ROW: Final = 2_000
"""An entry or piece in the campaign's record, which is written and hashed whole: about 1 µs."""

UNITS_PER_OUTCOME: Final = 10_000
"""The same for an outcome with two numbers of a kilobyte: measured at 7 µs."""

UNITS_PER_EARLIER: Final = 20_000
"""Reading the fingerprints of an earlier contribution, however few."""

UNITS_PER_FINGERPRINT: Final = 100
"""Looking for one of them among those of a contribution: measured at 40 to 70 ns."""

UNITS_PER_SAMPLE: Final = 2_500
"""Making the fingerprint of a sample; its bytes are metered with the payload's."""

ENVELOPE_UNITS_MAX: Final = 150_000
"""Metered for the envelope of `advance_campaign`, with a sponsor's signature."""


def compute_batch_units(spec: ModelSpec, samples: int, entries: int) -> int:
    """Return what training or measuring a batch costs."""
    family = get_family(spec.family)
    return UNITS_PER_ITEM + UNITS_PER_ENTRY * entries + family.cost(spec, samples, entries)


def compute_start_units(spec: ModelSpec, campaign: Campaign) -> int:
    """Return what starting a chain costs, or finding that there is none."""
    case = campaign.to_case()
    effort = get_valuation_rule(campaign.terms.rule).compute_effort(case)
    parameters = count_parameters(get_family(spec.family), spec)
    return UNITS_PER_ITEM + UNITS_PER_STEP * effort + UNITS_PER_PARAMETER * parameters


def compute_settle_units(spec: ModelSpec, campaign: Campaign) -> int:
    """Return what paying everybody costs."""
    return compute_start_units(spec, campaign) + UNITS_PER_PAYOUT * len(campaign.entries)


def compute_record_units(campaign: Campaign) -> int:
    """Return what writing the campaign's record costs, whatever is changed in it."""
    rows = len(campaign.entries) + len(campaign.pieces.pieces)
    return UNITS_PER_ROW * rows + UNITS_PER_OUTCOME * len(campaign.outcomes)


def compute_collecting_units(campaign: Campaign, samples: int) -> int:
    """Return what taking a contribution into the campaign costs, its judgement aside."""
    earlier = sum(entry.samples for entry in campaign.entries)
    return (
        compute_record_units(campaign)
        + UNITS_PER_EARLIER * len(campaign.entries)
        + UNITS_PER_FINGERPRINT * earlier
        + UNITS_PER_SAMPLE * min(samples, SAMPLES_MAX)
    )


def compute_due_units(state: StateReader, spec: ModelSpec, campaign: Campaign, items: int) -> int:
    """Return what doing what is due costs, or more than that.

    Parameters
    ----------
    state : at the transaction's turn; says the limits that are in force.
    spec : of the model.
    campaign : that is open.
    items : how many may be performed.

    Notes
    -----
    Ending a phase, or a campaign, is never metered above what the limits leave room for, however
    low they are: everybody must get the own money back.
    """
    parameters = state.get(CHAIN_PARAMETERS, decode_parameters) or Parameters()
    if campaign.is_worked_on and not is_out_of_reach(spec, parameters, campaign):
        return compute_record_units(campaign) + compute_advance_units(spec, campaign, items)
    units = compute_record_units(campaign) + UNITS_PER_PAYOUT * (len(campaign.entries) + 1)
    return min(units, _get_limit(parameters) - ENVELOPE_UNITS_MAX)


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
    return units + _bound_units(spec, campaign, left)


def check_item_fits(
    spec: ModelSpec, parameters: Parameters, campaign: Campaign, units: int
) -> None:
    """Check that an item can be performed at all, alone in a transaction.

    Raises
    ------
    TransactionFailedError
        ``evaluation_too_large``.
    """
    limit, needed = _get_limit(parameters), _compute_needed(spec, campaign, units)
    if needed > limit:
        raise TransactionFailedError(
            "evaluation_too_large",
            f"one step of the evaluation would need {needed} compute units, the limit is {limit}",
        )


def is_out_of_reach(spec: ModelSpec, parameters: Parameters, campaign: Campaign) -> bool:
    """Say whether the next item does not fit any more, since the limits were lowered."""
    item = campaign.evaluation.next_item(campaign.scoring_pieces)
    units = _compute_item_units(spec, campaign, item)
    return _compute_needed(spec, campaign, units) > _get_limit(parameters)


def _get_limit(parameters: Parameters) -> int:
    return min(parameters.compute_units_per_account_max, parameters.compute_units_per_block_max)


def _compute_needed(spec: ModelSpec, campaign: Campaign, units: int) -> int:
    """Return what a transaction with an item needs, with the longest record there may be."""
    count, pieces = campaign.terms.contributions_max, len(campaign.pieces.pieces)
    record = UNITS_PER_ROW * (count + pieces) + UNITS_PER_OUTCOME * count
    return ENVELOPE_UNITS_MAX + record + _compute_kept_units(spec) + units


def _compute_kept_units(spec: ModelSpec) -> int:
    return UNITS_PER_KEPT * count_parameters(get_family(spec.family), spec)


def _compute_item_units(spec: ModelSpec, campaign: Campaign, item: Item) -> int:
    if item.kind == START:
        return compute_start_units(spec, campaign)
    if item.kind == SETTLE:
        return compute_settle_units(spec, campaign)
    if item.kind == MEASURE:
        piece = campaign.pieces.pieces[item.number]
        return compute_batch_units(spec, piece.samples, piece.entries)
    entry = campaign.entries[item.number]
    return compute_batch_units(spec, entry.samples, entry.entries)


def _bound_units(spec: ModelSpec, campaign: Campaign, items: int) -> int:
    """Return what no items exceed that come after those that are certain.

    This is asked of every transaction, so it must be quick. Every chain ends with a measure on each
    piece, so only one item of so many can be a start; and the campaign is settled once.
    """
    if not items:
        return 0
    batches: tuple[HiddenPiece | CampaignEntry, ...]
    batches = (*campaign.pieces.pieces, *campaign.entries)
    samples = max(each.samples for each in batches)
    entries = max(each.entries for each in batches)
    work = compute_batch_units(spec, samples, entries)
    start = compute_start_units(spec, campaign)
    starts = min(items, -(-items // (1 + len(campaign.scoring_pieces))) + 1)
    payouts = UNITS_PER_PAYOUT * len(campaign.entries)
    return items * work + starts * max(start - work, 0) + payouts
