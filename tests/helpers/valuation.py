"""Rules of valuation played to their end on games whose measures a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from incentives.accounting import verify_settlement
from incentives.valuation import Case, Settlement, ValuationRule

Utility = Callable[[Sequence[int]], int]
"""What a model measures after it learnt some contributions in some order."""


def play(
    rule: ValuationRule, case: Case, utility: Utility
) -> tuple[Settlement, list[tuple[int, ...]]]:
    """Return the settlement of a case, and all measures that led to it."""
    history: list[tuple[int, ...]] = []
    while (chain := rule.next_chain(case, tuple(history))) is not None:
        learnt: list[int] = []
        measures: tuple[int, ...] = ()
        for step in chain.steps:
            learnt.extend(step)
            measures += (utility(learnt),)
            if chain.is_over(measures):
                break
        history.append(measures)
    settlement = rule.settle(case, tuple(history))
    held = case.terms.bounty + case.stakes
    verify_settlement(held, (*settlement.payouts, settlement.returned))
    return settlement, history


def make_noise(samples: int, salt: int) -> Utility:
    """Return measures in [0, samples] that depend on every contribution and on the order."""

    def measure(learnt: Sequence[int]) -> int:
        digest = sha256(repr((salt, tuple(learnt))).encode()).digest()
        return int.from_bytes(digest[:8], "big") % (samples + 1)

    return measure


def make_coverage(*facts: str) -> Utility:
    """Return a model that knows each letter that a contribution taught it, and forgets those in
    upper case: the measure is how many of the letters it knows."""

    def measure(learnt: Sequence[int]) -> int:
        known: set[str] = set()
        for place in learnt:
            for fact in facts[place]:
                known = known | {fact} if fact.islower() else known - {fact.lower()}
        return len(known)

    return measure
