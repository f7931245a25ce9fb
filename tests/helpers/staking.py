"""Stakes, rewards and what the held money consists of, for the tests of the ledger."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from ledger.epoch_rewards import CHAIN_EPOCH_REWARDS, EpochRewards, decode_epoch_rewards
from ledger.parameters import Parameters
from ledger.receipt import Receipt
from ledger.schema import CHAIN_SUPPLY, decode_supply
from ledger.stake_reader import list_pools
from ledger.stake_records import (
    DELEGATION_PREFIX,
    UNBONDING_POOL_PREFIX,
    UNBONDING_PREFIX,
    StakePool,
    decode_holding,
    decode_stake_pool,
    decode_unbonding_pool,
    stake_key,
)
from ledger.transactions.staking import SetCommission, Stake, Unstake, WithdrawStake
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from tests.helpers.ledger import INITIAL_BALANCE, Chain, TestAccount, make_network

ALL = 1_000_000
STAKING_PARAMETERS = Parameters(epoch_length=10, unfinal_blocks_max=2, unbonding_epochs=3)


def make_staking_chain(**changes: int) -> Chain:
    """Return a network whose members have money like everybody else; short epochs."""
    network = make_network(parameters=replace(STAKING_PARAMETERS, **changes))
    allocations = dict(network.genesis.allocations)
    allocations.update({member.account: INITIAL_BALANCE for member in network.genesis.members})
    return Chain(replace(network, genesis=replace(network.genesis, allocations=allocations)))


def get_balance(chain: Chain, account: TestAccount) -> int:
    """Return the free money of an account."""
    return chain.account(account.id).balance


def stake(chain: Chain, sender: TestAccount, validator: AccountId, amount: int) -> Receipt:
    body = Stake(validator, amount).to_fields()
    return chain.submit(sender, "stake", body).receipts[0]


def unstake(
    chain: Chain, sender: TestAccount, validator: AccountId, shares: int | None = None
) -> Receipt:
    body = Unstake(validator, shares).to_fields()
    return chain.submit(sender, "unstake", body).receipts[0]


def withdraw_stake(chain: Chain, sender: TestAccount, validator: AccountId, epoch: int) -> Receipt:
    body = WithdrawStake(validator, epoch).to_fields()
    return chain.submit(sender, "withdraw_stake", body).receipts[0]


def set_commission(chain: Chain, sender: TestAccount, basis_points: int) -> Receipt:
    body = SetCommission(basis_points).to_fields()
    return chain.submit(sender, "set_commission", body).receipts[0]


def read_rewards(chain: Chain) -> EpochRewards:
    """Return what the epoch has brought so far."""
    return chain.store.read(CHAIN_EPOCH_REWARDS, decode_epoch_rewards) or EpochRewards()


def read_pool(chain: Chain, validator: AccountId) -> StakePool:
    """Return a validator's pool."""
    return chain.store.read(stake_key(validator), decode_stake_pool) or StakePool()


def check_stakes(chain: Chain) -> None:
    """Assert that all held money is in the pot or staked, and that shares have owners.

    Only where nothing else is held: no deposits.
    """
    chain.check_conservation()
    supply = chain.store.read(CHAIN_SUPPLY, decode_supply)
    assert supply is not None
    pools = dict(list_pools(chain.store, limit=ALL))
    unbonding = {
        key[len(UNBONDING_POOL_PREFIX) :]: decode_unbonding_pool(value).pool
        for key, value in chain.store.scan(UNBONDING_POOL_PREFIX, limit=ALL)
    }
    staked = sum(each.pool.tokens for each in pools.values())
    leaving = sum(each.tokens for each in unbonding.values())
    assert supply.held == read_rewards(chain).pot + staked + leaving
    bonded = _sum_holdings(chain, DELEGATION_PREFIX)
    assert bonded == {key: each.pool.shares for key, each in pools.items() if each.pool.shares}
    assert _sum_holdings(chain, UNBONDING_PREFIX) == {
        key: each.shares for key, each in unbonding.items()
    }


def _sum_holdings(chain: Chain, prefix: bytes) -> dict[bytes, int]:
    """Return the shares of all accounts together, by the pool that they are of."""
    found: dict[bytes, int] = defaultdict(int)
    for key, value in chain.store.scan(prefix, limit=ALL):
        found[key[len(prefix) + ACCOUNT_ID_BYTES :]] += decode_holding(value).shares
    return dict(found)
