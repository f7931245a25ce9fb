"""Shapley values by their axioms and brute force, and what contribution pay makes of them."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from math import factorial
from statistics import correlation

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incentives import contribution_pay
from incentives.contribution_pay import EXACT_PLAYERS_MAX, LeaveOneOut, Shapley
from incentives.shapley import (
    draw_order,
    exact_values,
    leave_one_out_values,
    members_of,
    pay_by_value,
    sampled_values,
)
from incentives.valuation import Case, ValuationTerms
from primitives.errors import InvalidInputError
from tests.helpers.valuation import make_coverage, make_noise, play

SEED = b"\x07" * 64
GAMES = st.integers(1, 5).flatmap(
    lambda players: st.tuples(
        st.just(players),
        st.lists(st.integers(-50, 50), min_size=1 << players, max_size=1 << players),
    )
)


def coalition_of(players) -> int:
    return sum(1 << player for player in players)


@given(GAMES)
def test_exact_values_are_the_mean_over_all_orders(game: tuple[int, list[int]]) -> None:
    players, utilities = game
    totals = [0] * players
    for order in permutations(range(players)):
        for place, player in enumerate(order):
            before = coalition_of(order[:place])
            totals[player] += utilities[before | 1 << player] - utilities[before]
    expected = tuple(Fraction(total, factorial(players)) for total in totals)
    assert exact_values(players, utilities) == expected
    walks = [
        (order, [utilities[coalition_of(order[: place + 1])] for place in range(players)])
        for order in permutations(range(players))
    ]
    assert sampled_values(players, utilities[0], walks) == expected


@given(GAMES)
def test_values_share_out_what_all_reach_together(game: tuple[int, list[int]]) -> None:
    players, utilities = game
    assert sum(exact_values(players, utilities)) == utilities[-1] - utilities[0]


@given(GAMES)
def test_equal_players_are_worth_the_same_and_a_dummy_nothing(
    game: tuple[int, list[int]],
) -> None:
    players, utilities = game
    # A twin of player 0: a coalition is worth what it is with either or both of them.
    twin = [
        utilities[coalition & ~(1 << players) | (coalition >> players & 1)]
        for coalition in range(1 << players + 1)
    ]
    values = exact_values(players + 1, twin)
    assert values[0] == values[players]
    dummy = [utilities[coalition & ~(1 << players)] for coalition in range(1 << players + 1)]
    assert exact_values(players + 1, dummy) == (*exact_values(players, utilities), 0)


def test_leaving_one_out() -> None:
    assert leave_one_out_values(10, [4, 11]) == (6, -1)


def test_orders_are_permutations_and_every_first_place_is_equally_likely() -> None:
    counts = [0] * 5
    for number in range(1_000):
        order = draw_order(SEED, number, 5)
        assert sorted(order) == list(range(5))
        counts[order[0]] += 1
    assert min(counts) > 150
    assert draw_order(SEED, 0, 1) == (0,)


def test_drawn_numbers_that_would_favour_somebody_are_thrown_away(monkeypatch) -> None:
    words = iter([2**64 - 1, 5, 0])
    monkeypatch.setattr("incentives.shapley._draw_words", lambda *_: words)
    # 2^64 is 1 more than a multiple of 3, so its last number is left out: 5 mod 3 = 2, 0 mod 2 = 0.
    assert draw_order(SEED, 0, 3) == (1, 0, 2)


def test_vector_of_a_drawn_order() -> None:
    """docs/spec/incentives.md §8 states it, for second implementations."""
    assert draw_order(bytes(64), 0, 10) == (5, 4, 8, 1, 0, 9, 6, 3, 7, 2)


@given(
    st.integers(0, 10**6),
    st.lists(st.fractions(-100, 100), min_size=1, max_size=6),
    st.integers(1, 100),
)
def test_pay_stays_within_the_pool(pool: int, values: list[Fraction], clip: int) -> None:
    pay = pay_by_value(pool, values, clip)
    assert 0 <= sum(pay) <= pool
    assert max(pay) <= pool * clip // 100
    for value, amount in zip(values, pay, strict=True):
        assert value > 0 or amount == 0
    if clip == 100 and max(values) > 0:
        assert sum(pay) == pool


CASE = Case((0, 1, 0, 2), 10, ValuationTerms(bounty=100, stake=3))


def test_exact_pay_of_three_contributors() -> None:
    """Alice teaches a and b, Bob b, Carol forgets a: docs/spec/incentives.md §8.1."""
    settlement, history = play(Shapley(), CASE, make_coverage("a", "b", "b", "A"))
    assert [measures[0] for measures in history] == [0, 2, 1, 2, 0, 1, 1, 1]
    values = exact_values(3, [measures[0] for measures in history])
    assert values == (1, Fraction(1, 2), Fraction(-1, 2))
    assert settlement.values == (1, Fraction(1, 2), 1, Fraction(-1, 2))
    assert settlement.payouts == (3 + 34, 3 + 33, 3 + 33, 3)
    assert settlement.kept == (True, True, True, False)
    assert settlement.returned == 0


def test_one_contributor_gets_no_more_than_the_clip() -> None:
    case = Case((0, 1), 10, ValuationTerms(bounty=100, stake=0, clip_percent=60))
    settlement, _ = play(Shapley(), case, make_coverage("abcd", "e"))
    assert settlement.payouts == (60, 20)
    assert settlement.returned == 20


def test_harm_everywhere_returns_the_bounty_and_every_stake() -> None:
    case = Case((0, 1), 10, ValuationTerms(bounty=100, stake=5))
    settlement, _ = play(Shapley(), case, lambda learnt: -len(learnt))
    assert (settlement.payouts, settlement.returned) == ((5, 5), 100)
    assert settlement.kept == (False, False)


def test_copycat_takes_half_from_whom_it_copied_and_leave_one_out_pays_neither() -> None:
    facts = make_coverage("abcd", "abcd", "ef")
    case = Case((0, 1, 2), 10, ValuationTerms(bounty=600, stake=0))
    assert play(Shapley(), case, facts)[0].payouts == (200, 200, 200)
    assert play(LeaveOneOut(), case, facts)[0].payouts == (0, 0, 600)


def test_copying_oneself_under_more_names_pays_where_others_know_the_same() -> None:
    """Known and said in the specification: Shapley values share equally by name."""
    honest, _ = play(
        Shapley(), Case((0, 1), 9, ValuationTerms(600, 0)), make_coverage("abc", "abc")
    )
    sybil, _ = play(
        Shapley(), Case((0, 1, 2), 9, ValuationTerms(600, 0)), make_coverage("abc", "abc", "abc")
    )
    assert honest.payouts == (300, 300)
    assert sybil.payouts == (200, 200, 200)
    # Who splits different facts among names gains nothing.
    split, _ = play(
        Shapley(), Case((0, 1, 2), 9, ValuationTerms(600, 0)), make_coverage("ab", "c", "abc")
    )
    assert split.payouts[0] + split.payouts[1] == 300


def make_large(players: int, **changes: int) -> Case:
    return Case(tuple(range(players)), 200, ValuationTerms(10_000, 1, **changes), SEED)


def test_sampled_values_of_additive_contributions_are_exact() -> None:
    case = make_large(12, budget=2)

    def utility(learnt) -> int:
        return 20 + sum(learnt)

    settlement, history = play(Shapley(), case, utility)
    assert settlement.values == tuple(range(12))
    assert history[:2] == [(20,), (86,)]
    # Two pairs of walks through eleven coalitions each; nobody and everybody are known.
    assert len(history) == 2 + 2 * 2 * 11
    # A pair is an order and its reverse.
    order = draw_order(SEED, 0, 12)
    first = [Shapley().next_chain(case, tuple(history[: 2 + step])) for step in (0, 1, 11, 12)]
    coalitions = [order[:1], order[:2], order[:-2:-1], order[:-3:-1]]
    assert [chain and chain.steps for chain in first] == [
        (tuple(sorted(each)),) for each in coalitions
    ]


def test_walks_over_all_orders_come_to_the_exact_values(monkeypatch) -> None:
    """Learning depends on the order; but a coalition is always trained in the order of time."""
    monkeypatch.setattr(contribution_pay, "EXACT_PLAYERS_MAX", 3)
    orders = [order for order in permutations(range(4)) if order < order[::-1]]
    monkeypatch.setattr(contribution_pay, "draw_order", lambda _seed, number, _: orders[number])
    utility = make_noise(1_000, 3)
    terms = ValuationTerms(10_000, 1, budget=12)
    case = Case((0, 1, 0, 2, 3, 1), 1_000, terms, SEED)

    def worth(coalition: int) -> int:
        members = members_of(coalition)
        return utility([place for place, each in enumerate(case.contributors) if each in members])

    settlement, history = play(Shapley(), case, utility)
    exact = exact_values(4, [worth(coalition) for coalition in range(16)])
    assert settlement.values == tuple(exact[player] for player in case.contributors)
    # Each coalition is measured once.
    assert len(history) == 16


def test_sampled_values_go_with_the_exact_ones_where_learning_depends_on_the_order() -> None:
    """Walks that learned in their own order once came to other values than all coalitions do."""

    def utility(learnt) -> int:
        found = 0
        for place in learnt:
            found = found // 4 + 1_000 * (place * 7 % 10)
        return found

    exact = exact_values(9, [utility(members_of(each)) for each in range(512)])
    settlement, _ = play(Shapley(), make_large(9, budget=64), utility)
    assert correlation(list(exact), list(settlement.values)) >= 0.98


def test_more_contributors_are_valued_by_fewer_walks() -> None:
    case = make_large(256, budget=64)
    _, history = play(Shapley(), case, len)
    assert len(history) == 4_080
    assert Shapley().compute_effort(case) == 4_096 + 256
    assert Shapley().compute_effort(make_large(32, budget=64)) == 4_096 + 32


def test_sampled_values_come_near_the_exact_ones() -> None:
    facts = [chr(97 + each) * 2 + chr(97 + each % 4) for each in range(9)]
    utility = make_coverage(*facts)
    exact = exact_values(9, [utility(members_of(each)) for each in range(512)])
    settlement, _ = play(Shapley(), make_large(9, budget=64), utility)
    assert max(abs(a - b) for a, b in zip(exact, settlement.values, strict=True)) <= Fraction(1, 10)
    assert sum(settlement.values) == sum(exact)


def test_walk_ends_where_little_is_left_to_gain() -> None:
    case = make_large(10, budget=1, truncation=3)

    def utility(learnt) -> int:
        return min(8, 2 * len(learnt))

    settlement, history = play(Shapley(), case, utility)
    assert history == [(0,), (8,), (2,), (4,), (6,), (2,), (4,), (6,)]
    assert sum(1 for value in settlement.values if value) == 6
    assert sum(settlement.values) == 6


def test_nothing_is_walked_where_everything_together_gains_next_to_nothing() -> None:
    case = make_large(10, budget=5, truncation=3)
    settlement, history = play(Shapley(), case, lambda learnt: min(2, len(learnt)))
    assert len(history) == 2
    assert set(settlement.values) == {0}
    assert settlement.returned == 10_000
    assert all(settlement.kept)


@settings(max_examples=30)
@given(
    st.integers(1, EXACT_PLAYERS_MAX + 2),
    st.integers(0, 500),
    st.sampled_from([Shapley(), LeaveOneOut()]),
    st.integers(1, 100),
    st.integers(0, 4),
)
def test_contribution_pay_conserves_money(
    players: int, salt: int, rule, clip: int, truncation: int
) -> None:
    terms = ValuationTerms(999, 2, clip_percent=clip, budget=2, truncation=truncation)
    makers = tuple(place % players for place in range(players + 2))
    case = Case(makers, 30, terms, SEED)
    settlement, history = play(rule, case, make_noise(30, salt))
    assert min(settlement.payouts) >= 2
    assert rule.compute_effort(case) >= len(history)


@pytest.mark.parametrize(
    ("rule", "terms"),
    [
        (Shapley(), ValuationTerms(1, 0, reset=True)),
        (LeaveOneOut(), ValuationTerms(1, 0, reset=True)),
        (LeaveOneOut(), ValuationTerms(1, 0, budget=2)),
        (LeaveOneOut(), ValuationTerms(1, 0, truncation=2)),
    ],
)
def test_terms_that_mean_nothing_to_contribution_pay_are_refused(rule, terms) -> None:
    rule.check(ValuationTerms(1, 0, clip_percent=5))
    with pytest.raises(InvalidInputError) as refused:
        rule.check(terms)
    assert refused.value.code == "invalid_campaign"
