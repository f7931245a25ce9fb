"""Models, versions, contributions and karma over REST."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from primitives.accounts import account_to_text
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, connect, create, make_rows


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiScene]:
    with run_api(tmp_path_factory.mktemp("api")) as running:
        accounts = running.chain.network.accounts
        owner, honest, flipper = (connect(running, account) for account in accounts[:3])
        rows, labels = make_rows(60)
        create(owner)
        create(owner, "another")
        honest.contribute("sides", rows[:50], labels[:50])
        flipper.contribute("sides", rows[50:], (labels[50:] + 1) % 3)
        running.run(timestamp_ms=running.chain.tip_header.timestamp_ms + 2_000)
        honest.refund("sides", 0)
        honest.report("sides", 1, [2, 3])
        yield running


def read_pages(scene: ApiScene, path: str, limit: int) -> list[Any]:
    items: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = scene.get(path, limit=limit, **cursor)
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


def test_a_model_shows_what_it_is_and_how_far_it_has_come(scene: ApiScene) -> None:
    model = scene.get("/api/v1/models/sides")
    assert model["owner"] == account_to_text(scene.chain.network.accounts[0].id)
    assert model["family"] == "nearest_centroid"
    assert model["class_names"] == list(CLASS_NAMES)
    assert model["encoder"] == ["scale", 1, 65536, 0]
    assert model["incentive"]["mechanism"] == "deposit_refund_take"
    assert model["incentive"]["weight"] == "1"
    assert model["licence"] == "CC0-1.0"
    progress = model["progress"]
    assert (progress["version"], progress["contributions"], progress["samples"]) == (2, 2, 60)
    assert progress["accuracy"] == pytest.approx(progress["correct"] / 60, abs=1e-6)
    assert progress["validated"] == 50


def test_a_model_is_shown_as_of_an_earlier_block(scene: ApiScene) -> None:
    created = scene.get("/api/v1/models/sides")["created_height"]
    before = scene.get("/api/v1/models/sides", height=created)
    assert (before["height"], before["progress"]["contributions"]) == (created, 0)
    assert before["progress"]["accuracy"] is None
    response = scene.http.get("/api/v1/models/sides", params={"height": created - 1})
    assert (response.status_code, response.json()["code"]) == (404, "unknown_model")


def test_models_are_listed_by_name_in_pages_that_meet(scene: ApiScene) -> None:
    assert [model["name"] for model in read_pages(scene, "/api/v1/models", 1)] == [
        "another",
        "sides",
    ]
    assert scene.get("/api/v1/models", height=0)["items"] == []


def test_versions_are_listed_newest_first(scene: ApiScene) -> None:
    versions = read_pages(scene, "/api/v1/models/sides/versions", 2)
    assert [version["version"] for version in versions] == [2, 1, 0]
    assert [version["samples"] for version in versions] == [60, 50, 0]
    assert versions[2]["accuracy"] is None
    assert len({version["digest"] for version in versions}) == 3
    assert scene.get("/api/v1/models/sides/versions/1") == versions[1]


def test_contributions_are_listed_newest_first(scene: ApiScene) -> None:
    found = read_pages(scene, "/api/v1/models/sides/contributions", 1)
    assert [item["sequence"] for item in found] == [1, 0]
    assert [item["samples"] for item in found] == [10, 50]
    assert found[1]["held"] == "0"
    assert int(found[0]["deposit"]) == 10 * int(found[0]["deposit_per_sample"])
    created = scene.get("/api/v1/models/sides")["created_height"]
    assert scene.get("/api/v1/models/sides/contributions", height=created)["items"] == []


def test_a_contribution_shows_its_samples_and_reporters(scene: ApiScene) -> None:
    contribution = scene.get("/api/v1/models/sides/contributions/1")
    flipper = account_to_text(scene.chain.network.accounts[2].id)
    honest = account_to_text(scene.chain.network.accounts[1].id)
    assert contribution["contributor"] == flipper
    assert contribution["reporters"] == [{"account": honest, "samples": [2, 3]}]
    assert contribution["open_samples"] == len(contribution["open_sample_numbers"])
    assert contribution["refund_from"] < contribution["owner_claim_from"]
    before = scene.get("/api/v1/models/sides/contributions/1", height=contribution["height"])
    assert before["open_sample_numbers"] == list(range(10))
    assert before["reporters"] == []


def test_an_account_shows_its_karma(scene: ApiScene) -> None:
    honest = account_to_text(scene.chain.network.accounts[1].id)
    account = scene.get(f"/api/v1/accounts/{honest}")
    assert account["validated_samples"] == 50
    assert account["karma"] == 52
    (on_model,) = account["karma_by_model"]
    expected = {"model": "sides", "karma": 52, "validated_samples": 50, "reported_samples": 2}
    assert on_model.items() >= expected.items()
    assert scene.get(f"/api/v1/accounts/{honest}", height=0)["karma"] == 0


def test_transactions_show_their_bodies_and_results_by_name(scene: ApiScene) -> None:
    contribution = scene.get("/api/v1/models/sides/contributions/0")
    transaction = scene.get(f"/api/v1/transactions/{contribution['transaction_id']}")
    assert transaction["kind"] == "contribute"
    assert transaction["body"]["model"] == "sides"
    assert transaction["body"]["samples"] == 50
    assert isinstance(transaction["body"]["max_deposit"], str)
    assert transaction["payload_bytes"] > 0
    result = transaction["receipt"]["result"]
    assert result["sequence"] == 0
    assert result["deposit"] == contribution["deposit"]
    created = scene.get("/api/v1/models/sides")["created_height"]
    block = scene.get(f"/api/v1/blocks/{created}")
    name = block["transactions"][0]["transaction_id"]
    body = scene.get(f"/api/v1/transactions/{name}")["body"]
    assert body["description"]["name"] == "sides"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/models/nothing", "unknown_model"),
        ("/api/v1/models/%ff", "unknown_model"),
        ("/api/v1/models/nothing/versions", "unknown_model"),
        ("/api/v1/models/nothing/versions/0", "unknown_model"),
        ("/api/v1/models/sides/versions/9", "unknown_version"),
        ("/api/v1/models/nothing/contributions", "unknown_model"),
        ("/api/v1/models/nothing/contributions/0", "unknown_model"),
        ("/api/v1/models/sides/contributions/9", "unknown_contribution"),
        ("/api/v1/models/sides?height=999999", "unknown_height"),
    ],
)
def test_what_does_not_exist_is_not_found(scene: ApiScene, path: str, code: str) -> None:
    response = scene.http.get(path)
    assert (response.status_code, response.json()["code"]) == (404, code)


def test_the_payload_of_a_contribution_is_served_if_the_operator_says_so(tmp_path: Path) -> None:
    with run_api(tmp_path, serves_payloads=True) as scene:
        client = connect(scene, scene.chain.network.accounts[0])
        create(client)
        transaction = client.contribute("sides", *make_rows(3))
        payload = scene.get(f"/api/v1/transactions/{transaction.transaction_id}/payload")
        assert len(bytes.fromhex(payload["salt"])) == 32
        assert payload["payload"]
