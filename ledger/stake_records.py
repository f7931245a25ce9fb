"""Records of stakes: pools, who owns their shares, what is on its way out.

A stake pool belongs to a validator's account and outlives its seat. Money in pools is held
(`ledger.schema.Supply`), and so is what unbonds. Source: docs/spec/ledger.md §16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from incentives.staking import BASIS_POINTS, EMPTY_POOL, SHARES_MAX, SharePool
from ledger.schema import StateReader, read_record
from primitives.accounts import AccountId
from primitives.codec import encode
from primitives.fields import COUNTER_MAX, FieldReader

__all__ = [
    "DELEGATION_PREFIX",
    "STAKE_PREFIX",
    "UNBONDING_POOL_PREFIX",
    "UNBONDING_PREFIX",
    "Holding",
    "StakePool",
    "UnbondingPool",
    "decode_holding",
    "decode_stake_pool",
    "decode_unbonding_pool",
    "delegation_key",
    "read_stake_pool",
    "stake_key",
    "unbonding_key",
    "unbonding_pool_key",
]

STAKE_PREFIX: Final = b"stake/"
DELEGATION_PREFIX: Final = b"delegation/"
UNBONDING_PREFIX: Final = b"unbonding/"
UNBONDING_POOL_PREFIX: Final = b"unbonding_pool/"


def stake_key(validator: AccountId) -> bytes:
    """Return the state key of a validator's pool."""
    return STAKE_PREFIX + validator


def delegation_key(delegator: AccountId, validator: AccountId) -> bytes:
    """Return the state key of an account's shares in a pool; its own come first in a scan."""
    return DELEGATION_PREFIX + delegator + validator


def unbonding_pool_key(validator: AccountId, epoch: int) -> bytes:
    """Return the state key of what began to leave a pool in an epoch."""
    return UNBONDING_POOL_PREFIX + validator + epoch.to_bytes(8, "big")


def unbonding_key(delegator: AccountId, validator: AccountId, epoch: int) -> bytes:
    """Return the state key of an account's shares in what began to leave a pool in an epoch."""
    return UNBONDING_PREFIX + delegator + validator + epoch.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class StakePool:
    """What stands behind a validator, and what it did.

    Parameters
    ----------
    pool : tokens and shares that are bonded.
    commission : the validator's part of rewards, in basis points, before `next_epoch`. All of
        them unless it says otherwise, so that nobody takes of its pay by staking on it unasked.
    next_commission : the same from `next_epoch` on.
    next_epoch : first epoch of the latest change.
    is_tombstoned : it was slashed; for good, it takes no more stake and earns nothing.
    slashed : tokens that were taken from it and from what was leaving it.
    blocks : that it proposed.
    epochs : in which it had a seat to the end.
    karma : for uptime, see `incentives.staking.compute_uptime_karma`.
    """

    pool: SharePool = EMPTY_POOL
    commission: int = BASIS_POINTS
    next_commission: int = BASIS_POINTS
    next_epoch: int = 0
    is_tombstoned: bool = False
    slashed: int = 0
    blocks: int = 0
    epochs: int = 0
    karma: int = 0

    def commission_in(self, epoch: int) -> int:
        """Return its commission in an epoch, this one or a later one, in basis points."""
        return self.next_commission if epoch >= self.next_epoch else self.commission

    def announce_commission(self, basis_points: int, epoch: int) -> StakePool:
        """Return the record with a commission that holds from the epoch after `epoch` on."""
        return replace(
            self,
            commission=self.commission_in(epoch),
            next_commission=basis_points,
            next_epoch=epoch + 1,
        )

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.pool.tokens,
                self.pool.shares,
                self.commission,
                self.next_commission,
                self.next_epoch,
                self.is_tombstoned,
                self.slashed,
                self.blocks,
                self.epochs,
                self.karma,
            )
        )


def decode_stake_pool(data: bytes) -> StakePool:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "stake", 10)
    return StakePool(
        pool=_read_pool(reader),
        commission=reader.integer("commission", 0, BASIS_POINTS),
        next_commission=reader.integer("next_commission", 0, BASIS_POINTS),
        next_epoch=reader.counter("next_epoch"),
        is_tombstoned=reader.boolean("is_tombstoned"),
        slashed=reader.counter("slashed"),
        blocks=reader.counter("blocks"),
        epochs=reader.counter("epochs"),
        karma=reader.counter("karma"),
    )


def read_stake_pool(state: StateReader, validator: AccountId) -> StakePool:
    """Return a validator's pool; without a record it is empty."""
    return state.get(stake_key(validator), decode_stake_pool) or StakePool()


@dataclass(frozen=True, slots=True)
class UnbondingPool:
    """What began to leave a validator's pool in one epoch.

    Parameters
    ----------
    pool : tokens and shares that were not withdrawn yet.
    matures : last epoch in which nothing is paid out, as the parameters said when it began.
    """

    pool: SharePool
    matures: int

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.pool.tokens, self.pool.shares, self.matures))


def decode_unbonding_pool(data: bytes) -> UnbondingPool:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "unbonding_pool", 3)
    return UnbondingPool(_read_pool(reader), reader.counter("matures"))


@dataclass(frozen=True, slots=True)
class Holding:
    """How many shares an account has of a pool, bonded or unbonding.

    Parameters
    ----------
    shares : ≥ 1; whoever has none has no record.
    """

    shares: int

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.shares,))


def decode_holding(data: bytes) -> Holding:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    return Holding(read_record(data, "holding", 1).integer("shares", 1, COUNTER_MAX))


def _read_pool(reader: FieldReader) -> SharePool:
    return SharePool(
        reader.integer("tokens", 0, SHARES_MAX), reader.integer("shares", 0, SHARES_MAX)
    )
