"""A body that makes or loses money stops the node, whatever it wrote."""

from __future__ import annotations

import pytest

from ledger.membership import close_block
from ledger.money import verify_money
from ledger.parameters import Parameters
from ledger.schema import CHAIN_SUPPLY, Account, Record, Supply, account_key
from ledger.state import BlockState
from primitives.accounts import AccountId
from primitives.errors import InvariantViolationError
from tests.helpers.ledger import Chain, make_network

NETWORK = make_network()
ALICE, BOB = (account.id for account in NETWORK.accounts[:2])
STRANGER = AccountId(bytes(20))
RICH = 1_000_000


def make_state() -> BlockState:
    return BlockState([], Chain(NETWORK).store.tip_state)


def pay(account: AccountId, balance: int) -> tuple[bytes, Record]:
    return account_key(account), Account(None, 0, balance)


HONEST: list[list[tuple[bytes, Record | None]]] = [
    [],
    [(b"other", None), (account_key(STRANGER), None)],
    [(b"other", Account())],
    [pay(ALICE, RICH)],
    [pay(ALICE, RICH - 5), pay(BOB, RICH + 5)],
    [pay(ALICE, RICH - 5), pay(STRANGER, 5)],
    [pay(ALICE, RICH - 5), (CHAIN_SUPPLY, Supply(4 * RICH, held=5))],
    [pay(ALICE, RICH - 5), (CHAIN_SUPPLY, Supply(4 * RICH, held=3, burnt=2))],
    [pay(ALICE, RICH + 5), (CHAIN_SUPPLY, Supply(4 * RICH + 5))],
]
DISHONEST: list[list[tuple[bytes, Record | None]]] = [
    [(account_key(ALICE), None)],
    [pay(ALICE, RICH + 1)],
    [pay(ALICE, RICH - 1)],
    [pay(STRANGER, 1)],
    [(CHAIN_SUPPLY, Supply(4 * RICH, held=1))],
    [(CHAIN_SUPPLY, Supply(4 * RICH, burnt=1))],
    [(CHAIN_SUPPLY, Supply(4 * RICH + 1))],
    [pay(ALICE, RICH - 5), (CHAIN_SUPPLY, Supply(4 * RICH, held=4))],
]


@pytest.mark.parametrize("writes", HONEST)
def test_money_that_only_moves_passes(writes: list[tuple[bytes, Record | None]]) -> None:
    state = make_state()
    for key, record in writes:
        state.put(key, record)
    verify_money(state)


@pytest.mark.parametrize("writes", DISHONEST)
def test_money_that_comes_from_nowhere_or_goes_there_stops_the_node(
    writes: list[tuple[bytes, Record | None]],
) -> None:
    state = make_state()
    for key, record in writes:
        state.put(key, record)
    with pytest.raises(InvariantViolationError, match="minted"):
        verify_money(state)


def test_only_what_was_written_since_the_last_keep_counts() -> None:
    state = make_state()
    state.put(*pay(ALICE, RICH - 5))
    state.put(*pay(BOB, RICH + 5))
    state.keep()
    verify_money(state)
    state.put(*pay(BOB, RICH + 4))
    state.put(*pay(ALICE, RICH - 4))
    verify_money(state)
    state.put(*pay(ALICE, RICH))
    with pytest.raises(InvariantViolationError):
        verify_money(state)


def test_fees_that_were_paid_must_be_held_or_paid_out() -> None:
    for writes in (
        [(CHAIN_SUPPLY, Supply(4 * RICH, held=5))],
        [pay(ALICE, RICH + 5)],
        [pay(ALICE, RICH + 3), (CHAIN_SUPPLY, Supply(4 * RICH, held=2))],
    ):
        state = make_state()
        for key, record in writes:
            state.put(key, record)
        verify_money(state, 5)
        for fees in (4, 6):
            with pytest.raises(InvariantViolationError, match="minted"):
                verify_money(state, fees)
    with pytest.raises(InvariantViolationError, match="minted"):
        verify_money(make_state(), 5)


@pytest.mark.parametrize("height", [1, 2])
def test_what_is_due_with_a_block_is_counted_too(
    monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    parameters = Parameters(epoch_length=2, unfinal_blocks_max=1)
    chain = Chain(make_network(parameters=parameters))

    def pay_from_nowhere(state: BlockState, at: int, in_force: Parameters) -> None:
        close_block(state, at, in_force)
        if at == height:
            state.put(*pay(ALICE, RICH + 1))

    monkeypatch.setattr("ledger.executor.close_block", pay_from_nowhere)
    for _ in range(height - 1):
        chain.run()
    with pytest.raises(InvariantViolationError, match="minted"):
        chain.run()
