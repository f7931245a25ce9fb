"""How the money of a campaign leaves it, each way checked to the unit before anything moves.

Source: docs/spec/ledger.md §5.11.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Final

from incentives.accounting import verify_settlement
from incentives.activity import DAY_MS
from incentives.valuation import Settlement, share_equally
from ledger.campaign_evaluation import Evaluation
from ledger.campaign_records import Campaign, CampaignEntry, CampaignOutcome
from ledger.campaign_samples import campaign_samples_key
from ledger.contribution_records import contribution_key, decode_contribution
from ledger.deeds import Deeds
from ledger.karma import charge_karma, credit_karma
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import AccountId
from primitives.errors import InvariantViolationError

__all__ = [
    "close_aborted",
    "close_empty",
    "close_not_revealed",
    "close_withheld",
    "forget_samples",
    "pay_settlement",
]

WITHHELD_BURNT_PART: Final = 10
"""A tenth burns, so that opening campaigns until a pleasant piece is drawn costs something."""


def pay_settlement(
    context: ExecutionContext, model: str, campaign: Campaign, settlement: Settlement
) -> Campaign:
    """Pay what a rule says and give and take karma; return the campaign with its outcomes."""
    verify_settlement(campaign.held, (*settlement.payouts, settlement.returned))
    _pay(context, campaign, settlement.payouts, settlement.returned)
    for entry, value in zip(campaign.entries, settlement.values, strict=True):
        if value > 0:
            _praise(context, model, entry)
        elif value < 0:
            charge_karma(context, entry.contributor, model, points=entry.samples)
    return replace(
        campaign,
        outcomes=tuple(
            CampaignOutcome(*each)
            for each in zip(settlement.payouts, settlement.values, settlement.kept, strict=True)
        ),
        returned=settlement.returned,
    )


def close_withheld(context: ExecutionContext, campaign: Campaign) -> Campaign:
    """Burn a part of the bounty of a provider that did not show the drawn piece."""
    burnt = campaign.held // WITHHELD_BURNT_PART
    returned = campaign.held - burnt
    verify_settlement(campaign.held, (returned,), burnt)
    context.release(None, burnt)
    context.release(campaign.provider, returned)
    return _close(context, campaign, "withheld", returned=returned, burnt=burnt)


def close_not_revealed(context: ExecutionContext, campaign: Campaign) -> Campaign:
    """Share the bounty of a provider that kept test data back among those who took part."""
    terms = campaign.terms.valuation
    shares = share_equally(terms.bounty, len(campaign.entries))
    payouts = tuple(terms.stake + share for share in shares)
    return _close_unvalued(context, campaign, "not_revealed", payouts, 0)


def close_aborted(context: ExecutionContext, campaign: Campaign) -> Campaign:
    """Give stakes and bounty back where valuing became impossible, which is nobody's fault."""
    terms = campaign.terms.valuation
    payouts = (terms.stake,) * len(campaign.entries)
    return _close_unvalued(context, campaign, "aborted", payouts, terms.bounty)


def close_empty(context: ExecutionContext, campaign: Campaign) -> Campaign:
    """Give the bounty back when nobody contributed."""
    verify_settlement(campaign.held, (campaign.held,))
    context.release(campaign.provider, campaign.held)
    return _close(context, campaign, "empty", returned=campaign.held)


def _praise(context: ExecutionContext, model: str, entry: CampaignEntry) -> None:
    """Count the samples of a contribution as validated, for karma and for voluntary fees."""
    key = contribution_key(model, entry.sequence)
    contribution = context.get(key, decode_contribution)
    if contribution is None:
        raise InvariantViolationError(f"{model} has no contribution {entry.sequence}")
    context.put(key, replace(contribution, validated=entry.samples))
    credit_karma(
        context,
        entry.contributor,
        model,
        points=entry.samples,
        valid=entry.samples,
        deeds=Deeds(day=contribution.timestamp_ms // DAY_MS),
    )


def forget_samples(context: ExecutionContext, model: str, campaign: Campaign) -> None:
    """Remove what kept samples from being contributed twice, once nobody contributes any more."""
    for entry in campaign.entries:
        context.delete(campaign_samples_key(model, entry.sequence))


def _close_unvalued(
    context: ExecutionContext,
    campaign: Campaign,
    phase: str,
    payouts: tuple[int, ...],
    returned: int,
) -> Campaign:
    """Pay without a rule; return the campaign closed, with outcomes of no value."""
    verify_settlement(campaign.held, (*payouts, returned))
    _pay(context, campaign, payouts, returned)
    return replace(
        _close(context, campaign, phase, returned=returned),
        outcomes=tuple(CampaignOutcome(each, Fraction(0), kept=False) for each in payouts),
    )


def _pay(
    context: ExecutionContext, campaign: Campaign, payouts: tuple[int, ...], returned: int
) -> None:
    """Pay stakes to who put them in, what exceeds them to the contributors."""
    for entry, payout in zip(campaign.entries, payouts, strict=True):
        stake = min(payout, campaign.terms.valuation.stake)
        _release(context, entry.depositor, stake)
        _release(context, entry.contributor, payout - stake)
    _release(context, campaign.provider, returned)


def _release(context: ExecutionContext, account: AccountId, amount: int) -> None:
    """Pay held money, unless it is nothing: that would leave a record of an account without one."""
    if amount:
        context.release(account, amount)


def _close(
    context: ExecutionContext, campaign: Campaign, phase: str, *, returned: int = 0, burnt: int = 0
) -> Campaign:
    return replace(
        campaign,
        phase=phase,
        phase_ms=context.timestamp_ms,
        evaluation=Evaluation(),
        returned=returned,
        burnt=burnt,
    )
