"""Prices, refunds, reports and claims, each as the specification says, and not a unit astray."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.accounting import verify_outcome
from incentives.book import Book, iterate_samples, open_book
from incentives.campaign_mechanism import CampaignMechanism
from incentives.deposit_refund_take import REPORTERS_MAX, DepositRefundTake
from incentives.mechanism import (
    ClaimEvent,
    Mechanism,
    Outcome,
    RefundEvent,
    RefusedError,
    ReportEvent,
)
from incentives.points import Points
from incentives.registry import MECHANISMS, get_mechanism
from incentives.terms import (
    HALF_LIFE_MS_MIN,
    KARMA_PRICE_MAX,
    VOLUNTARY_FEE_MAX,
    WEIGHT_MAX,
    Terms,
    check_terms,
)
from primitives.errors import InvalidInputError, InvariantViolationError

JUDGING = [each for each in MECHANISMS if not isinstance(each, CampaignMechanism)]
TAKE = DepositRefundTake()
TERMS = Terms("deposit_refund_take", 1_000, 10, 20, 30)
POINTS_TERMS = Terms("points", 0, 10, 20, 30)
ALL = (1 << 64) - 1
WAIT_MS_MAX = 10 * HALF_LIFE_MS_MIN


def report(reporter: bytes, own: int, total: int, *, agreed: int = 0, elapsed: int = 10):
    return ReportEvent(
        reporter=reporter,
        is_contributor=False,
        samples=ALL,
        agreed=agreed,
        elapsed_ms=elapsed,
        own_valid=own,
        total_valid=total,
    )


def refused_code(call) -> str:
    with pytest.raises(RefusedError) as refused:
        call()
    return refused.value.code


@pytest.mark.parametrize(
    ("seconds", "price"),
    [
        (0, 3_600_000_000_000_000_000),
        (3, 3_600_000_000_000_000_000),
        (4, 1_800_000_000_000_000_000),
        (100, 360_000_000_000_000_000),
        (3_600, 60_000_000_000_000_000),
        (86_400, 12_286_689_419_795_221),
        (604_800, 4_633_204_633_204_633),
    ],
)
def test_price_falls_with_the_square_root_of_time(seconds: int, price: int) -> None:
    terms = Terms("deposit_refund_take", 10**15, 0, 0, 0)
    assert TAKE.compute_price(terms, seconds) == price


def test_reporters_share_in_proportion_and_the_last_gets_the_rest() -> None:
    book = open_book(1, 450_000_000_000_000)
    paid = []
    for name, own in ((b"a", 2), (b"b", 1), (b"c", 1)):
        outcome = TAKE.report(TERMS, book, report(name, own, 4))
        verify_outcome(book, outcome)
        book = outcome.book
        paid.append(outcome.paid)
    assert paid == [225_000_000_000_000, 112_500_000_000_000, 112_500_000_000_000]
    assert book.open_samples == 0
    assert book.held == 0


def test_remainder_of_a_division_goes_to_the_last_claim() -> None:
    book = open_book(1, 10)
    first = TAKE.report(TERMS, book, report(b"a", 1, 3))
    assert first.paid == 3
    last = TAKE.claim(TERMS, first.book, ClaimEvent(is_owner=False, elapsed_ms=30))
    assert last.paid == 7


def test_share_of_nothing_takes_all_that_is_left() -> None:
    assert TAKE.report(TERMS, open_book(1, 2), report(b"a", 1, 1_000)).paid == 2


def test_every_sample_is_judged_alone() -> None:
    book = open_book(4, 100)
    outcome = TAKE.refund(TERMS, book, RefundEvent(samples=ALL, agreed=0b0101, elapsed_ms=10))
    assert (outcome.paid, outcome.karma, outcome.samples) == (200, 2, 0b0101)
    assert outcome.book.held == 200
    again = TAKE.refund(TERMS, outcome.book, RefundEvent(ALL, 0b0010, 11))
    assert again.paid == 100
    assert list(iterate_samples(again.book.untouched)) == [3]


def test_weight_zero_takes_no_money_and_still_validates() -> None:
    free = Terms("deposit_refund_take", 0, 0, 0, 0)
    share = TAKE.compute_price(free, 1)
    outcome = TAKE.refund(free, open_book(3, share), RefundEvent(ALL, 0b111, 0))
    assert (outcome.paid, outcome.karma) == (0, 3)


@pytest.mark.parametrize("mechanism", JUDGING, ids=lambda mechanism: mechanism.name)
def test_who_comes_too_early_or_late_is_refused(mechanism: Mechanism) -> None:
    terms = TERMS if mechanism.name == TAKE.name else POINTS_TERMS
    book = open_book(2, 5)
    empty = book.close(0b11)

    def refund(given: Book, agreed: int, elapsed: int) -> str:
        event = RefundEvent(ALL, agreed, elapsed)
        return refused_code(lambda: mechanism.refund(terms, given, event))

    assert refund(book, 0b11, 9) == "too_early"
    assert refund(empty, 0b11, 10) == "already_claimed"
    assert refund(book, 0b00, 10) == "model_disagrees"
    own = ReportEvent(b"a", True, ALL, 0, 10, 1, 1)
    assert refused_code(lambda: mechanism.report(terms, book, own)) == "own_contribution"

    def tell(given: Book, event: ReportEvent) -> str:
        return refused_code(lambda: mechanism.report(terms, given, event))

    assert tell(book, report(b"a", 1, 1, elapsed=9)) == "too_early"
    assert tell(empty, report(b"a", 1, 1)) == "already_claimed"
    assert tell(book, report(b"a", 1, 1, agreed=0b11)) == "model_agrees"

    def claim(given: Book, is_owner: bool, elapsed: int) -> str:
        event = ClaimEvent(is_owner, elapsed)
        return refused_code(lambda: mechanism.claim(terms, given, event))

    assert claim(empty, True, 30) == "already_claimed"
    assert claim(book, True, 19) == "too_early"
    assert claim(book, False, 19) == "too_early"
    assert claim(book, False, 29) == "not_owner"
    assert mechanism.claim(terms, book, ClaimEvent(True, 20)).book.open_samples == 0
    assert mechanism.claim(terms, book, ClaimEvent(False, 30)).book.open_samples == 0


def test_reporter_without_validated_samples_gets_nothing_but_earns_points_where_those_do() -> None:
    event = report(b"a", 0, 0)
    assert refused_code(lambda: TAKE.report(TERMS, open_book(1, 9), event)) == (
        "no_valid_contributions"
    )
    assert Points().report(POINTS_TERMS, open_book(2, 0), event).karma == 2


def test_nobody_reports_a_sample_twice() -> None:
    first = TAKE.report(TERMS, open_book(2, 100), report(b"a", 1, 4))
    assert first.paid == 50
    again = report(b"a", 1, 4)
    assert refused_code(lambda: TAKE.report(TERMS, first.book, again)) == "already_claimed"


def test_reporters_of_one_contribution_are_limited() -> None:
    book = open_book(1, 10**9)
    for index in range(REPORTERS_MAX):
        book = TAKE.report(TERMS, book, report(b"%d" % index, 1, 10**6)).book
    late = report(b"late", 1, 10**6)
    assert refused_code(lambda: TAKE.report(TERMS, book, late)) == "too_many_reporters"
    assert TAKE.claim(TERMS, book, ClaimEvent(False, 30)).paid == book.held > 0


@pytest.mark.parametrize("name", ["prediction_market", "contribution_pay"])
def test_what_a_campaign_settles_is_not_judged_beside_it(name: str) -> None:
    mechanism, terms = get_mechanism(name), Terms(name, 0, 10, 20, 30)
    mechanism.check(terms)
    assert mechanism.compute_price(terms, 0) == 0
    with pytest.raises(InvalidInputError, match="weight"):
        mechanism.check(Terms(name, 1, 10, 20, 30))
    book, told = open_book(2, 0), report(b"a", 1, 1)
    for ask in (
        lambda: mechanism.refund(terms, book, RefundEvent(ALL, ALL, 10)),
        lambda: mechanism.report(terms, book, told),
        lambda: mechanism.claim(terms, book, ClaimEvent(True, 30)),
    ):
        assert refused_code(ask) == "settled_by_campaign"


@given(st.data())
def test_money_is_conserved_whatever_anybody_does(data: st.DataObject) -> None:
    samples = data.draw(st.integers(1, 12))
    share = data.draw(st.integers(0, 1_000))
    mechanism = data.draw(st.sampled_from(JUDGING))
    book = open_book(samples, share if mechanism.name == TAKE.name else 0)
    deposit, paid = book.held, 0
    subset = st.integers(0, (1 << samples) - 1)
    refunded: set[int] = set()
    for _ in range(data.draw(st.integers(1, 25))):
        before = book
        outcome = act(data, mechanism, book, subset)
        if outcome is None:
            continue
        verify_outcome(before, outcome)
        book, paid = outcome.book, paid + outcome.paid
        closed = set(iterate_samples(before.open_samples & ~book.open_samples))
        assert not closed & refunded
        refunded |= closed
        assert paid + book.held == deposit
    rest = ClaimEvent(is_owner=False, elapsed_ms=30)
    if book.open_samples:
        paid += mechanism.claim(TERMS, book, rest).paid
    assert paid == deposit


def act(data, mechanism: Mechanism, book: Book, subset) -> Outcome | None:
    elapsed = data.draw(st.integers(0, 40))
    asked, agreed = data.draw(subset), data.draw(subset)
    try:
        match data.draw(st.sampled_from(("refund", "report", "claim"))):
            case "refund":
                return mechanism.refund(TERMS, book, RefundEvent(asked, agreed, elapsed))
            case "report":
                total = data.draw(st.integers(1, 9))
                event = ReportEvent(
                    reporter=data.draw(st.sampled_from((b"a", b"b", b"c"))),
                    is_contributor=data.draw(st.booleans()),
                    samples=asked,
                    agreed=agreed,
                    elapsed_ms=elapsed,
                    own_valid=data.draw(st.integers(0, total)),
                    total_valid=total,
                )
                return mechanism.report(TERMS, book, event)
            case _:
                is_owner = data.draw(st.booleans())
                return mechanism.claim(TERMS, book, ClaimEvent(is_owner, elapsed))
    except RefusedError:
        return None


@pytest.mark.parametrize(
    ("outcome", "complaint"),
    [
        (Outcome(open_book(2, 5).close(1), paid=4, samples=1, karma=1), "held 10"),
        (Outcome(open_book(2, 5), paid=-1, samples=0, karma=0), "paid -1"),
    ],
)
def test_mechanism_that_does_not_add_up_stops_the_node(outcome: Outcome, complaint: str) -> None:
    with pytest.raises(InvariantViolationError, match=complaint):
        verify_outcome(open_book(2, 5), outcome)


def test_mechanism_that_opens_a_closed_sample_stops_the_node() -> None:
    closed = open_book(2, 0).close(1)
    with pytest.raises(InvariantViolationError, match="opened"):
        verify_outcome(closed, Outcome(open_book(2, 0), paid=0, samples=0, karma=0))


@pytest.mark.parametrize(
    "terms",
    [
        Terms("points", 1, 0, 0, 0),
        Terms("points", 0, 0, 0, 0, karma_price=5),
        Terms("deposit_refund_take", -1, 0, 0, 0),
        Terms("deposit_refund_take", WEIGHT_MAX + 1, 0, 0, 0),
        Terms("deposit_refund_take", 1, 2, 1, 3),
        Terms("deposit_refund_take", 1, 1, 3, 2),
        Terms("deposit_refund_take", 1, 0, 0, WAIT_MS_MAX + 1),
        Terms("deposit_refund_take", 1, -1, 0, 0),
        Terms("points", 0, 0, 0, 0, karma_price=5, karma_percent_max=5),
        Terms("deposit_refund_take", 1, 0, 0, 0, karma_price=5),
        Terms("deposit_refund_take", 1, 0, 0, 0, karma_percent_max=5),
        Terms("deposit_refund_take", 1, 0, 0, 0, karma_price=5, karma_percent_max=101),
        Terms("deposit_refund_take", 1, 0, 0, 0, karma_price=KARMA_PRICE_MAX + 1),
        Terms("deposit_refund_take", 1, 0, 0, 0, sponsored_samples_max=-1),
        Terms("deposit_refund_take", 1, 0, 0, 0, voluntary_fee=VOLUNTARY_FEE_MAX + 1),
        Terms("deposit_refund_take", 1, 0, 0, 0, karma_half_life_ms=HALF_LIFE_MS_MIN - 1),
        Terms("deposit_refund_take", 1, 0, 0, 0, karma_half_life_ms=WAIT_MS_MAX + 1),
    ],
)
def test_terms_that_contradict_each_other_are_refused(terms: Terms) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_terms(terms, wait_ms_max=WAIT_MS_MAX)
        get_mechanism(terms.mechanism).check(terms)
    assert refused.value.code == "invalid_incentive"


def test_terms_in_order_are_taken() -> None:
    check_terms(Terms("points", 0, 0, 0, 100), wait_ms_max=100)
    rich = Terms("deposit_refund_take", 1, 0, 0, 0, 5, 7, 50, HALF_LIFE_MS_MIN, 9)
    check_terms(rich, wait_ms_max=WAIT_MS_MAX)
    TAKE.check(rich)
    get_mechanism("points").check(POINTS_TERMS)


def test_mechanisms_are_found_by_name() -> None:
    assert get_mechanism("points").compute_price(POINTS_TERMS, 5) == 0
    with pytest.raises(InvalidInputError):
        get_mechanism("lottery")
