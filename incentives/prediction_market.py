"""The prediction market: contributions are bets that the model will answer more questions rightly.

Theory of operation
-------------------
Every contribution puts in a stake. In a *pass* the contributions are trained one after the other
and the right answers on the test set are counted after each; the change of the count is the
contribution's *score*. A *round* pays each score / N, out of the bounty or, if it is negative, into
it; the bounty is worth as many rounds as it has units of money. A pass lasts until the first loser
runs out, who is removed. The next pass is played by the others.

After Abernethy and Frongillo ("A Collaborative Mechanism for Crowdsourcing Prediction Problems",
NIPS 2011) and Harris and Waggoner ("Decentralized & Collaborative AI on Blockchain", IEEE
Blockchain 2019), whose simulation this corrects: every pass starts from the measure before all
contributions, a balance counts once, whoever runs out first ends the pass, and what is not won goes
back to the provider.

Invariants: (P1) balances and money together are stakes and bounty, exactly, after every pass;
(P2) no balance and no money is ever negative; (P3) every pass but the last removes somebody, so
there are at most as many passes as players. Source: docs/spec/incentives.md §7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from typing import Final

from incentives.valuation import (
    Case,
    Chain,
    History,
    Settlement,
    ValuationTerms,
    refuse_terms,
    share_equally,
)
from primitives.errors import InvalidInputError

__all__ = ["MarketBook", "PredictionMarket", "play_market"]

PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class MarketBook:
    """Where a market stands between two passes.

    Parameters
    ----------
    denominator
        Of all amounts here: exact rationals, held as integers over one denominator because nothing
        then has to be normalised before the end.
    balances
        Numerators, one for each player.
    money
        Numerator of what is left of the bounty.
    rounds
        Numerator of how many rounds are left.
    active
        Which players were not removed.
    is_over
        Whether no further pass is played.
    """

    denominator: int
    balances: tuple[int, ...]
    money: int
    rounds: int
    active: tuple[bool, ...]
    is_over: bool = False

    def to_fraction(self, numerator: int) -> Fraction:
        """Return one of the amounts."""
        return Fraction(numerator, self.denominator)


class PredictionMarket:
    """The rules ``market_single`` and ``market_grouped``.

    Parameters
    ----------
    grouped
        Whether all contributions of a contributor are one player.
    """

    mechanism = "prediction_market"
    counts_answers = True

    def __init__(self, *, grouped: bool) -> None:
        self.grouped = grouped
        self.name = "market_grouped" if grouped else "market_single"

    def check(self, terms: ValuationTerms) -> None:
        """Refuse a market without stakes; raises ``invalid_campaign``."""
        refuse_terms(self.name, terms, clip_percent=PERCENT, budget=1, truncation=0)
        if terms.stake < 1:
            raise InvalidInputError(
                "invalid_campaign",
                f"campaign.stake must be at least 1 for {self.name}, found {terms.stake}",
                field="campaign.stake",
                value=terms.stake,
                limit=1,
            )

    def compute_effort(self, case: Case) -> int:
        """Return a bound on steps: every pass looks at every contribution."""
        return (len(self._group(case)) + 1) * len(case.contributors) + 1

    def next_chain(self, case: Case, history: History) -> Chain | None:
        """Return the next pass over whoever is left; with scores reused there is one alone."""
        if not history:
            return Chain(((), *self._runs(case, range(len(case.contributors)))))
        if not case.terms.reset:
            return None
        book = self._play(case, history)[-1]
        return None if book.is_over else Chain(self._runs(case, self._kept(case, book)))

    def settle(self, case: Case, history: History) -> Settlement:
        """Pay everybody what is left of a whole unit; the provider gets the rest."""
        book = self._play(case, history)[-1]
        payouts = [0] * len(case.contributors)
        values = [Fraction(0)] * len(case.contributors)
        for player, members in enumerate(self._group(case)):
            shares = share_equally(book.balances[player] // book.denominator, len(members))
            gain = book.to_fraction(book.balances[player]) - case.terms.stake * len(members)
            for place, share in zip(members, shares, strict=True):
                payouts[place], values[place] = share, gain
        kept = set(self._kept(case, book))
        return Settlement(
            tuple(payouts),
            tuple(values),
            tuple(place in kept for place in range(len(payouts))),
            case.terms.bounty + case.stakes - sum(payouts),
        )

    def _play(self, case: Case, history: History) -> list[MarketBook]:
        return play_market(case, history, grouped=self.grouped)

    def _group(self, case: Case) -> tuple[tuple[int, ...], ...]:
        return _group(case, grouped=self.grouped)

    def _kept(self, case: Case, book: MarketBook) -> list[int]:
        """Return the contributions of the players that are left, in the order of time."""
        groups = zip(self._group(case), book.active, strict=True)
        return sorted(place for members, stays in groups if stays for place in members)

    def _runs(self, case: Case, places: list[int] | range) -> tuple[tuple[int, ...], ...]:
        return _find_runs(case, places, grouped=self.grouped)


def play_market(case: Case, history: History, *, grouped: bool) -> list[MarketBook]:
    """Play the passes that the measures cover; return the book before them and after each.

    Parameters
    ----------
    case
        The market.
    history
        Measures of each pass; the first begins with that before all contributions. If scores are
        reused there is one, and passes are played until the market is over.
    grouped
        Whether all contributions of a contributor are one player.
    """
    groups = _group(case, grouped=grouped)
    stakes = tuple(case.terms.stake * len(members) for members in groups)
    bounty = case.terms.bounty
    books = [MarketBook(1, stakes, bounty, bounty, (True,) * len(groups))]
    before, *first = history[0]
    passes = (tuple(first), *history[1:])
    number = 0
    while not books[-1].is_over and (number < len(passes) or not case.terms.reset):
        if number == 0 or case.terms.reset:
            scores = _score(case, groups, books[-1].active, (before, *passes[number]))
        books.append(_play_pass(books[-1], scores, case.samples))
        number += 1
    return books


def _score(
    case: Case,
    groups: tuple[tuple[int, ...], ...],
    active: tuple[bool, ...],
    counts: tuple[int, ...],
) -> list[int]:
    """Return what each player changed the count by; players that were removed changed nothing."""
    player_of = {place: player for player, members in enumerate(groups) for place in members}
    grouped = len(groups) < len(case.contributors)
    places = [place for place in range(len(case.contributors)) if active[player_of[place]]]
    scores = [0] * len(groups)
    for number, run in enumerate(_find_runs(case, places, grouped=grouped)):
        scores[player_of[run[0]]] += counts[number + 1] - counts[number]
    return scores


def _play_pass(book: MarketBook, scores: list[int], samples: int) -> MarketBook:
    """Return the book after a pass, which lasts until rounds, money or a loser's balance end.

    What a round pays for a score of 1 is 1/N. So a pass pays for it p = r/N, here ``pay/divisor``
    over the book's denominator, and a loser's balance allows p = balance / -score.
    """
    players = [player for player, active in enumerate(book.active) if active]
    total = sum(scores[player] for player in players)
    limits = [(book.rounds, samples)]
    if total > 0:
        limits.append((book.money, total))
    losers = [player for player in players if scores[player] < 0]
    limits.extend((book.balances[player], -scores[player]) for player in losers)
    pay, divisor = limits[0]
    for other, other_divisor in limits[1:]:
        if other * divisor < pay * other_divisor:
            pay, divisor = other, other_divisor
    balances = [
        balance * divisor + (scores[player] * pay if book.active[player] else 0)
        for player, balance in enumerate(book.balances)
    ]
    after = replace(
        book,
        denominator=book.denominator * divisor,
        balances=tuple(balances),
        money=book.money * divisor - total * pay,
        rounds=book.rounds * divisor - samples * pay,
        active=tuple(
            active and balance > 0 for active, balance in zip(book.active, balances, strict=True)
        ),
    )
    ends = not losers or after.rounds == 0 or after.money == 0 or not any(after.active)
    return replace(after, is_over=ends)


def _group(case: Case, *, grouped: bool) -> tuple[tuple[int, ...], ...]:
    """Return the contributions of each player."""
    if grouped:
        return case.by_contributor
    return tuple((place,) for place in range(len(case.contributors)))


def _find_runs(
    case: Case, places: list[int] | range, *, grouped: bool
) -> tuple[tuple[int, ...], ...]:
    """Cut contributions into what is trained between two measures."""
    if not grouped:
        return tuple((place,) for place in places)
    runs = groupby(places, key=lambda place: case.contributors[place])
    return tuple(tuple(members) for _, members in runs)
