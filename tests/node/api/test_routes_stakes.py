"""Stakes, rewards and supply over REST."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.transactions.staking import SetCommission, Stake, Unstake
from primitives.accounts import account_to_text
from tests.helpers.api import ApiScene, run_api
from tests.helpers.ledger import INITIAL_BALANCE, TestAccount, make_account, make_transaction
from tests.helpers.staking import STAKING_PARAMETERS

MEMBERS = tuple(make_account(f"member {index}") for index in range(4))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path, parameters=STAKING_PARAMETERS) as running:
        yield running


def send(scene: ApiScene, sender: TestAccount, kind: str, body: object) -> None:
    fields = body.to_fields()  # type: ignore[attr-defined]
    nonce = scene.chain.account(sender.id).nonce
    scene.run([make_transaction(scene.chain.network, sender, kind, fields, nonce=nonce)])


def grow(scene: ApiScene, height: int) -> None:
    """Make blocks up to a height."""
    while scene.node.height < height:
        scene.run()


def text(account: TestAccount) -> str:
    return account_to_text(account.id)


def test_pools_show_what_was_staked_and_by_whose_account(scene: ApiScene) -> None:
    alice = scene.chain.network.accounts[0]
    assert scene.get("/api/v1/stakes")["items"] == []
    send(scene, alice, "stake", Stake(MEMBERS[1].id, 500))
    pool = scene.get(f"/api/v1/stakes/{text(MEMBERS[1])}")
    assert pool == {
        "validator": text(MEMBERS[1]),
        "name": "member-1",
        "has_seat": True,
        "tokens": "500",
        "shares": "500",
        "share_price": 1.0,
        "commission_basis_points": 10_000,
        "next_commission_basis_points": 10_000,
        "next_epoch": 0,
        "is_tombstoned": False,
        "slashed": "0",
        "blocks": 0,
        "epochs": 0,
        "uptime_karma": 0,
        "height": 1,
    }
    listed = scene.get("/api/v1/stakes")
    assert (listed["height"], listed["next_cursor"]) == (1, None)
    assert listed["items"] == [{name: pool[name] for name in pool if name != "height"}]
    assert scene.get("/api/v1/stakes", height=0)["items"] == []


def test_a_validator_without_stakes_has_an_empty_pool_and_others_have_none(
    scene: ApiScene,
) -> None:
    pool = scene.get(f"/api/v1/stakes/{text(MEMBERS[0])}")
    assert (pool["tokens"], pool["share_price"], pool["has_seat"]) == ("0", None, True)
    stranger = text(scene.chain.network.accounts[0])
    response = scene.http.get(f"/api/v1/stakes/{stranger}")
    assert (response.status_code, response.json()["code"]) == (404, "unknown_account")
    assert stranger in response.json()["detail"]
    assert scene.http.get("/api/v1/stakes/qr1nonsense").json()["code"] == "malformed_request"
    missing = scene.http.get(f"/api/v1/stakes/{text(MEMBERS[0])}", params={"height": 9})
    assert missing.json()["code"] == "unknown_height"


def test_pools_come_in_pages_that_meet(scene: ApiScene) -> None:
    grow(scene, STAKING_PARAMETERS.epoch_length)
    accounts: list[str] = []
    cursor = None
    while True:
        page = scene.get("/api/v1/stakes", limit=3, **({"cursor": cursor} if cursor else {}))
        accounts += [pool["validator"] for pool in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert accounts == [account_to_text(each) for each in sorted(each.id for each in MEMBERS)]
    assert scene.http.get("/api/v1/stakes", params={"cursor": "!"}).status_code == 400


def test_commissions_are_shown_as_they_are_and_as_they_will_be(scene: ApiScene) -> None:
    send(scene, MEMBERS[0], "set_commission", SetCommission(250))
    path = f"/api/v1/stakes/{text(MEMBERS[0])}"
    before = scene.get(path)
    assert before["commission_basis_points"] == 10_000
    assert (before["next_commission_basis_points"], before["next_epoch"]) == (250, 1)
    grow(scene, STAKING_PARAMETERS.epoch_length)
    after = scene.get(path)
    assert after["commission_basis_points"] == 250
    # Every block of these tests is proposed by the first validator.
    assert (after["blocks"], after["epochs"], after["uptime_karma"]) == (10, 1, 10)


def test_what_leaves_says_from_which_height_on_it_is_paid(scene: ApiScene) -> None:
    alice = scene.chain.network.accounts[0]
    send(scene, alice, "stake", Stake(MEMBERS[0].id, 900))
    send(scene, alice, "unstake", Unstake(MEMBERS[0].id, 400))
    path = f"/api/v1/accounts/{text(alice)}/stakes"
    stakes = scene.get(path)
    assert (stakes["account"], stakes["height"], stakes["tokens"]) == (text(alice), 2, "500")
    named = {"validator": text(MEMBERS[0]), "name": "member-0"}
    assert stakes["delegations"] == [{**named, "shares": "500", "tokens": "500"}]
    leaving = {**named, "epoch": 0, "tokens": "400", "withdrawable_height": 41}
    assert stakes["unbondings"] == [{**leaving, "is_withdrawable": False}]
    grow(scene, 39)
    assert scene.get(path)["unbondings"][0]["is_withdrawable"] is False
    scene.run()
    assert scene.get(path)["unbondings"][0]["is_withdrawable"] is True
    assert scene.get(path, height=1)["unbondings"] == []
    assert scene.get(f"/api/v1/accounts/{text(MEMBERS[2])}/stakes")["delegations"] == []


def test_the_running_epoch_is_counted_by_proposer(scene: ApiScene) -> None:
    fresh = scene.get("/api/v1/rewards")
    assert (fresh["height"], fresh["epoch"], fresh["epoch_end_height"]) == (0, 0, 10)
    assert [each["blocks"] for each in fresh["validators"]] == [0, 0, 0, 0]
    grow(scene, 3)
    rewards = scene.get("/api/v1/rewards")
    assert (rewards["pot"], rewards["issuance"], rewards["blocks"]) == ("0", "0", 3)
    assert rewards["stake_reward_percent"] == STAKING_PARAMETERS.stake_reward_percent
    assert rewards["validators"][0] == {
        "index": 0,
        "validator": text(MEMBERS[0]),
        "name": "member-0",
        "blocks": 3,
    }
    grow(scene, 10)
    assert scene.get("/api/v1/rewards")["blocks"] == 0
    assert scene.get("/api/v1/rewards")["epoch"] == 1


def test_supply_adds_up_and_answers_for_earlier_heights(scene: ApiScene) -> None:
    minted = 4 * INITIAL_BALANCE
    send(scene, scene.chain.network.accounts[0], "stake", Stake(MEMBERS[0].id, 900))
    assert scene.get("/api/v1/supply") == {
        "height": 1,
        "minted": str(minted),
        "balances": str(minted - 900),
        "held": "900",
        "burnt": "0",
    }
    assert scene.get("/api/v1/supply", height=0)["held"] == "0"


def test_what_cannot_have_changed_is_not_sent_again(scene: ApiScene) -> None:
    for path in ("/api/v1/stakes", "/api/v1/rewards", "/api/v1/supply", "/api/v1/leaderboard"):
        tag = scene.http.get(path).headers["etag"]
        assert scene.http.get(path, headers={"If-None-Match": tag}).status_code == 304
