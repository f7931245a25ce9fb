"""The genesis block: the initial state as a block of height 0 with no transactions."""

from __future__ import annotations

from typing import Final

from ledger.block_assembly import BlockOutcome, assemble_block
from ledger.body import compute_body_root
from ledger.executed_block import ExecutedBlock
from ledger.genesis import Genesis
from ledger.governance import list_keys
from ledger.key_value import MemoryKeyValueStore
from ledger.members import ActsFor, acts_for_key, member_key, name_key
from ledger.membership_records import KeyHolder, key_holder_key
from ledger.reader import LedgerReader
from ledger.schema import (
    CHAIN_PARAMETERS,
    CHAIN_ROSTER,
    CHAIN_SUPPLY,
    CHAIN_VALIDATORS,
    Account,
    Record,
    Roster,
    Supply,
    Validator,
    Validators,
    account_key,
    epoch_validators_key,
)
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader

__all__ = ["PROTOCOL_VERSION", "build_genesis_block"]

PROTOCOL_VERSION: Final = 1


def build_genesis_block(genesis: Genesis) -> ExecutedBlock:
    """Return the block of height 0, which has no certificate: the genesis file is trusted."""
    header = BlockHeader(
        protocol_version=PROTOCOL_VERSION,
        chain_id=genesis.chain_id,
        epoch=0,
        height=0,
        view=0,
        parent_id=ZERO_HASH,
        parent_view=0,
        timestamp_ms=genesis.timestamp_ms,
        proposer=0,
        body_root=compute_body_root([]),
    )
    outcome = BlockOutcome(receipts=(), records=_initial_records(genesis), chunks={}, models={})
    nothing = LedgerReader(MemoryKeyValueStore())
    return assemble_block(header, (), outcome, nothing, None)


def _initial_records(genesis: Genesis) -> dict[bytes, Record | None]:
    validators = Validators(
        tuple(
            Validator(member.account, key)
            for member, key in zip(
                genesis.members, genesis.to_validator_set().public_keys, strict=True
            )
        )
    )
    records: dict[bytes, Record | None] = {
        CHAIN_PARAMETERS: genesis.parameters,
        CHAIN_SUPPLY: Supply(genesis.supply),
        CHAIN_VALIDATORS: validators,
        CHAIN_ROSTER: Roster(tuple(member.account for member in genesis.members)),
        epoch_validators_key(0): validators,
    }
    for member in genesis.members:
        records[member_key(member.account)] = member
        records[name_key(member.name)] = ActsFor(member.account)
        for account in member.accounts:
            records[acts_for_key(account)] = ActsFor(member.account)
        for key in list_keys(member):
            records[key_holder_key(key)] = KeyHolder(member.account)
    for account, amount in genesis.allocations.items():
        records[account_key(account)] = Account(balance=amount)
    return records
