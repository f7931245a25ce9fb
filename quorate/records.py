"""What a client returns: the node's answers as immutable records.

Amounts are whole numbers of the smallest unit of money; accounts are ``qr1…``; hashes are
lower-case hexadecimal; times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = ["Account", "Block", "Prediction", "Status", "Transaction"]

TransactionStatus = Literal["pending", "ok", "failed", "void"]

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Status:
    """Where the chain stands, as one node sees it.

    ``node_connected`` is False while the API process has lost its node: reads go on, submissions
    do not. ``peers_connected`` and what follows are None then.
    """

    chain_id: str
    height: int
    block_id: str
    state_root: str
    node_connected: bool
    is_ready: bool
    validator_index: int | None
    view: int | None
    peers_connected: int | None
    mempool_transactions: int | None
    raw: Json

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        node = body["node"] or {}
        return cls(
            chain_id=body["chain_id"],
            height=body["height"],
            block_id=body["block_id"],
            state_root=body["state_root"],
            node_connected=body["node"] is not None,
            is_ready=body["is_ready"],
            validator_index=node.get("validator_index"),
            view=node.get("view"),
            peers_connected=node.get("peers_connected"),
            mempool_transactions=node.get("mempool_transactions"),
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """Money, nonce and karma of an account; karma also by model."""

    account: str
    balance: int
    nonce: int
    karma: int
    karma_by_model: Mapping[str, int]

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            account=body["account"],
            balance=int(body["balance"]),
            nonce=int(body["nonce"]),
            karma=body["karma"],
            karma_by_model={item["model"]: item["karma"] for item in body["karma_by_model"]},
        )


@dataclass(frozen=True, slots=True)
class Block:
    """One final block."""

    height: int
    block_id: str
    parent_id: str
    timestamp_ms: int
    view: int
    proposer: int
    transaction_ids: tuple[str, ...]

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            height=body["height"],
            block_id=body["block_id"],
            parent_id=body["parent_id"],
            timestamp_ms=body["timestamp_ms"],
            view=body["view"],
            proposer=body["proposer"],
            transaction_ids=tuple(body["transaction_ids"]),
        )


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction and what became of it; without height and receipt while it is pending.

    ``result`` holds what the kind has to tell, by name: the sequence of a contribution, what a
    refund paid.
    """

    transaction_id: str
    status: TransactionStatus
    height: int | None
    code: str
    message: str
    fee: int
    result: Json

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        receipt = body.get("receipt") or {}
        return cls(
            transaction_id=body["transaction_id"],
            status=body["status"],
            height=body.get("height"),
            code=receipt.get("code", ""),
            message=receipt.get("message", ""),
            fee=int(receipt.get("fee", 0)),
            result=receipt.get("result") or {},
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predictions for a batch, and the state that they were made from.

    Parameters
    ----------
    labels : class number of each sample.
    class_names : the same by name.
    probabilities : per sample, one number for each class; they add up to about 1.
    model, version : what predicted.
    height, state_root : the final block whose state it was, and the root that certifies it.
    """

    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    model: str
    version: int
    height: int
    state_root: str
