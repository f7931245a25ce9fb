"""The stable codes with which transactions are refused, void or failed.

Programs match on them, so a code never changes its meaning. Receipts carry them into the state, so
they are part of the protocol. What each one means to a client: docs/spec/ledger.md §9.

A transaction kind may use codes of its own; those that only concern models and contributions are
defined beside them.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCOUNT_QUOTA_EXCEEDED",
    "BAD_SIGNATURE",
    "BLOCK_FULL",
    "DUPLICATE",
    "EXPIRED",
    "EXPIRY_TOO_FAR",
    "FEE_TOO_LOW",
    "INSUFFICIENT_BALANCE",
    "KEY_NOT_CURRENT",
    "MALFORMED",
    "MODELS_FULL",
    "NONCE_GAP",
    "NONCE_USED",
    "OK",
    "PAYLOAD_MISMATCH",
    "PAYLOAD_MISSING",
    "TOO_LARGE",
    "TOO_MANY_TRANSACTIONS",
    "UNKNOWN_KIND",
    "WRONG_CHAIN",
    "WRONG_ROOT",
]

OK: Final = "ok"

# Refused before a block: nothing that depends on execution.
MALFORMED: Final = "malformed"
TOO_LARGE: Final = "too_large"
WRONG_CHAIN: Final = "wrong_chain"
BAD_SIGNATURE: Final = "bad_signature"
EXPIRED: Final = "expired"
EXPIRY_TOO_FAR: Final = "expiry_too_far"
UNKNOWN_KIND: Final = "unknown_kind"
PAYLOAD_MISSING: Final = "payload_missing"
PAYLOAD_MISMATCH: Final = "payload_mismatch"
DUPLICATE: Final = "duplicate"
TOO_MANY_TRANSACTIONS: Final = "too_many_transactions"
WRONG_ROOT: Final = "wrong_root"

# Void at its turn in a block: no effect at all.
KEY_NOT_CURRENT: Final = "key_not_current"
NONCE_USED: Final = "nonce_used"
NONCE_GAP: Final = "nonce_gap"
FEE_TOO_LOW: Final = "fee_too_low"
BLOCK_FULL: Final = "block_full"
ACCOUNT_QUOTA_EXCEEDED: Final = "account_quota_exceeded"

# Failed: the block reads or changes too many large models before it.
MODELS_FULL: Final = "models_full"

# Void when it is the fee, failed when it is the body.
INSUFFICIENT_BALANCE: Final = "insufficient_balance"
