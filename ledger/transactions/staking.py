"""Transactions of stakes: stake, unstake, withdraw_stake, set_commission.

Staking on one's own account is a bond, on another's a delegation; the rules are the same. What is
staked is held, and leaves by way of a wait that is longer than evidence is taken for.
Source: docs/spec/ledger.md §7.33 to §7.36 and §16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from incentives.accounting import verify_pool_change
from incentives.mechanism import RefusedError
from incentives.staking import (
    BASIS_POINTS,
    EMPTY_POOL,
    SHARES_MAX,
    Purchase,
    SharePool,
    buy_shares,
    sell_shares,
)
from ledger.errors import TransactionFailedError
from ledger.governance import is_suspended
from ledger.members import Role, decode_member, member_key
from ledger.parameters import Parameters
from ledger.schema import AMOUNT_MAX, StateReader
from ledger.stake_records import (
    Holding,
    StakePool,
    UnbondingPool,
    decode_holding,
    decode_unbonding_pool,
    delegation_key,
    read_stake_pool,
    stake_key,
    unbonding_key,
    unbonding_pool_key,
)
from ledger.transaction import Transaction
from ledger.transactions.governance import NOT_A_VALIDATOR
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId, account_to_text
from primitives.codec import Encodable, Value
from primitives.fields import FieldReader

__all__ = [
    "SET_COMMISSION",
    "STAKE",
    "UNSTAKE",
    "WITHDRAW_STAKE",
    "SetCommission",
    "Stake",
    "Unstake",
    "WithdrawStake",
]

TOMBSTONED: Final = "tombstoned"
NOT_ENOUGH_STAKE: Final = "not_enough_stake"
UNKNOWN_UNBONDING: Final = "unknown_unbonding"
TOO_EARLY: Final = "too_early"

_UNITS: Final = 20_000
"""A handful of records are read and written."""


@dataclass(frozen=True, slots=True)
class Stake:
    """Let money stand behind a validator.

    Parameters
    ----------
    validator : account of a validator: the sender's own, or that of another.
    amount : most that is taken, ≥ 1; what buys no whole share stays with the sender.
    """

    validator: AccountId
    amount: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.validator, self.amount]


class StakeKind:
    """Takes money of the sender into a validator's pool, for shares of it."""

    code: Final = 34
    name: Final = "stake"
    has_payload: Final = False
    result_fields: Final = ("shares", "paid")

    def decode_body(self, value: list[Value]) -> Stake:
        """Return the body; raises `InvalidInputError` for another form or an amount below 1."""
        reader = FieldReader(value, "stake", 2)
        return Stake(_read_account(reader), reader.integer("amount", 1, AMOUNT_MAX))

    def check(self, _transaction: Transaction, _body: Stake, _parameters: Parameters) -> None:
        """Check nothing further: the fields say it all."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: Stake) -> int:
        """Return the price of the records that change."""
        return _UNITS

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: Stake
    ) -> list[Encodable]:
        """Buy shares.

        Fails with ``not_a_validator``, ``tombstoned``, ``stake_too_small``, ``stake_too_large`` or
        ``insufficient_balance``.
        """
        stake = _read_open_pool(context, body.validator)
        bought = _buy(stake.pool, body.amount)
        context.hold(context.sender, bought.paid)
        context.put(stake_key(body.validator), replace(stake, pool=bought.pool))
        key = delegation_key(context.sender, body.validator)
        context.put(key, Holding(_read_shares(context, key) + bought.shares))
        return [bought.shares, bought.paid]


@dataclass(frozen=True, slots=True)
class Unstake:
    """Begin to take a stake back.

    Parameters
    ----------
    validator : whose pool it is in.
    shares : so many, or None for all that the sender has.
    """

    validator: AccountId
    shares: int | None = None

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.validator, self.shares]


class UnstakeKind:
    """Moves what shares are worth out of a pool, to where it waits and can still be slashed."""

    code: Final = 35
    name: Final = "unstake"
    has_payload: Final = False
    result_fields: Final = ("shares", "tokens", "epoch")

    def decode_body(self, value: list[Value]) -> Unstake:
        """Return the body; raises `InvalidInputError` for another form or shares below 1."""
        reader = FieldReader(value, "unstake", 2)
        return Unstake(_read_account(reader), reader.optional_integer("shares", 1, SHARES_MAX))

    def check(self, _transaction: Transaction, _body: Unstake, _parameters: Parameters) -> None:
        """Check nothing further."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: Unstake) -> int:
        """Return the price of the records that change."""
        return _UNITS

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: Unstake
    ) -> list[Encodable]:
        """Sell shares; fails with ``not_enough_stake`` or ``stake_too_large``."""
        key = delegation_key(context.sender, body.validator)
        held = _read_shares(context, key)
        shares = held if body.shares is None else body.shares
        if not 1 <= shares <= held:
            raise TransactionFailedError(
                NOT_ENOUGH_STAKE,
                f"{account_to_text(context.sender)} has {held} shares in the pool of"
                f" {account_to_text(body.validator)}, asked for are {shares}",
            )
        stake = read_stake_pool(context, body.validator)
        pool, tokens = sell_shares(stake.pool, shares)
        verify_pool_change(stake.pool, pool, went_out=tokens)
        context.put(stake_key(body.validator), replace(stake, pool=pool))
        _put_shares(context, key, held - shares)
        epoch = context.parameters.epoch_of(context.height)
        if tokens:
            self._begin_unbonding(context, body.validator, epoch, tokens)
        return [shares, tokens, epoch]

    def _begin_unbonding(
        self, context: ExecutionContext, validator: AccountId, epoch: int, tokens: int
    ) -> None:
        """Put tokens to those that began to leave the pool in the same epoch.

        A share there is worth one token, or less after a slash, so all tokens buy shares.
        """
        key = unbonding_pool_key(validator, epoch)
        matures = epoch + context.parameters.unbonding_epochs
        unbonding = context.get(key, decode_unbonding_pool) or UnbondingPool(EMPTY_POOL, matures)
        bought = _buy(unbonding.pool, tokens)
        verify_pool_change(unbonding.pool, bought.pool, came_in=tokens)
        context.put(key, replace(unbonding, pool=bought.pool))
        entry = unbonding_key(context.sender, validator, epoch)
        context.put(entry, Holding(_read_shares(context, entry) + bought.shares))


@dataclass(frozen=True, slots=True)
class WithdrawStake:
    """Have a stake paid out whose wait is over.

    Parameters
    ----------
    validator : whose pool it was in.
    epoch : in which it began to leave.
    """

    validator: AccountId
    epoch: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.validator, self.epoch]


class WithdrawStakeKind:
    """Pays the sender what has matured."""

    code: Final = 36
    name: Final = "withdraw_stake"
    has_payload: Final = False
    result_fields: Final = ("paid",)

    def decode_body(self, value: list[Value]) -> WithdrawStake:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "withdraw_stake", 2)
        return WithdrawStake(_read_account(reader), reader.counter("epoch"))

    def check(
        self, _transaction: Transaction, _body: WithdrawStake, _parameters: Parameters
    ) -> None:
        """Check nothing further."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: WithdrawStake) -> int:
        """Return the price of the records that change."""
        return _UNITS

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: WithdrawStake
    ) -> list[Encodable]:
        """Pay the sender's part; fails with ``unknown_unbonding`` or ``too_early``."""
        entry = unbonding_key(context.sender, body.validator, body.epoch)
        key = unbonding_pool_key(body.validator, body.epoch)
        shares = _read_shares(context, entry)
        unbonding = context.get(key, decode_unbonding_pool)
        if shares == 0 or unbonding is None:
            raise TransactionFailedError(
                UNKNOWN_UNBONDING,
                f"{account_to_text(context.sender)} has nothing that began to leave the pool of"
                f" {account_to_text(body.validator)} in epoch {body.epoch}",
            )
        epoch = context.parameters.epoch_of(context.height)
        if epoch <= unbonding.matures:
            raise TransactionFailedError(
                TOO_EARLY,
                f"it is paid out after epoch {unbonding.matures}, this is epoch {epoch}",
            )
        pool, tokens = sell_shares(unbonding.pool, shares)
        verify_pool_change(unbonding.pool, pool, went_out=tokens)
        context.delete(entry)
        context.put(key, replace(unbonding, pool=pool) if pool.shares else None)
        context.release(context.sender, tokens)
        return [tokens]


@dataclass(frozen=True, slots=True)
class SetCommission:
    """Say what part of its pool's rewards goes to the sender's account.

    Parameters
    ----------
    basis_points : [0, 10,000], from the next epoch on.
    """

    basis_points: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.basis_points]


class SetCommissionKind:
    """Changes the commission of the sender's own pool with the next epoch."""

    code: Final = 37
    name: Final = "set_commission"
    has_payload: Final = False
    result_fields: Final = ("basis_points", "epoch")

    def decode_body(self, value: list[Value]) -> SetCommission:
        """Return the body; raises `InvalidInputError` for another form or out of range."""
        reader = FieldReader(value, "set_commission", 1)
        return SetCommission(reader.integer("basis_points", 0, BASIS_POINTS))

    def check(
        self, _transaction: Transaction, _body: SetCommission, _parameters: Parameters
    ) -> None:
        """Check nothing further."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: SetCommission) -> int:
        """Return the price of the record that changes."""
        return _UNITS

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: SetCommission
    ) -> list[Encodable]:
        """Announce the commission; fails with ``not_a_validator`` or ``tombstoned``."""
        stake = _read_open_pool(context, context.sender)
        epoch = context.parameters.epoch_of(context.height)
        announced = stake.announce_commission(body.basis_points, epoch)
        context.put(stake_key(context.sender), announced)
        return [body.basis_points, announced.next_epoch]


def _read_account(reader: FieldReader) -> AccountId:
    return AccountId(reader.bytes("validator", ACCOUNT_ID_BYTES))


def _read_open_pool(context: ExecutionContext, validator: AccountId) -> StakePool:
    """Return the pool of a validator that is in good standing, with a seat or soon to have one."""
    member = context.get(member_key(validator), decode_member)
    is_validator = member is not None and Role.VALIDATOR in member.roles
    if not is_validator or is_suspended(context, validator):
        raise TransactionFailedError(
            NOT_A_VALIDATOR,
            f"{account_to_text(validator)} is no member with the role of a validator, or suspended",
        )
    stake = read_stake_pool(context, validator)
    if stake.is_tombstoned:
        raise TransactionFailedError(
            TOMBSTONED, f"{account_to_text(validator)} was slashed and takes no stake any more"
        )
    return stake


def _buy(pool: SharePool, amount: int) -> Purchase:
    try:
        bought = buy_shares(pool, amount)
    except RefusedError as error:
        raise TransactionFailedError(error.code, error.message) from error
    verify_pool_change(pool, bought.pool, came_in=bought.paid)
    return bought


def _read_shares(context: ExecutionContext, key: bytes) -> int:
    holding = context.get(key, decode_holding)
    return 0 if holding is None else holding.shares


def _put_shares(context: ExecutionContext, key: bytes, shares: int) -> None:
    context.put(key, Holding(shares) if shares else None)


STAKE: Final = StakeKind()
UNSTAKE: Final = UnstakeKind()
WITHDRAW_STAKE: Final = WithdrawStakeKind()
SET_COMMISSION: Final = SetCommissionKind()
