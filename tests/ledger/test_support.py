"""Voluntary fees through the executor: shared by validated samples, and nothing depends on them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incentives.support import SupportPot, SupportShare
from incentives.terms import Terms
from ledger.metering import UNITS_PER_BYTE, UNITS_PER_SIGNATURE
from ledger.schema import AMOUNT_MAX
from ledger.support_records import (
    PotRecord,
    ShareRecord,
    decode_pot,
    decode_share,
    support_pot_key,
    support_share_key,
)
from ledger.transactions.staking import Stake
from ledger.transactions.support import (
    COLLECT_SUPPORT,
    SUPPORT_MODEL,
    CollectSupport,
    SupportModel,
)
from primitives.errors import InvalidInputError
from tests.helpers.contributions import BALANCE, Scene
from tests.helpers.ledger import TestAccount

TERMS = Terms("points", 0, 0, 0, 0, voluntary_fee=50)


def support(scene: Scene, sender: TestAccount, amount: int, model: str = "shared"):
    return scene.send(sender, "support_model", SupportModel(model, amount))


def collect(scene: Scene, sender: TestAccount, model: str = "shared"):
    return scene.send(sender, "collect_support", CollectSupport(model))


def pot_of(scene: Scene) -> SupportPot:
    record = scene.chain.store.read(support_pot_key("shared"), decode_pot)
    assert record is not None
    return record.pot


def test_contributors_share_what_is_paid_by_their_validated_samples() -> None:
    scene = Scene(TERMS)
    user, alice, bob, carol = scene.accounts
    scene.validate(alice, 3)
    scene.validate(bob, 1)
    assert support(scene, user, 400).data == [4]
    assert scene.balance(user) == BALANCE - 400
    # Who comes later has no part in what was paid before.
    scene.validate(carol, 4)
    scene.validate(alice, 1)
    assert support(scene, user, 900).data == [9]
    assert [collect(scene, each).data for each in (alice, bob, carol)] == [[700], [200], [400]]
    assert scene.balance(alice) == BALANCE + 700
    assert (pot_of(scene).held, pot_of(scene).paid) == (0, 1_300)


def test_paying_and_collecting_cost_as_much_as_a_stake_beyond_the_envelope() -> None:
    scene = Scene(TERMS)
    user = scene.accounts[0]
    stake = Stake(user.id, 1)
    bodies = (("support_model", SupportModel("a", 1)), ("collect_support", CollectSupport("a")))
    for kind, body in (*bodies, ("stake", stake)):
        receipt = scene.send(user, kind, body)
        envelope = UNITS_PER_SIGNATURE + UNITS_PER_BYTE * 300
        assert 20_000 + UNITS_PER_SIGNATURE < receipt.compute_units < 20_000 + envelope, kind


def test_dust_stays_in_the_pot() -> None:
    scene = Scene(TERMS)
    for account in scene.accounts[1:]:
        scene.validate(account, 1)
    support(scene, scene.accounts[0], 10)
    assert [collect(scene, each).data for each in scene.accounts[1:]] == [[3], [3], [3]]
    assert pot_of(scene).held == 1


def test_nothing_can_be_collected_twice_or_by_who_taught_nothing() -> None:
    scene = Scene(TERMS)
    user, alice, bob, _ = scene.accounts
    assert collect(scene, alice).code == "nothing_to_collect"
    scene.validate(alice, 1)
    assert collect(scene, alice).code == "nothing_to_collect"
    support(scene, user, 7)
    assert collect(scene, alice).data == [7]
    assert collect(scene, alice).code == "nothing_to_collect"
    assert collect(scene, bob).code == "nothing_to_collect"
    assert scene.balance(bob) == BALANCE


def test_payment_needs_a_model_somebody_to_share_it_and_money() -> None:
    scene = Scene(TERMS)
    user, alice, _, _ = scene.accounts
    assert support(scene, user, 5, "unknown").code == "unknown_model"
    assert collect(scene, user, "unknown").code == "unknown_model"
    assert support(scene, user, 5).code == "no_valid_contributions"
    scene.validate(alice, 1)
    assert support(scene, user, BALANCE + 1).code == "insufficient_balance"
    assert scene.balance(user) == BALANCE
    assert scene.chain.store.get(support_pot_key("shared")) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (SUPPORT_MODEL, ["shared", 0]),
        (SUPPORT_MODEL, ["shared", AMOUNT_MAX + 1]),
        (SUPPORT_MODEL, ["Upper", 1]),
        (SUPPORT_MODEL, ["shared"]),
        (COLLECT_SUPPORT, ["Upper"]),
        (COLLECT_SUPPORT, ["shared", 1]),
    ],
)
def test_body_out_of_form_is_refused(kind, body) -> None:
    with pytest.raises(InvalidInputError):
        kind.decode_body(body)


@given(st.integers(0, 2**256 - 1), st.integers(0, AMOUNT_MAX), st.integers(0, AMOUNT_MAX))
def test_records_come_back(per_sample: int, held: int, paid: int) -> None:
    pot = PotRecord(SupportPot(per_sample, held, paid))
    assert decode_pot(pot.encode()) == pot
    share = ShareRecord(SupportShare(per_sample, held))
    assert decode_share(share.encode()) == share


def test_share_is_kept_by_model_and_account() -> None:
    scene = Scene(TERMS)
    user, alice, _, _ = scene.accounts
    scene.validate(alice, 2)
    support(scene, user, 5)
    scene.validate(alice, 1)
    key = support_share_key(alice.id, "shared")
    record = scene.chain.store.read(key, decode_share)
    assert record == ShareRecord(SupportShare(pot_of(scene).per_sample, 5))


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_no_more_is_paid_out_than_in(data: st.DataObject) -> None:
    scene = Scene(TERMS)
    paid_in = paid_out = 0
    for _ in range(data.draw(st.integers(1, 12))):
        actor = data.draw(st.sampled_from(scene.accounts))
        match data.draw(st.sampled_from(("validate", "support", "collect"))):
            case "validate":
                scene.validate(actor, data.draw(st.integers(1, 5)))
            case "support":
                amount = data.draw(st.integers(1, 10**6))
                paid_in += amount * (support(scene, actor, amount).code == "ok")
            case _:
                receipt = collect(scene, actor)
                paid_out += sum(int(each) for each in receipt.data)  # type: ignore[call-overload]
    for account in scene.accounts:
        paid_out += sum(int(each) for each in collect(scene, account).data)  # type: ignore[call-overload]
    record = scene.chain.store.read(support_pot_key("shared"), decode_pot)
    assert paid_in - paid_out == (0 if record is None else record.pot.held)
    assert 0 <= paid_in - paid_out < 60
