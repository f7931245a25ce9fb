"""What became of one campaign, in coins and by kind of agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.campaign_records import Campaign
from node.agents.settings import UNITS_PER_COIN
from primitives.accounts import AccountId

__all__ = ["CampaignRow", "make_campaign_row"]


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """One campaign; money in coins, dictionaries by kind of agents.

    Parameters
    ----------
    number : from 0.
    phase : how it ended: ``settled``, or ``empty`` if nobody contributed.
    ended_day : when everybody was paid.
    contributions, kept : how many there were, and how many the model learnt.
    samples : in all contributions.
    test_samples : that they were valued on; 0 if there was nothing to value.
    chains : of contributions that were measured.
    staked, paid : what went in with contributions, and what was paid for them, stakes included.
    bounty, returned, burnt : promised by the provider; what it got back; what nobody got.
    accuracy : of the model after it, on data that nobody sends, in percent.
    """

    number: int
    phase: str
    ended_day: float
    contributions: dict[str, int]
    kept: dict[str, int]
    samples: int
    test_samples: int
    chains: int
    staked: dict[str, float]
    paid: dict[str, float]
    bounty: float
    returned: float
    burnt: float
    accuracy: float

    def get_gain(self, kind: str) -> float:
        """Return what all agents of a kind have more than before it, in coins."""
        return round(self.paid.get(kind, 0.0) - self.staked.get(kind, 0.0), 3)


def make_campaign_row(
    campaign: Campaign,
    kind_of: Mapping[AccountId, str],
    *,
    chains: int,
    ended_day: float,
    accuracy: float,
) -> CampaignRow:
    """Return the row of a campaign that is closed.

    Parameters
    ----------
    campaign : as it is on record.
    kind_of : account to the kind of agents that it belongs to.
    chains, ended_day, accuracy : see `CampaignRow`.
    """
    kinds = list(dict.fromkeys(kind_of.values()))
    made = [kind_of[entry.contributor] for entry in campaign.entries]
    paid = dict.fromkeys(kinds, 0)
    for kind, outcome in zip(made, campaign.outcomes, strict=True):
        paid[kind] += outcome.payout
    kept = [kind for kind, each in zip(made, campaign.outcomes, strict=True) if each.kept]
    terms = campaign.terms.valuation
    return CampaignRow(
        number=campaign.number,
        phase=campaign.phase,
        ended_day=ended_day,
        contributions={kind: made.count(kind) for kind in kinds},
        kept={kind: kept.count(kind) for kind in kinds},
        samples=sum(entry.samples for entry in campaign.entries),
        test_samples=campaign.samples,
        chains=chains,
        staked={kind: _coins(terms.stake * made.count(kind)) for kind in kinds},
        paid={kind: _coins(amount) for kind, amount in paid.items()},
        bounty=_coins(terms.bounty),
        returned=_coins(campaign.returned),
        burnt=_coins(campaign.burnt),
        accuracy=accuracy,
    )


def _coins(units: int) -> float:
    return units / UNITS_PER_COIN
