"""The one interface of all rules that say what collected contributions were worth.

A campaign collects contributions to a model without learning them. Afterwards they are valued on
hidden test data: the model is trained from where it stands on some of them, in some order, and
measured. A rule says which, and what follows from the measures. It is pure: a case and the measures
so far go in, the next chain or a settlement comes out; it knows neither models nor accounts, and
everybody who has the measures can compute the settlement again. A newcomer adds a rule in one file
and lists it in ``incentives.valuation_registry``. Source: docs/spec/incentives.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Protocol

from primitives.errors import InvalidInputError

__all__ = [
    "Case",
    "Chain",
    "History",
    "Settlement",
    "ValuationRule",
    "ValuationTerms",
    "refuse_terms",
    "share_equally",
]

History = tuple[tuple[int, ...], ...]
"""The measures of every chain so far, in the order in which they were asked for."""


@dataclass(frozen=True, slots=True)
class ValuationTerms:
    """What the provider promises before anybody contributes.

    Parameters
    ----------
    bounty
        Money to be won, ≥ 1, in the smallest unit.
    stake
        Money that goes with each contribution, ≥ 0.
    reset
        Whether each pass of a market trains and measures again.
    clip_percent
        Most that one contributor can win, of the bounty.
    budget
        Pairs of orders that are walked where not all coalitions are measured, unless there are too
        many contributors for so many.
    truncation
        A walk ends when its measure is this near to that of everything; 0 if none does.
    """

    bounty: int
    stake: int
    reset: bool = False
    clip_percent: int = 100
    budget: int = 1
    truncation: int = 0


@dataclass(frozen=True)
class Case:
    """What there is to value.

    Parameters
    ----------
    contributors
        For each contribution, in the order of time, the number of who made it; contributors are
        numbered from 0 in the order of their first contributions.
    samples
        Test samples, N ≥ 1; an accuracy is how many of them are answered rightly.
    terms
        What was promised.
    seed
        Of permutations.
    """

    contributors: tuple[int, ...]
    samples: int
    terms: ValuationTerms
    seed: bytes = b""

    @cached_property
    def by_contributor(self) -> tuple[tuple[int, ...], ...]:
        """The contributions of each contributor, in the order of time."""
        found: list[list[int]] = [[] for _ in range(max(self.contributors, default=-1) + 1)]
        for place, contributor in enumerate(self.contributors):
            found[contributor].append(place)
        return tuple(tuple(each) for each in found)

    @property
    def stakes(self) -> int:
        """All stakes together."""
        return self.terms.stake * len(self.contributors)


@dataclass(frozen=True, slots=True)
class Chain:
    """What is to be trained from where the model stands, and when it is measured.

    Parameters
    ----------
    steps
        Each names contributions to be trained, in their order, and ends with a measure. An empty
        one measures what is there.
    """

    steps: tuple[tuple[int, ...], ...]

    def is_over(self, measures: tuple[int, ...]) -> bool:
        """Say whether nothing is left to be measured."""
        return len(measures) >= len(self.steps)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What follows from a valuation.

    Parameters
    ----------
    payouts
        For each contribution, its stake or what is left of it included.
    values
        For each contribution the exact value, or that of all contributions of its contributor
        where the rule values those together: what karma is given or taken for.
    kept
        For each contribution whether the model is to learn it.
    returned
        To the provider.
    """

    payouts: tuple[int, ...]
    values: tuple[Fraction, ...]
    kept: tuple[bool, ...]
    returned: int


class ValuationRule(Protocol):
    """How collected contributions are valued and paid."""

    @property
    def name(self) -> str:
        """Name in a campaign's terms."""

    @property
    def mechanism(self) -> str:
        """Name of the mechanism of the models that it is for."""

    @property
    def counts_answers(self) -> bool:
        """Whether it takes nothing but counts of right answers as measures."""

    def check(self, terms: ValuationTerms) -> None:
        """Check what only this rule asks of terms; raises ``invalid_campaign``."""

    def compute_effort(self, case: Case) -> int:
        """Return a bound on the steps of arithmetic of one call of what follows."""

    def next_chain(self, case: Case, history: History) -> Chain | None:
        """Return what is to be measured next, or None if the history settles the case."""

    def settle(self, case: Case, history: History) -> Settlement:
        """Return who gets what; only when there is no next chain."""


def share_equally(amount: int, count: int) -> tuple[int, ...]:
    """Return equal shares of an amount, of which the first takes the remainder.

    Examples
    --------
    >>> share_equally(11, 3)
    (5, 3, 3)
    """
    share, remainder = divmod(amount, count)
    return (share + remainder,) + (share,) * (count - 1)


def refuse_terms(rule: str, terms: ValuationTerms, **neutral: int) -> None:
    """Refuse terms that mean nothing to a rule unless they have their neutral value.

    Raises
    ------
    InvalidInputError
        ``invalid_campaign``.
    """
    for name, expected in neutral.items():
        value = int(getattr(terms, name))
        if value != expected:
            raise InvalidInputError(
                "invalid_campaign",
                f"campaign.{name} must be {expected} for {rule}, found {value}",
                field=f"campaign.{name}",
                value=value,
                limit=expected,
            )
