"""Transactions of accounts: transfer, rotate_account_key.

Source: docs/spec/ledger.md §7.1 and §7.14.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ledger.changes import check_possession
from ledger.parameters import Parameters
from ledger.schema import AMOUNT_MAX, Account, StateReader, account_key, decode_account
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value
from primitives.fields import FieldReader
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES

__all__ = [
    "ROTATE_ACCOUNT_KEY",
    "TRANSFER",
    "RotateAccountKey",
    "Transfer",
    "TransferKind",
]

_UNITS_PER_KEY: Final = 100_000


@dataclass(frozen=True, slots=True)
class Transfer:
    """Pay somebody.

    Parameters
    ----------
    recipient : who gets the money; the account need not exist yet.
    amount : ≥ 1, in the smallest unit.
    """

    recipient: AccountId
    amount: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.recipient, self.amount]


class TransferKind:
    """Moves free money from the sender to the recipient."""

    code: Final = 1
    name: Final = "transfer"
    has_payload: Final = False

    def decode_body(self, value: list[Value]) -> Transfer:
        """Return the body; raises `InvalidInputError` for another form or an amount below 1."""
        reader = FieldReader(value, "transfer", 2)
        recipient = AccountId(reader.bytes("recipient", ACCOUNT_ID_BYTES))
        return Transfer(recipient, reader.integer("amount", 1, AMOUNT_MAX))

    def check(self, _transaction: Transaction, _body: Transfer, _parameters: Parameters) -> None:
        """Check nothing further: the fields say it all."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: Transfer) -> int:
        """Return 0: the envelope's own units cover two additions."""
        return 0

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: Transfer
    ) -> list[Encodable]:
        """Move the money; fails with ``insufficient_balance``."""
        context.transfer(context.sender, body.recipient, body.amount)
        return []


@dataclass(frozen=True, slots=True)
class RotateAccountKey:
    """Let another key sign for the sender's account; its id stays.

    Parameters
    ----------
    public_key : signs from the next transaction on.
    possession : signature of that key over `possession_message`, 64 bytes.
    """

    public_key: bytes
    possession: bytes

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.public_key, self.possession]


class RotateAccountKeyKind:
    """Makes another key the current one of the sender's account."""

    code: Final = 15
    name: Final = "rotate_account_key"
    has_payload: Final = False

    def decode_body(self, value: list[Value]) -> RotateAccountKey:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "rotate_account_key", 2)
        return RotateAccountKey(
            reader.bytes("public_key", PUBLIC_KEY_BYTES),
            reader.bytes("possession", SIGNATURE_BYTES),
        )

    def check(
        self, transaction: Transaction, body: RotateAccountKey, _parameters: Parameters
    ) -> None:
        """Check the key, and that somebody holds it."""
        check_possession(transaction.chain_id, transaction.sender, body.public_key, body.possession)

    def cost(self, _state: StateReader, _transaction: Transaction, _body: RotateAccountKey) -> int:
        """Return the price of checking the key."""
        return _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: RotateAccountKey
    ) -> list[Encodable]:
        """Write the key into the account; the key before it signs nothing any more."""
        account = context.get(account_key(context.sender), decode_account) or Account()
        context.put(account_key(context.sender), replace(account, public_key=body.public_key))
        return [body.public_key]


TRANSFER: Final = TransferKind()
ROTATE_ACCOUNT_KEY: Final = RotateAccountKeyKind()
