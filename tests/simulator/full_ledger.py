"""The disk of the real ledger, the network it belongs to, and the transactions that are made there.

Holders pay each other and stake on validators, so that evidence has something to take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from consensus.messages import Block
from ledger.body import encode_body
from ledger.epoch_rewards import CHAIN_EPOCH_REWARDS, EpochRewards, decode_epoch_rewards
from ledger.genesis import Genesis
from ledger.key_value import MemoryKeyValueStore
from ledger.parameters import Parameters
from ledger.reader import LedgerReader
from ledger.schema import ACCOUNT_PREFIX, CHAIN_SUPPLY, decode_account, decode_supply
from ledger.stake_reader import list_pools
from ledger.stake_records import (
    UNBONDING_POOL_PREFIX,
    decode_stake_pool,
    decode_unbonding_pool,
    stake_key,
)
from ledger.store import LedgerStore
from ledger.transaction import Transaction, decode_transaction
from ledger.transactions.evidence import EVIDENCE_PREFIX, decode_evidence_record
from ledger.transactions.staking import Stake, Unstake
from primitives.accounts import AccountId
from primitives.validator_set import ValidatorSet
from tests.helpers.ledger import Network, make_network, make_transaction, make_transfer
from tests.simulator.checkers import InvariantBrokenError
from tests.simulator.disk import DiskFaults, SimulatedValues
from tests.simulator.epoch_plan import EpochPlan
from tests.simulator.ledgers import FinalBlock

__all__ = ["FullLedger", "LedgerPlan", "decode_transfer", "make_ledger_network", "make_transfers"]

CONSERVATION_CHECKED_EVERY = 5
ACCOUNTS = 4

STAKED_EVERY = 3
"""One transaction of so many is a stake; the rest are transfers."""

UNSTAKED_EVERY = 7
"""One stake of so many is taken back instead."""

ALL = 1_000_000


@lru_cache
def make_ledger_network(validators: int, epoch_length: int) -> Network:
    """Return a genesis and all keys."""
    parameters = replace(Parameters(), epoch_length=epoch_length, issuance_per_epoch=1_000)
    return make_network(validators, ACCOUNTS, parameters=parameters)


def make_transfers(network: Network, number: int) -> bytes:
    """Return the bytes of the n-th transfer or stake of a run; senders take turns."""
    sender = network.accounts[number % ACCOUNTS]
    recipient = network.accounts[(number + 1) % ACCOUNTS]
    nonce = number // ACCOUNTS
    if number % STAKED_EVERY == STAKED_EVERY - 1:
        place = number // STAKED_EVERY
        validator = network.genesis.members[place % len(network.validators)].account
        if place % UNSTAKED_EVERY == UNSTAKED_EVERY - 1:
            body = Unstake(validator).to_fields()
            return make_transaction(network, sender, "unstake", body, nonce=nonce).raw
        body = Stake(validator, 100 + number).to_fields()
        return make_transaction(network, sender, "stake", body, nonce=nonce).raw
    return make_transfer(network, sender, recipient.id, 1 + number % 7, nonce=nonce).raw


@lru_cache(10_000)
def decode_transfer(data: bytes) -> Transaction:
    """Return a transfer; the same object to every node, so that it is verified once."""
    return decode_transaction(data)


class LedgerPlan(EpochPlan):
    """Epochs as the ledger decides them: learnt from the nodes, which must agree."""

    def __init__(self, network: Network, epoch_length: int) -> None:
        count = len(network.validators)
        super().__init__(count, count, epoch_length, "")
        self._learnt: dict[int, tuple[ValidatorSet, tuple[int, ...]]] = {}
        self._all = tuple(range(count))

    def members(self, epoch: int) -> tuple[int, ...]:
        return self._learnt[epoch][1] if epoch in self._learnt else self._all

    def validators(self, epoch: int) -> ValidatorSet:
        return self._learnt[epoch][0]

    def learn(self, epoch: int, validators: ValidatorSet, members: Sequence[int]) -> None:
        """Take who decides an epoch from a node that begins it."""
        found = (validators, tuple(members))
        if self._learnt.setdefault(epoch, found) != found:
            raise InvariantBrokenError(f"two nodes know different validators of epoch {epoch}")


class FullLedger:
    """What one node has on disk of the real ledger.

    Parameters
    ----------
    genesis : of the network.
    faults : what is wrong with the disk.
    """

    def __init__(self, genesis: Genesis, faults: DiskFaults) -> None:
        self.genesis = genesis
        self._faults = faults
        self.values = SimulatedValues(faults)

    @property
    def height(self) -> int:
        store = LedgerStore(self.values)
        return 0 if store.is_new else store.tip().height

    def restart(self) -> None:
        """Nothing is kept in memory here."""

    def is_final(self, transaction: bytes) -> bool:
        """Say whether a transfer is in a final block."""
        found = LedgerReader(self.values).find_transaction(
            decode_transfer(transaction).transaction_id
        )
        return found is not None

    def make_backup(self) -> object:
        """Return a copy of what is on disk."""
        return self.values.snapshot()

    def restore_backup(self, backup: object) -> None:
        """Bring a backup back; None for an empty disk."""
        self.values = SimulatedValues(self._faults)
        if isinstance(backup, MemoryKeyValueStore):
            self.values.fill(backup)

    def read_final(self, height: int) -> FinalBlock:
        """Return a final block."""
        reader = LedgerReader(self.values)
        header, transactions = reader.block(height)
        stored = reader.stored_block(height)
        _, certificate = reader.certificate(height)
        own = None
        if certificate is not None and certificate.block_id == header.block_id:
            own = certificate
        return FinalBlock(Block(header, encode_body(transactions)), stored.state_root, own)

    def check_conservation(self, height: int) -> None:
        """Demand, now and then, that all money there is adds up to the supply."""
        if height % CONSERVATION_CHECKED_EVERY:
            return
        reader = LedgerReader(self.values)
        supply = reader.read(CHAIN_SUPPLY, decode_supply)
        accounts = reader.scan(ACCOUNT_PREFIX, limit=ALL)
        balances = sum(decode_account(value).balance for _, value in accounts)
        if supply is None or balances + supply.held + supply.burnt != supply.total:
            raise InvariantBrokenError(f"at height {height} money is not conserved")
        if supply.held != self._sum_held(reader):
            raise InvariantBrokenError(f"at height {height} held money belongs to nobody")
        if supply.burnt > sum(self.read_slashes().values()):
            raise InvariantBrokenError(f"at height {height} more was burnt than was slashed")

    def read_slashes(self) -> dict[AccountId, int]:
        """Return what was taken of each validator that evidence in the ledger names."""
        reader = LedgerReader(self.values)
        slashes = {}
        for _, value in reader.scan(EVIDENCE_PREFIX, limit=ALL):
            culprit = decode_evidence_record(value).culprit
            stake = reader.read(stake_key(culprit), decode_stake_pool)
            if stake is None or not stake.is_tombstoned:
                raise InvariantBrokenError(f"{culprit.hex()} broke a rule and is not tombstoned")
            slashes[culprit] = stake.slashed
        return slashes

    @staticmethod
    def _sum_held(reader: LedgerReader) -> int:
        """Return the pot, what is staked and what is on its way out."""
        rewards = reader.read(CHAIN_EPOCH_REWARDS, decode_epoch_rewards) or EpochRewards()
        staked = sum(stake.pool.tokens for _, stake in list_pools(reader, limit=ALL))
        leaving = reader.scan(UNBONDING_POOL_PREFIX, limit=ALL)
        return (
            rewards.pot
            + staked
            + sum(decode_unbonding_pool(value).pool.tokens for _, value in leaving)
        )
