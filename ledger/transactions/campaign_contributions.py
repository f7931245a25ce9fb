"""Contributions to a campaign: collected with their stakes, judged, and not learnt yet.

Source: docs/spec/ledger.md §7.3, §5.11.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from incentives.book import Book
from incentives.valuation_registry import VALUATION_RULES
from ledger.campaign_costs import (
    check_item_fits,
    compute_batch_units,
    compute_collecting_units,
    compute_settle_units,
)
from ledger.campaign_records import Campaign, CampaignEntry, campaign_key, find_open_campaign
from ledger.campaign_samples import (
    CampaignSamples,
    campaign_samples_key,
    count_duplicates,
    decode_campaign_samples,
    fingerprint_samples,
)
from ledger.contribution_records import Contribution, contribution_key
from ledger.errors import TransactionFailedError
from ledger.karma import count_sponsored
from ledger.members import find_member
from ledger.model_records import LOSS_SUM_MAX, Model, model_progress_key
from ledger.model_tally import model_tally_key, read_tally
from ledger.schema import StateReader
from ledger.transactions.contributed_batches import count_entries, count_judged
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import get_progress
from ml_runtime.evaluation import Evaluation, evaluate
from ml_runtime.registry import get_family
from ml_runtime.samples import Batch, sample_count
from primitives.accounts import AccountId
from primitives.codec import Encodable

__all__ = [
    "compute_contribution_units",
    "contribute_to_campaign",
    "is_for_campaigns",
    "refuse_open_campaign",
]

_MECHANISMS: Final = frozenset(rule.mechanism for rule in VALUATION_RULES)


def is_for_campaigns(model: Model) -> bool:
    """Say whether a model takes contributions in campaigns alone."""
    return model.description.terms.mechanism in _MECHANISMS


def compute_contribution_units(state: StateReader, model: Model, samples: int) -> int:
    """Return what a contribution costs on top of its judgement because a campaign collects it."""
    if not is_for_campaigns(model):
        return 0
    campaign = find_open_campaign(state, model.description.name)
    return 0 if campaign is None else compute_collecting_units(campaign, samples)


def refuse_open_campaign(context: ExecutionContext, model: str) -> None:
    """Fail with ``campaign_open`` while a campaign of a model counts on its staying as it is."""
    campaign = find_open_campaign(context, model)
    if campaign is not None:
        raise TransactionFailedError(
            "campaign_open",
            f"campaign {campaign.number} of {model!r} is open; until it is closed only what it"
            " collects can change the model",
        )


def contribute_to_campaign(
    context: ExecutionContext, model: Model, batch: Batch, max_deposit: int
) -> list[Encodable]:
    """Hold the stake, judge the samples and put the contribution on record.

    Parameters
    ----------
    context : of the transaction.
    model : of a mechanism that has campaigns.
    batch : that suits the model.
    max_deposit : most that may be held.

    Raises
    ------
    TransactionFailedError
        ``no_campaign``, ``own_campaign``, ``insufficient_deposit``, ``evaluation_too_large``,
        ``duplicate_samples`` or ``insufficient_balance``.
    """
    name, spec = model.description.name, model.description.spec
    campaign = find_open_campaign(context, name)
    if campaign is None or campaign.phase != "participation":
        raise TransactionFailedError(
            "no_campaign", f"model {name!r} takes contributions while a campaign collects them"
        )
    if _belongs_together(context, context.sender, campaign.provider):
        raise TransactionFailedError(
            "own_campaign", "who knows the hidden test data cannot contribute to be paid by it"
        )
    stake = campaign.terms.valuation.stake
    if stake > max_deposit:
        raise TransactionFailedError(
            "insufficient_deposit", f"the stake is {stake}, max_deposit is {max_deposit}"
        )
    progress = get_progress(context, name)
    entry = CampaignEntry(
        sequence=progress.contributions,
        contributor=context.sender,
        depositor=context.payer,
        transaction_id=context.transaction_id,
        samples=sample_count(batch.samples),
        entries=count_entries(batch.samples),
    )
    samples = fingerprint_samples(batch)
    earlier = campaign
    campaign = replace(campaign, entries=(*campaign.entries, entry))
    _check_fits(context, model, campaign, entry)
    _check_new(context, name, earlier, samples)
    _hold_stake(context, model, stake, entry.samples)
    context.put(campaign_samples_key(name, entry.sequence), samples)
    if len(campaign.entries) == campaign.terms.contributions_max:
        campaign = replace(campaign, phase="reveal", phase_ms=context.timestamp_ms)
    context.put(campaign_key(name, campaign.number), campaign)
    evaluation = evaluate(get_family(spec.family), spec, context.read_model(name), batch)
    _put_on_record(context, model, batch, entry, evaluation)
    return [entry.sequence, 0, stake, evaluation.correct, entry.samples, 0]


def _hold_stake(context: ExecutionContext, model: Model, stake: int, samples: int) -> None:
    """Hold the stake; what sponsors may pay is limited as for deposits."""
    if not stake:
        return
    if context.payer != context.sender:
        limit = model.description.terms.sponsored_samples_max
        count_sponsored(context, context.sender, model.description.name, samples, limit)
    context.hold(context.payer, stake)


def _check_fits(
    context: ExecutionContext, model: Model, campaign: Campaign, entry: CampaignEntry
) -> None:
    """Check that valuing the campaign with this contribution stays possible."""
    spec = model.description.spec
    units = compute_batch_units(spec, entry.samples, entry.entries)
    units = max(units, compute_settle_units(spec, campaign))
    check_item_fits(spec, context.parameters, campaign, units)


def _belongs_together(context: ExecutionContext, one: AccountId, other: AccountId) -> bool:
    """Say whether two accounts are the same or known to act for the same member."""
    if one == other:
        return True
    member, another = find_member(context, one), find_member(context, other)
    return member is not None and another is not None and member.account == another.account


def _check_new(
    context: ExecutionContext, model: str, campaign: Campaign, samples: CampaignSamples
) -> None:
    """Check that the campaign holds none of the samples yet, and that each is there once."""
    known = (
        context.get(campaign_samples_key(model, entry.sequence), decode_campaign_samples)
        for entry in campaign.entries
    )
    found = count_duplicates(samples, (each for each in known if each is not None))
    if found:
        raise TransactionFailedError(
            "duplicate_samples",
            f"{found} samples, each with its target, are in the campaign already or twice in the"
            " batch; none may be",
        )


def _put_on_record(
    context: ExecutionContext,
    model: Model,
    batch: Batch,
    entry: CampaignEntry,
    evaluation: Evaluation,
) -> None:
    """Write the contribution with a closed book, and count how it was judged."""
    name = model.description.name
    by_class, by_group = count_judged(model.description, batch, evaluation)
    contribution = Contribution(
        transaction_id=entry.transaction_id,
        contributor=entry.contributor,
        depositor=entry.depositor,
        height=context.height,
        timestamp_ms=context.timestamp_ms,
        entries=entry.entries,
        correct=evaluation.correct,
        loss=evaluation.loss,
        by_class=by_class,
        by_group=by_group,
        book=Book(samples=entry.samples, share=0, open_samples=0),
    )
    context.put(contribution_key(name, entry.sequence), contribution)
    progress = get_progress(context, name)
    after = replace(
        progress,
        contributions=progress.contributions + 1,
        correct=progress.correct + evaluation.correct,
        judged=progress.judged + entry.samples,
        loss=max(-LOSS_SUM_MAX, min(LOSS_SUM_MAX, progress.loss + evaluation.loss)),
    )
    context.put(model_progress_key(name), after)
    if by_class or by_group:
        context.put(model_tally_key(name), read_tally(context, name).add(by_class, by_group))
