"""The prediction market: the worked example of the specification, and what always holds."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.prediction_market import PredictionMarket, play_market
from incentives.valuation import Case, Chain, ValuationTerms
from incentives.valuation_registry import VALUATION_RULES, get_valuation_rule
from primitives.errors import InvalidInputError
from tests.helpers.valuation import make_coverage, make_noise, play

SINGLE, GROUPED = PredictionMarket(grouped=False), PredictionMarket(grouped=True)
MARKETS = (SINGLE, GROUPED)

# docs/spec/incentives.md §7.1: ten pieces of two samples each, one of them drawn, so N = 18.
ALICE, BOB = 0, 1
EXAMPLE = Case((ALICE, BOB, ALICE), 18, ValuationTerms(bounty=100, stake=7, reset=True))
FIRST_PASS, SECOND_PASS = (8, 11, 7, 9), (14,)


def test_worked_example_of_the_specification_to_the_fraction() -> None:
    start, first, second = play_market(EXAMPLE, (FIRST_PASS, SECOND_PASS), grouped=True)
    assert (start.balances, start.money, start.rounds) == ((14, 7), 100, 100)

    assert [first.to_fraction(each) for each in first.balances] == [Fraction(91, 4), 0]
    assert first.to_fraction(first.money) == Fraction(393, 4)
    assert first.to_fraction(first.rounds) == 100 - Fraction(63, 2)
    assert (first.active, first.is_over) == ((True, False), False)

    assert [second.to_fraction(each) for each in second.balances] == [Fraction(547, 12), 0]
    assert second.to_fraction(second.money) == Fraction(905, 12)
    assert (second.rounds, second.is_over) == (0, True)


def test_worked_example_asks_for_those_measures_and_pays() -> None:
    assert GROUPED.next_chain(EXAMPLE, ()) == Chain(((), (0,), (1,), (2,)))
    # Without Bob between them Alice's two are trained in one go.
    assert GROUPED.next_chain(EXAMPLE, (FIRST_PASS,)) == Chain(((0, 2),))
    history = (FIRST_PASS, SECOND_PASS)
    assert GROUPED.next_chain(EXAMPLE, history) is None
    settlement = GROUPED.settle(EXAMPLE, history)
    assert settlement.payouts == (23, 0, 22)
    assert settlement.returned == 76
    assert settlement.values == (Fraction(379, 12), -7, Fraction(379, 12))
    assert settlement.kept == (True, False, True)


def test_worked_example_of_single_contributions_with_scores_reused() -> None:
    """docs/spec/incentives.md §7.1, second table: scores 3, -4, 2 in every pass."""
    case = Case((ALICE, BOB, ALICE), 18, ValuationTerms(bounty=100, stake=7))
    books = play_market(case, (FIRST_PASS,), grouped=False)
    assert len(books) == 3
    assert [books[1].to_fraction(each) for each in books[1].balances] == [
        Fraction(49, 4),
        0,
        Fraction(21, 2),
    ]
    # 68.5 rounds more at 3/18 and 2/18.
    assert [books[2].to_fraction(each) for each in books[2].balances] == [
        Fraction(71, 3),
        0,
        Fraction(163, 9),
    ]
    assert SINGLE.settle(case, (FIRST_PASS,)).payouts == (23, 0, 18)


def test_market_that_gains_pays_its_whole_bounty_at_most() -> None:
    case = Case((0, 1), 10, ValuationTerms(bounty=1_000, stake=5))
    settlement = SINGLE.settle(case, ((0, 4, 10),))
    assert settlement.payouts == (5 + 400, 5 + 600)
    assert settlement.returned == 0


def test_money_ends_a_pass_where_scores_that_are_reused_gain_more_than_there_is() -> None:
    """The loser between two gains leaves; then the gains together exceed one bounty a round."""
    case = Case((0, 1, 2), 10, ValuationTerms(bounty=100, stake=5))
    settlement = SINGLE.settle(case, ((0, 10, 1, 10),))
    *_, last = play_market(case, ((0, 10, 1, 10),), grouped=False)
    assert (last.money, last.rounds > 0, last.is_over) == (0, True, True)
    assert settlement.payouts[1] == 0
    assert sum(settlement.payouts) + settlement.returned == 115


def test_market_in_which_all_lose_pays_the_provider() -> None:
    case = Case((0, 1), 10, ValuationTerms(bounty=100, stake=5))
    settlement = SINGLE.settle(case, ((10, 8, 6),))
    assert (settlement.payouts, settlement.returned) == ((0, 0), 110)
    assert settlement.kept == (False, False)


def test_market_ends_with_its_rounds() -> None:
    case = Case((0, 1), 10, ValuationTerms(bounty=2, stake=5, reset=True))
    settlement = SINGLE.settle(case, ((5, 6, 4),))
    assert settlement.payouts == (5, 4)
    assert settlement.values == (Fraction(1, 5), Fraction(-2, 5))
    assert settlement.kept == (True, True)


def test_copy_of_a_contribution_earns_nothing_and_keeps_its_stake() -> None:
    facts = make_coverage("abcd", "abcd")
    case = Case((0, 1), 10, ValuationTerms(bounty=100, stake=5))
    settlement, _ = play(SINGLE, case, facts)
    assert settlement.payouts == (45, 5)


def test_splitting_a_contribution_among_names_earns_a_market_share_no_larger() -> None:
    whole, _ = play(SINGLE, Case((0, 1), 10, ValuationTerms(100, 5)), make_coverage("abcd", "efg"))
    split, _ = play(
        SINGLE, Case((0, 1, 2), 10, ValuationTerms(100, 5)), make_coverage("ab", "cd", "efg")
    )
    assert whole.payouts == (45, 35)
    assert split.payouts == (25, 25, 35)


def test_harm_under_many_names_lasts_as_long_as_their_stakes() -> None:
    """One who undoes all gains and repeats it under another name risks two stakes, not one."""
    facts = make_coverage("abcd", "ABCD", "abcd", "ABCD")
    for reset in (False, True):
        case = Case((0, 1, 0, 2), 10, ValuationTerms(100, 5, reset=reset))
        settlement, _ = play(GROUPED, case, facts)
        assert settlement.payouts[1] == settlement.payouts[3] == 0
        # With measures taken anew the second copy of what is known adds nothing.
        assert settlement.payouts[0] + settlement.payouts[2] == (55 if reset else 90)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=9),
    st.integers(1, 40),
    st.builds(ValuationTerms, st.integers(1, 1_000), st.integers(1, 50), st.booleans()),
    st.integers(0, 1_000),
    st.sampled_from(MARKETS),
)
def test_markets_conserve_money_and_nobody_owes_any(
    makers: list[int], samples: int, terms: ValuationTerms, salt: int, rule
) -> None:
    numbers = {maker: place for place, maker in enumerate(dict.fromkeys(makers))}
    contributors = tuple(numbers[maker] for maker in makers)
    case = Case(contributors, samples, terms)
    settlement, history = play(rule, case, make_noise(samples, salt))
    books = play_market(case, tuple(history), grouped=rule.grouped)
    for book in books:
        assert min(*book.balances, book.money, book.rounds) >= 0
        total = sum(book.to_fraction(each) for each in (*book.balances, book.money))
        assert total == terms.bounty + case.stakes
    for before, after in pairwise(books[:-1]):
        assert sum(after.active) < sum(before.active)
    assert books[-1].is_over
    assert len(books) - 1 <= len(books[0].balances)
    players = len(books[0].balances)
    assert rule.compute_effort(case) >= players * (len(books) - 1)
    for payout, kept in zip(settlement.payouts, settlement.kept, strict=True):
        assert kept or payout == 0


@pytest.mark.parametrize("rule", MARKETS, ids=lambda rule: rule.name)
@pytest.mark.parametrize(
    "terms",
    [
        ValuationTerms(1, 0),
        ValuationTerms(1, 1, clip_percent=50),
        ValuationTerms(1, 1, budget=2),
        ValuationTerms(1, 1, truncation=1),
    ],
)
def test_terms_that_mean_nothing_to_a_market_are_refused(rule, terms: ValuationTerms) -> None:
    with pytest.raises(InvalidInputError) as refused:
        rule.check(terms)
    assert refused.value.code == "invalid_campaign"


def test_rules_are_found_by_their_names() -> None:
    SINGLE.check(ValuationTerms(1, 1, reset=True))
    for rule in VALUATION_RULES:
        assert get_valuation_rule(rule.name) is rule
    with pytest.raises(InvalidInputError, match="no valuation rule") as refused:
        get_valuation_rule("lottery")
    assert refused.value.code == "invalid_campaign"
