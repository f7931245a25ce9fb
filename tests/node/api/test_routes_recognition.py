"""Badges, leaderboards, voluntary fees and the counts behind karma, over REST."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import quorate
from incentives.badges import BADGES
from primitives.accounts import account_to_text
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import connect, create, make_rows
from tests.helpers.ledger import TestAccount

FREE = quorate.Incentive("points", 0, 0, 0, 0, voluntary_fee=70, karma_half_life_ms=60_000)
ROWS, LABELS = make_rows(12)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    """Run an API with a model that alice has taught 6 validated samples, and bob 3."""
    with run_api(tmp_path) as running:
        alice, bob = (connect(running, account) for account in running.chain.network.accounts[:2])
        create(alice, incentive=FREE)
        for client, count in ((alice, 6), (bob, 3)):
            sequence = client.contribute("sides", ROWS[:count], LABELS[:count]).result["sequence"]
            assert client.refund("sides", sequence).result["samples"] == count
        yield running


def text(account: TestAccount) -> str:
    return account_to_text(account.id)


def refuse(scene: ApiScene, path: str, **parameters: Any) -> tuple[int, str]:
    response = scene.http.get(path, params=parameters)
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def test_criteria_are_published(scene: ApiScene) -> None:
    items = scene.get("/api/v1/badges")["items"]
    assert [item["badge"] for item in items] == [badge.badge_id for badge in BADGES]
    assert items[1] == {
        "badge": "hundred-validated",
        "title": "Hundred",
        "criterion": "100 samples were validated on one model.",
        "scope": "model",
    }


def test_badges_of_an_account_come_in_pages_and_name_their_model(scene: ApiScene) -> None:
    path = f"/api/v1/accounts/{text(scene.chain.network.accounts[0])}/badges"
    first = scene.get(path, limit=1)
    assert first["items"] == [
        {
            "badge": "all-classes",
            "title": "All-rounder",
            "model": "sides",
            "height": 3,
            "time": "2023-11-14T22:13:23.000Z",
            "timestamp_ms": 1_700_000_003_000,
        }
    ]
    second = scene.get(path, limit=1, cursor=first["next_cursor"])
    assert [(each["badge"], each["model"]) for each in second["items"]] == [
        ("first-validated", None)
    ]
    assert second["next_cursor"] is None
    assert scene.get(path, height=2)["items"] == []
    assert refuse(scene, "/api/v1/accounts/qr1x/badges") == (400, "malformed_request")


def test_leaders_are_ranked_on_a_model_and_overall(scene: ApiScene) -> None:
    alice, bob = map(text, scene.chain.network.accounts[:2])
    board = scene.get("/api/v1/leaderboard", model="sides")
    assert (board["model"], board["height"], board["is_complete"]) == ("sides", 5, True)
    leader = board["items"][0]
    assert leader == {
        "rank": 1,
        "account": alice,
        "karma": 5,  # 6 points, two seconds of a minute's half-life ago
        "validated_samples": 6,
        "reported_samples": 0,
        "badges": 1,
    }
    assert [each["account"] for each in board["items"]] == [alice, bob]
    overall = scene.get("/api/v1/leaderboard", limit=1)
    assert (overall["model"], len(overall["items"])) == (None, 1)
    assert (overall["items"][0]["karma"], overall["items"][0]["badges"]) == (6, 2)
    before = scene.get("/api/v1/leaderboard", model="sides", height=3)
    assert [(each["account"], each["karma"]) for each in before["items"]] == [(alice, 6)]
    assert refuse(scene, "/api/v1/leaderboard", model="none") == (404, "unknown_model")
    assert refuse(scene, "/api/v1/leaderboard", height=99) == (404, "unknown_height")


def test_support_is_shown_with_what_an_account_is_owed(scene: ApiScene) -> None:
    alice, carol = (text(scene.chain.network.accounts[place]) for place in (0, 2))
    path = "/api/v1/models/sides/support"
    assert scene.get(path) == {
        "model": "sides",
        "height": 5,
        "voluntary_fee": "70",
        "paid": "0",
        "held": "0",
        "validated_samples": 9,
        "account": None,
        "account_validated_samples": None,
        "owed": None,
    }
    connect(scene, scene.chain.network.accounts[2]).recognition.support("sides", 90)
    mine = scene.get(path, account=alice)
    assert (mine["paid"], mine["held"]) == ("90", "90")
    assert (mine["account"], mine["account_validated_samples"], mine["owed"]) == (alice, 6, "60")
    assert scene.get(path, account=carol)["owed"] == "0"
    assert scene.get(path, account=alice, height=5)["owed"] == "0"
    assert refuse(scene, "/api/v1/models/none/support") == (404, "unknown_model")
    assert refuse(scene, path, account="me") == (400, "malformed_request")


def test_an_account_shows_what_was_counted_of_its_work(scene: ApiScene) -> None:
    shown = scene.get(f"/api/v1/accounts/{text(scene.chain.network.accounts[0])}")
    overall = {"validated_samples": 6, "reported_samples": 0, "contributions": 1, "models": 1}
    days = {"badges": 2, "active_days": 1, "longest_streak": 1}
    assert shown.items() >= (overall | days | {"karma": 6}).items()
    on_model = shown["karma_by_model"][0]
    assert on_model["regions"] >= 1
    assert on_model == {
        "model": "sides",
        "karma": 5,
        "validated_samples": 6,
        "reported_samples": 0,
        "contributions": 1,
        "badges": 1,
        "active_days": 1,
        "longest_streak": 1,
        "classes": 3,
        "regions": on_model["regions"],
        "sponsored_samples": 0,
    }


def test_a_model_that_nobody_taught_has_no_support_to_share(scene: ApiScene) -> None:
    create(connect(scene, scene.chain.network.accounts[0]), "fresh", incentive=FREE)
    assert scene.get("/api/v1/models/fresh/support")["validated_samples"] == 0
    assert scene.get("/api/v1/leaderboard", model="fresh")["items"] == []
