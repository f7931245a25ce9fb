"""The transaction: a signed envelope, and beside it perhaps a payload.

A transaction is decoded once; what was received stays in ``raw`` and is what gets hashed, stored
and sent on. Whether it may enter a block is `ledger.admission`'s question, what it does is its
kind's (`ledger.transactions`). Source: docs/spec/ledger.md §2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, NamedTuple

from ledger.payload import SALT_BYTES, Payload
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, PrivateKey

__all__ = [
    "TRANSACTION_VERSION",
    "Signature",
    "Transaction",
    "TransactionContent",
    "assemble_transaction",
    "build_transaction",
    "compute_signing_hash",
    "compute_transaction_id",
    "decode_transaction",
]

TRANSACTION_VERSION: Final = 1
KIND_MAX: Final = 2**16 - 1
BODY_FIELDS_MAX: Final = 32

# The protocol's ceiling; the governed ``envelope_bytes_max`` may be lower, never higher.
ENVELOPE_BYTES_MAX: Final = 1024 * 1024
PAYLOAD_BYTES_MAX: Final = 32 * 1024 * 1024

_FIELD_COUNT: Final = 12
_DEPTH_MAX: Final = 8

# An array header of 11 fields: the signed bytes are the envelope without its last field.
_CONTENT_HEADER: Final = b"\x9b"
# Array header of two, then two byte strings of 32 and 64 bytes with their headers of two bytes.
_SIGNATURE_WIRE_BYTES: Final = 1 + 2 + PUBLIC_KEY_BYTES + 2 + SIGNATURE_BYTES
# What a block's body spends on one payload beyond salt and data: array and byte-string headers.
_PAYLOAD_FRAMING_BYTES: Final = 8


class Signature(NamedTuple):
    """A signature and the key that checks it; whose key that is, execution decides."""

    public_key: bytes
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class TransactionContent:
    """What the signers of a transaction sign, but for the payload's commitment.

    Parameters
    ----------
    chain_id : the genesis hash, so that no other network accepts the transaction.
    sender : the account that acts.
    nonce : how many transactions of the sender took their turn before, ≥ 0.
    valid_until_height : last height at which a block may hold it.
    fee_limit : most that may be paid as fee, in the smallest unit of money.
    sponsor : the account that pays the fee instead of the sender, if any.
    kind : code of the transaction kind.
    body : fields of that kind.
    """

    chain_id: bytes
    sender: AccountId
    nonce: int
    valid_until_height: int
    fee_limit: int = 0
    sponsor: AccountId | None = None
    kind: int
    body: Sequence[Encodable]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transaction:
    """A decoded envelope; two transactions are equal when their envelopes are.

    Parameters
    ----------
    raw : the canonical bytes of the envelope.
    transaction_id : hash of `raw`, 32 bytes.
    payload_commitment : salted hash of the payload, or None if there is none.
    payload_bytes : length of the payload's data, 0 if there is none.
    signatures : of the sender and, if there is one, of the sponsor.
    payload : the payload, if it travelled along; not covered by equality or by the id.
    memo : results of pure functions of this transaction, kept so that admission and execution
        compute them once; see `ledger.transactions.registry.body_of`.

    Other fields are those of `TransactionContent`.
    """

    raw: bytes = field(repr=False)
    transaction_id: bytes
    chain_id: bytes
    sender: AccountId
    nonce: int
    valid_until_height: int
    fee_limit: int
    sponsor: AccountId | None
    kind: int
    body: list[Value]
    payload_commitment: bytes | None
    payload_bytes: int
    signatures: tuple[Signature, ...]
    payload: Payload | None = None
    memo: dict[str, object] = field(default_factory=dict, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.transaction_id)

    @property
    def payer(self) -> AccountId:
        """The account that pays the fee."""
        return self.sender if self.sponsor is None else self.sponsor

    @property
    def wire_bytes(self) -> int:
        """Upper bound of what the transaction and its payload take in a block's body."""
        size = len(self.raw) + _PAYLOAD_FRAMING_BYTES
        if self.payload_commitment is None:
            return size
        return size + SALT_BYTES + self.payload_bytes + _PAYLOAD_FRAMING_BYTES

    @cached_property
    def signing_hash(self) -> bytes:
        """The 32 bytes that sender and sponsor signed."""
        # Fields follow each other in the encoding, so the signed bytes are a slice of the received
        # ones under another array header, and nothing is encoded again.
        signatures_bytes = 1 + len(self.signatures) * _SIGNATURE_WIRE_BYTES
        content = _CONTENT_HEADER + self.raw[1:-signatures_bytes]
        return tagged_hash(Tag.TRANSACTION_CONTENT, content)

    def with_payload(self, payload: Payload | None) -> Transaction:
        """Return the same transaction with another payload beside it, or none."""
        return replace(self, payload=payload, memo={})


def compute_transaction_id(raw: bytes) -> bytes:
    """Return the id of the transaction with this envelope, 32 bytes."""
    return tagged_hash(Tag.TRANSACTION, raw)


def compute_signing_hash(content: TransactionContent, payload: Payload | None = None) -> bytes:
    """Return the 32 bytes to sign; for signers that keep their key elsewhere."""
    return tagged_hash(Tag.TRANSACTION_CONTENT, encode(_content_fields(content, payload)))


def build_transaction(
    content: TransactionContent,
    private_keys: Sequence[PrivateKey],
    payload: Payload | None = None,
) -> Transaction:
    """Sign a content and return the transaction.

    Parameters
    ----------
    content : what is to happen.
    private_keys : of the sender and, if the content names one, of the sponsor, in this order.
    payload : what travels beside the envelope.

    Raises
    ------
    InvalidInputError
        If a field is out of range or the number of keys does not match, as `decode_transaction`.
    """
    signing_hash = compute_signing_hash(content, payload)
    signatures = [Signature(key.public_key, key.sign(signing_hash)) for key in private_keys]
    return assemble_transaction(content, signatures, payload)


def assemble_transaction(
    content: TransactionContent, signatures: Sequence[Signature], payload: Payload | None = None
) -> Transaction:
    """Return the transaction of a content that was signed elsewhere; nothing is verified.

    Raises
    ------
    InvalidInputError
        If a field is out of range or the number of signatures does not match.
    """
    signed = [tuple(signature) for signature in signatures]
    raw = encode((*_content_fields(content, payload), signed))
    return decode_transaction(raw, payload=payload)


def decode_transaction(
    data: bytes, *, payload: Payload | None = None, bytes_max: int = ENVELOPE_BYTES_MAX
) -> Transaction:
    """Return the transaction whose canonical envelope is `data`.

    Nothing but the form is checked: no signature, no chain, no kind.

    Parameters
    ----------
    data : the received bytes.
    payload : the payload that came along, kept as it is.
    bytes_max : most bytes of an envelope.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    value = decode(data, bytes_max=bytes_max, depth_max=_DEPTH_MAX)
    reader = FieldReader(value, "transaction", _FIELD_COUNT)
    reader.integer("version", TRANSACTION_VERSION, TRANSACTION_VERSION)
    chain_id = reader.bytes("chain_id", HASH_BYTES)
    sender = AccountId(reader.bytes("sender", ACCOUNT_ID_BYTES))
    nonce = reader.counter("nonce")
    valid_until_height = reader.counter("valid_until_height")
    fee_limit = reader.counter("fee_limit")
    sponsor = reader.optional_bytes("sponsor", ACCOUNT_ID_BYTES)
    kind = reader.integer("kind", 0, KIND_MAX)
    body = reader.array("body", BODY_FIELDS_MAX)
    commitment = reader.optional_bytes("payload_commitment", HASH_BYTES)
    payload_bytes = reader.integer("payload_bytes", 0, PAYLOAD_BYTES_MAX)
    signatures = _read_signatures(reader.array("signatures", 2), sponsor is not None)
    reader.end()
    if sponsor == sender:
        raise _malformed("sponsor", "transaction.sponsor must not be the sender itself")
    if commitment is None and payload_bytes != 0:
        raise _malformed(
            "payload_bytes",
            f"transaction.payload_bytes must be 0 without a payload, found {payload_bytes}",
        )
    return Transaction(
        raw=data,
        transaction_id=compute_transaction_id(data),
        chain_id=chain_id,
        sender=sender,
        nonce=nonce,
        valid_until_height=valid_until_height,
        fee_limit=fee_limit,
        sponsor=None if sponsor is None else AccountId(sponsor),
        kind=kind,
        body=body,
        payload_commitment=commitment,
        payload_bytes=payload_bytes,
        signatures=signatures,
        payload=payload,
    )


def _content_fields(content: TransactionContent, payload: Payload | None) -> tuple[Encodable, ...]:
    return (
        TRANSACTION_VERSION,
        content.chain_id,
        content.sender,
        content.nonce,
        content.valid_until_height,
        content.fee_limit,
        content.sponsor,
        content.kind,
        content.body,
        None if payload is None else payload.commitment,
        0 if payload is None else len(payload.data),
    )


def _read_signatures(values: list[Value], has_sponsor: bool) -> tuple[Signature, ...]:
    """Read one signature, or two if there is a sponsor."""
    expected = 2 if has_sponsor else 1
    if len(values) != expected:
        raise _malformed(
            "signatures",
            f"transaction.signatures must hold {expected}, found {len(values)}",
        )
    signatures = []
    for value in values:
        reader = FieldReader(value, "transaction.signatures", 2)
        public_key = reader.bytes("public_key", PUBLIC_KEY_BYTES)
        signatures.append(Signature(public_key, reader.bytes("signature", SIGNATURE_BYTES)))
    return tuple(signatures)


def _malformed(name: str, message: str) -> InvalidInputError:
    return InvalidInputError("malformed", message, field=f"transaction.{name}")
