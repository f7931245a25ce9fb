"""Computes the settlement of a campaign again, from what anybody can read about it.

The measures are taken as they are on record: that they are right is what validators agree on. That
the rule's money follows from them, to the unit, is what everybody can check here. The rules are the
ones that validators apply (docs/spec/incentives.md §6-8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from incentives.valuation import Case, History, Settlement, ValuationTerms, share_equally
from incentives.valuation_registry import get_valuation_rule
from ledger.hidden_pieces import commit_to_seed, draw_piece
from primitives.errors import InvalidInputError
from quorate.campaign_records import CampaignEntry, CampaignRecord

__all__ = ["CampaignAudit", "audit_campaign"]

WITHHELD_BURNT_PART: Final = 10
"""A tenth of the bounty burns when the drawn piece is not shown: docs/spec/ledger.md §5.11."""


@dataclass(frozen=True, slots=True)
class CampaignAudit:
    """Whether a campaign was settled as its rule says.

    Parameters
    ----------
    model, number : which campaign.
    phase : how it stands.
    differences : sentences, each about something that is not what it should be; none if all is.
    payouts : what each contribution should have been paid.
    returned, burnt : what should have gone to the provider, and to nobody.
    """

    model: str
    number: int
    phase: str
    differences: tuple[str, ...]
    payouts: tuple[int, ...]
    returned: int
    burnt: int

    @property
    def is_right(self) -> bool:
        """Whether all is as it should be."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class _Expected:
    payouts: tuple[int, ...]
    values: tuple[Fraction, ...]
    kept: tuple[bool, ...]
    returned: int
    burnt: int = 0


def audit_campaign(campaign: CampaignRecord, seed: bytes | None = None) -> CampaignAudit:
    """Return whether everybody was paid what the rule says.

    Parameters
    ----------
    campaign : one that was settled or closed, with entries and measures.
    seed : that the provider showed with the drawn piece, to check the draw as well.

    Raises
    ------
    InvalidInputError
        ``not_settled``: nobody was paid yet.
    """
    if campaign.phase in ("draw", "participation", "reveal", "evaluation"):
        raise InvalidInputError(
            "not_settled",
            f"campaign {campaign.number} of {campaign.model!r} is in the phase {campaign.phase}:"
            " nobody was paid yet",
            field="phase",
            value=campaign.phase,
        )
    terms, count = _read_terms(campaign.raw["terms"]), len(campaign.entries)
    unpaid = ((Fraction(0),) * count, (False,) * count)
    if campaign.phase == "withheld":
        burnt = terms.bounty // WITHHELD_BURNT_PART
        expected = _Expected((), (), (), terms.bounty - burnt, burnt)
    elif campaign.phase == "empty":
        expected = _Expected((), (), (), terms.bounty)
    elif campaign.phase == "not_revealed":
        shares = share_equally(terms.bounty, count)
        expected = _Expected(tuple(terms.stake + share for share in shares), *unpaid, 0)
    elif campaign.phase == "aborted":
        expected = _Expected((terms.stake,) * count, *unpaid, terms.bounty)
    else:
        settlement, mistake = _settle(campaign, terms)
        if settlement is None:
            return _make_audit(campaign, _Expected((), (), (), 0), [mistake])
        expected = _Expected(
            settlement.payouts, settlement.values, settlement.kept, settlement.returned
        )
    return _make_audit(
        campaign, expected, [*_check_test_data(campaign, seed), *_compare(campaign, expected)]
    )


def _check_test_data(campaign: CampaignRecord, seed: bytes | None) -> list[str]:
    """Return a sentence about whatever is wrong with the draw, or the count of test samples."""
    pieces, draw = campaign.raw["pieces"], campaign.raw["draw"]
    found = []
    counted = sum(each["samples"] or 0 for each in pieces if not each["is_drawn"])
    if counted != campaign.raw["test_samples"]:
        found.append(f"test samples are {campaign.raw['test_samples']}, the pieces hold {counted}")
    if seed is not None and commit_to_seed(seed).hex() != draw["seed_commitment"]:
        found.append("the seed that was shown is not the one that was committed to")
    if seed is not None and draw["block_id"] is not None:
        drawn = draw_piece(seed, bytes.fromhex(draw["block_id"]), len(pieces))
        if drawn != draw["piece"]:
            found.append(f"piece {draw['piece']} was shown first, but {drawn} was drawn")
    return found


def _settle(campaign: CampaignRecord, terms: ValuationTerms) -> tuple[Settlement | None, str]:
    """Return what the rule says, or why the measures cannot be those of a whole evaluation."""
    if not campaign.entries or campaign.raw["test_samples"] < 1:
        return None, "there are no contributions, or no test samples to value them on"
    rule = get_valuation_rule(campaign.rule)
    case = _make_case(campaign, terms)
    history = _read_history(campaign.raw["measures"])
    wrong_count = f"there are {len(history)} chains, which is not what {rule.name} asks for"
    for number, measures in enumerate(history):
        chain = rule.next_chain(case, history[:number])
        if chain is None:
            return None, wrong_count
        if not measures or not chain.is_over(measures) or chain.is_over(measures[:-1]):
            return None, f"chain {number} has {len(measures)} measures, which is not where it ends"
    if rule.next_chain(case, history) is not None:
        return None, wrong_count
    return rule.settle(case, history), ""


def _make_case(campaign: CampaignRecord, terms: ValuationTerms) -> Case:
    numbers: dict[str, int] = {}
    for entry in campaign.entries:
        numbers.setdefault(entry.contributor, len(numbers))
    raw = campaign.raw
    seed = bytes.fromhex(raw["draw"]["block_id"] or "") + bytes.fromhex(raw["transaction_id"])
    contributors = tuple(numbers[entry.contributor] for entry in campaign.entries)
    return Case(contributors, raw["test_samples"], terms, seed)


def _compare(campaign: CampaignRecord, expected: _Expected) -> list[str]:
    """Return a sentence about everything that is not what it should be."""
    found = []
    for name, paid, due in (
        ("returned", campaign.returned, expected.returned),
        ("burnt", campaign.burnt, expected.burnt),
    ):
        if paid != due:
            found.append(f"{name} is {paid}, by the rule {due}")
    outcomes = zip(expected.payouts, expected.values, expected.kept, strict=True)
    for entry, (payout, value, kept) in zip(campaign.entries, outcomes, strict=False):
        found += _compare_entry(entry, payout, value, kept=kept)
    return found


def _compare_entry(entry: CampaignEntry, payout: int, value: Fraction, *, kept: bool) -> list[str]:
    pairs: Sequence[tuple[str, object, object]] = (
        ("was paid", entry.payout, payout),
        ("has the value", entry.value, value),
        ("is kept", entry.kept, kept),
    )
    return [
        f"contribution {entry.sequence} {what}: {paid}, by the rule {due}"
        for what, paid, due in pairs
        if paid != due
    ]


def _make_audit(
    campaign: CampaignRecord, expected: _Expected, differences: list[str]
) -> CampaignAudit:
    return CampaignAudit(
        campaign.model,
        campaign.number,
        campaign.phase,
        tuple(differences),
        expected.payouts,
        expected.returned,
        expected.burnt,
    )


def _read_terms(body: Mapping[str, Any]) -> ValuationTerms:
    return ValuationTerms(
        bounty=int(body["bounty"]),
        stake=int(body["stake"]),
        reset=body["reset"],
        clip_percent=body["clip_percent"],
        budget=body["budget"],
        truncation=int(body["truncation"]),
    )


def _read_history(chains: Sequence[Sequence[str]]) -> History:
    return tuple(tuple(int(measure) for measure in measures) for measures in chains)
