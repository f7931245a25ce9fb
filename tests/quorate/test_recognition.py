"""Badges, leaders and voluntary fees from Python, against a real API over a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import quorate
from quorate.errors import TransactionFailedError
from quorate.recognition import Support
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import connect, create, make_rows
from tests.helpers.ledger import INITIAL_BALANCE

FREE = quorate.Incentive("points", 0, 0, 0, 0, voluntary_fee=70)
ROWS, LABELS = make_rows(12)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path) as running:
        yield running


@pytest.fixture
def people(scene: ApiScene) -> list[quorate.Client]:
    """Return three clients; the first has a model and 8 validated samples, the second 4."""
    clients = [connect(scene, account) for account in scene.chain.network.accounts[:3]]
    create(clients[0], incentive=FREE)
    for client, count in zip(clients, (8, 4), strict=False):
        sequence = client.contribute("sides", ROWS[:count], LABELS[:count]).result["sequence"]
        client.refund("sides", sequence)
    return clients


def test_badges_are_earned_and_criteria_known(people: list[quorate.Client]) -> None:
    alice, _, carol = people
    titles = {each.badge: each.title for each in alice.recognition.criteria()}
    earned = alice.recognition.badges()
    assert [(each.title, each.model) for each in earned] == [
        (titles["all-classes"], "sides"),
        (titles["first-validated"], None),
    ]
    assert earned[0].height == 3
    assert carol.recognition.badges() == []
    assert carol.recognition.badges(alice.account().account) == earned
    assert (alice.account().badges, alice.account().validated_samples) == (2, 8)


def test_leaders_are_those_with_most_karma(people: list[quorate.Client]) -> None:
    accounts = [client.account().account for client in people[:2]]
    board = people[2].recognition.leaderboard("sides")
    assert [(each.rank, each.account, each.karma) for each in board] == [
        (1, accounts[0], 8),
        (2, accounts[1], 4),
    ]
    assert [each.account for each in people[2].recognition.leaderboard(limit=1)] == accounts[:1]
    assert people[2].recognition.leaderboard(height=1) == []


def test_who_found_a_model_useful_pays_those_who_taught_it(people: list[quorate.Client]) -> None:
    alice, bob, carol = people
    assert carol.recognition.support("sides", 120).result == {"validated_samples": 12}
    support = carol.recognition.read_support("sides", bob.account().account)
    assert support == Support("sides", 70, paid=120, held=120, validated_samples=12, owed=40)
    assert carol.recognition.read_support("sides").owed is None
    assert alice.recognition.collect("sides").result == {"paid": "80"}
    assert bob.recognition.collect("sides").result == {"paid": "40"}
    balances = [client.account().balance - INITIAL_BALANCE for client in people]
    assert balances == [80, 40, -120]
    with pytest.raises(TransactionFailedError, match="nothing_to_collect"):
        carol.recognition.collect("sides")
