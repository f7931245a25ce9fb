"""A newcomer without money contributes, against a real API over a real ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import quorate
from primitives.accounts import account_to_text
from primitives.errors import InvalidInputError
from quorate.errors import RefusedError, TransactionFailedError
from quorate.sponsorship import SponsorRequest
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import connect, create, make_rows
from tests.helpers.ledger import INITIAL_BALANCE, make_account

TERMS = quorate.Incentive("deposit_refund_take", 1, 0, 0, 0, sponsored_samples_max=10)
ROWS, LABELS = make_rows(12)
NEWCOMER = make_account("newcomer")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    """Run an API with a model of accounts[0] that has learnt a little."""
    with run_api(tmp_path) as running:
        owner = connect(running, running.chain.network.accounts[0])
        create(owner, incentive=TERMS)
        owner.contribute("sides", ROWS, LABELS)
        yield running


@pytest.fixture
def newcomer(scene: ApiScene) -> quorate.Client:
    return connect(scene, NEWCOMER)


@pytest.fixture
def sponsor(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[1])


def name_sponsor(scene: ApiScene, place: int = 1) -> str:
    return account_to_text(scene.chain.network.accounts[place].id)


def carry(request: SponsorRequest) -> SponsorRequest:
    """Return the request as it arrives with the sponsor."""
    return SponsorRequest.from_json(json.loads(json.dumps(request.to_json())))


def test_the_sponsor_pays_the_newcomer_earns(
    scene: ApiScene, newcomer: quorate.Client, sponsor: quorate.Client
) -> None:
    request = newcomer.sponsorship.ask(name_sponsor(scene), "sides", ROWS[:5], LABELS[:5])
    assert scene.chain.account(NEWCOMER.id).nonce == 0
    done = sponsor.sponsorship.sign(carry(request))
    deposit = int(done.result["deposit"])
    assert deposit > 0
    assert sponsor.account().balance == INITIAL_BALANCE - deposit
    contribution = newcomer.contribution("sides", done.result["sequence"])
    assert contribution.contributor == account_to_text(NEWCOMER.id)
    assert contribution.depositor == name_sponsor(scene)
    assert (contribution.validated_samples, contribution.karma_per_sample) == (0, 0)
    # The newcomer goes on with the next nonce by itself.
    newcomer.refund("sides", contribution.sequence)
    assert newcomer.account().karma == 5
    assert sponsor.account().balance == INITIAL_BALANCE
    assert newcomer.contribution("sides", contribution.sequence).validated_samples == 5
    # The same request again is the same transaction: nothing is paid twice.
    assert sponsor.sponsorship.sign(request) == done
    assert sponsor.account().balance == INITIAL_BALANCE


def test_the_body_is_that_of_a_contribution(scene: ApiScene, newcomer: quorate.Client) -> None:
    asked = {"max_deposit": 7, "karma": 3}
    request = newcomer.sponsorship.ask(name_sponsor(scene), "sides", ROWS[:2], LABELS[:2], **asked)
    assert list(request.content.body) == ["sides", 7, 2, 3]
    longest = scene.chain.network.genesis.parameters.expiry_window_max // 2
    assert request.content.valid_until_height == scene.node.height + longest
    with pytest.raises(InvalidInputError, match="class nowhere is unknown"):
        newcomer.sponsorship.ask(name_sponsor(scene), "sides", ROWS[:1], ["nowhere"])


def test_another_transaction_takes_the_nonce_of_the_request(
    scene: ApiScene, sponsor: quorate.Client
) -> None:
    owner = connect(scene, scene.chain.network.accounts[0])
    request = owner.sponsorship.ask(name_sponsor(scene), "sides", ROWS[:2], LABELS[:2])
    owner.transfer(name_sponsor(scene), 1)
    with pytest.raises(RefusedError) as refused:
        sponsor.sponsorship.sign(request)
    assert refused.value.code == "nonce_used"


def test_requests_to_others_and_for_other_chains_are_not_signed(
    scene: ApiScene, newcomer: quorate.Client, sponsor: quorate.Client
) -> None:
    request = newcomer.sponsorship.ask(name_sponsor(scene, 2), "sides", ROWS[:2], LABELS[:2])
    with pytest.raises(InvalidInputError, match=f"asks {name_sponsor(scene, 2)} to pay") as refused:
        sponsor.sponsorship.sign(request)
    assert refused.value.code == "wrong_sponsor"
    foreign = replace(request, content=replace(request.content, chain_id=bytes(32)))
    with pytest.raises(InvalidInputError, match="is for the chain 0000") as refused:
        sponsor.sponsorship.sign(foreign)
    assert refused.value.code == "wrong_chain"
    changed = replace(request, content=replace(request.content, fee_limit=9))
    with pytest.raises(InvalidInputError, match="not signed by its sender"):
        connect(scene, scene.chain.network.accounts[2]).sponsorship.sign(changed)
    with pytest.raises(InvalidInputError, match="cannot sponsor itself"):
        newcomer.sponsorship.ask(account_to_text(NEWCOMER.id), "sides", ROWS[:1], LABELS[:1])
    assert scene.chain.account(NEWCOMER.id).nonce == 0


def test_sponsors_pay_for_so_many_samples_of_a_contributor(
    scene: ApiScene, newcomer: quorate.Client, sponsor: quorate.Client
) -> None:
    for count in (6, 5):
        request = newcomer.sponsorship.ask(
            name_sponsor(scene), "sides", ROWS[:count], LABELS[:count]
        )
        if count == 6:
            sponsor.sponsorship.sign(request)
        else:
            with pytest.raises(TransactionFailedError, match="sponsor_limit"):
                sponsor.sponsorship.sign(request)
    shown = scene.get(f"/api/v1/accounts/{account_to_text(NEWCOMER.id)}")
    assert shown["karma_by_model"][0]["sponsored_samples"] == 6
    # To be sponsored is no merit.
    assert newcomer.recognition.leaderboard("sides") == []


def test_karma_stands_in_for_money_and_comes_back(scene: ApiScene) -> None:
    owner = connect(scene, scene.chain.network.accounts[0])
    terms = replace(TERMS, weight=10, karma_price=1_000, karma_percent_max=50)
    create(owner, "trusting", incentive=terms)
    paid = owner.contribute("trusting", ROWS[:8], LABELS[:8])
    owner.refund("trusting", paid.result["sequence"])
    assert owner.account().karma_by_model["trusting"] == 8

    staked = owner.contribute("trusting", ROWS[:4], LABELS[:4], karma=8)
    assert staked.result["karma_per_sample"] == 2
    price = int(paid.result["deposit_per_sample"])
    assert int(staked.result["deposit_per_sample"]) == price - 2 * terms.karma_price
    shown = owner.contribution("trusting", staked.result["sequence"])
    assert (shown.karma_per_sample, shown.karma_held) == (2, 8)
    assert owner.account().karma_by_model["trusting"] == 0
    owner.refund("trusting", shown.sequence)
    assert owner.account().karma_by_model["trusting"] == 8 + 4
    assert owner.contribution("trusting", shown.sequence).karma_held == 0
