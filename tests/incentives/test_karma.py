"""Karma fades exactly, in whatever steps; days, badges and karma in place of money are counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.accounting import split_karma, verify_outcome
from incentives.activity import WINDOW_DAYS, ActiveDays
from incentives.badges import BADGES, Deserts, list_deserved
from incentives.book import Book, collect_samples, iterate_samples, open_book
from incentives.deposit import split_price
from incentives.deposit_refund_take import DepositRefundTake
from incentives.karma import PARTS_MAX, PARTS_PER_POINT, add_points, halve, to_points
from incentives.mechanism import ClaimEvent, RefundEvent, RefusedError, ReportEvent
from incentives.terms import KARMA_PRICE_MAX, Terms

SPECIFICATION = Path(__file__).parents[2] / "docs" / "spec" / "incentives.md"
TIMES = st.integers(0, 10**13)
HALF_LIVES = st.integers(1, 10**12)
PARTS = st.integers(0, PARTS_MAX)
TAKE = DepositRefundTake()
TERMS = Terms("deposit_refund_take", 1_000, 10, 20, 30, karma_price=7, karma_percent_max=50)


@pytest.mark.parametrize(
    ("elapsed_ms", "left"),
    [(-5, 1_000), (0, 1_000), (1, 993), (50, 707), (99, 503), (100, 500), (1_000, 0), (10**30, 0)],
)
def test_points_halve(elapsed_ms: int, left: int) -> None:
    assert to_points(halve(1_000 * PARTS_PER_POINT, elapsed_ms, 100)) == left


def test_points_without_a_half_life_last() -> None:
    assert halve(PARTS_MAX, 10**30, 0) == PARTS_MAX


@given(PARTS, st.integers(0, 400), st.integers(1, 40))
def test_what_is_left_is_the_power_of_two(parts: int, elapsed_ms: int, half_life_ms: int) -> None:
    left = halve(parts, elapsed_ms, half_life_ms)
    exact = parts**half_life_ms
    assert max(left - 1, 0) ** half_life_ms << elapsed_ms <= exact
    assert exact < (left + 2) ** half_life_ms << elapsed_ms


@given(PARTS, PARTS, TIMES, TIMES, HALF_LIVES)
def test_more_points_or_less_time_never_leave_less(
    parts: int, more: int, elapsed_ms: int, longer: int, half_life_ms: int
) -> None:
    left = halve(parts, elapsed_ms, half_life_ms)
    assert 0 <= halve(parts, elapsed_ms + longer, half_life_ms) <= left <= parts
    assert halve(min(parts + more, PARTS_MAX), elapsed_ms, half_life_ms) >= left


@given(PARTS, TIMES, HALF_LIVES)
def test_a_millisecond_more_never_leaves_more(parts: int, elapsed: int, half_life: int) -> None:
    assert halve(parts, elapsed + 1, half_life) <= halve(parts, elapsed, half_life)


@given(PARTS, st.lists(st.integers(0, 10**10), min_size=1, max_size=20), HALF_LIVES)
def test_steps_fade_as_one_within_the_stated_bound(
    parts: int, steps: list[int], half_life_ms: int
) -> None:
    stepwise = parts
    for step in steps:
        stepwise = halve(stepwise, step, half_life_ms)
    assert abs(stepwise - halve(parts, sum(steps), half_life_ms)) < len(steps) + 1


def test_a_step_of_every_block_fades_too() -> None:
    """Rounding the time of each step away would keep an account that acts all the time young."""
    day = 86_400_000
    parts = 1_000 * PARTS_PER_POINT
    for _ in range(2_000):
        parts = halve(parts, day // 2_000, day)
    assert to_points(parts) == 499
    assert abs(parts - 500 * PARTS_PER_POINT) < 2_001


@given(PARTS, PARTS, TIMES, HALF_LIVES)
def test_nobody_keeps_more_by_being_two(
    first: int, second: int, elapsed_ms: int, half_life_ms: int
) -> None:
    together = halve((first + second) // 2, elapsed_ms, half_life_ms)
    apart = halve(first // 2, elapsed_ms, half_life_ms) + halve(
        second // 2, elapsed_ms, half_life_ms
    )
    assert apart <= together


@given(PARTS, st.integers(-(2**63), 2**63))
def test_points_stay_in_range(parts: int, points: int) -> None:
    changed = add_points(parts, points)
    assert 0 <= changed <= PARTS_MAX
    if 0 < changed < PARTS_MAX:
        assert changed - parts == points * PARTS_PER_POINT


@given(st.lists(st.integers(20_000, 20_000 + WINDOW_DAYS - 1), max_size=80))
def test_days_are_counted_once_in_whatever_order(noted: list[int]) -> None:
    days = ActiveDays()
    for day in noted:
        days = days.note(day)
    assert days.count == len(set(noted))
    assert days.longest_streak == longest_run(set(noted))
    assert days.last == max(noted, default=0)


def longest_run(days: set[int]) -> int:
    starts = [day for day in days if day - 1 not in days]
    runs = []
    for start in starts:
        length = 0
        while start + length in days:
            length += 1
        runs.append(length)
    return max(runs, default=0)


def test_day_that_is_too_long_ago_is_not_counted() -> None:
    days = ActiveDays().note(100)
    assert days.note(100 - WINDOW_DAYS) == days
    assert days.note(101 - WINDOW_DAYS).count == 2
    far = days.note(100 + 10**6)
    assert (far.count, far.recent, far.longest_streak) == (2, 1, 1)


def test_streak_ends_with_a_day_without() -> None:
    days = ActiveDays().note(9).note(10).note(11)
    assert [days.compute_streak(today) for today in (11, 12, 13)] == [3, 3, 0]
    assert days.note(14).compute_streak(14) == 1
    assert days.note(14).longest_streak == 3


def test_streak_is_no_longer_than_the_window() -> None:
    days = ActiveDays()
    for day in range(1, 100):
        days = days.note(day)
    assert (days.count, days.longest_streak, days.compute_streak(99)) == (99, 64, 64)


@pytest.mark.parametrize(
    ("badge_id", "enough", "short"),
    [
        ("first-validated", Deserts(valid=1), Deserts()),
        ("hundred-validated", Deserts(valid=100), Deserts(valid=99)),
        ("thousand-validated", Deserts(valid=1_000), Deserts(valid=999)),
        ("ten-thousand-validated", Deserts(valid=10_000), Deserts(valid=9_999)),
        ("all-classes", Deserts(classes=3, class_count=3), Deserts(classes=2, class_count=3)),
        ("all-classes", Deserts(classes=2, class_count=2), Deserts(classes=1, class_count=1)),
        ("all-classes", Deserts(classes=2, class_count=2), Deserts()),
        ("explorer", Deserts(regions=32), Deserts(regions=31)),
        ("steady-week", Deserts(active_days=7), Deserts(active_days=6)),
        ("steady-month", Deserts(active_days=30), Deserts(active_days=29)),
        ("week-in-a-row", Deserts(longest_streak=7), Deserts(longest_streak=6)),
        ("watchful", Deserts(reported=10), Deserts(reported=9)),
        ("guardian", Deserts(reported=100), Deserts(reported=99)),
        ("polymath", Deserts(models=5), Deserts(models=4)),
    ],
)
def test_badge_is_deserved_from_its_mark_on(badge_id: str, enough: Deserts, short: Deserts) -> None:
    badge = next(badge for badge in BADGES if badge.badge_id == badge_id)
    other = "overall" if badge.scope == "model" else "model"
    assert badge in list_deserved(badge.scope, enough)
    assert badge not in list_deserved(badge.scope, short)
    assert badge not in list_deserved(other, enough)


def test_badges_have_ids_that_fit_into_keys_and_sentences_for_people() -> None:
    assert len({badge.badge_id for badge in BADGES}) == len(BADGES)
    for badge in BADGES:
        assert re.fullmatch(r"[a-z-]{1,32}", badge.badge_id)
        assert badge.sentence.endswith(".")
        assert badge.title


def test_criteria_are_published() -> None:
    published = SPECIFICATION.read_text(encoding="utf-8")
    for badge in BADGES:
        assert f"| `{badge.badge_id}` | {badge.title} | {badge.scope} |" in published


@pytest.mark.parametrize(
    ("price", "offered", "expected"),
    [
        (200, 0, (200, 0)),
        (200, 5, (165, 5)),
        (200, 14, (102, 14)),
        (200, 99, (102, 14)),
        (13, 99, (13, 0)),
        (0, 99, (0, 0)),
    ],
)
def test_karma_stands_in_for_a_part_of_the_price(price, offered, expected) -> None:
    assert split_price(TERMS, price, offered) == expected


def test_karma_stands_in_for_nothing_where_it_has_no_price() -> None:
    assert split_price(Terms("deposit_refund_take", 1, 0, 0, 0), 100, 50) == (100, 0)


@given(
    st.integers(0, 2**60),
    st.integers(0, 2**63 - 1),
    st.integers(1, KARMA_PRICE_MAX),
    st.integers(1, 100),
)
def test_money_and_karma_make_up_the_price(price, offered, point, percent) -> None:
    terms = Terms("deposit_refund_take", 1, 0, 0, 0, karma_price=point, karma_percent_max=percent)
    money, points = split_price(terms, price, offered)
    assert money + points * point == price
    assert 0 <= points <= offered
    assert points * point * 100 <= price * percent


def test_karma_of_a_sample_is_lost_with_the_first_unit_taken() -> None:
    book = open_book(3, 10, 4)
    assert (book.karma_held, book.untouched) == (12, 0b111)
    report = ReportEvent(b"r", False, 0b001, 0b110, 10, 1, 4)
    outcome = TAKE.report(TERMS, book, report)
    assert split_karma(book, outcome, is_refund=False) == (0, 4)
    rest = outcome.book
    assert (rest.karma_held, rest.untouched, rest.partial) == (8, 0b110, ((0, 8),))
    # The model has come round: the money that is left returns, the karma does not.
    outcome = TAKE.refund(TERMS, rest, RefundEvent(0b011, 0b011, 10))
    assert outcome.paid == 18
    assert split_karma(rest, outcome, is_refund=True) == (4, 0)
    outcome = TAKE.claim(TERMS, outcome.book, ClaimEvent(False, 30))
    assert outcome.book.karma_held == 0


def test_claim_burns_the_karma() -> None:
    book = open_book(2, 10, 4)
    outcome = TAKE.claim(TERMS, book, ClaimEvent(False, 30))
    assert split_karma(book, outcome, is_refund=False) == (0, 8)


@given(st.sets(st.integers(0, 300)))
def test_set_of_samples_comes_back(numbers: set[int]) -> None:
    samples = collect_samples(sorted(numbers))
    assert samples == sum(1 << number for number in numbers)
    assert list(iterate_samples(samples)) == sorted(numbers)


@given(st.data())
def test_no_more_karma_returns_than_was_staked(data: st.DataObject) -> None:
    samples = data.draw(st.integers(1, 8))
    book = open_book(samples, data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9)))
    staked, returned, lost = book.karma_held, 0, 0
    for _ in range(data.draw(st.integers(1, 12))):
        acted = act(data, book)
        if acted is None:
            continue
        kind, outcome = acted
        verify_outcome(book, outcome)
        back, gone = split_karma(book, outcome, is_refund=kind == "refund")
        assert back >= 0
        assert gone >= 0
        returned, lost, book = returned + back, lost + gone, outcome.book
        assert returned + lost + book.karma_held == staked


def act(data: st.DataObject, book: Book):
    asked, agreed = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255))
    kind = data.draw(st.sampled_from(("refund", "report", "claim")))
    try:
        if kind == "refund":
            return kind, TAKE.refund(TERMS, book, RefundEvent(asked, agreed, 10))
        if kind == "claim":
            return kind, TAKE.claim(TERMS, book, ClaimEvent(False, 30))
        reporter = data.draw(st.sampled_from((b"a", b"b")))
        own = data.draw(st.integers(0, 4))
        return kind, TAKE.report(
            TERMS, book, ReportEvent(reporter, False, asked, agreed, 10, own, 4)
        )
    except RefusedError:
        return None
