"""Stakes from Python, from the bond to the payment, against a real API over a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import quorate
from primitives.accounts import account_to_text
from quorate.errors import NotFoundError, TransactionFailedError
from quorate.staking import Delegation, Unbonding
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import connect
from tests.helpers.ledger import INITIAL_BALANCE, make_account
from tests.helpers.staking import STAKING_PARAMETERS

VALIDATOR = make_account("member 0")
NAME = account_to_text(VALIDATOR.id)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path, parameters=STAKING_PARAMETERS) as running:
        yield running


@pytest.fixture
def alice(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[0])


def grow(scene: ApiScene, height: int) -> None:
    while scene.node.height < height:
        scene.run()


def test_a_stake_is_added_taken_back_and_paid_out(scene: ApiScene, alice: quorate.Client) -> None:
    staked = alice.stakes.stake(NAME, 1_000)
    assert staked.result == {"shares": "1000", "paid": "1000"}
    assert alice.stakes.mine().delegations == (Delegation(NAME, "member-0", 1_000, 1_000),)
    assert (alice.stakes.pool(NAME).tokens, alice.stakes.pool(NAME).share_price) == (1_000, 1.0)
    assert alice.stakes.supply().held == 1_000

    assert alice.stakes.unstake(NAME, 300).result["tokens"] == "300"
    rest = alice.stakes.unstake(NAME)
    assert rest.result == {"shares": "700", "tokens": "700", "epoch": 0}
    mine = alice.stakes.mine()
    assert (mine.account, mine.height, mine.delegations) == (alice.account().account, 3, ())
    assert mine.unbondings == (Unbonding(NAME, "member-0", 0, 1_000, 41, is_withdrawable=False),)
    assert alice.stakes.mine(height=1).unbondings == ()
    with pytest.raises(TransactionFailedError, match="too_early"):
        alice.stakes.withdraw(NAME, 0)

    grow(scene, mine.unbondings[0].withdrawable_height - 1)
    assert alice.stakes.mine(alice.account().account).unbondings[0].is_withdrawable
    assert alice.stakes.withdraw(NAME, 0).result == {"paid": "1000"}
    assert alice.account().balance == INITIAL_BALANCE
    supply = alice.stakes.supply()
    assert (supply.minted, supply.held, supply.burnt) == (supply.balances, 0, 0)
    assert alice.stakes.supply(height=1).held == 1_000


def test_a_validator_sets_its_commission_and_sees_its_own_pool(scene: ApiScene) -> None:
    validator = connect(scene, VALIDATOR)
    assert validator.stakes.set_commission(1_250).result == {"basis_points": 1_250, "epoch": 1}
    pool = validator.stakes.pool()
    assert (pool.validator, pool.name, pool.has_seat) == (NAME, "member-0", True)
    assert (pool.commission_basis_points, pool.next_commission_basis_points) == (10_000, 1_250)
    grow(scene, 10)
    assert validator.stakes.pool().commission_basis_points == 1_250
    assert validator.stakes.pool(height=3).commission_basis_points == 10_000
    rewards = validator.stakes.rewards()
    assert (rewards["epoch"], rewards["blocks"]) == (1, 0)


def test_all_pools_are_listed_page_by_page(
    scene: ApiScene, alice: quorate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert alice.stakes.pools() == []
    grow(scene, 10)
    monkeypatch.setattr("quorate.client.PAGE_LIMIT", 3)
    every = alice.stakes.pools()
    assert {pool.name for pool in every} == {f"member-{index}" for index in range(4)}
    assert alice.stakes.pools(limit=2) == every[:2]


def test_who_is_no_validator_has_no_pool(alice: quorate.Client) -> None:
    with pytest.raises(NotFoundError, match="no validator"):
        alice.stakes.pool()
    with pytest.raises(TransactionFailedError, match="not_a_validator"):
        alice.stakes.set_commission(0)
    with pytest.raises(quorate.InvalidInputError):
        alice.stakes.stake("member-0", 5)
