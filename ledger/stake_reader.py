"""Lists stakes of a final state, for whoever asks from outside; execution scans nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.reader import LedgerReader
from ledger.stake_records import (
    DELEGATION_PREFIX,
    STAKE_PREFIX,
    UNBONDING_PREFIX,
    StakePool,
    UnbondingPool,
    decode_holding,
    decode_stake_pool,
    decode_unbonding_pool,
    stake_key,
    unbonding_pool_key,
)
from ledger.stored_records import decode_own
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.errors import CorruptStateError

__all__ = ["Delegation", "Unbonding", "list_delegations", "list_pools", "list_unbondings"]


@dataclass(frozen=True, slots=True)
class Delegation:
    """An account's shares in a validator's pool.

    Parameters
    ----------
    validator : whose pool it is.
    shares : of the account.
    tokens : what they would bring, rounded down.
    """

    validator: AccountId
    shares: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Unbonding:
    """What an account has on the way out of a pool.

    Parameters
    ----------
    validator : whose pool it was in.
    epoch : in which it began to leave.
    matures : last epoch in which it is not paid out.
    shares : of the account.
    tokens : what they would bring, rounded down.
    """

    validator: AccountId
    epoch: int
    matures: int
    shares: int
    tokens: int


def list_pools(
    reader: LedgerReader,
    *,
    height: int | None = None,
    start_after: AccountId | None = None,
    limit: int,
) -> list[tuple[AccountId, StakePool]]:
    """Return validators' accounts and their pools, ascending by account.

    Parameters
    ----------
    reader : of the ledger.
    height : after which block; the tip if left out.
    start_after : only accounts above this one.
    limit : most pools, ≥ 1.
    """
    after = None if start_after is None else STAKE_PREFIX + start_after
    found = reader.scan(STAKE_PREFIX, height=height, start_after=after, limit=limit)
    return [
        (AccountId(key[len(STAKE_PREFIX) :]), decode_own(value, decode_stake_pool))
        for key, value in found
    ]


def list_delegations(
    reader: LedgerReader, delegator: AccountId, *, height: int | None = None, limit: int
) -> list[Delegation]:
    """Return what an account has staked, ascending by validator, at most `limit`."""
    prefix = DELEGATION_PREFIX + delegator
    delegations = []
    for key, value in reader.scan(prefix, height=height, limit=limit):
        validator = AccountId(key[len(prefix) :])
        shares = decode_own(value, decode_holding).shares
        stake = reader.read(stake_key(validator), decode_stake_pool, height) or StakePool()
        delegations.append(Delegation(validator, shares, stake.pool.value_of(shares)))
    return delegations


def list_unbondings(
    reader: LedgerReader, delegator: AccountId, *, height: int | None = None, limit: int
) -> list[Unbonding]:
    """Return what an account has on the way out, by validator and epoch, at most `limit`."""
    prefix = UNBONDING_PREFIX + delegator
    unbondings = []
    for key, value in reader.scan(prefix, height=height, limit=limit):
        place = key[len(prefix) :]
        validator = AccountId(place[:ACCOUNT_ID_BYTES])
        epoch = int.from_bytes(place[ACCOUNT_ID_BYTES:], "big")
        shares = decode_own(value, decode_holding).shares
        pool = _read_unbonding(reader, validator, epoch, height)
        unbondings.append(
            Unbonding(validator, epoch, pool.matures, shares, pool.pool.value_of(shares))
        )
    return unbondings


def _read_unbonding(
    reader: LedgerReader, validator: AccountId, epoch: int, height: int | None
) -> UnbondingPool:
    pool = reader.read(unbonding_pool_key(validator, epoch), decode_unbonding_pool, height)
    if pool is None:
        raise CorruptStateError(f"a stake unbonds since epoch {epoch} from a pool that is missing")
    return pool
