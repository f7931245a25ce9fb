"""Contribution pay: contributors share a bounty by what they add, harm earns nothing.

The players are contributors, whose contributions are trained in the order of time. A coalition is
worth what the model measures after learning what its members sent. Stakes come back whole, since
nothing here is a bet: they only make many empty contributions dear. Source: docs/spec/incentives.md
§8.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from incentives.shapley import (
    draw_order,
    exact_values,
    leave_one_out_values,
    members_of,
    pay_by_value,
    sampled_values,
)
from incentives.valuation import (
    Case,
    Chain,
    History,
    Settlement,
    ValuationTerms,
    refuse_terms,
    share_equally,
)

__all__ = ["EXACT_PLAYERS_MAX", "LeaveOneOut", "Shapley"]

EXACT_PLAYERS_MAX: Final = 8
"""Up to so many contributors all coalitions are measured, at most 256."""

SAMPLED_STEPS_MAX: Final = 4_096
"""Steps of all walks together, each at most one chain: with more contributors fewer are walked."""

Walk = tuple[tuple[int, ...], list[int]]
"""An order of the contributors, and the utility after each until the walk ended."""


class Shapley:
    """The rule ``shapley``: exact for few contributors, sampled for many.

    Both value the same game: a coalition is trained in the order of time, whichever walk it is met
    on, and measured once.
    """

    name = "shapley"
    mechanism = "contribution_pay"
    counts_answers = False

    def check(self, terms: ValuationTerms) -> None:
        """Refuse what belongs to markets; raises ``invalid_campaign``."""
        refuse_terms(self.name, terms, reset=0)

    def compute_effort(self, case: Case) -> int:
        """Return a bound on steps: all coalitions or walks, each with every player."""
        players = len(case.by_contributor)
        chains = 1 << players if players <= EXACT_PLAYERS_MAX else 2 * _count_pairs(case)
        return chains * players + len(case.contributors)

    def next_chain(self, case: Case, history: History) -> Chain | None:
        """Return the next coalition, or the first that the walks meet and nobody measured."""
        players = len(case.by_contributor)
        if players <= EXACT_PLAYERS_MAX:
            coalition = None if len(history) == 1 << players else len(history)
        elif len(history) < 2:
            coalition = ((1 << players) - 1) * len(history)
        else:
            _, coalition = _walk(case, history)
        return None if coalition is None else Chain((_gather(case, members_of(coalition)),))

    def settle(self, case: Case, history: History) -> Settlement:
        """Pay in proportion to what contributors are worth."""
        players = len(case.by_contributor)
        if players <= EXACT_PLAYERS_MAX:
            values = exact_values(players, [measures[0] for measures in history])
        else:
            walks, _ = _walk(case, history)
            values = sampled_values(players, history[0][0], walks)
        return _settle(case, values)


class LeaveOneOut:
    """The rule ``leave_one_out``: one chain for each contributor, for models that learn slowly."""

    name = "leave_one_out"
    mechanism = "contribution_pay"
    counts_answers = False

    def check(self, terms: ValuationTerms) -> None:
        """Refuse what belongs to others; raises ``invalid_campaign``."""
        refuse_terms(self.name, terms, reset=0, budget=1, truncation=0)

    def compute_effort(self, case: Case) -> int:
        """Return a bound on steps."""
        return len(case.contributors) + 1

    def next_chain(self, case: Case, history: History) -> Chain | None:
        """Return everybody first, then everybody but one."""
        players = len(case.by_contributor)
        if len(history) > players:
            return None
        left_out = len(history) - 1
        return Chain((_gather(case, [each for each in range(players) if each != left_out]),))

    def settle(self, case: Case, history: History) -> Settlement:
        """Pay in proportion to what is missing without a contributor."""
        (everybody,), *without = history
        return _settle(case, leave_one_out_values(everybody, [each[0] for each in without]))


def _gather(case: Case, players: tuple[int, ...] | list[int]) -> tuple[int, ...]:
    """Return the contributions of some contributors, in the order of time."""
    return tuple(sorted(place for player in players for place in case.by_contributor[player]))


def _count_pairs(case: Case) -> int:
    """Return how many orders are walked there and back."""
    return min(case.terms.budget, SAMPLED_STEPS_MAX // (2 * len(case.by_contributor)))


def _get_order(case: Case, walk: int) -> tuple[int, ...]:
    """Return the order of a walk: every other one is the reverse of that before it."""
    order = draw_order(case.seed, walk // 2, len(case.by_contributor))
    return order[::-1] if walk % 2 else order


def _walk(case: Case, history: History) -> tuple[list[Walk], int | None]:
    """Walk as far as the measures go.

    The first are of nobody and of everybody; the others are of the coalitions that the walks meet,
    each once, in the order in which they do.

    Returns
    -------
    tuple[list[Walk], int | None]
        The walks that ended, and the first coalition that was not measured; None if all ended.
    """
    (nobody,), (everybody,), *rest = history
    truncation, measured = case.terms.truncation, iter(rest)
    known = {0: nobody, (1 << len(case.by_contributor)) - 1: everybody}
    walks: list[Walk] = []
    for number in range(2 * _count_pairs(case)):
        order, coalition, utilities = _get_order(case, number), 0, [nobody]
        for player in order:
            if 0 < truncation >= abs(everybody - utilities[-1]):
                break
            coalition |= 1 << player
            if coalition not in known:
                found = next(measured, None)
                if found is None:
                    return walks, coalition
                known[coalition] = found[0]
            utilities.append(known[coalition])
        walks.append((order, utilities[1:]))
    return walks, None


def _settle(case: Case, values: tuple[Fraction, ...]) -> Settlement:
    pay = pay_by_value(case.terms.bounty, values, case.terms.clip_percent)
    payouts = [case.terms.stake] * len(case.contributors)
    for members, amount in zip(case.by_contributor, pay, strict=True):
        for place, share in zip(members, share_equally(amount, len(members)), strict=True):
            payouts[place] += share
    by_contribution = tuple(values[player] for player in case.contributors)
    return Settlement(
        tuple(payouts),
        by_contribution,
        tuple(value >= 0 for value in by_contribution),
        case.terms.bounty - sum(pay),
    )
