"""What a validator checks before it prepares a block: everything that needs no execution.

Validators that are not equally far must come to the same verdict, so nothing here reads any state:
not whether an account exists, can pay or owns the key that signed. Those are decided when the
transaction's turn comes (`ledger.executor`). Source: docs/spec/ledger.md §5.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from ledger.body import compute_body_root
from ledger.codes import (
    BAD_SIGNATURE,
    DUPLICATE,
    EXPIRED,
    EXPIRY_TOO_FAR,
    MALFORMED,
    PAYLOAD_MISMATCH,
    PAYLOAD_MISSING,
    TOO_LARGE,
    TOO_MANY_TRANSACTIONS,
    WRONG_CHAIN,
    WRONG_ROOT,
)
from ledger.parameters import Parameters
from ledger.transaction import Transaction
from ledger.transactions.registry import body_of, kind_of
from primitives.certificates import Verifier
from primitives.errors import InvalidInputError
from primitives.header import BlockHeader
from primitives.keys import verify_signature

__all__ = ["check_block", "check_expiry", "check_stateless"]

_CHECKED_MEMO: Final = "checked"


def check_stateless(
    transaction: Transaction,
    chain_id: bytes,
    parameters: Parameters,
    final_height: int,
    verify: Verifier = verify_signature,
) -> None:
    """Check all that can be said about a transaction without any state; cheap checks first.

    Parameters
    ----------
    transaction : decoded, with its payload if it has one.
    chain_id : of this network.
    parameters : limits in force.
    final_height : the transaction must be able to enter a block right above it.
    verify : the signature check, replaced in simulations.

    Raises
    ------
    InvalidInputError
        ``wrong_chain``, ``expired``, ``expiry_too_far``, ``too_large``, ``unknown_kind``,
        ``payload_missing``, ``payload_mismatch``, ``malformed``, what the kind refuses with, or
        ``bad_signature``.

    Notes
    -----
    What does not depend on the height is checked once per transaction object: a transaction that
    came through the mempool costs next to nothing when its block is checked.
    """
    check_expiry(transaction, parameters, final_height)
    # Equality of two immutable objects that are usually the same one.
    if transaction.memo.get(_CHECKED_MEMO) == (chain_id, parameters):
        return
    if transaction.chain_id != chain_id:
        raise InvalidInputError(
            WRONG_CHAIN,
            f"transaction.chain_id is {transaction.chain_id.hex()}, this is {chain_id.hex()}",
            field="transaction.chain_id",
            value=transaction.chain_id.hex(),
            limit=chain_id.hex(),
        )
    _check_size("envelope", len(transaction.raw), parameters.envelope_bytes_max)
    kind = kind_of(transaction)
    body = body_of(transaction)
    _check_payload(transaction, parameters, kind.has_payload)
    _check_signatures(transaction, verify)
    kind.check(transaction, body, parameters)
    transaction.memo[_CHECKED_MEMO] = (chain_id, parameters)


def check_expiry(transaction: Transaction, parameters: Parameters, final_height: int) -> None:
    """Check that a transaction may enter a block right above `final_height`.

    Raises
    ------
    InvalidInputError
        ``expired`` or ``expiry_too_far``.
    """
    until = transaction.valid_until_height
    if until <= final_height:
        raise InvalidInputError(
            EXPIRED,
            f"transaction.valid_until_height {until} is below the next height {final_height + 1}",
            field="transaction.valid_until_height",
            value=until,
            limit=final_height + 1,
        )
    latest = final_height + parameters.expiry_window_max
    if until > latest:
        raise InvalidInputError(
            EXPIRY_TOO_FAR,
            f"transaction.valid_until_height {until} is above {latest},"
            f" {parameters.expiry_window_max} after the final height {final_height}",
            field="transaction.valid_until_height",
            value=until,
            limit=latest,
        )


def check_block(
    header: BlockHeader,
    transactions: Sequence[Transaction],
    parameters: Parameters,
    *,
    ancestor_ids: Container[bytes] = (),
    verify: Verifier = verify_signature,
) -> None:
    """Check the body of a proposed block.

    Parameters
    ----------
    header : of the block; its place in the chain is consensus' affair.
    transactions : as decoded from the body, payloads included.
    parameters : limits in force. The size of the body was checked when it was decoded.
    ancestor_ids : ids of the transactions of the block's unfinal ancestors.
    verify : the signature check, replaced in simulations.

    Raises
    ------
    InvalidInputError
        ``wrong_root``, ``too_many_transactions``, ``duplicate``, or as `check_stateless`.
    """
    if len(transactions) > parameters.transactions_per_block_max:
        raise InvalidInputError(
            TOO_MANY_TRANSACTIONS,
            f"block holds {len(transactions)} transactions,"
            f" more than the limit {parameters.transactions_per_block_max}",
            field="body.transactions",
            value=len(transactions),
            limit=parameters.transactions_per_block_max,
        )
    body_root = compute_body_root(transactions)
    if body_root != header.body_root:
        raise InvalidInputError(
            WRONG_ROOT,
            f"header.body_root is {header.body_root.hex()}, the body's is {body_root.hex()}",
            field="header.body_root",
            value=header.body_root.hex(),
            limit=body_root.hex(),
        )
    seen: set[bytes] = set()
    for transaction in transactions:
        transaction_id = transaction.transaction_id
        if transaction_id in seen or transaction_id in ancestor_ids:
            raise InvalidInputError(
                DUPLICATE,
                f"transaction {transaction_id.hex()} is in this block or an unfinal ancestor"
                " already",
                field="body.transactions",
                value=transaction_id.hex(),
            )
        seen.add(transaction_id)
        check_stateless(transaction, header.chain_id, parameters, header.height - 1, verify)


def _check_payload(transaction: Transaction, parameters: Parameters, is_expected: bool) -> None:
    """Check that the payload is there exactly if the kind has one, and is the one signed for."""
    commitment, payload = transaction.payload_commitment, transaction.payload
    if not is_expected:
        if commitment is not None or payload is not None:
            raise InvalidInputError(
                MALFORMED,
                f"transaction kind {transaction.kind} has no payload, but one is given",
                field="transaction.payload_commitment",
            )
        return
    _check_size("payload", transaction.payload_bytes, parameters.payload_bytes_max)
    if commitment is None or payload is None:
        raise InvalidInputError(
            PAYLOAD_MISSING,
            f"transaction kind {transaction.kind} needs a payload, none is given",
            field="transaction.payload",
        )
    if len(payload.data) != transaction.payload_bytes:
        raise InvalidInputError(
            PAYLOAD_MISMATCH,
            f"transaction.payload_bytes is {transaction.payload_bytes},"
            f" the payload has {len(payload.data)}",
            field="transaction.payload_bytes",
            value=len(payload.data),
            limit=transaction.payload_bytes,
        )
    if payload.commitment != commitment:
        raise InvalidInputError(
            PAYLOAD_MISMATCH,
            f"transaction.payload_commitment is {commitment.hex()},"
            f" the payload's is {payload.commitment.hex()}",
            field="transaction.payload_commitment",
            value=payload.commitment.hex(),
            limit=commitment.hex(),
        )


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise InvalidInputError(
            TOO_LARGE,
            f"transaction {name} has {size} bytes, more than the limit of {limit}",
            field=f"transaction.{name}",
            value=size,
            limit=limit,
        )


def _check_signatures(transaction: Transaction, verify: Verifier) -> None:
    for name, signed in zip(("sender", "sponsor"), transaction.signatures, strict=False):
        if not verify(signed.public_key, transaction.signing_hash, signed.signature):
            raise InvalidInputError(
                BAD_SIGNATURE,
                f"the signature of the {name} does not fit the transaction under key"
                f" {signed.public_key.hex()}",
                field="transaction.signatures",
                value=signed.public_key.hex(),
            )
