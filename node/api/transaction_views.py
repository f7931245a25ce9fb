"""A transaction as JSON: envelope, body by name, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from ledger.reader import FinalTransaction, LedgerReader
from ledger.receipt import Receipt, ReceiptStatus
from ledger.transactions.registry import body_of, kind_of
from node.api.json_codec import account_or_none
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId, account_to_text

__all__ = [
    "STATUS_NAMES",
    "ReceiptView",
    "TransactionView",
    "find_transaction",
    "make_transaction_view",
]

AMOUNT_FIELDS = frozenset(
    {
        "amount",
        "bounty",
        "deposit",
        "deposit_per_sample",
        "max_deposit",
        "max_stake",
        "paid",
        "shares",
        "stake",
        "taken",
        "tokens",
    }
)
"""Names of fields that hold money wherever they occur."""

StatusName = Literal["pending", "ok", "failed", "void"]

STATUS_NAMES: dict[ReceiptStatus, StatusName] = {
    ReceiptStatus.OK: "ok",
    ReceiptStatus.FAILED: "failed",
    ReceiptStatus.VOID: "void",
}


class ReceiptView(BaseModel):
    """What became of a final transaction."""

    code: str = Field(description="`ok`, or why it had no effect.")
    message: str
    fee: str
    compute_units: int
    result: dict[str, Any] = Field(description="What the kind has to tell, by name.")


class TransactionView(BaseModel):
    """A transaction; all but id and status is null while it is pending."""

    transaction_id: str
    status: StatusName
    height: int | None = None
    index: int | None = Field(default=None, description="Place in the block.")
    kind: str | None = None
    sender: str | None = None
    sponsor: str | None = None
    nonce: str | None = None
    valid_until_height: int | None = None
    fee_limit: str | None = None
    payload_commitment: str | None = None
    payload_bytes: int | None = None
    body: dict[str, Any] | None = Field(default=None, description="Fields of the kind, by name.")
    receipt: ReceiptView | None = None


def find_transaction(ledger: LedgerReader, transaction_id: bytes) -> TransactionView | None:
    """Return a final transaction as it is shown, or None."""
    final = ledger.find_transaction(transaction_id)
    return None if final is None else make_transaction_view(final)


def make_transaction_view(final: FinalTransaction) -> TransactionView:
    """Return a final transaction as it is shown."""
    transaction = final.transaction
    kind = kind_of(transaction)
    commitment = transaction.payload_commitment
    return TransactionView(
        transaction_id=transaction.transaction_id.hex(),
        status=STATUS_NAMES[final.receipt.status],
        height=final.height,
        index=final.index,
        kind=kind.name,
        sender=account_to_text(transaction.sender),
        sponsor=account_or_none(transaction.sponsor),
        nonce=str(transaction.nonce),
        valid_until_height=transaction.valid_until_height,
        fee_limit=str(transaction.fee_limit),
        payload_commitment=None if commitment is None else commitment.hex(),
        payload_bytes=transaction.payload_bytes,
        body=to_json(body_of(transaction)),
        receipt=_make_receipt_view(getattr(kind, "result_fields", ()), final.receipt),
    )


def to_json(value: object, field: str = "") -> Any:
    """Return a record of the ledger as JSON: money as strings, accounts as text, bytes as hex."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json(getattr(value, item.name), item.name) for item in fields(value)}
    if isinstance(value, list | tuple):
        return [to_json(item, field) for item in value]
    if isinstance(value, bytes):
        # Nothing else in the ledger's records has the length of an account id.
        if len(value) == ACCOUNT_ID_BYTES:
            return account_to_text(AccountId(value))
        return value.hex()
    if isinstance(value, int) and field in AMOUNT_FIELDS:
        return str(value)
    return value


def _make_receipt_view(names: Sequence[str], receipt: Receipt) -> ReceiptView:
    return ReceiptView(
        code=receipt.code,
        message=receipt.message,
        fee=str(receipt.fee),
        compute_units=receipt.compute_units,
        result={name: to_json(item, name) for name, item in zip(names, receipt.data, strict=False)},
    )
