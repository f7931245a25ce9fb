"""The ledger's own exceptions.

::

    QuorateError
    ├── TransactionFailedError          a body failed in execution: a receipt, never a fault
    └── CorruptStateError
        ├── MissingPayloadError         a payload that a certificate promised is not on our disk
        └── MissingHeightError          a height is above the tip or was never stored
"""

from __future__ import annotations

from primitives.errors import CorruptStateError, QuorateError

__all__ = ["MissingHeightError", "MissingPayloadError", "TransactionFailedError"]


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


class MissingPayloadError(CorruptStateError):
    """A payload that is live on the ledger cannot be read from our own store."""

    def __init__(self, transaction_id: bytes) -> None:
        super().__init__(f"the payload of transaction {transaction_id.hex()} is not in the store")
        self.transaction_id = transaction_id


class MissingHeightError(CorruptStateError):
    """Something was asked of a height that this store does not hold."""

    def __init__(self, height: int, tip_height: int) -> None:
        super().__init__(f"height {height} is not in the store; its tip is {tip_height}")
        self.height = height
        self.tip_height = tip_height
