"""Transactions by which a member decides about itself, and by which others ask to become one.

rotate_validator_key, update_member, leave_validators, request_membership. A member's nodes, contact
and further accounts are its own affair and change at once; its vote changes with an epoch.
Source: docs/spec/ledger.md §7.7 and §7.11 to §7.13.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ledger.changes import (
    Admission,
    RoleChange,
    Rotation,
    check_change,
    check_possession,
)
from ledger.errors import TransactionFailedError
from ledger.governance import (
    KEY_IN_USE,
    check_feasible,
    check_further_account,
    claim_key,
    is_suspended,
    read_member,
    replace_member,
)
from ledger.governance_records import UsedInvite, decode_used_invite, used_invite_key
from ledger.invite import INVITE_BYTES_MAX, Invite, decode_invite
from ledger.members import (
    Member,
    Role,
    check_member,
    decode_member,
    member_key,
    read_member_fields,
)
from ledger.membership_records import (
    SELF_MADE,
    Decision,
    decode_key_holder,
    key_holder_key,
)
from ledger.parameters import Parameters
from ledger.schema import StateReader, account_key, decode_account
from ledger.transaction import Transaction
from ledger.transactions.governance import (
    NOT_A_VALIDATOR,
    TOO_MANY_PENDING,
    decide,
    is_seated,
    open_proposal,
)
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import AccountId, account_id_from_public_key, account_to_text
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES

__all__ = [
    "LEAVE_VALIDATORS",
    "REQUEST_MEMBERSHIP",
    "ROTATE_VALIDATOR_KEY",
    "UPDATE_MEMBER",
    "LeaveValidators",
    "RequestMembership",
    "RotateValidatorKey",
    "UpdateMember",
    "check_invite",
]

INVITE_USED: Final = "invite_used"
INVITE_REFUSED: Final = "invite_refused"
ALREADY_MEMBER: Final = "already_member"
ROLES_NOT_INVITED: Final = "roles_not_invited"

_UNITS_PER_KEY: Final = 100_000


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
        return RotateValidatorKey(
            reader.bytes("public_key", PUBLIC_KEY_BYTES),
            reader.bytes("possession", SIGNATURE_BYTES),
        )

    def check(
        self, transaction: Transaction, body: RotateValidatorKey, _parameters: Parameters
    ) -> None:
        """Check the key, and that somebody holds it."""
        check_possession(transaction.chain_id, transaction.sender, body.public_key, body.possession)

    def cost(
        self, _state: StateReader, _transaction: Transaction, _body: RotateValidatorKey
    ) -> int:
        """Return the price of checking the key."""
        return _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: RotateValidatorKey
    ) -> list[Encodable]:
        """Decide the rotation; fails with ``not_a_validator``, ``key_in_use``."""
        _require_seat(context)
        rotation = Rotation(context.sender, body.public_key, body.possession)
        check_feasible(context, rotation, context.parameters.epoch_of(context.height))
        _decide_oneself(context, rotation)
        return [body.public_key]


@dataclass(frozen=True, slots=True)
class LeaveValidators:
    """Give up the sender's vote; it stays a member."""

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return []


class LeaveValidatorsKind:
    """Takes a validator's seat away with the next epoch that can spare it."""

    code: Final = 12
    name: Final = "leave_validators"
    has_payload: Final = False

    def decode_body(self, value: list[Value]) -> LeaveValidators:
        """Return the body; raises `InvalidInputError` for another form."""
        FieldReader(value, "leave_validators", 0).end()
        return LeaveValidators()

    def check(
        self, _transaction: Transaction, _body: LeaveValidators, _parameters: Parameters
    ) -> None:
        """Check nothing further."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: LeaveValidators) -> int:
        """Return the price of a decision."""
        return _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, _body: LeaveValidators
    ) -> list[Encodable]:
        """Decide the departure; fails with ``not_a_validator``."""
        member = _require_seat(context)
        roles = member.roles & ~Role.VALIDATOR or Role.READER
        _decide_oneself(context, RoleChange(context.sender, roles))
        return []


@dataclass(frozen=True, slots=True)
class UpdateMember:
    """Give the sender another contact, other nodes or other further accounts.

    Parameters
    ----------
    member : the whole entry; name, account, validator key and roles as they are.
    possessions : for each node in order whose key is new, a signature of that key.
    """

    member: Member
    possessions: tuple[bytes, ...] = ()

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.member.to_fields(), list(self.possessions)]


class UpdateMemberKind:
    """Changes what a member may change by itself; this is how transport keys rotate."""

    code: Final = 13
    name: Final = "update_member"
    has_payload: Final = False

    def decode_body(self, value: list[Value]) -> UpdateMember:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "update_member", 2)
        member = read_member_fields(reader.value(), "update_member.member")
        items = reader.array("possessions", 9)
        readers = [FieldReader([item], "update_member", 1) for item in items]
        possessions = (each.bytes("possession", SIGNATURE_BYTES) for each in readers)
        return UpdateMember(member, tuple(possessions))

    def check(self, transaction: Transaction, body: UpdateMember, _parameters: Parameters) -> None:
        """Check texts and keys, and that the sender speaks of itself."""
        check_member(body.member, "update_member.member")
        if body.member.account != transaction.sender:
            raise InvalidInputError(
                "malformed",
                "update_member.member.account must be the sender",
                field="update_member.member.account",
            )

    def cost(self, _state: StateReader, _transaction: Transaction, body: UpdateMember) -> int:
        """Return the price of checking each new key."""
        return (1 + len(body.possessions)) * _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, transaction: Transaction, body: UpdateMember
    ) -> list[Encodable]:
        """Write the entry; fails with ``key_in_use``, ``account_in_use``, ``not_yours``."""
        known = read_member(context, context.sender)
        if is_suspended(context, context.sender):
            raise TransactionFailedError("suspended", f"{known.name} is suspended")
        fixed = replace(
            body.member,
            name=known.name,
            validator_key=known.validator_key,
            roles=known.roles,
        )
        if fixed != body.member:
            raise TransactionFailedError(
                "not_yours", "name, validator key and roles of a member are changed by a proposal"
            )
        possessions = iter(body.possessions)
        for key in _list_node_keys(fixed):
            if key not in _list_node_keys(known):
                _claim_new_key(context, transaction.chain_id, key, next(possessions, None))
        for account in fixed.accounts:
            check_further_account(context, account, context.sender)
        replace_member(context, known, fixed)
        return []


@dataclass(frozen=True, slots=True)
class RequestMembership:
    """Ask to be admitted, or, as a member, for other roles.

    Parameters
    ----------
    invite : bytes of the invite; empty if the sender is a member already.
    admission : of the sender.
    """

    invite: bytes
    admission: Admission

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.invite, *self.admission.to_fields()[1:]]


class RequestMembershipKind:
    """Opens a proposal to admit the sender."""

    code: Final = 14
    name: Final = "request_membership"
    has_payload: Final = False
    result_fields: Final = ("number",)

    def decode_body(self, value: list[Value]) -> RequestMembership:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "request_membership", 4)
        invite = reader.bytes("invite", bytes_max=INVITE_BYTES_MAX)
        if invite:
            decode_invite(invite)
        member = read_member_fields(reader.value(), "request_membership.member")
        possession = reader.optional_bytes("possession", SIGNATURE_BYTES)
        transport = reader.optional_bytes("transport_possession", SIGNATURE_BYTES)
        return RequestMembership(invite, Admission(member, possession, transport))

    def check(
        self, transaction: Transaction, body: RequestMembership, _parameters: Parameters
    ) -> None:
        """Check keys, possession and the invite's signature, and that the sender is meant."""
        check_change(body.admission, transaction.chain_id)
        if body.admission.account != transaction.sender:
            raise InvalidInputError(
                "malformed",
                "request_membership.member.account must be the sender",
                field="request_membership.member.account",
            )
        if body.invite:
            invite = decode_invite(body.invite)
            invite.check()
            if invite.chain_id != transaction.chain_id:
                raise InvalidInputError(
                    "wrong_chain",
                    f"the invite is to chain {invite.chain_id.hex()}",
                    field="request_membership.invite",
                    value=invite.chain_id.hex(),
                    limit=transaction.chain_id.hex(),
                )

    def cost(self, _state: StateReader, _transaction: Transaction, _body: RequestMembership) -> int:
        """Return the price of checking two keys and the invite."""
        return 3 * _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: RequestMembership
    ) -> list[Encodable]:
        """Open the proposal; returns its number."""
        member = body.admission.member
        known = context.get(member_key(context.sender), decode_member)
        if body.invite:
            invite = decode_invite(body.invite)
            if known is not None and known.roles:
                raise TransactionFailedError(
                    ALREADY_MEMBER, f"{known.name} is a member; ask without an invite"
                )
            check_invite(context, invite, context.timestamp_ms)
            if member.roles & ~invite.roles:
                raise TransactionFailedError(
                    ROLES_NOT_INVITED, "the request is for more roles than the invite names"
                )
        else:
            read_member(context, context.sender)
        title = f"{member.name} asks to be admitted"
        proposal = open_proposal(context, title, (body.admission,))
        if body.invite:
            used = UsedInvite(context.sender, proposal.number)
            context.put(used_invite_key(invite.invite_id), used)
        return [proposal.number]


def check_invite(state: StateReader, invite: Invite, now_ms: int) -> None:
    """Check that an invite whose signature is right still counts.

    Parameters
    ----------
    state : at present.
    invite : its own signature was checked.
    now_ms : milliseconds since 1970.

    Raises
    ------
    TransactionFailedError
        ``invite_expired``, ``invite_used``, ``invite_refused``.
    """
    try:
        invite.check_time(now_ms)
    except InvalidInputError as error:
        raise TransactionFailedError(error.code, error.message) from error
    used = state.get(used_invite_key(invite.invite_id), decode_used_invite)
    if used is not None:
        raise TransactionFailedError(
            INVITE_USED, f"the invite was used by {account_to_text(used.account)}"
        )
    if not is_seated(state, invite.inviter) or is_suspended(state, invite.inviter):
        raise TransactionFailedError(
            INVITE_REFUSED, f"{account_to_text(invite.inviter)}, who invites, is no validator"
        )
    if not _is_current_key(state, invite.inviter, invite.public_key):
        raise TransactionFailedError(
            INVITE_REFUSED, "the invite is not signed with the inviter's present key"
        )


def _is_current_key(state: StateReader, account: AccountId, public_key: bytes) -> bool:
    record = state.get(account_key(account), decode_account)
    if record is None or record.public_key is None:
        return account_id_from_public_key(public_key) == account
    return record.public_key == public_key


def _require_seat(context: ExecutionContext) -> Member:
    if not is_seated(context, context.sender):
        raise TransactionFailedError(
            NOT_A_VALIDATOR, f"{account_to_text(context.sender)} is no validator of this epoch"
        )
    return read_member(context, context.sender)


def _decide_oneself(context: ExecutionContext, change: Rotation | RoleChange) -> None:
    decision = Decision(SELF_MADE, context.height, (change,))
    if not decide(context, decision, own_first=True):
        raise TransactionFailedError(TOO_MANY_PENDING, "too many decisions wait already")


def _list_node_keys(member: Member) -> list[bytes]:
    return [node.transport_key for node in member.list_nodes() if node is not None]


def _claim_new_key(
    context: ExecutionContext, chain_id: bytes, key: bytes, possession: bytes | None
) -> None:
    if context.get(key_holder_key(key), decode_key_holder) is not None:
        raise TransactionFailedError(KEY_IN_USE, f"key {key.hex()} was registered before")
    try:
        check_possession(chain_id, context.sender, key, possession)
    except InvalidInputError as error:
        raise TransactionFailedError(error.code, error.message) from error
    claim_key(context, key, context.sender)


ROTATE_VALIDATOR_KEY: Final = RotateValidatorKeyKind()
LEAVE_VALIDATORS: Final = LeaveValidatorsKind()
UPDATE_MEMBER: Final = UpdateMemberKind()
REQUEST_MEMBERSHIP: Final = RequestMembershipKind()
