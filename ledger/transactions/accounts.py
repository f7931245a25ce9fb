"""Transactions between accounts: transfer.

Source: docs/spec/ledger.md §7.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.parameters import Parameters
from ledger.schema import AMOUNT_MAX, StateReader
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value
from primitives.fields import FieldReader

__all__ = ["TRANSFER", "Transfer", "TransferKind"]


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


TRANSFER: Final = TransferKind()
