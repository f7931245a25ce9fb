"""Properties of the state transition over random blocks, branches and restarts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.executed_block import ExecutedBlock
from ledger.parameters import Parameters
from ledger.receipt import ReceiptStatus
from ledger.transaction import Transaction
from tests.helpers.ledger import (
    Chain,
    Network,
    TestAccount,
    make_account,
    make_network,
    make_transfer,
)
from tests.helpers.staking import read_rewards

PRICED = Parameters(fee_per_byte=1)


@dataclass(frozen=True)
class Order:
    """A transfer by numbers: who, to whom, how much, with which nonce and sponsor."""

    sender: int
    recipient: int
    amount: int
    nonce: int
    sponsor: int | None
    fee_limit: int


ORDERS = st.builds(
    Order,
    sender=st.integers(0, 4),
    recipient=st.integers(0, 4),
    amount=st.integers(1, 3_000),
    nonce=st.integers(0, 4),
    sponsor=st.none() | st.integers(0, 4),
    fee_limit=st.sampled_from([0, 500]),
)
BLOCKS = st.lists(st.lists(ORDERS, max_size=6), min_size=1, max_size=5)


@cache
def network() -> Network:
    return make_network(parameters=PRICED, balance=2_000)


def people() -> list[TestAccount]:
    return [*network().accounts, make_account("newcomer")]


@cache
def sign(order: Order) -> Transaction:
    accounts = people()
    is_sponsored = order.sponsor is not None and order.sponsor != order.sender
    return make_transfer(
        network(),
        accounts[order.sender],
        accounts[order.recipient].id,
        order.amount,
        nonce=order.nonce,
        sponsor=accounts[order.sponsor or 0] if is_sponsored else None,
        fee_limit=order.fee_limit,
    )


@settings(max_examples=60, deadline=None)
@given(BLOCKS)
def test_money_is_conserved_and_nonces_ascend(blocks: list[list[Order]]) -> None:
    chain = Chain(network())
    for number, orders in enumerate(blocks):
        transactions = [sign(order) for order in orders]
        nonces = {account.id: chain.account(account.id).nonce for account in people()}
        block = chain.run(transactions, proposer=number % 4)
        for transaction, receipt in zip(transactions, block.receipts, strict=True):
            is_void = receipt.status is ReceiptStatus.VOID
            assert is_void or transaction.nonce == nonces[transaction.sender]
            nonces[transaction.sender] += 0 if is_void else 1
            assert receipt.fee == (0 if is_void else len(transaction.raw))
        assert nonces == {account.id: chain.account(account.id).nonce for account in people()}
        assert min(chain.balances().values()) >= 0
        chain.check_conservation()


@settings(max_examples=40, deadline=None)
@given(BLOCKS)
def test_void_and_failed_transactions_move_nothing_but_fees(blocks: list[list[Order]]) -> None:
    chain = Chain(network())
    for orders in blocks:
        expected = dict(chain.balances())
        transactions = [sign(order) for order in orders]
        pot = read_rewards(chain).pot
        block = chain.run(transactions)
        for order, transaction, receipt in zip(orders, transactions, block.receipts, strict=True):
            expected[transaction.payer] = expected.get(transaction.payer, 0) - receipt.fee
            pot += receipt.fee
            if receipt.status is ReceiptStatus.OK:
                recipient = people()[order.recipient].id
                expected[transaction.sender] -= order.amount
                expected[recipient] = expected.get(recipient, 0) + order.amount
        found = chain.balances()
        assert read_rewards(chain).pot == pot
        assert {key: value for key, value in expected.items() if value} == {
            key: value for key, value in found.items() if value
        }


@settings(max_examples=40, deadline=None)
@given(BLOCKS, st.lists(st.lists(ORDERS, max_size=4), max_size=3), st.data())
def test_branches_and_restarts_give_the_roots_of_a_linear_run(
    blocks: list[list[Order]], rivals: list[list[Order]], data: st.DataObject
) -> None:
    linear = Chain(network())
    expected = [linear.run([sign(order) for order in orders]) for orders in blocks]

    branching = Chain(network())
    parent: ExecutedBlock | None = None
    for number, (orders, reference) in enumerate(zip(blocks, expected, strict=True)):
        rival: ExecutedBlock | None = parent
        for depth, rival_orders in enumerate(rivals):
            transactions = [sign(order) for order in rival_orders]
            rival = branching.execute(transactions, rival, view=1_000 + 10 * number + depth)
        block = branching.execute([sign(order) for order in orders], parent)
        assert (block.block_id, block.state_root) == (reference.block_id, reference.state_root)
        assert block.receipts_root == reference.receipts_root
        parent = block
        if data.draw(st.booleans(), label="finalize"):
            branching.finalize(block)
            parent = None
            if data.draw(st.booleans(), label="restart"):
                branching = Chain(network(), branching.values)
    if parent is not None:
        branching.finalize(parent)
    # Certificates differ for blocks that became final with a descendant; nothing else does.
    assert branching.store.scan(b"", limit=1_000) == linear.store.scan(b"", limit=1_000)
    assert branching.store.tip() == linear.store.tip()


@settings(max_examples=30, deadline=None)
@given(st.lists(ORDERS, min_size=1, max_size=8))
def test_one_block_or_many_lead_to_the_same_accounts(orders: list[Order]) -> None:
    transactions = [sign(order) for order in dict.fromkeys(orders)]
    together, apart = Chain(network()), Chain(network())
    codes = [receipt.code for receipt in together.run(transactions, proposer=3).receipts]
    # Nobody is paid before the epoch ends, so cutting is neutral.
    assert codes == [
        apart.run([transaction], proposer=3).receipts[0].code for transaction in transactions
    ]
    assert together.balances() == apart.balances()
