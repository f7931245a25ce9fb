"""Which models an exchange judges on which pieces in one transaction, and what that is metered as.

An *item* is one submission on one piece of the test set. Items come submission by submission, so
that parameters are read once for many pieces. Every item of a submission is metered as the largest
piece that the terms allow, which is known when it is opened: planning looks at one record only,
before it is known whether the transaction can pay, and is the same when it is metered and applied.
Source: docs/spec/ledger.md §5.12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.exchange_records import ExchangeProgress
from ledger.exchange_terms import SUBMISSIONS_MAX, ExchangeTerms, Layout
from ledger.parameters import Parameters
from ledger.transactions.model_versions import UNITS_PER_LOADED
from ml_runtime.family import count_parameters
from ml_runtime.registry import get_family
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = [
    "UNITS_PER_NUMBER",
    "UNITS_PER_SETTLED",
    "Plan",
    "Span",
    "compute_item_budget",
    "compute_item_units",
    "compute_items",
    "compute_loading_units",
    "compute_settling_units",
    "plan_judging",
    "weigh_model",
]

UNITS_PER_NUMBER: Final = 10
"""For a feature or a sample that is read from its piece."""

UNITS_PER_SETTLED: Final = 50_000
"""For a submission when all is paid: its record read, its account credited and hashed, measured."""

_LOADINGS_PER_RELEASE: Final = 64
"""Letting go of a pinned model reads the hashes of its chunks, measured against all parameters."""

_ENVELOPE_UNITS: Final = 150_000
"""Two signatures and a small envelope, rounded up."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive items of one submission.

    Parameters
    ----------
    entry : place of the submission.
    first, count : its pieces; no pieces at all if it is too large to be judged by now.
    """

    entry: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What one transaction is to do.

    Parameters
    ----------
    spans : in order; none is empty but those of submissions to be set aside.
    units : what judging them is metered as.
    """

    spans: tuple[Span, ...]
    units: int


def compute_settling_units(parameters: Parameters, submissions: int, loading_units: int = 0) -> int:
    """Return the units of paying so many submissions, at most half of what a sender has.

    Under very low limits that is too little, but money must not be stuck because of them.

    Parameters
    ----------
    loading_units : of all models that are still pinned; letting go of one takes a part of that.
    """
    units = UNITS_PER_SETTLED * submissions + loading_units // _LOADINGS_PER_RELEASE
    return min(units, _get_quota(parameters) // 2)


def compute_item_budget(parameters: Parameters) -> int:
    """Return the most units that one item and reading its model may take.

    One transaction with this item alone then fits into a block and into its sender's quota.
    """
    settling = compute_settling_units(parameters, SUBMISSIONS_MAX)
    return _get_quota(parameters) - settling - _ENVELOPE_UNITS


def compute_item_units(terms: ExchangeTerms, spec: ModelSpec) -> int:
    """Return the units of judging a model on the largest piece of an exchange."""
    samples, entries = terms.largest_piece
    reading = UNITS_PER_NUMBER * (samples + entries)
    return reading + get_family(spec.family).cost(spec, samples, entries)


def compute_loading_units(spec: ModelSpec) -> int:
    """Return the units of reading a model's parameters."""
    return UNITS_PER_LOADED * count_parameters(get_family(spec.family), spec)


def weigh_model(terms: ExchangeTerms, spec: ModelSpec, parameters: Parameters) -> tuple[int, int]:
    """Return the units of judging a model on the largest piece, and of reading its parameters.

    Raises
    ------
    InvalidInputError
        ``model_does_not_fit``: it does not take every sample of the exchange;
        ``evaluation_too_large``: one item needs more than a transaction may.
    """
    _check_fit(terms.layout, spec)
    units, loading = compute_item_units(terms, spec), compute_loading_units(spec)
    budget = compute_item_budget(parameters)
    if units + loading > budget:
        raise InvalidInputError(
            "evaluation_too_large",
            f"judging the model on the largest piece needs {units + loading} compute units, above"
            f" the limit {budget}",
            field="model",
            value=units + loading,
            limit=budget,
        )
    return units, loading


def plan_judging(progress: ExchangeProgress, pieces: int, items: int, budget: int) -> Plan:
    """Return what comes next.

    Parameters
    ----------
    progress : of an exchange whose test set was shown.
    pieces : of the test set.
    items : at most so many.
    budget : of one item, `compute_item_budget`. A vote may have lowered it since a model was
        opened: what does not fit any more is set aside, or nothing would ever end.
    """
    spans: list[Span] = []
    units = 0
    for place in range(progress.entry, len(progress.entries)):
        entry = progress.entries[place]
        if not entry.is_opened:
            continue
        if items == 0:
            break
        if entry.item_units + entry.loading_units > budget:
            spans.append(Span(place, 0, 0))
            continue
        first = progress.piece if place == progress.entry else 0
        count = min(items, pieces - first)
        spans.append(Span(place, first, count))
        units += entry.loading_units + count * entry.item_units
        items -= count
    return Plan(tuple(spans), units)


def compute_items(
    progress: ExchangeProgress, pieces: int, parameters: Parameters, items_max: int
) -> int:
    """Return how many items one transaction should name, at least 1: as many as it can pay for.

    Parameters
    ----------
    progress : of an exchange whose test set was shown.
    pieces : of the test set.
    items_max : most that a transaction may name.
    """
    budget = compute_item_budget(parameters)
    reserved = compute_settling_units(parameters, len(progress.entries)) + _ENVELOPE_UNITS
    room = _get_quota(parameters) - reserved
    low, high = 1, items_max
    while low < high:
        middle = (low + high + 1) // 2
        if plan_judging(progress, pieces, middle, budget).units <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _check_fit(layout: Layout, spec: ModelSpec) -> None:
    """Refuse a model that does not take every sample of a layout."""
    family = get_family(spec.family)
    wanted = (layout.task, layout.class_count, layout.samples, layout.feature_count)
    given = (family.task(spec), spec.class_count, spec.layout, spec.feature_count)
    names = ("task", "class_count", "layout", "feature_count")
    for name, value, limit in zip(names, given, wanted, strict=True):
        if value != limit:
            raise InvalidInputError(
                "model_does_not_fit",
                f"the exchange is for {name} {limit}, the model's is {value}",
                field=f"model.{name}",
                value=value,
                limit=limit,
            )
    low, high = family.feature_range(spec)
    if layout.feature_low < low or layout.feature_high > high:
        raise InvalidInputError(
            "model_does_not_fit",
            f"features lie in [{layout.feature_low}, {layout.feature_high}], the model takes {low}"
            f" to {high} (in 1/65536)",
            field="model",
        )


def _get_quota(parameters: Parameters) -> int:
    """Return the most units of one transaction."""
    return min(parameters.compute_units_per_account_max, parameters.compute_units_per_block_max)
