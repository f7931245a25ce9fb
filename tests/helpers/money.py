"""A world of people who do anything that moves money, at random, and a ledger that must add up.

One seed makes one run. A deed is a function of the world that returns an order: who sends which
kind of transaction with which body and payload; most of them are sensible, many are not. Blocks are
executed by the real executor; after every transaction all money is counted, now and then each unit
that is held is found in the record that holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, NamedTuple

from ledger.campaign_records import CAMPAIGN_PREFIX, decode_campaign
from ledger.contribution_records import decode_contribution
from ledger.epoch_rewards import CHAIN_EPOCH_REWARDS, decode_epoch_rewards
from ledger.exchange_records import decode_exchange
from ledger.membership import read_validators
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.receipt import Receipt
from ledger.schema import (
    ACCOUNT_PREFIX,
    CHAIN_SUPPLY,
    Account,
    Record,
    Supply,
    decode_supply,
)
from ledger.stake_records import (
    STAKE_PREFIX,
    UNBONDING_POOL_PREFIX,
    decode_stake_pool,
    decode_unbonding_pool,
)
from ledger.store import LedgerStore
from ledger.support_records import decode_pot
from ledger.transaction import Transaction
from ledger.transactions.exchange_access import find_exchange
from primitives.accounts import AccountId
from primitives.codec import Encodable
from tests.helpers.ledger import (
    Chain,
    TestAccount,
    make_account,
    make_header,
    make_network,
    make_salt,
    make_transaction,
)

__all__ = ["MoneyWorld", "Order"]

PEOPLE = 8
BALANCE = 10**9
BLOCK_MS = 4_000
HELD_CHECKED_EVERY = 25
SCAN_MAX = 10_000_000
UNPAID_PHASES = ("draw", "participation", "reveal", "evaluation")


class Order(NamedTuple):
    """One transaction that somebody wants to send."""

    sender: TestAccount
    kind: str
    body: Sequence[Encodable]
    payload: Payload | None = None
    sponsor: TestAccount | None = None


@dataclass
class MoneyWorld:
    """A chain, its people, and what happened so far.

    Parameters
    ----------
    seed : of all chance.
    parameters : of the network.
    """

    seed: int
    parameters: Parameters
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)
    """What deeds remember for later ones: secrets of commitments, say."""

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        network = make_network(accounts=PEOPLE, balance=BALANCE, parameters=self.parameters)
        self.validators = tuple(make_account(f"member {index}") for index in range(4))
        wealth = {validator.id: BALANCE for validator in self.validators}
        genesis = replace(network.genesis, allocations={**network.genesis.allocations, **wealth})
        self.chain = Chain(replace(network, genesis=genesis))
        self.people = (*network.accounts, *self.validators)
        self.now_ms = self.chain.tip_header.timestamp_ms
        self._salts = 0
        self._fees = 0
        self.balances = dict(self.chain.balances())

    def make_payload(self, data: bytes) -> Payload:
        """Return a payload with a salt of its own."""
        self._salts += 1
        return Payload(make_salt(self._salts), data)

    def run_block(self, orders: Sequence[Order]) -> list[Receipt]:
        """Execute one block of these orders, in this order, and count the money after each."""
        nonces: dict[AccountId, int] = {}
        transactions = [self._sign(order, nonces) for order in orders]
        self.now_ms += self.random.randrange(1, 2 * BLOCK_MS)
        header = make_header(
            self.chain.network,
            self.chain.tip_header,
            transactions,
            proposer=self.random.randrange(
                len(read_validators(self.chain.store.tip_state).validators)
            ),
            timestamp_ms=self.now_ms,
        )
        for each in transactions:
            if each.payload is not None:
                self.chain.payloads.add(each.transaction_id, each.payload)
        self._fees = 0
        block = self.chain.executor.execute(header, transactions, trace=self._count_money)
        self.chain.finalize(block)
        self.balances = dict(self.chain.balances())
        if header.height % HELD_CHECKED_EVERY == 0:
            self.check_held()
        for order, receipt in zip(orders, block.receipts, strict=True):
            self.counts[order.kind, receipt.code] += 1
        return list(block.receipts)

    def check_held(self) -> None:
        """Find every unit that is held, and every unit there is, in the record that has it."""
        supply = self.read(CHAIN_SUPPLY, decode_supply)
        assert sum(self.balances.values()) + supply.held + supply.burnt == supply.total
        held = {name: find(self.chain.store) for name, find in HOLDERS.items()}
        assert sum(held.values()) == supply.held, held

    def read(self, key: bytes, decode: Callable[[bytes], Any]) -> Any:
        """Return a record of the final state."""
        return self.chain.store.read(key, decode)

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Return the records of the final state under a prefix."""
        return list(self.chain.store.scan(prefix, limit=1_000_000))

    def _sign(self, order: Order, nonces: dict[AccountId, int]) -> Transaction:
        nonce = nonces.get(order.sender.id, self.chain.account(order.sender.id).nonce)
        nonces[order.sender.id] = nonce + 1
        return make_transaction(
            self.chain.network,
            order.sender,
            order.kind,
            order.body,
            nonce=nonce,
            payload=order.payload,
            sponsor=order.sponsor,
            fee_limit=10**9,
            valid_until_height=self.chain.store.tip().height + 1_000,
        )

    def _count_money(
        self, receipt: Receipt, written: Mapping[bytes, Record | None], _models: object
    ) -> None:
        """Count all money after one transaction; nothing may be below zero."""
        for key, record in written.items():
            if key.startswith(ACCOUNT_PREFIX):
                assert isinstance(record, Account)
                self.balances[AccountId(key[len(ACCOUNT_PREFIX) :])] = record.balance
        supply = written.get(CHAIN_SUPPLY) or self.read(CHAIN_SUPPLY, decode_supply)
        assert isinstance(supply, Supply)
        # Fees of a block are on their way to the pot of the epoch until the block ends.
        self._fees += receipt.fee
        assert min(*self.balances.values(), supply.held, supply.burnt) >= 0, receipt
        everything = sum(self.balances.values()) + self._fees + supply.held + supply.burnt
        assert everything == supply.total, receipt


def _held_by_contributions(store: LedgerStore) -> int:
    records = store.scan(b"contribution/", limit=SCAN_MAX)
    return sum(decode_contribution(value).book.held for _, value in records)


def _held_by_pools(store: LedgerStore) -> int:
    bonded = store.scan(STAKE_PREFIX, limit=SCAN_MAX)
    leaving = store.scan(UNBONDING_POOL_PREFIX, limit=SCAN_MAX)
    tokens = sum(decode_stake_pool(value).pool.tokens for _, value in bonded)
    return tokens + sum(decode_unbonding_pool(value).pool.tokens for _, value in leaving)


def _held_by_the_pot(store: LedgerStore) -> int:
    rewards = store.read(CHAIN_EPOCH_REWARDS, decode_epoch_rewards)
    return 0 if rewards is None else rewards.pot


def _held_by_support(store: LedgerStore) -> int:
    """Count the pots alone: under the same prefix, longer, is who has which part in them."""
    records = store.scan(b"support/", limit=SCAN_MAX)
    return sum(decode_pot(value).pot.held for key, value in records if key.count(b"/") == 1)


def _held_by_campaigns(store: LedgerStore) -> int:
    campaigns = (decode_campaign(value) for _, value in store.scan(CAMPAIGN_PREFIX, limit=SCAN_MAX))
    return sum(campaign.held for campaign in campaigns if campaign.phase in UNPAID_PHASES)


def _held_by_exchanges(store: LedgerStore) -> int:
    held = 0
    for _, value in store.scan(b"exchange/", limit=SCAN_MAX):
        found = find_exchange(store.tip_state, decode_exchange(value).terms.name)
        if found is not None and not found.progress.is_closed:
            offer = found.exchange.terms.offer
            held += offer.bounty + offer.stake * len(found.progress.entries)
    return held


HOLDERS: Mapping[str, Callable[[LedgerStore], int]] = {
    "contributions": _held_by_contributions,
    "pools": _held_by_pools,
    "pot": _held_by_the_pot,
    "support": _held_by_support,
    "campaigns": _held_by_campaigns,
    "exchanges": _held_by_exchanges,
}
"""For each kind of record that holds money, how much is in all of them."""
