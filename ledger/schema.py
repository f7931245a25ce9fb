"""Where things are in the state, and the records of money, chain and members.

A state key is readable bytes, ``kind/…``; a value is the canonical encoding of a record. Records
are immutable, so that blocks and caches may share them. Tensors and versions of models are in
`ledger.model_tensors`, models and contributions beside their transactions.
Source: docs/spec/ledger.md §5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import decode, encode
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES
from primitives.keys import PUBLIC_KEY_BYTES
from primitives.validator_set import VALIDATORS_MAX, ValidatorSet

__all__ = [
    "ACCOUNT_PREFIX",
    "AMOUNT_MAX",
    "CHAIN_NEXT_VALIDATORS",
    "CHAIN_PARAMETERS",
    "CHAIN_PARENT",
    "CHAIN_ROSTER",
    "CHAIN_SUPPLY",
    "CHAIN_VALIDATORS",
    "MEMBERS_MAX",
    "RECORD_BYTES_MAX",
    "Account",
    "ParentBlock",
    "Record",
    "RecordT",
    "Roster",
    "StateReader",
    "Supply",
    "Validator",
    "Validators",
    "account_key",
    "decode_account",
    "decode_parent_block",
    "decode_roster",
    "decode_supply",
    "decode_validators",
    "epoch_validators_key",
    "read_record",
]

AMOUNT_MAX: Final = COUNTER_MAX
"""No amount and no sum of amounts is larger: genesis mints at most this much."""

RECORD_BYTES_MAX: Final = 8 * 1024 * 1024
"""Longest value of the state; the descriptor of a model of 8 GiB stays below it."""

MEMBERS_MAX: Final = 1_000
"""Organisations that were ever admitted; each keeps its number for good."""


ACCOUNT_PREFIX: Final = b"account/"
CHAIN_NEXT_VALIDATORS: Final = b"chain/next_validators"
CHAIN_PARAMETERS: Final = b"chain/parameters"
CHAIN_PARENT: Final = b"chain/parent"
CHAIN_ROSTER: Final = b"chain/roster"
CHAIN_SUPPLY: Final = b"chain/supply"
CHAIN_VALIDATORS: Final = b"chain/validators"


class Record(Protocol):
    """A value of the state; must be immutable."""

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        ...


RecordT = TypeVar("RecordT", bound=Record)


class StateReader(Protocol):
    """Read access to some state: of a block, or in the middle of one."""

    def get(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        """Return the record under a key, or None if there is none.

        Parameters
        ----------
        key : a state key.
        decode : reads this kind of record; the same for every access to a key.
        """
        ...


def read_record(data: bytes, name: str, field_count: int) -> FieldReader:
    """Start reading a record of the state.

    Raises
    ------
    InvalidInputError
        If `data` is not the canonical encoding of an array of `field_count` fields. Whoever reads
        from a disk of our own turns that into `CorruptStateError`.
    """
    return FieldReader(decode(data, bytes_max=RECORD_BYTES_MAX), name, field_count)


def account_key(account: AccountId) -> bytes:
    """Return the state key of an account."""
    return ACCOUNT_PREFIX + account


def epoch_validators_key(epoch: int) -> bytes:
    """Return the state key of the validators of an epoch that has begun."""
    return b"epoch/" + epoch.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class Account:
    """Money and replay protection of one account; an account without a record is all zero.

    Parameters
    ----------
    public_key : the current key, or None as long as it is the one that the id is made of.
    nonce : the nonce that the next transaction must carry.
    balance : free money in the smallest unit; what is held elsewhere is not in it.
    """

    public_key: bytes | None = None
    nonce: int = 0
    balance: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.public_key, self.nonce, self.balance))


def decode_account(data: bytes) -> Account:
    """Return the account whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "account", 3)
    return Account(
        reader.optional_bytes("public_key", PUBLIC_KEY_BYTES),
        reader.counter("nonce"),
        reader.counter("balance"),
    )


@dataclass(frozen=True, slots=True)
class Supply:
    """All money there is.

    Parameters
    ----------
    total : what was ever minted.
    held : what is in no account's balance: deposits, stakes and bounties that wait.
    burnt : what is gone for good: balances, `held` and this together are `total`.
    """

    total: int
    held: int = 0
    burnt: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.total, self.held, self.burnt))


def decode_supply(data: bytes) -> Supply:
    """Return the supply whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "supply", 3)
    return Supply(reader.counter("total"), reader.counter("held"), reader.counter("burnt"))


@dataclass(frozen=True, slots=True)
class ParentBlock:
    """What a block's execution writes about the block before it.

    A block that became final without a commit certificate of its own is certified through this
    record of its child.

    Parameters
    ----------
    height, block_id : of the parent.
    state_root : after the parent's execution, 32 bytes.
    receipts_root : over the parent's receipts, 32 bytes.
    """

    height: int
    block_id: bytes
    state_root: bytes
    receipts_root: bytes

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.height, self.block_id, self.state_root, self.receipts_root))


def decode_parent_block(data: bytes) -> ParentBlock:
    """Return the parent record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "parent", 4)
    return ParentBlock(
        reader.counter("height"),
        reader.bytes("block_id", HASH_BYTES),
        reader.bytes("state_root", HASH_BYTES),
        reader.bytes("receipts_root", HASH_BYTES),
    )


@dataclass(frozen=True, slots=True)
class Validator:
    """A party with a vote.

    Parameters
    ----------
    account : of its stake, and where what it earns goes.
    public_key : of its votes.
    """

    account: AccountId
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of an epoch, in the order of their indices."""

    validators: tuple[Validator, ...]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(([(v.account, v.public_key) for v in self.validators],))

    def to_validator_set(self) -> ValidatorSet:
        """Return the keys alone, as certificates are checked against them."""
        return ValidatorSet(tuple(validator.public_key for validator in self.validators))


def decode_validators(data: bytes) -> Validators:
    """Return the validators whose canonical bytes are `data`; raises as `read_record`."""
    items = read_record(data, "validators", 1).array("validators", VALIDATORS_MAX)
    readers = [FieldReader(item, "validators", 2) for item in items]
    return Validators(
        tuple(
            Validator(
                AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)),
                reader.bytes("public_key", PUBLIC_KEY_BYTES),
            )
            for reader in readers
        )
    )


@dataclass(frozen=True, slots=True)
class Roster:
    """Every organisation that was ever admitted, in the order of admission.

    Parameters
    ----------
    accounts : of the members. A member's place here is its number, by which its peers know it; it
        stays the same whatever becomes of its keys and its vote.
    """

    accounts: tuple[AccountId, ...]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((list(self.accounts),))


def decode_roster(data: bytes) -> Roster:
    """Return the roster whose canonical bytes are `data`; raises as `read_record`."""
    items = read_record(data, "roster", 1).array("accounts", MEMBERS_MAX)
    readers = [FieldReader([item], "roster", 1) for item in items]
    return Roster(tuple(AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)) for reader in readers))
