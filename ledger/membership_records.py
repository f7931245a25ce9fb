"""Records of what was decided and is not in force yet, of suspensions, and of keys ever used.

Source: docs/spec/ledger.md §13 and §14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.changes import CHANGES_PER_DECISION_MAX, Change, concerns, read_change
from ledger.schema import read_record
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, encode
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "CHAIN_PENDING_CHANGES",
    "CHAIN_SETTLED_CHANGES",
    "PENDING_DECISIONS_MAX",
    "SELF_MADE",
    "Decision",
    "KeyHolder",
    "PendingChanges",
    "Suspension",
    "decode_key_holder",
    "decode_pending_changes",
    "decode_suspension",
    "key_holder_key",
    "suspension_key",
]

CHAIN_PENDING_CHANGES: Final = b"chain/pending_changes"
CHAIN_SETTLED_CHANGES: Final = b"chain/settled_changes"
"""Decisions that take effect at the end of this epoch, from the decision height to the end."""

PENDING_DECISIONS_MAX: Final = 64
"""Decisions that wait for an epoch in which they leave a quorum in place."""

SELF_MADE: Final = 0
"""Stands for the number of a proposal where a member decided about itself."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Changes that take effect together with the end of an epoch.

    Parameters
    ----------
    number : of the proposal, or `SELF_MADE`.
    height : of the block that made the decision.
    changes : at least one.
    """

    number: int
    height: int
    changes: tuple[Change, ...]

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [self.number, self.height, [change.to_fields() for change in self.changes]]

    @property
    def accounts(self) -> frozenset[AccountId]:
        """The members that it concerns."""
        return frozenset(
            account for each in self.changes if (account := concerns(each)) is not None
        )


@dataclass(frozen=True, slots=True)
class PendingChanges:
    """Decisions that are made and not in force, in the order in which they were made."""

    decisions: tuple[Decision, ...] = ()

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(([each.to_fields() for each in self.decisions],))


def decode_pending_changes(data: bytes) -> PendingChanges:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    items = read_record(data, "pending_changes", 1).array("decisions", PENDING_DECISIONS_MAX)
    return PendingChanges(tuple(_read_decision(item) for item in items))


def _read_decision(value: Value) -> Decision:
    reader = FieldReader(value, "decision", 3)
    number, height = reader.counter("number"), reader.counter("height")
    changes = reader.array("changes", CHANGES_PER_DECISION_MAX)
    return Decision(number, height, tuple(read_change(change) for change in changes))


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whose a validator or transport key is, or was: nobody registers a key of another.

    Parameters
    ----------
    account : of the member.
    is_burnt : the key has signed what a validator never signs; nobody may register it again.
    """

    account: AccountId
    is_burnt: bool = False

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.account, self.is_burnt))


def decode_key_holder(data: bytes) -> KeyHolder:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "key_holder", 2)
    return KeyHolder(
        AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)), reader.boolean("is_burnt")
    )


@dataclass(frozen=True, slots=True)
class Suspension:
    """A member has no seat and no roles for the time being.

    Parameters
    ----------
    height : at which the evidence or the decision came into the ledger.
    evidence : hash of the evidence, or zeros if it was decided by vote. By vote alone it ends by
        a reinstatement; after evidence, by an admission with another validator key.
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


def key_holder_key(public_key: bytes) -> bytes:
    """Return the state key of the holder of a key."""
    return b"key/" + public_key


def suspension_key(account: AccountId) -> bytes:
    """Return the state key of a member's suspension."""
    return b"suspension/" + account
