"""How far the evaluation of a campaign has come, in items of work, and how many may be left.

What was done follows from the measures on record: the rule says which chains they belong to. What
is left is an estimate: which chains a rule asks for next depends on measures that nobody knows yet,
so they are taken to be what the model had before all contributions. Only for people: nothing
depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incentives.valuation import Case, Chain, History, ValuationRule
from incentives.valuation_registry import get_valuation_rule
from ledger.campaign_records import Campaign

__all__ = ["ItemCount", "count_items"]

EFFORT_MAX: Final = 1_000_000
"""Steps of a rule's arithmetic that an answer may cost, a second at worst: what would take more is
guessed."""

ITEMS_OF_END: Final = 2
"""The start that finds no further chain, and settling."""


@dataclass(frozen=True, slots=True)
class ItemCount:
    """Items of work of an evaluation.

    Parameters
    ----------
    done : that were performed.
    estimated : of all there will be, those included; at least `done`.
    chains_done : chains that were measured to their end.
    """

    done: int
    estimated: int
    chains_done: int


def count_items(campaign: Campaign, history: History) -> ItemCount | None:
    """Return how far an evaluation is; None for a campaign that is not evaluated at present.

    Parameters
    ----------
    campaign : in any phase.
    history : the measures on record.
    """
    if campaign.phase not in ("evaluation", "learning"):
        return None
    counter = _Counter(campaign, history)
    if campaign.phase == "learning":
        return counter.count_learning()
    return counter.count_evaluation()


class _Counter:
    """Counts the items of one campaign."""

    def __init__(self, campaign: Campaign, history: History) -> None:
        self._campaign = campaign
        self._history = history
        self._case: Case = campaign.to_case()
        self._rule: ValuationRule = get_valuation_rule(campaign.terms.rule)
        self._pieces = len(campaign.scoring_pieces)
        self._effort_left = EFFORT_MAX

    def count_learning(self) -> ItemCount:
        """Count when everybody was paid, and kept contributions are left to be learnt."""
        campaign, chains = self._campaign, len(self._history)
        settled = self._count_past() + ITEMS_OF_END
        kept = sum(outcome.kept for outcome in campaign.outcomes)
        return ItemCount(settled + campaign.evaluation.place, settled + kept, chains)

    def count_evaluation(self) -> ItemCount:
        """Count while chains are measured."""
        evaluation, chain = self._campaign.evaluation, self._campaign.evaluation.chain
        done, history = self._count_past(), self._history
        # The start that finds no chain, settling, and learning all contributions.
        left = ITEMS_OF_END + len(self._campaign.entries)
        if chain is not None and not chain.steps:
            return ItemCount(done + 1, done + left, len(history))
        if chain is not None:
            step = evaluation.step
            whole = self._count_steps(chain, len(chain.steps))
            worked = self._count_steps(chain, step) + evaluation.place + evaluation.piece
            done, left = done + worked, left + whole - worked
            known = evaluation.measures[-1] if evaluation.measures else self._before
            guessed = (*evaluation.measures, *[known] * (len(chain.steps) - step))
            history = (*history, guessed)
        left += self._count_future(history)
        return ItemCount(done, done + left, len(self._history))

    @property
    def _before(self) -> int:
        return self._history[0][0] if self._history else 0

    def _count_past(self) -> int:
        items = 0
        for number, measures in enumerate(self._history):
            chain = self._ask(self._history[:number])
            if chain is None:
                # Too dear to be asked for: no chain trains more than everything.
                items += 1 + len(self._campaign.entries) + self._pieces * len(measures)
            else:
                items += self._count_steps(chain, len(measures))
        return items

    def _count_future(self, history: History) -> int:
        items = 0
        while (chain := self._ask(history)) is not None:
            items += self._count_steps(chain, len(chain.steps))
            history = (*history, (self._before,) * len(chain.steps))
        return items

    def _ask(self, history: History) -> Chain | None:
        """Return the chain that follows a history; None also if that would take too long."""
        self._effort_left -= self._rule.compute_effort(self._case)
        if self._effort_left < 0:
            return None
        return self._rule.next_chain(self._case, history)

    def _count_steps(self, chain: Chain, steps: int) -> int:
        """Return the items of a chain's beginning: its start, and trainings and measures."""
        trained = sum(len(step) for step in chain.steps[:steps])
        return 1 + trained + self._pieces * steps
