"""Deposits with money: who pays, what karma stands in for, and who gets what in the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incentives.terms import HALF_LIFE_MS_MIN, SPONSORED_SAMPLES_MAX, Terms
from ledger.karma_records import karma_key
from ledger.payload import Payload
from ledger.schema import CHAIN_SUPPLY, decode_supply
from ledger.transactions.contributions import Contribute
from ml_runtime.samples import DenseSamples, encode_batch
from tests.helpers.contributions import HIGH, LOW, Scene
from tests.helpers.ledger import make_salt, make_transaction

WEIGHT = 10
TERMS = Terms("deposit_refund_take", WEIGHT, 1_000, 10_000, 20_000)
KARMA_TERMS = replace(TERMS, karma_price=100, karma_percent_max=50)
PRICE = WEIGHT * 3600
"""Of a sample within four seconds of the last update."""


def held(scene: Scene) -> int:
    supply = scene.chain.store.read(CHAIN_SUPPLY, decode_supply)
    assert supply is not None
    return supply.held


def validated(scene: Scene, *counts: int) -> None:
    """Have samples of accounts[1], accounts[2] … validated."""
    for account, count in zip(scene.accounts[1:], counts, strict=False):
        scene.validate(account, count, wait_ms=1_000)


class TestDepositRefundTake:
    """The mechanism as published and corrected, with real money."""

    @pytest.mark.parametrize(
        ("after_ms", "price"),
        [(1, 36_000), (3_999, 36_000), (4_000, 18_000), (100_000, 3_600), (86_400_000, 122)],
    )
    def test_price_falls_with_the_root_of_the_seconds_since_the_last_update(
        self, after_ms: int, price: int
    ) -> None:
        scene = Scene(TERMS)
        alice = scene.accounts[1]
        before, held_before = scene.balance(alice), held(scene)
        receipt = scene.contribute(alice, [LOW, HIGH], [0, 1], after_ms=after_ms)
        assert receipt.data[1:3] == [price, 2 * price]
        assert scene.balance(alice) == before - 2 * price
        assert held(scene) == held_before + 2 * price

    def test_every_sample_of_a_batch_stands_on_its_own_share(self) -> None:
        scene = Scene(TERMS)
        _, alice, bob, _ = scene.accounts
        validated(scene, 1, 1)
        before = scene.balance(alice)
        scene.contribute(alice, [LOW, HIGH, LOW, HIGH], [0, 0, 0, 0])
        assert scene.refund(alice, 3, after_ms=1_000).data[:2] == [2, 2 * PRICE]
        assert scene.balance(alice) == before - 2 * PRICE
        # Bob has 1 of 4 validated samples, and takes a quarter of each share.
        before = scene.balance(bob)
        assert scene.report(bob, 3, 1).data[:2] == [1, PRICE // 4]
        assert scene.report(bob, 3).data[:2] == [1, PRICE // 4]
        assert scene.balance(bob) == before + PRICE // 2

    def test_reporters_share_by_validated_samples_and_a_claim_takes_the_rest(self) -> None:
        scene = Scene(TERMS, accounts=5)
        owner, bad, bob, carol, dave = scene.accounts
        for account, count in ((bob, 2), (carol, 1), (dave, 1)):
            scene.validate(account, count, wait_ms=1_000)
        sequence = scene.next_sequence["shared"]
        scene.contribute(bad, [HIGH], [0])
        before = {account.id: scene.balance(account) for account in scene.accounts}
        assert scene.report(bob, sequence, after_ms=1_000).data[1] == PRICE // 2
        assert scene.report(carol, sequence).data[1] == PRICE // 4
        assert scene.claim(owner, sequence, after_ms=10_000).data[0] == PRICE // 4
        assert scene.report(dave, sequence).code == "already_claimed"
        gained = [scene.balance(account) - before[account.id] for account in scene.accounts]
        assert gained == [PRICE // 4, 0, PRICE // 2, PRICE // 4, 0]

    def test_equal_contributions_of_one_instant_are_two(self) -> None:
        scene = Scene(TERMS)
        alice = scene.accounts[1]
        before = scene.balance(alice)
        samples = DenseSamples(np.array([LOW], dtype=np.int64))
        payload = Payload(make_salt(1), encode_batch(samples, np.zeros(1, dtype=np.int64)))
        body = Contribute("shared", PRICE, 1).to_fields()
        block = scene.chain.run(
            [
                make_transaction(
                    scene.chain.network, alice, "contribute", body, nonce=nonce, payload=payload
                )
                for nonce in range(2)
            ],
            timestamp_ms=scene.now_ms,
        )
        assert [list(each.data[:2]) for each in block.receipts] == [[1, PRICE], [2, PRICE]]
        assert scene.balance(alice) == before - 2 * PRICE
        for sequence in (1, 2):
            assert scene.refund(alice, sequence, after_ms=1_000).data == [1, PRICE, 1]
        assert scene.balance(alice) == before

    def test_share_of_nothing_takes_all_that_is_left(self) -> None:
        scene = Scene(replace(TERMS, weight=1))
        _, bad, bob, carol = scene.accounts
        scene.validate(bob, 1, wait_ms=1_000)
        scene.validate(carol, 2, wait_ms=1_000)
        # An hour later a sample costs 60, a thousand hours later 1: a third of it is nothing.
        receipt = scene.contribute(bad, [HIGH], [0], after_ms=3_600_000 * 3_600)
        assert receipt.data[1] == 1
        assert scene.report(bob, 3, after_ms=1_000).data[1] == 1
        assert scene.contribution(3).book.held == 0

    def test_long_books_are_metered_for_what_reading_and_writing_them_takes(self) -> None:
        scene = Scene(TERMS)
        _, bad, bob, carol = scene.accounts
        for account, count in ((bob, 1), (carol, 2)):
            scene.validate(account, count, wait_ms=1_000)
        for _ in range(2):
            scene.contribute(bad, [HIGH] * 10, [0] * 10)
        assert scene.report(bob, 4, after_ms=1_000).code == "ok"
        assert len(scene.contribution(4).book.partial) == 10
        book = 10 * 2_500 + 2_000
        early = [scene.claim(carol, sequence) for sequence in (4, 3, 99)]
        assert [each.code for each in early] == ["too_early"] * 2 + ["unknown_contribution"]
        units = [each.compute_units for each in early]
        assert (units[0] - units[1], units[1] - units[2]) == (book, 50_000)
        for ask in (scene.refund, scene.report):
            long, short = (ask(carol, sequence).compute_units for sequence in (4, 3))
            assert long - short == book

    def test_remainder_that_is_less_than_a_share_goes_to_the_last_reporter(self) -> None:
        scene = Scene(replace(TERMS, weight=1))
        _, bad, bob, carol = scene.accounts
        scene.validate(bob, 2, wait_ms=1_000)
        scene.contribute(bad, [HIGH], [0])
        scene.contribute(carol, [LOW], [0])
        assert scene.report(bob, 2, after_ms=1_000).data[1] == 3_600
        scene.contribute(bad, [HIGH], [0])
        scene.refund(carol, 3, after_ms=1_000)
        assert scene.report(bob, 4).data[1] == 2_400
        scene.contribute(carol, [LOW] * 3, [0] * 3)
        assert scene.refund(carol, 5, after_ms=1_000).code == "ok"
        # Carol has 4 of 6 by now: two thirds are more than the third that is left.
        assert scene.report(carol, 4).data[1] == 1_200

    def test_contributor_takes_back_what_reporters_left_when_the_model_comes_round(self) -> None:
        scene = Scene(TERMS)
        _, alice, bob, carol = scene.accounts
        for account in (bob, carol):
            scene.validate(account, 1, wait_ms=1_000)
        scene.contribute(alice, [HIGH], [0])
        assert scene.report(bob, 3, after_ms=1_000).data[1] == PRICE // 2
        for _ in range(3):
            scene.contribute(carol, [HIGH] * 20, [0] * 20)
            scene.contribute(carol, [LOW] * 20, [1] * 20)
        before = scene.balance(alice)
        assert scene.refund(alice, 3).data[:2] == [1, PRICE // 2]
        assert scene.balance(alice) == before + PRICE // 2

    def test_waits_hold_to_the_millisecond(self) -> None:
        scene = Scene(TERMS)
        owner, alice, bob, _ = scene.accounts
        scene.validate(bob, 1, wait_ms=1_000)
        scene.contribute(alice, [LOW, HIGH], [0, 0])
        assert scene.refund(alice, 2, after_ms=998).code == "too_early"
        assert scene.report(bob, 2, after_ms=1).code == "too_early"
        assert scene.refund(alice, 2, after_ms=1).code == "ok"
        assert scene.claim(owner, 2, after_ms=8_999).code == "too_early"
        assert scene.claim(bob, 2, after_ms=1).code == "not_owner"
        assert scene.claim(bob, 2, after_ms=9_999).code == "not_owner"
        before = scene.balance(bob)
        assert scene.claim(bob, 2, after_ms=1).data[0] == PRICE
        assert scene.balance(bob) == before + PRICE

    def test_owner_claims_what_is_left_of_any_sample(self) -> None:
        scene = Scene(TERMS)
        owner, alice, _, _ = scene.accounts
        scene.contribute(alice, [LOW, HIGH], [0, 0])
        before = scene.balance(owner)
        assert scene.claim(owner, 1, after_ms=10_000).data[0] == 2 * PRICE
        assert scene.balance(owner) == before + 2 * PRICE
        assert scene.refund(alice, 1).code == "already_claimed"

    def test_weight_zero_moves_no_money_and_still_judges(self) -> None:
        scene = Scene(replace(TERMS, weight=0))
        _, alice, bob, _ = scene.accounts
        scene.validate(bob, 1, wait_ms=1_000)
        before = scene.balance(alice)
        assert scene.contribute(alice, [LOW, HIGH], [0, 0], max_deposit=0).data[2] == 0
        assert scene.refund(alice, 2, after_ms=1_000).data == [1, 0, 1]
        assert scene.report(bob, 2).data == [1, 0, 1]
        assert scene.refund(alice, 2).code == "already_claimed"
        assert (scene.balance(alice), scene.karma(alice).valid) == (before, 1)


class TestSponsors:
    """Somebody else pays the deposit, for so many samples."""

    def contribute(self, scene: Scene, count: int, **options: Any) -> Any:
        sender, sponsor = scene.accounts[1:3]
        rows = [LOW] * count
        return scene.contribute(sender, rows, [0] * count, sponsor=sponsor, **options)

    def test_sponsor_pays_and_gets_it_back(self) -> None:
        scene = Scene(TERMS)
        sender, sponsor = scene.accounts[1:3]
        before = scene.balance(sender), scene.balance(sponsor)
        assert self.contribute(scene, 3).code == "ok"
        assert scene.balance(sponsor) == before[1] - 3 * PRICE
        assert scene.refund(sender, 1, after_ms=1_000).code == "ok"
        assert (scene.balance(sender), scene.balance(sponsor)) == before
        assert scene.karma(sender).sponsored == 3
        assert scene.karma(sponsor).valid == 0

    def test_sponsors_pay_for_so_many_samples_of_one_contributor_together(self) -> None:
        scene = Scene(replace(TERMS, sponsored_samples_max=5))
        sender, sponsor, other = scene.accounts[1:4]
        assert self.contribute(scene, 3).code == "ok"
        before = scene.balance(sponsor), held(scene)
        refused = self.contribute(scene, 3)
        assert refused.code == "sponsor_limit"
        assert "3 samples were sponsored, 3 more would exceed the 5" in refused.message
        assert (scene.balance(sponsor), held(scene)) == before
        assert scene.contribute(sender, [LOW] * 2, [0] * 2, sponsor=other).code == "ok"
        assert self.contribute(scene, 1).code == "sponsor_limit"
        # Its own money and other contributors are not concerned, nor is what a refund set free.
        assert scene.contribute(sender, [LOW], [0]).code == "ok"
        assert scene.contribute(other, [LOW] * 5, [0] * 5, sponsor=sponsor).code == "ok"
        assert scene.refund(sender, 1, after_ms=1_000).code == "ok"
        assert self.contribute(scene, 1).code == "sponsor_limit"

    def test_sponsor_of_what_costs_nothing_is_not_counted(self) -> None:
        scene = Scene(replace(TERMS, weight=0, sponsored_samples_max=0))
        assert self.contribute(scene, 3).code == "ok"
        assert scene.karma(scene.accounts[1]).sponsored == 0

    def test_failed_contribution_is_not_counted(self) -> None:
        scene = Scene(TERMS)
        sender, _, other = scene.accounts[1:4]
        scene.chain.run([scene.chain.transfer(other, sender.id, scene.balance(other))])
        assert scene.contribute(sender, [LOW], [0], sponsor=other).code == "insufficient_balance"
        assert scene.karma(sender).sponsored == 0

    def test_limit_is_within_what_terms_allow(self) -> None:
        scene = Scene(replace(TERMS, sponsored_samples_max=SPONSORED_SAMPLES_MAX))
        assert self.contribute(scene, 1).code == "ok"


class TestKarmaInPlaceOfMoney:
    """Points stand in for a part of a deposit, and are lost with it."""

    def make_scene(self, terms: Terms = KARMA_TERMS, points: int = 50) -> Scene:
        scene = Scene(terms, accounts=5)
        scene.validate(scene.accounts[1], points, wait_ms=1_000)
        scene.validate(scene.accounts[2], points, wait_ms=1_000)
        return scene

    def test_money_and_points_make_up_the_price(self) -> None:
        scene = self.make_scene()
        alice = scene.accounts[1]
        before = scene.balance(alice)
        receipt = scene.contribute(alice, [LOW, LOW], [0, 0], karma=21)
        share = PRICE - 10 * 100
        assert receipt.data[1:] == [share, 2 * share, 2, 2, 10]
        assert scene.balance(alice) == before - 2 * share
        assert (scene.points(alice), scene.points(alice, "")) == (30, 50)
        book = scene.contribution(3).book
        assert (book.karma_share, book.karma_held, book.held) == (10, 20, 2 * share)

    def test_no_more_points_than_the_terms_allow_are_taken(self) -> None:
        scene = self.make_scene(replace(KARMA_TERMS, karma_price=1_000))
        alice = scene.accounts[1]
        receipt = scene.contribute(alice, [LOW], [0], karma=40)
        assert (receipt.data[1], receipt.data[5]) == (PRICE - 18_000, 18)
        assert scene.points(alice) == 32

    def test_limit_is_on_the_money_alone(self) -> None:
        scene = self.make_scene()
        alice = scene.accounts[1]
        money = PRICE - 1_000
        refused = scene.contribute(alice, [LOW], [0], karma=10, max_deposit=money - 1)
        assert refused.code == "insufficient_deposit"
        assert scene.points(alice) == 50
        taken = scene.contribute(alice, [LOW], [0], karma=10, max_deposit=money)
        assert taken.code == "ok"

    def test_points_that_are_not_there_cannot_be_staked(self) -> None:
        scene = self.make_scene()
        alice, before = scene.accounts[1], held(scene)
        refused = scene.contribute(alice, [LOW] * 3, [0] * 3, karma=51)
        assert refused.code == "insufficient_karma"
        assert "51 points on 'shared' are to be staked, 50 are left" in refused.message
        assert (scene.points(alice), held(scene)) == (50, before)
        assert scene.contribute(alice, [LOW] * 2, [0] * 2, karma=50).code == "ok"
        assert scene.contribute(alice, [LOW], [0], karma=1).code == "insufficient_karma"

    def test_points_of_one_model_are_not_those_of_another(self) -> None:
        scene = self.make_scene()
        scene.create("other", KARMA_TERMS)
        refused = scene.contribute(scene.accounts[1], [LOW], [0], model="other", karma=1)
        assert refused.code == "insufficient_karma"

    def test_points_return_with_validated_samples_and_are_no_new_merit(self) -> None:
        scene = self.make_scene(points=98)
        alice = scene.accounts[1]
        scene.contribute(alice, [LOW, HIGH], [0, 0], karma=80)
        assert scene.refund(alice, 3, after_ms=1_000).data == [1, PRICE - 4_000, 1]
        # 98 less 80 staked, 40 returned, 1 earned; what the bad sample holds is still at stake.
        assert (scene.points(alice), scene.points(alice, "")) == (59, 99)
        assert scene.karma(alice).valid == 99
        assert scene.karma(alice).badges == 0
        assert scene.contribution(3).book.karma_held == 40

    def test_points_are_lost_to_a_report_and_reporters_get_money_alone(self) -> None:
        scene = self.make_scene()
        _, alice, bob, carol, _ = scene.accounts
        scene.validate(carol, 50, wait_ms=1_000)
        scene.contribute(alice, [HIGH, HIGH], [0, 0], karma=40)
        share = PRICE - 2_000
        report = scene.report(bob, 4, 0, after_ms=1_000)
        assert report.data == [1, share // 3, 1]
        assert scene.points(bob) == 51
        assert (scene.points(alice), scene.points(alice, "")) == (10, 30)
        assert scene.contribution(4).book.karma_held == 20
        # More taken of the same sample loses nothing more; the other one still stands.
        scene.report(carol, 4, 0)
        assert scene.points(alice, "") == 30
        assert scene.claim(scene.accounts[0], 4, after_ms=10_000).code == "ok"
        assert (scene.points(alice), scene.points(alice, "")) == (10, 10)

    def test_sample_that_was_taken_from_returns_no_points(self) -> None:
        scene = self.make_scene()
        _, alice, bob, carol, _ = scene.accounts
        scene.contribute(alice, [HIGH], [0], karma=20)
        assert scene.report(bob, 3, after_ms=1_000).data[1] == (PRICE - 2_000) // 2
        for _ in range(3):
            scene.contribute(carol, [HIGH] * 200, [0] * 200)
            scene.contribute(carol, [LOW] * 200, [1] * 200)
        assert scene.refund(alice, 3).data == [1, PRICE - 2_000 - (PRICE - 2_000) // 2, 1]
        assert (scene.points(alice), scene.points(alice, "")) == (31, 31)

    def test_deposit_of_karma_alone_is_lost_to_a_report_that_pays_nothing(self) -> None:
        scene = self.make_scene(replace(KARMA_TERMS, karma_price=1_800, karma_percent_max=100))
        _, alice, bob, _, _ = scene.accounts
        assert scene.contribute(alice, [HIGH, LOW], [0, 0], karma=40).data[1:3] == [0, 0]
        assert scene.report(bob, 3, after_ms=1_000).data == [1, 0, 1]
        assert scene.refund(alice, 3).data == [1, 0, 1]
        assert (scene.points(alice), scene.points(alice, "")) == (31, 31)

    def test_sponsor_of_a_deposit_of_karma_alone_is_not_counted(self) -> None:
        terms = replace(KARMA_TERMS, karma_price=1_800, karma_percent_max=100)
        scene = self.make_scene(replace(terms, sponsored_samples_max=0))
        alice, sponsor = scene.accounts[1:3]
        assert scene.contribute(alice, [LOW], [0], karma=20, sponsor=sponsor).code == "ok"
        assert (scene.karma(alice).sponsored, scene.points(alice)) == (0, 30)

    def test_stake_is_no_shelter_from_time(self) -> None:
        terms = replace(KARMA_TERMS, karma_half_life_ms=HALF_LIFE_MS_MIN)
        scene = Scene(terms, accounts=5)
        idle, staking = scene.accounts[1:3]
        for account in (idle, staking):
            scene.validate(account, 100, wait_ms=1_000)
        scene.contribute(staking, [LOW], [0], karma=80)
        assert scene.refund(staking, 3, after_ms=10 * HALF_LIFE_MS_MIN).code == "ok"
        assert scene.points(staking) == scene.points(idle) + 1 == 1

    def test_points_that_have_faded_cannot_be_staked(self) -> None:
        scene = self.make_scene(replace(KARMA_TERMS, karma_half_life_ms=HALF_LIFE_MS_MIN))
        alice = scene.accounts[1]
        scene.chain.run(timestamp_ms=scene.now_ms + HALF_LIFE_MS_MIN)
        scene.now_ms += HALF_LIFE_MS_MIN
        assert scene.contribute(alice, [LOW], [0], karma=25).code == "insufficient_karma"

    def test_no_karma_is_taken_where_the_terms_have_no_price_for_it(self) -> None:
        scene = self.make_scene(TERMS)
        alice = scene.accounts[1]
        record = scene.chain.store.get(karma_key(alice.id, "shared"))
        assert scene.contribute(alice, [LOW], [0], karma=50).data[1] == PRICE
        assert scene.chain.store.get(karma_key(alice.id, "shared")) == record


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_points_and_money_are_conserved_whatever_the_actors_do(data: st.DataObject) -> None:
    """Points on the model: earned, less those staked or lost; never more than were earned."""
    scene = Scene(replace(KARMA_TERMS, refund_wait_ms=1, owner_wait_ms=2, any_wait_ms=3))
    earned = {account.id: 0 for account in scene.accounts}
    for account in scene.accounts[1:3]:
        scene.validate(account, 9, wait_ms=1)
        earned[account.id] = 9
    for _ in range(data.draw(st.integers(1, 12))):
        actor = data.draw(st.sampled_from(scene.accounts))
        sequence = data.draw(st.integers(0, scene.next_sequence["shared"] - 1))
        match data.draw(st.sampled_from(("contribute", "refund", "report", "claim"))):
            case "contribute":
                karma = data.draw(st.integers(0, 12))
                sponsor = data.draw(st.sampled_from(scene.accounts))
                scene.contribute(
                    actor,
                    [LOW, HIGH],
                    [0, data.draw(st.integers(0, 1))],
                    karma=karma,
                    sponsor=None if sponsor == actor else sponsor,
                )
                continue
            case "claim":
                scene.claim(actor, sequence)
                continue
            case "refund":
                receipt = scene.refund(actor, sequence)
            case _:
                receipt = scene.report(actor, sequence)
        if receipt.code == "ok":
            earned[actor.id] += int(receipt.data[2])  # type: ignore[call-overload]
    staked = {account.id: 0 for account in scene.accounts}
    for sequence in range(scene.next_sequence["shared"]):
        contribution = scene.contribution(sequence)
        staked[contribution.contributor] += contribution.book.karma_held
    for account in scene.accounts:
        on_model, overall = scene.points(account), scene.points(account, "")
        assert overall == on_model + staked[account.id] <= earned[account.id]
