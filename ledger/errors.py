"""The ledger's own exceptions.

::

    QuorateError
    ├── TransactionFailedError          a body failed in execution: a receipt, never a fault
    ├── InvalidInputError
    │   ├── UnknownHeightError          somebody asked for a height that is not final here
    │   └── PrunedHeightError           …or for one from before the snapshot we began with
    └── CorruptStateError
        ├── MissingPayloadError         a payload that a certificate promised is not on our disk
        └── DivergedStateError          a quorum certified another state than the one we computed
"""

from __future__ import annotations

from primitives.errors import CorruptStateError, InvalidInputError, QuorateError

__all__ = [
    "DivergedStateError",
    "MissingPayloadError",
    "PrunedHeightError",
    "TransactionFailedError",
    "UnknownHeightError",
]


class TransactionFailedError(QuorateError):
    """The body of a transaction cannot take effect; nonce and fee stay consumed.

    Parameters
    ----------
    code : stable, lower-case identifier of the reason.
    message : a sentence for people that names field, value and limit. It enters the receipt and
        with it the state, so it must be a function of the state and the block alone.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class UnknownHeightError(InvalidInputError):
    """A height was asked for that lies above the final tip, or below 0."""

    def __init__(self, height: int, tip_height: int) -> None:
        super().__init__(
            "unknown_height",
            f"height {height} is not in [0, {tip_height}], the heights that are final here",
            field="height",
            value=height,
            limit=tip_height,
        )


class PrunedHeightError(InvalidInputError):
    """A height was asked for that lies below what this node's ledger begins with."""

    def __init__(self, height: int, base_height: int) -> None:
        super().__init__(
            "pruned",
            f"height {height} is below {base_height}, where this node's ledger begins",
            field="height",
            value=height,
            limit=base_height,
        )


class MissingPayloadError(CorruptStateError):
    """A payload that is live on the ledger cannot be read from our own store."""

    def __init__(self, transaction_id: bytes) -> None:
        super().__init__(f"the payload of transaction {transaction_id.hex()} is not in the store")
        self.transaction_id = transaction_id


class DivergedStateError(CorruptStateError):
    """A commit certificate carries another state root than our own execution of its block."""

    def __init__(self, height: int, certified_root: bytes, own_root: bytes) -> None:
        super().__init__(
            f"a quorum certified state root {certified_root.hex()} at height {height},"
            f" our execution gave {own_root.hex()}"
        )
        self.height = height
        self.certified_root = certified_root
        self.own_root = own_root
