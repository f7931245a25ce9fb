"""Exchanges over REST, from the bounty to who got it: in-process API, real ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import quorate
from ledger.parameters import Parameters
from ledger.payload import Payload
from ml_runtime.fixed_point import ONE
from node.api.exchange_wording import PHASES
from primitives.accounts import account_to_text
from quorate import exchanges
from quorate.bodies import ADVANCE_EXCHANGE
from quorate.errors import NotFoundError, RefusedError, TransactionFailedError
from quorate.records import Transaction
from tests.helpers import learning
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, connect, make_rows

KARMA_ALONE = quorate.Incentive("points", 0, 1_500, 5_000, 9_000)
LENGTH_MS, WAIT_MS = 10_000, 60_000
ROWS, LABELS = make_rows(60)
TEST_ROWS, TEST_LABELS = make_rows(30, seed=9)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path) as running:
        yield running


class Cup:
    """An exchange with an organiser, two that take part, and models that are good and bad."""

    def __init__(self, scene: ApiScene) -> None:
        self.scene = scene
        accounts = scene.chain.network.accounts
        self.names = [account_to_text(account.id) for account in accounts[:3]]
        self.host, self.alice, self.bob = (connect(scene, each) for each in accounts[:3])
        learning.create(self.host, "like", incentive=KARMA_ALONE)
        for client, name, shift in ((self.alice, "good", 0), (self.bob, "bad", 1)):
            learning.create(client, name, incentive=KARMA_ALONE)
            client.contribute(name, ROWS, (LABELS + shift) % 3)
        self.test_set = self.host.exchanges.make_test_set(
            "like", TEST_ROWS, TEST_LABELS, piece_count=3
        )

    def open(self, name: str = "cup", **changes: Any) -> Transaction:
        settings: dict[str, Any] = {
            "bounty": 1_000,
            "threshold": 0.5,
            "stake": 10,
            "length_ms": LENGTH_MS,
            "reveal_wait_ms": WAIT_MS,
            "description": "Which pair is high?",
        }
        return self.host.exchanges.open(name, self.test_set, **(settings | changes))

    def view(self, name: str = "cup") -> dict[str, Any]:
        return self.host.exchanges.get(name)

    def go_to(self, time_ms: int) -> None:
        """Let the next block have a time."""
        self.scene.run(timestamp_ms=time_ms)

    def balances(self) -> list[int]:
        return [self.host.account(name).balance for name in self.names]


def test_an_exchange_is_held_from_the_bounty_to_the_payouts(scene: ApiScene) -> None:
    cup = Cup(scene)
    before = cup.balances()
    assert cup.open().result["exchange"] == "cup"
    view = cup.view()
    assert (view["status"], view["phase"], view["action"]) == ("open", "submitting", "submit_model")
    bad = cup.bob.exchanges.submit("cup", "bad")
    salt = os.urandom(32)
    good = cup.alice.exchanges.submit("cup", "good", salt, version=1)
    assert (good.salt, good.version, good.model) == (salt, 1, "good")
    shown = cup.view()["submissions"]
    assert [each["commitment"] for each in shown] == [bad.commitment.hex(), good.commitment.hex()]
    assert [(each["standing"], each["model"], each["accuracy"]) for each in shown] == [
        ("sealed", None, None)
    ] * 2
    with pytest.raises(quorate.InvalidInputError, match="Models are submitted until") as refused:
        cup.host.exchanges.show_piece("cup", cup.test_set.pieces[0])
    assert refused.value.code == "wrong_phase"

    cup.go_to(view["deadline_ms"])
    assert cup.view()["phase"] == "opening"
    cup.alice.exchanges.reveal(good)
    assert "1 of 2 models are opened" in cup.view()["sentence"]
    # Whoever trains it now changes nothing.
    cup.bob.contribute("good", ROWS, (LABELS + 1) % 3)
    cup.bob.exchanges.reveal(bad)

    assert cup.view()["phase"] == "showing"
    with pytest.raises(quorate.InvalidInputError, match="piece 0 of 'cup' is to be shown next"):
        cup.host.exchanges.show_piece("cup", cup.test_set.pieces[1])
    with pytest.raises(quorate.InvalidInputError, match="none of the test set"):
        cup.host.exchanges.show_piece("cup", Payload(bytes(32), b""))
    for number, piece in enumerate(cup.test_set.pieces):
        assert f"{number} of 3 pieces so far" in cup.view()["sentence"]
        cup.host.exchanges.show_piece("cup", piece)
    view = cup.view()
    assert (view["phase"], view["items_done"], view["items"]) == ("judging", 0, 6)
    assert view["items_next"] == 1_024
    assert "0 of 6 judgements" in view["sentence"]

    told: list[tuple[int, int]] = []
    final = cup.alice.exchanges.advance(
        "cup", items=4, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(0, 6), (4, 6), (6, 6)]
    assert (final["status"], final["phase"], final["action"]) == ("won", "closed", None)
    assert final["winner"] == cup.names[1]
    assert cup.names[1] in final["sentence"]
    assert final["payouts"] == [
        {"account": cup.names[2], "amount": "10"},
        {"account": cup.names[1], "amount": "1010"},
    ]
    assert [each["is_good_enough"] for each in final["submissions"]] == [False, True]
    assert [each["samples"] for each in final["submissions"]] == [30, 30]
    assert final["submissions"][1]["accuracy"] > 0.9
    gains = [after - known for after, known in zip(cup.balances(), before, strict=True)]
    assert gains == [-1_000, 1_000, 0]
    # Driving on what is over changes nothing.
    assert cup.bob.exchanges.advance("cup") == final


def test_terms_are_shown_as_they_were_asked_for(scene: ApiScene) -> None:
    cup = Cup(scene)
    cup.open()
    view = cup.view()
    assert view["until_ms"] == view["deadline_ms"] == view["reveals_end_ms"] - WAIT_MS
    assert (view["bounty"], view["stake"], view["threshold"]) == ("1000", "10", 500_000)
    assert view["layout"] == {
        "task": "classification",
        "class_count": 3,
        "samples": "dense",
        "feature_count": 6,
        "feature_low": 0,
        "feature_high": 2 * ONE,
    }
    assert [piece["transaction_id"] for piece in view["pieces"]] == [None] * 3


def test_exchanges_are_listed_by_name_and_status(scene: ApiScene) -> None:
    cup = Cup(scene)
    for name in ("cup-b", "cup-a", "cup-c"):
        cup.open(name, bounty=5)
    assert [each["name"] for each in cup.host.exchanges.list()] == ["cup-a", "cup-b", "cup-c"]
    cup.go_to(cup.view("cup-c")["deadline_ms"])
    assert cup.host.exchanges.advance("cup-b")["sentence"].startswith("Nobody submitted")
    listed = {each["name"]: each for each in cup.host.exchanges.list()}
    assert (listed["cup-a"]["phase"], listed["cup-a"]["status"]) == ("due", "open")
    assert (listed["cup-b"]["phase"], listed["cup-b"]["status"]) == ("closed", "not_won")
    assert listed["cup-a"]["bounty"] == "5"
    names = [each["name"] for each in cup.host.exchanges.list("not_won")]
    assert names == ["cup-b"]
    page = scene.get("/api/v1/exchanges", limit=1)
    second = scene.get("/api/v1/exchanges", limit=2, cursor=page["next_cursor"])
    assert [each["name"] for each in page["items"] + second["items"]] == [
        "cup-a",
        "cup-b",
        "cup-c",
    ]
    assert second["next_cursor"] is None
    with pytest.raises(RefusedError, match="status knows open, judging"):
        list(cup.host.exchanges.list("lost"))
    with pytest.raises(NotFoundError) as refused:
        cup.view("nothing")
    assert refused.value.code == "unknown_exchange"
    tagged = scene.http.get("/api/v1/exchanges/cup-a")
    again = scene.http.get(
        "/api/v1/exchanges/cup-a", headers={"If-None-Match": tagged.headers["ETag"]}
    )
    assert again.status_code == 304


@pytest.mark.parametrize("case", ["nobody opens", "nothing is shown", "nobody is good enough"])
def test_every_end_is_told_in_words(scene: ApiScene, case: str) -> None:
    cup = Cup(scene)
    cup.open(threshold=1 if case == "nobody is good enough" else 0.5)
    sealed = cup.bob.exchanges.submit("cup", "bad")
    phases = [cup.view()["phase"]]
    cup.go_to(cup.view()["deadline_ms"])
    with pytest.raises(TransactionFailedError) as failed:
        cup.alice.exchanges.advance("cup")
    assert failed.value.code == "too_early"
    phases.append(cup.view()["phase"])
    if case != "nobody opens":
        cup.bob.exchanges.reveal(sealed)
        phases.append(cup.view()["phase"])
    if case == "nobody is good enough":
        for piece in cup.test_set.pieces:
            cup.host.exchanges.show_piece("cup", piece)
    else:
        cup.go_to(cup.view()["until_ms"])
        assert cup.view()["sentence"].endswith("Anybody can end it.")
    phases.append(cup.view()["phase"])
    final = cup.alice.exchanges.advance("cup")
    assert set(phases) < set(PHASES)
    paid = {each["account"]: int(each["amount"]) for each in final["payouts"]}
    if case == "nobody opens":
        assert "No model was opened in time" in final["sentence"]
        assert paid == {cup.names[0]: 1_010}
    elif case == "nothing is shown":
        assert "did not show the test set" in final["sentence"]
        assert paid == {cup.names[2]: 1_010}
    else:
        assert "No model met the threshold" in final["sentence"]
        assert paid == {cup.names[0]: 1_000, cup.names[2]: 10}


def test_what_could_not_be_opened_is_not_sent(scene: ApiScene) -> None:
    cup = Cup(scene)
    cup.open()
    with pytest.raises(quorate.InvalidInputError, match="'good' belongs to qr1") as refused:
        cup.bob.exchanges.submit("cup", "good")
    assert refused.value.code == "not_owner"
    assert cup.view()["submissions"] == []
    unsent = cup.bob.exchanges.seal("cup", "bad")
    cup.alice.exchanges.submit("cup", "good")
    cup.go_to(cup.view()["deadline_ms"])
    with pytest.raises(quorate.InvalidInputError, match="submitted nothing to 'cup'") as refused:
        cup.bob.exchanges.reveal(unsent)
    assert refused.value.code == "wrong_commitment"


def test_a_model_that_could_not_be_judged_is_not_submitted(scene: ApiScene) -> None:
    cup = Cup(scene)
    cup.open()
    learning.create(cup.alice, "wide", incentive=KARMA_ALONE, feature_count=7)
    with pytest.raises(quorate.InvalidInputError, match="feature_count 6") as refused:
        cup.alice.exchanges.submit("cup", "wide")
    assert refused.value.code == "model_does_not_fit"
    with pytest.raises(NotFoundError, match="neither in force nor has it an alias"):
        cup.alice.exchanges.submit("cup", "good", version=7)
    assert cup.view()["submissions"] == []
    cup.alice.lifecycle.set_alias("good", "kept", 1)
    cup.bob.contribute("good", ROWS, (LABELS + 1) % 3)
    sealed = cup.alice.exchanges.submit("cup", "good", version="kept")
    assert sealed.version == 1
    cup.go_to(cup.view()["deadline_ms"])
    cup.alice.exchanges.reveal(sealed)
    assert cup.view()["submissions"][0]["version"] == 1


def test_transactions_show_money_as_text(scene: ApiScene) -> None:
    cup = Cup(scene)
    shown = scene.get(f"/api/v1/transactions/{cup.open().transaction_id}")
    assert shown["body"]["terms"]["offer"]["bounty"] == "1000"
    assert shown["body"]["terms"]["offer"]["stake"] == "10"
    sealed = cup.alice.exchanges.seal("cup", "good")
    sent = cup.alice.exchanges.submit_sealed(sealed, max_stake=12)
    assert scene.get(f"/api/v1/transactions/{sent.transaction_id}")["body"]["max_stake"] == "12"
    with pytest.raises(TransactionFailedError, match="stake_too_low"):
        other = replace(sealed, commitment=bytes(32))
        cup.bob.exchanges.submit_sealed(other, max_stake=9)


def test_loss_is_told_in_the_units_of_models(scene: ApiScene) -> None:
    cup = Cup(scene)
    learning.create(cup.host, "line", family="ridge", class_names=(), incentive=KARMA_ALONE)
    cup.test_set = cup.host.exchanges.make_test_set("line", TEST_ROWS - 1, TEST_ROWS[:, 0])
    assert (cup.test_set.class_count, cup.test_set.feature_low) == (0, -ONE)
    cup.open(metric="loss", threshold=2.5)
    view = cup.view()
    assert (view["metric"], view["threshold"], view["layout"]["task"]) == (
        "loss",
        5 * ONE // 2,
        "regression",
    )


def test_sparse_test_sets_are_made_of_matrices(scene: ApiScene) -> None:
    cup = Cup(scene)
    learning.create(cup.host, "thin", layout="sparse", incentive=KARMA_ALONE)
    names = np.array(CLASS_NAMES)[TEST_LABELS]
    made = cup.host.exchanges.make_test_set("thin", csr_matrix(TEST_ROWS), names, piece_count=2)
    assert (made.samples, made.feature_low, made.piece_samples_max) == ("sparse", 0, 15)
    assert len({piece.commitment for piece in made.pieces}) == 2


def test_test_sets_that_could_never_be_shown_are_refused(scene: ApiScene) -> None:
    cup = Cup(scene)
    make = cup.host.exchanges.make_test_set
    learning.create(cup.host, "piles", family="k_means", class_names=(), parameters={"groups": 2})
    with pytest.raises(quorate.InvalidInputError, match="no right answers"):
        make("piles", TEST_ROWS, TEST_LABELS)
    with pytest.raises(quorate.InvalidInputError, match="too few for 31 pieces"):
        make("like", TEST_ROWS, TEST_LABELS, piece_count=31)
    rows, labels = make_rows(Parameters().samples_per_contribution_max + 1)
    with pytest.raises(quorate.InvalidInputError, match="samples_per_contribution_max"):
        make("like", rows, labels)
    with pytest.raises(quorate.InvalidInputError, match=r"exchange\.metric|bounty"):
        cup.open(bounty=0)


@pytest.mark.parametrize("code", ["models_full", "block_full"])
def test_a_crowded_block_is_waited_for_and_no_longer_than_some(
    scene: ApiScene, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    cup = Cup(scene)
    cup.open()
    cup.go_to(cup.view()["deadline_ms"])
    submit = cup.host.exchanges._submit
    crowded = TransactionFailedError(Transaction("", "failed", 1, code, "no room", 0, {}))
    left, asked = [exchanges.CROWDED_BLOCKS_MAX - 1], list[int]()

    def submit_crowded(kind: int, body: Any, data: Any) -> Any:
        assert kind == ADVANCE_EXCHANGE
        asked.append(body[1])
        if left[0] > 0:
            left[0] -= 1
            raise crowded
        return submit(kind, body, data)

    monkeypatch.setattr(cup.host.exchanges, "_submit", submit_crowded)
    assert cup.host.exchanges.advance("cup")["status"] == "not_won"
    assert asked == [1_024 >> attempt for attempt in range(exchanges.CROWDED_BLOCKS_MAX)]
    monkeypatch.undo()
    cup.open("mug")
    monkeypatch.setattr(cup.host.exchanges, "_submit", submit_crowded)
    left[0] = exchanges.CROWDED_BLOCKS_MAX
    with pytest.raises(TransactionFailedError, match="no room"):
        cup.host.exchanges.advance("mug")
    assert left[0] == 0
