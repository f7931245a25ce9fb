"""Transactions about who votes: change_validators and rotate_validator_key.

A change of the validator set is decided by a quorum of the validators, each of which sends the same
changes; the one that completes the quorum makes the decision, which takes effect with an epoch
(`ledger.membership`). A validator rotates its own key alone.
Source: docs/spec/ledger.md §7.6, §7.7 and §13.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ledger.errors import TransactionFailedError
from ledger.membership import read_validators
from ledger.membership_records import (
    CHAIN_PENDING_CHANGES,
    CHANGES_PER_DECISION_MAX,
    PENDING_DECISIONS_MAX,
    Admission,
    Approval,
    Change,
    KeyHolder,
    PendingChanges,
    Rotation,
    approval_key,
    compute_change_hash,
    decode_approval,
    decode_key_holder,
    decode_pending_changes,
    decode_suspension,
    key_holder_key,
    possession_message,
    read_change,
    suspension_key,
)
from ledger.parameters import Parameters
from ledger.schema import (
    CHAIN_ROSTER,
    ENDPOINT_PATTERN,
    MEMBER_NAME_PATTERN,
    MEMBERS_MAX,
    Member,
    Roster,
    StateReader,
    Validators,
    decode_member,
    decode_roster,
    member_key,
)
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import AccountId, account_to_text
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.keys import check_public_key, verify_signature

__all__ = [
    "CHANGE_VALIDATORS",
    "ROTATE_VALIDATOR_KEY",
    "ChangeValidators",
    "RotateValidatorKey",
]

APPROVAL_EPOCHS_MAX: Final = 100
"""So many epochs after the first approval all of them lapse, decided or not."""

NOT_A_VALIDATOR: Final = "not_a_validator"
ALREADY_APPROVED: Final = "already_approved"
KEY_IN_USE: Final = "key_in_use"
TOO_MANY_PENDING: Final = "too_many_pending"
UNKNOWN_MEMBER: Final = "unknown_member"

_UNITS_PER_KEY: Final = 100_000


@dataclass(frozen=True, slots=True)
class ChangeValidators:
    """Approve changes of the validator set, all together.

    Parameters
    ----------
    changes : 1 to `CHANGES_PER_DECISION_MAX`: admissions and removals.
    """

    changes: tuple[Change, ...]

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [[change.to_fields() for change in self.changes]]


class ChangeValidatorsKind:
    """Counts an approval; the one that completes a quorum makes the decision."""

    code: Final = 7
    name: Final = "change_validators"
    has_payload: Final = False

    def decode_body(self, value: list[Value]) -> ChangeValidators:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "change_validators", 1)
        items = reader.array("changes", CHANGES_PER_DECISION_MAX)
        changes = tuple(read_change(item) for item in items)
        if not changes or any(isinstance(change, Rotation) for change in changes):
            raise InvalidInputError(
                "malformed",
                "change_validators.changes must hold admissions and removals, at least one",
                field="change_validators.changes",
            )
        return ChangeValidators(changes)

    def check(
        self, transaction: Transaction, body: ChangeValidators, _parameters: Parameters
    ) -> None:
        """Check the keys that are to be admitted, and that somebody holds them."""
        for change in body.changes:
            if isinstance(change, Admission):
                _check_member(change.member)
                _check_possession(
                    transaction.chain_id,
                    change.account,
                    change.member.validator_key,
                    change.possession,
                )

    def cost(self, _state: StateReader, _transaction: Transaction, body: ChangeValidators) -> int:
        """Return the price of checking each key."""
        return len(body.changes) * _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: ChangeValidators
    ) -> list[Encodable]:
        """Count the approval; returns hash, approvals, quorum, and 1 if it is decided."""
        validators = read_validators(context)
        quorum = validators.to_validator_set().quorum
        change_hash = compute_change_hash(body.changes)
        approval = _approve(context, validators, change_hash)
        seated = [v.account for v in validators.validators if v.account in approval.accounts]
        if len(seated) < quorum:
            # Who lost its seat is forgotten: the record never outgrows the set.
            context.put(approval_key(change_hash), replace(approval, accounts=tuple(seated)))
            return [change_hash, len(seated), quorum, 0]
        context.delete(approval_key(change_hash))
        for change in body.changes:
            if isinstance(change, Admission):
                _register(context, change.member)
        _decide(context, body.changes)
        return [change_hash, len(seated), quorum, 1]


@dataclass(frozen=True, slots=True)
class RotateValidatorKey:
    """Move the sender's vote to another key.

    Parameters
    ----------
    public_key : of the votes from the next epoch on.
    possession : signature of that key over `possession_message`, 64 bytes.
    """

    public_key: bytes
    possession: bytes

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.public_key, self.possession]


class RotateValidatorKeyKind:
    """Gives a validator another key with the next epoch."""

    code: Final = 8
    name: Final = "rotate_validator_key"
    has_payload: Final = False

    def decode_body(self, value: list[Value]) -> RotateValidatorKey:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "rotate_validator_key", 2)
        return RotateValidatorKey(reader.bytes("public_key", 32), reader.bytes("possession", 64))

    def check(
        self, transaction: Transaction, body: RotateValidatorKey, _parameters: Parameters
    ) -> None:
        """Check the key, and that somebody holds it."""
        _check_possession(
            transaction.chain_id, transaction.sender, body.public_key, body.possession
        )

    def cost(
        self, _state: StateReader, _transaction: Transaction, _body: RotateValidatorKey
    ) -> int:
        """Return the price of checking the key."""
        return _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: RotateValidatorKey
    ) -> list[Encodable]:
        """Note the rotation, or fail with ``not_a_validator``, ``key_in_use``."""
        if all(v.account != context.sender for v in read_validators(context).validators):
            raise _not_a_validator(context.sender)
        member = _read_member(context, context.sender)
        _claim_key(context, body.public_key, context.sender)
        context.put(member_key(context.sender), replace(member, validator_key=body.public_key))
        _decide(context, (Rotation(context.sender, body.public_key, body.possession),))
        return [body.public_key]


def _approve(context: ExecutionContext, validators: Validators, change_hash: bytes) -> Approval:
    """Add the sender's approval to those of this epoch."""
    if all(validator.account != context.sender for validator in validators.validators):
        raise _not_a_validator(context.sender)
    epoch = context.parameters.epoch_of(context.height)
    held = context.get(approval_key(change_hash), decode_approval)
    if held is None or held.epoch + APPROVAL_EPOCHS_MAX < epoch:
        held = Approval(epoch, ())
    accounts = held.accounts
    if context.sender in accounts:
        raise TransactionFailedError(
            ALREADY_APPROVED, f"{account_to_text(context.sender)} has approved these changes"
        )
    return Approval(held.epoch, (*accounts, context.sender))


def _decide(context: ExecutionContext, changes: tuple[Change, ...]) -> None:
    """Put a decision behind those that wait."""
    pending = context.get(CHAIN_PENDING_CHANGES, decode_pending_changes) or PendingChanges()
    # A rotation takes the place of the sender's earlier one: nobody fills the queue alone.
    if isinstance(changes[0], Rotation):
        pending = PendingChanges(
            tuple(
                decision
                for decision in pending.decisions
                if not isinstance(decision[0], Rotation) or decision[0].account != context.sender
            )
        )
    if len(pending.decisions) >= PENDING_DECISIONS_MAX:
        raise TransactionFailedError(
            TOO_MANY_PENDING, f"{PENDING_DECISIONS_MAX} decisions wait already"
        )
    context.put(CHAIN_PENDING_CHANGES, PendingChanges((*pending.decisions, changes)))


def _register(context: ExecutionContext, member: Member) -> None:
    """Enter a member into the registry, or give a known one new keys."""
    known = context.get(member_key(member.account), decode_member)
    roster = context.get(CHAIN_ROSTER, decode_roster) or Roster(())
    if known is None:
        if len(roster.accounts) >= MEMBERS_MAX:
            raise TransactionFailedError(TOO_MANY_PENDING, f"{MEMBERS_MAX} members are the limit")
        context.put(CHAIN_ROSTER, Roster((*roster.accounts, member.account)))
    for key, old in (
        (member.validator_key, None if known is None else known.validator_key),
        (member.transport_key, None if known is None else known.transport_key),
    ):
        # The key of a suspended validator is burnt, one that was never misused may come back.
        suspended = context.get(suspension_key(member.account), decode_suspension) is not None
        if key != old or (suspended and key == member.validator_key):
            _claim_key(context, key, member.account)
    context.put(member_key(member.account), member)
    context.delete(suspension_key(member.account))


def _claim_key(context: ExecutionContext, public_key: bytes, account: AccountId) -> None:
    if context.get(key_holder_key(public_key), decode_key_holder) is not None:
        raise TransactionFailedError(KEY_IN_USE, f"key {public_key.hex()} was registered before")
    context.put(key_holder_key(public_key), KeyHolder(account))


def _read_member(context: ExecutionContext, account: AccountId) -> Member:
    member = context.get(member_key(account), decode_member)
    if member is None:
        raise TransactionFailedError(UNKNOWN_MEMBER, f"{account_to_text(account)} is no member")
    return member


def _check_member(member: Member) -> None:
    for name, text, pattern in (
        ("name", member.name, MEMBER_NAME_PATTERN),
        ("endpoint", member.endpoint, ENDPOINT_PATTERN),
    ):
        if pattern.fullmatch(text) is None:
            raise InvalidInputError(
                "malformed",
                f"change.{name} must be text of the form {pattern.pattern}, found {text!r}",
                field=f"change.{name}",
                value=text,
            )
    check_public_key(member.transport_key, "change.transport_key")


def _check_possession(
    chain_id: bytes, account: AccountId, public_key: bytes, possession: bytes
) -> None:
    check_public_key(public_key, "change.validator_key")
    if not verify_signature(
        public_key, possession_message(chain_id, account, public_key), possession
    ):
        raise InvalidInputError(
            "bad_signature",
            f"change.possession is no signature of key {public_key.hex()} for this account",
            field="change.possession",
            value=public_key.hex(),
        )


def _not_a_validator(account: AccountId) -> TransactionFailedError:
    return TransactionFailedError(
        NOT_A_VALIDATOR, f"{account_to_text(account)} is no validator of this epoch"
    )


CHANGE_VALIDATORS: Final = ChangeValidatorsKind()
ROTATE_VALIDATOR_KEY: Final = RotateValidatorKeyKind()
