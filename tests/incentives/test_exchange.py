"""Who wins a bounty and who is paid what, with not a unit made or lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.accounting import verify_settlement
from incentives.exchange import (
    LOSS_THRESHOLD_MAX,
    PARTS_PER_MILLION,
    Entry,
    Offer,
    check_offer,
    meets_threshold,
    settle_judged,
    settle_unshown,
)
from primitives.errors import InvalidInputError, InvariantViolationError

HOST = b"organiser"
OFFER = Offer("accuracy", 500_000, 1_000, 10)


def entry(name: str, measure: int | None = None, *, is_opened: bool = True) -> Entry:
    return Entry(name.encode(), is_opened, measure)


def test_best_measure_wins_the_whole_bounty_and_what_others_forfeit() -> None:
    entries = [entry("a", 6), entry("b", 8), entry("c", is_opened=False), entry("d")]
    settled = settle_judged(OFFER, HOST, entries, 10)
    assert settled.winner == 1
    assert dict(settled.payouts) == {b"a": 10, b"b": 1_020, b"d": 10}


def test_tie_goes_to_the_earliest() -> None:
    entries = [entry("a", 7), entry("b", 8), entry("c", 8)]
    assert settle_judged(OFFER, HOST, entries, 10).winner == 1


def test_organiser_gets_everything_back_that_nobody_won() -> None:
    entries = [entry("a", 4), entry("b", is_opened=False)]
    settled = settle_judged(OFFER, HOST, entries, 10)
    assert settled.winner is None
    assert dict(settled.payouts) == {b"a": 10, HOST: 1_010}
    assert settle_judged(OFFER, HOST, [], 10).payouts == ((HOST, 1_000),)


def test_lowest_loss_wins_and_negative_measures_are_compared() -> None:
    offer = Offer("loss", 3, 50, 0)
    entries = [entry("a", -31), entry("b", -30), entry("c", -29), entry("d", -30)]
    settled = settle_judged(offer, HOST, entries, 10)
    assert settled.winner == 2
    assert settled.payouts == ((b"c", 50),)
    assert settle_judged(offer, HOST, entries[:1], 10).winner is None


@pytest.mark.parametrize(
    ("offer", "measure", "samples", "meets"),
    [
        (Offer("accuracy", 666_666, 1, 0), 2, 3, True),
        (Offer("accuracy", 666_667, 1, 0), 2, 3, False),
        (Offer("accuracy", 0, 1, 0), 0, 3, True),
        (Offer("accuracy", PARTS_PER_MILLION, 1, 0), 3, 3, True),
        (Offer("loss", 0, 1, 0), 0, 3, True),
        (Offer("loss", 0, 1, 0), -1, 3, False),
        (Offer("loss", 5, 1, 0), -15, 3, True),
        (Offer("loss", 5, 1, 0), -16, 3, False),
    ],
)
def test_threshold_is_exact(offer: Offer, measure: int, samples: int, meets: bool) -> None:
    assert meets_threshold(offer, measure, samples) is meets


def test_bounty_is_shared_if_the_test_set_is_not_shown() -> None:
    entries = [entry("a", is_opened=False), entry("b"), entry("c"), entry("d")]
    settled = settle_unshown(OFFER, HOST, entries)
    assert settled.winner is None
    assert dict(settled.payouts) == {b"a": 10, b"b": 344, b"c": 343, b"d": 343}


def test_organiser_gets_the_bounty_back_if_nobody_opened_anything() -> None:
    entries = [entry("a", is_opened=False)]
    assert dict(settle_unshown(OFFER, HOST, entries).payouts) == {b"a": 10, HOST: 1_000}


@pytest.mark.parametrize(
    ("offer", "field"),
    [
        (Offer("beauty", 0, 1, 0), "exchange.metric"),
        (Offer("accuracy", -1, 1, 0), "exchange.threshold"),
        (Offer("accuracy", PARTS_PER_MILLION + 1, 1, 0), "exchange.threshold"),
        (Offer("loss", LOSS_THRESHOLD_MAX + 1, 1, 0), "exchange.threshold"),
    ],
)
def test_offer_that_cannot_be_is_refused(offer: Offer, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_offer(offer)
    assert (refused.value.code, refused.value.field) == ("invalid_exchange", field)


def test_offer_at_its_limits_is_taken() -> None:
    check_offer(Offer("accuracy", PARTS_PER_MILLION, 1, 0))
    check_offer(Offer("loss", LOSS_THRESHOLD_MAX, 1, 0))


@pytest.mark.parametrize(
    ("held", "payouts", "burnt"),
    [(10, (5, 4), 0), (10, (11, -1), 0), (10, (5, 4), 2), (10, (11,), -1), (1, (), 0)],
)
def test_settlement_that_does_not_add_up_stops_the_node(
    held: int, payouts: tuple[int, ...], burnt: int
) -> None:
    with pytest.raises(InvariantViolationError):
        verify_settlement(held, payouts, burnt)


def test_settlement_that_adds_up_passes() -> None:
    verify_settlement(10, (5, 4), 1)
    verify_settlement(0, ())


ENTRIES = st.lists(st.tuples(st.booleans(), st.none() | st.integers(-50, 50)), max_size=12).map(
    lambda found: [
        Entry(b"%d" % place, is_opened, measure if is_opened else None)
        for place, (is_opened, measure) in enumerate(found)
    ]
)
OFFERS = st.builds(
    Offer,
    st.sampled_from(("accuracy", "loss")),
    st.integers(0, 20),
    st.integers(1, 1 << 62),
    st.integers(0, 1 << 40),
)


@given(OFFERS, ENTRIES, st.integers(1, 50))
def test_every_settlement_pays_exactly_what_is_held(
    offer: Offer, entries: list[Entry], samples: int
) -> None:
    held = offer.bounty + offer.stake * len(entries)
    settled = settle_judged(offer, HOST, entries, samples)
    for settlement in (settled, settle_unshown(offer, HOST, entries)):
        amounts = [amount for _, amount in settlement.payouts]
        verify_settlement(held, amounts)
        assert all(amount > 0 for amount in amounts)
        assert len(dict(settlement.payouts)) == len(amounts)
    good = [
        (each.measure, -place)
        for place, each in enumerate(entries)
        if each.measure is not None and meets_threshold(offer, each.measure, samples)
    ]
    assert settled.winner == (-max(good)[1] if good else None)


@given(OFFERS, ENTRIES, st.integers(1, 50))
def test_who_opened_a_model_never_loses_money(
    offer: Offer, entries: list[Entry], samples: int
) -> None:
    for settlement in (
        settle_judged(offer, HOST, entries, samples),
        settle_unshown(offer, HOST, entries),
    ):
        paid = dict(settlement.payouts)
        assert all(paid.get(e.account, 0) >= offer.stake for e in entries if e.is_opened)
