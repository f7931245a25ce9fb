"""Nonces and lost answers: what a sender signs, sends again and learns, against a real API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.transactions.accounts import TRANSFER, Transfer
from primitives.errors import InvalidInputError
from quorate.connection import Connection
from quorate.errors import RefusedError
from quorate.sender import Sender
from tests.helpers.api import ApiScene, run_api


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path) as running:
        yield running


class LossyTransport(httpx.BaseTransport):
    """Hands requests to the application and loses the answers that it is told to lose."""

    def __init__(self, scene: ApiScene, loses: Callable[[httpx.Request], bool]) -> None:
        self._inner = scene.http._transport
        self._loses = loses
        self.submissions: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.submissions.append(request.read())
        response = self._inner.handle_request(request)
        if self._loses(request):
            raise httpx.ReadTimeout("the answer was lost")
        return response


def make_sender(scene: ApiScene, *, transport: httpx.BaseTransport | None = None) -> Sender:
    connection = Connection(
        "http://node", transport=transport or scene.http._transport, pause=lambda _: None
    )
    return Sender(connection, scene.chain.network.accounts[0].key)


def pay(scene: ApiScene, sender: Sender, amount: int) -> str:
    recipient = scene.chain.network.accounts[1].id
    return sender.submit(TRANSFER.code, Transfer(recipient, amount).to_fields())


async def make_blocks(scene: ApiScene, count: int) -> None:
    for _ in range(count):
        scene.node.make_block()


def nonce_of(scene: ApiScene) -> int:
    return scene.chain.account(scene.chain.network.accounts[0].id).nonce


def test_nonces_are_counted_without_waiting_for_blocks(scene: ApiScene) -> None:
    scene.node.makes_blocks = False
    sender = make_sender(scene)
    names = [pay(scene, sender, amount) for amount in (1, 2, 3)]
    assert [transaction.nonce for transaction in scene.node.waiting] == [0, 1, 2]
    assert [item.transaction_id.hex() for item in scene.node.waiting] == names


def test_a_sender_follows_the_node_when_another_program_used_its_account(scene: ApiScene) -> None:
    first, second = make_sender(scene), make_sender(scene)
    pay(scene, first, 1)
    pay(scene, second, 2)
    pay(scene, first, 3)
    assert nonce_of(scene) == 3


def test_a_sender_follows_the_node_back_when_its_transactions_are_gone(scene: ApiScene) -> None:
    scene.node.makes_blocks = False
    sender = make_sender(scene)
    pay(scene, sender, 1)
    scene.node.waiting.clear()
    scene.node.makes_blocks = True
    pay(scene, sender, 2)
    assert nonce_of(scene) == 1


def test_a_lost_answer_makes_no_second_transaction(scene: ApiScene) -> None:
    losses = iter([True])
    transport = LossyTransport(
        scene, lambda request: request.method == "POST" and next(losses, False)
    )
    sender = make_sender(scene, transport=transport)
    name = pay(scene, sender, 5)
    assert nonce_of(scene) == 1
    assert len(set(transport.submissions)) == 1
    assert scene.get(f"/api/v1/transactions/{name}")["status"] == "ok"
    pay(scene, sender, 6)
    assert nonce_of(scene) == 2


def test_a_lost_answer_to_a_waiting_transaction_makes_no_second_one(scene: ApiScene) -> None:
    scene.node.makes_blocks = False
    losses = iter([True])
    transport = LossyTransport(
        scene, lambda request: request.method == "POST" and next(losses, False)
    )
    pay(scene, make_sender(scene, transport=transport), 5)
    assert len(scene.node.waiting) == 1


def test_a_sender_that_slept_learns_the_height_before_it_signs_again(scene: ApiScene) -> None:
    sender = make_sender(scene)
    pay(scene, sender, 1)
    scene.call(make_blocks, scene, 1_100)
    scene.sync()
    pay(scene, sender, 2)
    assert nonce_of(scene) == 2


def test_another_refusal_is_passed_on_and_uses_no_nonce(scene: ApiScene) -> None:
    sender = make_sender(scene)
    with pytest.raises(RefusedError) as caught:
        sender.submit(999, [])
    assert caught.value.code == "unknown_kind"
    pay(scene, sender, 1)
    assert nonce_of(scene) == 1


@pytest.mark.parametrize("body", [[2**64], ["text", [True, (-(2**63) - 1,)]], [10**5_000]])
def test_a_number_that_does_not_fit_is_refused_and_uses_no_nonce(
    scene: ApiScene, body: list[Any]
) -> None:
    sender = make_sender(scene)
    with pytest.raises(InvalidInputError, match="a number in a transaction must lie in") as caught:
        sender.submit(TRANSFER, body)
    assert caught.value.code == "out_of_range"
    pay(scene, sender, 1)
    assert nonce_of(scene) == 1


def test_a_forgotten_nonce_is_asked_for_again(scene: ApiScene) -> None:
    sender = make_sender(scene)
    pay(scene, sender, 1)
    sender.forget_nonce()
    pay(scene, sender, 2)
    assert nonce_of(scene) == 2
