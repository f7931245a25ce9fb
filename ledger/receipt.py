"""Receipts: what became of each transaction of a block.

Receipts are replicated: their root enters the state through the next block. Source:
docs/spec/ledger.md §4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

from primitives.codec import Encodable, Value, decode, encode
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash
from primitives.merkle import merkle_root

__all__ = ["Receipt", "ReceiptStatus", "compute_receipts_root", "decode_receipt"]

RECEIPT_BYTES_MAX: Final = 1024 * 1024
_CODE_BYTES_MAX: Final = 64
_MESSAGE_BYTES_MAX: Final = 4 * 1024
_DATA_ITEMS_MAX: Final = 4 * 1024
_FIELD_COUNT: Final = 7


class ReceiptStatus(IntEnum):
    """What became of a transaction.

    ``OK``: it took effect. ``FAILED``: nonce and fee were consumed, the body had no effect.
    ``VOID``: no effect at all.
    """

    OK = 0
    FAILED = 1
    VOID = 2


@dataclass(frozen=True)
class Receipt:
    """What became of one transaction.

    Parameters
    ----------
    transaction_id : 32 bytes.
    status : see `ReceiptStatus`.
    code : ``ok``, or why not (`ledger.codes`).
    message : the same for people; empty if it took effect.
    fee : what the payer paid, in the smallest unit of money.
    compute_units : what was metered; 0 if void.
    data : what the kind has to tell; empty unless ``OK``.
    """

    transaction_id: bytes
    status: ReceiptStatus
    code: str
    message: str
    fee: int
    compute_units: int
    data: Sequence[Encodable]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        return encode(
            (
                self.transaction_id,
                int(self.status),
                self.code,
                self.message,
                self.fee,
                self.compute_units,
                self.data,
            )
        )


def decode_receipt(data: bytes) -> Receipt:
    """Return the receipt whose canonical bytes are `data`.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    value = decode(data, bytes_max=RECEIPT_BYTES_MAX)
    reader = FieldReader(value, "receipt", _FIELD_COUNT)
    receipt = Receipt(
        transaction_id=reader.bytes("transaction_id", HASH_BYTES),
        status=ReceiptStatus(reader.integer("status", ReceiptStatus.OK, ReceiptStatus.VOID)),
        code=reader.text("code", _CODE_BYTES_MAX),
        message=reader.text("message", _MESSAGE_BYTES_MAX),
        fee=reader.counter("fee"),
        compute_units=reader.counter("compute_units"),
        data=_as_encodable(reader.array("data", _DATA_ITEMS_MAX)),
    )
    reader.end()
    return receipt


def compute_receipts_root(encoded_receipts: Sequence[bytes]) -> bytes:
    """Return the root over the receipts of a block in their order, 32 bytes."""
    return merkle_root([tagged_hash(Tag.RECEIPT, receipt) for receipt in encoded_receipts])


def _as_encodable(values: list[Value]) -> Sequence[Encodable]:
    # Every decoded value can be encoded; the types differ only in that tuples are allowed.
    return values
