"""What validators earn: an epoch's fees and issuance, by the blocks that they proposed.

Theory of operation
-------------------
Fees are held in a pot, and blocks are counted by proposer, in one record that every block writes.
With the last block of an epoch, before the set of validators changes, pot and issuance are shared
(`incentives.staking`). A validator without a stake is paid to its account; with one, its
commission is, and the rest makes its pool's shares worth more. Tombstoned ones earn nothing.

Only blocks that were executed count. The empty blocks after an epoch's last one, which carry its
certificate, are no part of the chain, so proposing those earns nothing.

Invariants: (R1) the pot is held money; (R2) money that is made is what was paid less what the pot
gave for it, at most the issuance, and never more than there may be; (R3) what does not divide is
not made, or stays in the pot. Source: docs/spec/ledger.md §16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from incentives.accounting import verify_pool_change, verify_split
from incentives.staking import (
    Work,
    add_reward,
    compute_uptime_karma,
    split_commission,
    split_epoch_reward,
)
from ledger.parameters import Parameters
from ledger.schema import (
    AMOUNT_MAX,
    CHAIN_SUPPLY,
    Account,
    Supply,
    Validators,
    account_key,
    decode_account,
    decode_supply,
    read_record,
)
from ledger.stake_records import StakePool, read_stake_pool, stake_key
from ledger.state import BlockState
from primitives.accounts import AccountId
from primitives.codec import encode
from primitives.errors import InvariantViolationError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.validator_set import VALIDATORS_MAX

__all__ = [
    "CHAIN_EPOCH_REWARDS",
    "EpochRewards",
    "decode_epoch_rewards",
    "note_block",
    "share_rewards",
]

CHAIN_EPOCH_REWARDS: Final = b"chain/epoch_rewards"


@dataclass(frozen=True, slots=True)
class EpochRewards:
    """What an epoch has brought so far.

    Parameters
    ----------
    pot : fees that were not shared yet, in the smallest unit.
    blocks : proposed by each validator of the epoch, in the order of their indices; empty before
        its first block.
    """

    pot: int = 0
    blocks: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.pot, list(self.blocks)))


def decode_epoch_rewards(data: bytes) -> EpochRewards:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "epoch_rewards", 2)
    pot = reader.counter("pot")
    items = reader.array("blocks", VALIDATORS_MAX)
    blocks = FieldReader(items, "epoch_rewards.blocks", len(items))
    return EpochRewards(
        pot, tuple(blocks.integer(str(place), 0, COUNTER_MAX) for place in range(len(items)))
    )


def note_block(state: BlockState, validators: Validators, proposer: int, fees: int) -> None:
    """Count a block for its proposer and put its fees into the pot.

    Parameters
    ----------
    state : after the transactions of the block, whose payers have paid.
    validators : of the epoch.
    proposer : index in them.
    fees : of the block together, ≥ 0.

    Raises
    ------
    InvariantViolationError
        If the state knows no such validator.
    """
    count = len(validators.validators)
    if proposer >= count:
        raise InvariantViolationError(f"the state knows no validator {proposer}")
    rewards = _read(state)
    blocks = list(rewards.blocks) or [0] * count
    blocks[proposer] += 1
    state.put(CHAIN_EPOCH_REWARDS, EpochRewards(rewards.pot + fees, tuple(blocks)))
    if fees:
        supply = _read_supply(state)
        state.put(CHAIN_SUPPLY, replace(supply, held=supply.held + fees))


def share_rewards(
    state: BlockState, validators: Validators, parameters: Parameters, epoch: int
) -> None:
    """Pay the validators of an epoch with its last block, and count what they did.

    Parameters
    ----------
    state : after the transactions of the block; its proposer and fees are noted.
    validators : that decided the epoch.
    parameters : in force.
    epoch : that ends.
    """
    rewards = _read(state)
    supply = _read_supply(state)
    accounts = [each.account for each in validators.validators]
    blocks = rewards.blocks or (0,) * len(accounts)
    pools = [read_stake_pool(state, account) for account in accounts]
    work = [
        Work(0 if pool.is_tombstoned else proposed, pool.pool.tokens)
        for proposed, pool in zip(blocks, pools, strict=True)
    ]
    amount = rewards.pot + min(parameters.issuance_per_epoch, AMOUNT_MAX - supply.total)
    shares = split_epoch_reward(amount, parameters.stake_reward_percent, work)
    verify_split(amount, shares)
    compounded = 0
    for account, pool, proposed, share in zip(accounts, pools, blocks, shares, strict=True):
        fair = compute_uptime_karma(proposed, parameters.epoch_length, len(accounts))
        grown = _pay(state, account, pool, share, epoch)
        compounded += grown.pool.tokens - pool.pool.tokens
        counted = replace(
            grown,
            blocks=grown.blocks + proposed,
            epochs=grown.epochs + 1,
            karma=grown.karma + (0 if pool.is_tombstoned else fair),
        )
        state.put(stake_key(account), counted)
    paid = sum(shares)
    spent = min(paid, rewards.pot)
    state.put(
        CHAIN_SUPPLY,
        replace(supply, total=supply.total + paid - spent, held=supply.held - spent + compounded),
    )
    state.put(CHAIN_EPOCH_REWARDS, EpochRewards(rewards.pot - spent))


def _pay(
    state: BlockState, account: AccountId, pool: StakePool, reward: int, epoch: int
) -> StakePool:
    """Pay a validator, and return its pool with what is compounded."""
    to_account, to_pool = reward, 0
    if pool.pool.shares:
        to_account, to_pool = split_commission(reward, pool.commission_in(epoch))
    if to_account:
        record = state.get(account_key(account), decode_account) or Account()
        state.put(account_key(account), replace(record, balance=record.balance + to_account))
    after = add_reward(pool.pool, to_pool)
    verify_pool_change(pool.pool, after, came_in=to_pool)
    return replace(pool, pool=after)


def _read(state: BlockState) -> EpochRewards:
    return state.get(CHAIN_EPOCH_REWARDS, decode_epoch_rewards) or EpochRewards()


def _read_supply(state: BlockState) -> Supply:
    supply = state.get(CHAIN_SUPPLY, decode_supply)
    if supply is None:
        raise InvariantViolationError("the state has no supply record")
    return supply
