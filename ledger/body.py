"""The body of a block: its transactions, and on the wire their payloads beside them.

The root in the header covers the transactions' ids, which cover the envelopes. A payload is bound
by the commitment in its envelope and can be dropped later. Source: docs/spec/ledger.md §4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ledger.payload import SALT_BYTES, Payload
from ledger.transaction import (
    PAYLOAD_BYTES_MAX,
    Transaction,
    compute_transaction_id,
    decode_transaction,
)
from primitives.codec import Encodable, Value, decode, encode
from primitives.fields import FieldReader
from primitives.merkle import merkle_root

__all__ = ["TransactionLookup", "compute_body_root", "decode_body", "encode_body"]

_ENVELOPE_BYTES_MAX: Final = 1024 * 1024
_DEPTH_MAX: Final = 3

TransactionLookup = Callable[[bytes], Transaction | None]
"""Finds a transaction that is already decoded, and perhaps checked, by its id."""


def encode_body(transactions: Sequence[Transaction]) -> bytes:
    """Return the wire form of a body; payloads that are not at hand are left out."""
    return encode([_to_fields(transaction) for transaction in transactions])


def decode_body(
    data: bytes,
    *,
    bytes_max: int,
    transactions_max: int,
    known: TransactionLookup | None = None,
) -> list[Transaction]:
    """Return the transactions of a body.

    Parameters
    ----------
    data : the received bytes.
    bytes_max : most bytes of the whole body.
    transactions_max : most transactions.
    known : finds transactions that need not be decoded and checked again, in the mempool say.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    value = decode(data, bytes_max=bytes_max, depth_max=_DEPTH_MAX)
    items = FieldReader([value], "body", 1).array("transactions", transactions_max)
    return [_read_transaction(item, known) for item in items]


def compute_body_root(transactions: Sequence[Transaction]) -> bytes:
    """Return the root that the block's header carries, 32 bytes."""
    return merkle_root([transaction.transaction_id for transaction in transactions])


def _to_fields(transaction: Transaction) -> list[Encodable]:
    payload = transaction.payload
    return [transaction.raw, None if payload is None else [payload.salt, payload.data]]


def _read_transaction(value: Value, known: TransactionLookup | None) -> Transaction:
    reader = FieldReader(value, "body.transactions", 2)
    raw = reader.bytes("envelope", bytes_max=_ENVELOPE_BYTES_MAX)
    payload = _read_payload(reader.value())
    if known is not None:
        transaction = known(compute_transaction_id(raw))
        if transaction is not None and transaction.payload == payload:
            return transaction
    return decode_transaction(raw, payload=payload)


def _read_payload(value: Value) -> Payload | None:
    if value is None:
        return None
    reader = FieldReader(value, "body.payload", 2)
    salt = reader.bytes("salt", SALT_BYTES)
    return Payload(salt, reader.bytes("data", bytes_max=PAYLOAD_BYTES_MAX))
