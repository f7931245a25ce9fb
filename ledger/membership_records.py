"""Records of who may vote and who is about to: changes, approvals, suspensions, keys ever used.

Source: docs/spec/ledger.md §13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.schema import ENDPOINT_BYTES_MAX, NAME_BYTES_MAX, Member, read_record
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from primitives.validator_set import VALIDATORS_MAX

__all__ = [
    "CHAIN_PENDING_CHANGES",
    "CHANGES_PER_DECISION_MAX",
    "PENDING_DECISIONS_MAX",
    "Admission",
    "Approval",
    "Change",
    "KeyHolder",
    "PendingChanges",
    "Removal",
    "Rotation",
    "Suspension",
    "approval_key",
    "compute_change_hash",
    "decode_approval",
    "decode_key_holder",
    "decode_pending_changes",
    "decode_suspension",
    "key_holder_key",
    "possession_message",
    "read_change",
    "suspension_key",
]

CHAIN_PENDING_CHANGES: Final = b"chain/pending_changes"

CHANGES_PER_DECISION_MAX: Final = 8
"""Changes that are approved, and take effect, together."""

PENDING_DECISIONS_MAX: Final = 64
"""Decisions that wait for an epoch in which they leave a quorum in place."""

_ADMIT, _REMOVE, _ROTATE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Admission:
    """An organisation becomes a member and its key gets a vote.

    Parameters
    ----------
    member : its entry in the registry.
    possession : signature of its validator key over `possession_message`, 64 bytes: nobody admits
        a key that nobody holds.
    """

    member: Member
    possession: bytes

    @property
    def account(self) -> AccountId:
        """Whose seat it is."""
        return self.member.account

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        member = self.member
        return [
            _ADMIT,
            member.name,
            member.account,
            member.validator_key,
            member.transport_key,
            member.endpoint,
            self.possession,
        ]


@dataclass(frozen=True, slots=True)
class Removal:
    """A member loses its vote; it stays in the registry and may follow."""

    account: AccountId

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [_REMOVE, self.account]


@dataclass(frozen=True, slots=True)
class Rotation:
    """A validator's vote moves to another key.

    Parameters
    ----------
    account : of the validator.
    public_key : from the next epoch on.
    possession : signature of that key over `possession_message`, 64 bytes.
    """

    account: AccountId
    public_key: bytes
    possession: bytes

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [_ROTATE, self.account, self.public_key, self.possession]


Change = Admission | Removal | Rotation


def read_change(value: Value) -> Change:
    """Return the change that a field describes.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range`` or ``too_large``.
    """
    kind = value[0] if type(value) is list and value else None
    if kind == _ADMIT:
        reader = FieldReader(value, "change", 7)
        reader.value()
        name = reader.text("name", NAME_BYTES_MAX)
        account = AccountId(reader.bytes("account", ACCOUNT_ID_BYTES))
        validator_key = reader.bytes("validator_key", PUBLIC_KEY_BYTES)
        transport_key = reader.bytes("transport_key", PUBLIC_KEY_BYTES)
        endpoint = reader.text("endpoint", ENDPOINT_BYTES_MAX)
        member = Member(name, account, validator_key, transport_key, endpoint)
        return Admission(member, reader.bytes("possession", SIGNATURE_BYTES))
    if kind == _REMOVE:
        reader = FieldReader(value, "change", 2)
        reader.value()
        return Removal(AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)))
    if kind == _ROTATE:
        reader = FieldReader(value, "change", 4)
        reader.value()
        return Rotation(
            AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)),
            reader.bytes("public_key", PUBLIC_KEY_BYTES),
            reader.bytes("possession", SIGNATURE_BYTES),
        )
    raise InvalidInputError(
        "malformed", "change must begin with 1, 2 or 3: admit, remove, rotate", field="change"
    )


def possession_message(chain_id: bytes, account: AccountId, public_key: bytes) -> bytes:
    """Return the 32 bytes that a validator key signs to show that somebody holds it."""
    return tagged_hash(Tag.KEY_POSSESSION, encode((chain_id, account, public_key)))


def compute_change_hash(changes: tuple[Change, ...]) -> bytes:
    """Identify changes that are approved together, 32 bytes."""
    return tagged_hash(Tag.VALIDATOR_CHANGE, encode([change.to_fields() for change in changes]))


@dataclass(frozen=True, slots=True)
class PendingChanges:
    """Decisions that are made and not in force, in the order in which they were made."""

    decisions: tuple[tuple[Change, ...], ...] = ()

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            ([[change.to_fields() for change in decision] for decision in self.decisions],)
        )


def decode_pending_changes(data: bytes) -> PendingChanges:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    items = read_record(data, "pending_changes", 1).array("decisions", PENDING_DECISIONS_MAX)
    readers = [FieldReader([item], "pending_changes", 1) for item in items]
    return PendingChanges(
        tuple(
            tuple(
                read_change(change) for change in reader.array("decision", CHANGES_PER_DECISION_MAX)
            )
            for reader in readers
        )
    )


@dataclass(frozen=True, slots=True)
class Approval:
    """Who has approved some changes.

    Parameters
    ----------
    epoch : of the first approval, from which they lapse together after a while.
    accounts : of those that approved, in that order; who has a seat when it is counted, counts.
    """

    epoch: int
    accounts: tuple[AccountId, ...]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.epoch, list(self.accounts)))


def decode_approval(data: bytes) -> Approval:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "approval", 2)
    epoch = reader.counter("epoch")
    items = reader.array("accounts", VALIDATORS_MAX)
    readers = [FieldReader([item], "approval", 1) for item in items]
    accounts = [AccountId(each.bytes("account", ACCOUNT_ID_BYTES)) for each in readers]
    return Approval(epoch, tuple(accounts))


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whose a validator or transport key is, or was: no key is ever registered twice."""

    account: AccountId

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.account,))


def decode_key_holder(data: bytes) -> KeyHolder:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "key_holder", 1)
    return KeyHolder(AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)))


@dataclass(frozen=True, slots=True)
class Suspension:
    """A member that broke a vote rule has no seat until it is admitted again with another key.

    Parameters
    ----------
    height : at which the evidence came into the ledger.
    evidence : hash of the evidence, 32 bytes.
    """

    height: int
    evidence: bytes

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.height, self.evidence))


def decode_suspension(data: bytes) -> Suspension:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "suspension", 2)
    return Suspension(reader.counter("height"), reader.bytes("evidence", HASH_BYTES))


def approval_key(change_hash: bytes) -> bytes:
    """Return the state key of the approvals of some changes."""
    return b"approval/" + change_hash


def key_holder_key(public_key: bytes) -> bytes:
    """Return the state key of the holder of a key."""
    return b"key/" + public_key


def suspension_key(account: AccountId) -> bytes:
    """Return the state key of a member's suspension."""
    return b"suspension/" + account
