"""What validators can decide: changes of members, of parameters and of the protocol.

A decision is a list of changes that take effect together. This file says what they are and how they
are written down; when they take effect is `ledger.membership`'s and `ledger.governance`'s affair.
Source: docs/spec/ledger.md §7.6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.members import Member, Role, check_member, read_member_fields
from ledger.parameters import check_parameter
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import Tag, tagged_hash
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, check_public_key, verify_signature

__all__ = [
    "CHANGES_PER_DECISION_MAX",
    "AccountRecovery",
    "Admission",
    "Change",
    "ParameterChange",
    "Reinstatement",
    "Removal",
    "RoleChange",
    "Rotation",
    "SuspensionOrder",
    "Upgrade",
    "check_change",
    "check_possession",
    "compute_changes_hash",
    "concerns",
    "possession_message",
    "read_change",
]

CHANGES_PER_DECISION_MAX: Final = 8
"""Changes that are decided, and take effect, together."""

PARAMETER_NAME_BYTES_MAX: Final = 64
PROTOCOL_VERSION_LIMIT: Final = 2**16 - 1

# Parameters that no vote can change: heights are counted by them.
_FIXED_PARAMETERS: Final = frozenset({"epoch_length"})


@dataclass(frozen=True, slots=True)
class Admission:
    """An organisation becomes a member, or a known one gets other roles, keys or nodes.

    Parameters
    ----------
    member : its entry in the registry.
    possession : signature of its validator key over `possession_message`, 64 bytes, or None if
        it has no validator key: nobody admits a key that nobody holds.
    transport_possession : the same of its transport key.
    """

    member: Member
    possession: bytes | None
    transport_possession: bytes | None = None

    @property
    def account(self) -> AccountId:
        """Whom it concerns."""
        return self.member.account

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [1, self.member.to_fields(), self.possession, self.transport_possession]


@dataclass(frozen=True, slots=True)
class Removal:
    """A member loses its vote, its roles and its connections; what it has done stays."""

    account: AccountId

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [2, self.account]


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
        return [3, self.account, self.public_key, self.possession]


@dataclass(frozen=True, slots=True)
class RoleChange:
    """A member gets other roles; who is no validator cannot become one by this alone."""

    account: AccountId
    roles: Role

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [4, self.account, int(self.roles)]


@dataclass(frozen=True, slots=True)
class SuspensionOrder:
    """A member loses its seat and its roles for the time being."""

    account: AccountId

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [5, self.account]


@dataclass(frozen=True, slots=True)
class Reinstatement:
    """A suspension that was decided by vote ends, and the member has its seat again."""

    account: AccountId

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [6, self.account]


@dataclass(frozen=True, slots=True)
class AccountRecovery:
    """A member that lost the key of its account gets another one.

    Parameters
    ----------
    account : of the member.
    public_key : signs for the account from the next epoch on.
    possession : signature of that key over `possession_message`, 64 bytes.
    """

    account: AccountId
    public_key: bytes
    possession: bytes

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [7, self.account, self.public_key, self.possession]


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """A limit, a price, a threshold or the issuance gets another value."""

    name: str
    value: int

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [8, self.name, self.value]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Blocks follow another version of the protocol, from the first one of an epoch on."""

    version: int
    epoch: int

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [9, self.version, self.epoch]


MemberChange = (
    Admission | Removal | Rotation | RoleChange | SuspensionOrder | Reinstatement | AccountRecovery
)
Change = MemberChange | ParameterChange | Upgrade


def concerns(change: Change) -> AccountId | None:
    """Return the account of the member that a change concerns, or None."""
    return None if isinstance(change, ParameterChange | Upgrade) else change.account


def read_change(value: Value) -> Change:
    """Return the change that a field describes.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range`` or ``too_large``.
    """
    kind = value[0] if type(value) is list and value else None
    form = _FORMS.get(kind) if type(kind) is int else None
    if form is None:
        raise InvalidInputError(
            "malformed", f"change must begin with 1 to {len(_FORMS)}, its kind", field="change"
        )
    count, read = form
    reader = FieldReader(value, "change", count)
    reader.value()
    change = read(reader)
    reader.end()
    return change


def check_change(change: Change, chain_id: bytes) -> None:
    """Check what a change says as far as no state is needed: keys, signatures, ranges.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range``, ``bad_public_key``, ``bad_signature``, ``duplicate``.
    """
    match change:
        case Admission(member=member):
            check_member(member, "change.member")
            for key, possession in (
                (member.validator_key, change.possession),
                (member.transport_key, change.transport_possession),
            ):
                if key is not None:
                    check_possession(chain_id, member.account, key, possession)
            if not member.roles:
                raise InvalidInputError(
                    "malformed",
                    "change.member.roles must hold at least one role; remove the member instead",
                    field="change.member.roles",
                )
        case Rotation() | AccountRecovery():
            check_possession(chain_id, change.account, change.public_key, change.possession)
        case ParameterChange():
            check_parameter(change.name, change.value)
            if change.name in _FIXED_PARAMETERS:
                raise InvalidInputError(
                    "malformed",
                    f"parameters.{change.name} is fixed with the genesis; no vote changes it",
                    field=f"parameters.{change.name}",
                )
        case _:
            pass


def possession_message(chain_id: bytes, account: AccountId, public_key: bytes) -> bytes:
    """Return the 32 bytes that a key signs to show that somebody holds it for an account."""
    return tagged_hash(Tag.KEY_POSSESSION, encode((chain_id, account, public_key)))


def check_possession(
    chain_id: bytes, account: AccountId, public_key: bytes, possession: bytes | None
) -> None:
    """Check that a key is good and that somebody holds it.

    Raises
    ------
    InvalidInputError
        ``bad_public_key`` or ``bad_signature``.
    """
    check_public_key(public_key, "change.public_key")
    message = possession_message(chain_id, account, public_key)
    if possession is None or not verify_signature(public_key, message, possession):
        raise InvalidInputError(
            "bad_signature",
            f"change.possession is no signature of key {public_key.hex()} for this account",
            field="change.possession",
            value=public_key.hex(),
        )


def compute_changes_hash(changes: tuple[Change, ...]) -> bytes:
    """Identify changes that are decided together, 32 bytes."""
    return tagged_hash(Tag.CHANGES, encode([change.to_fields() for change in changes]))


def _account(reader: FieldReader) -> AccountId:
    return AccountId(reader.bytes("account", ACCOUNT_ID_BYTES))


def _key(reader: FieldReader) -> bytes:
    return reader.bytes("public_key", PUBLIC_KEY_BYTES)


def _signature(reader: FieldReader) -> bytes:
    return reader.bytes("possession", SIGNATURE_BYTES)


def _read_admission(reader: FieldReader) -> Change:
    member = read_member_fields(reader.value(), "change.member")
    possession = reader.optional_bytes("possession", SIGNATURE_BYTES)
    return Admission(
        member, possession, reader.optional_bytes("transport_possession", SIGNATURE_BYTES)
    )


def _read_role_change(reader: FieldReader) -> Change:
    return RoleChange(_account(reader), Role(reader.integer("roles", 1, 15)))


def _read_parameter_change(reader: FieldReader) -> Change:
    name = reader.text("name", PARAMETER_NAME_BYTES_MAX)
    return ParameterChange(name, reader.counter("value"))


def _read_upgrade(reader: FieldReader) -> Change:
    version = reader.integer("version", 2, PROTOCOL_VERSION_LIMIT)
    return Upgrade(version, reader.integer("epoch", 1, COUNTER_MAX))


_FORMS: Final[dict[int, tuple[int, Callable[[FieldReader], Change]]]] = {
    1: (4, _read_admission),
    2: (2, lambda reader: Removal(_account(reader))),
    3: (4, lambda reader: Rotation(_account(reader), _key(reader), _signature(reader))),
    4: (3, _read_role_change),
    5: (2, lambda reader: SuspensionOrder(_account(reader))),
    6: (2, lambda reader: Reinstatement(_account(reader))),
    7: (4, lambda reader: AccountRecovery(_account(reader), _key(reader), _signature(reader))),
    8: (3, _read_parameter_change),
    9: (3, _read_upgrade),
}
