"""Voluntary fees are shared by validated samples, and never more than was paid."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.accounting import verify_collection
from incentives.support import PAID_MAX, SupportPot, SupportShare, collect, pay_in, settle
from primitives.errors import InvariantViolationError


def test_payment_is_shared_by_validated_samples() -> None:
    pot = pay_in(SupportPot(), 100, 4)
    assert (pot.held, pot.paid) == (100, 100)
    assert [settle(pot, SupportShare(), valid).owed for valid in (0, 1, 3)] == [0, 25, 75]


def test_sample_has_no_part_in_what_was_paid_before_it() -> None:
    pot = pay_in(SupportPot(), 100, 1)
    early = settle(pot, SupportShare(), 1)
    late = settle(pot, SupportShare(), 0)
    pot = pay_in(pot, 100, 2)
    assert [settle(pot, share, 1).owed for share in (early, late)] == [150, 50]


def test_what_is_collected_leaves_the_pot_and_dust_stays() -> None:
    pot = pay_in(SupportPot(), 10, 3)
    shares = [settle(pot, SupportShare(), 1) for _ in range(3)]
    assert [share.owed for share in shares] == [3, 3, 3]
    for share in shares:
        verify_collection(pot, share)
        pot, rest, paid = collect(pot, share)
        assert (paid, rest.owed, rest.per_sample) == (3, 0, pot.per_sample)
    assert pot.held == 1


def test_money_that_goes_round_is_counted_to_a_limit() -> None:
    pot = replace(SupportPot(), paid=PAID_MAX - 1)
    assert pay_in(pot, 5, 1).paid == PAID_MAX


def test_pot_that_does_not_add_up_stops_the_node() -> None:
    with pytest.raises(InvariantViolationError, match="6 is owed"):
        verify_collection(SupportPot(held=5), SupportShare(owed=6))


ACCOUNTS = range(4)


@given(st.data())
def test_no_more_is_paid_out_than_in(data: st.DataObject) -> None:
    pot = SupportPot()
    shares = [SupportShare() for _ in ACCOUNTS]
    valid = [0 for _ in ACCOUNTS]
    paid_in = paid_out = settlements = payments = 0
    for _ in range(data.draw(st.integers(1, 30))):
        who = data.draw(st.sampled_from(ACCOUNTS))
        match data.draw(st.sampled_from(("validate", "pay", "collect"))):
            case "validate":
                shares[who] = settle(pot, shares[who], valid[who])
                valid[who] += data.draw(st.integers(1, 10**6))
                settlements += 1
            case "pay" if sum(valid):
                amount = data.draw(st.integers(1, 2**62))
                pot = pay_in(pot, amount, sum(valid))
                paid_in += amount
                payments += 1
            case "collect":
                shares[who] = settle(pot, shares[who], valid[who])
                verify_collection(pot, shares[who])
                pot, shares[who], paid = collect(pot, shares[who])
                paid_out += paid
                settlements += 1
        owed = [settle(pot, shares[each], valid[each]).owed for each in ACCOUNTS]
        assert pot.held == paid_in - paid_out
        # U1, and the dust is less than a unit for each settlement and payment.
        assert 0 <= pot.held - sum(owed) <= settlements + payments + len(ACCOUNTS)


@given(st.integers(1, 2**62), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**6))
def test_nobody_gets_more_by_being_two(amount: int, first: int, second: int, others: int) -> None:
    pot = pay_in(SupportPot(), amount, first + second + others)
    apart = [settle(pot, SupportShare(), valid).owed for valid in (first, second)]
    assert sum(apart) <= settle(pot, SupportShare(), first + second).owed
