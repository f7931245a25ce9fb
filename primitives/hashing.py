"""SHA-256 with a domain tag per kind of object.

Two objects of different kinds never have the same hash, whatever their bytes: a signature over a
vote cannot be passed off as one over a transaction. Source: docs/spec/encoding.md §4.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256

__all__ = ["HASH_BYTES", "ZERO_HASH", "Tag", "tagged_hash"]

HASH_BYTES = 32

ZERO_HASH = bytes(HASH_BYTES)
"""Stands where a hash does not apply, and for an empty subtree. Nothing hashes to it."""


class Tag(StrEnum):
    """The kind of an object that is hashed or signed; the value is what enters the hash."""

    prefix: bytes

    def __init__(self, text: str) -> None:
        encoded = text.encode("ascii")
        # The length comes first, so no tag followed by data reads as a longer tag.
        self.prefix = len(encoded).to_bytes(1, "big") + encoded

    BLOCK_HEADER = "quorate/block-header"
    GENESIS = "quorate/genesis"
    VALIDATOR_SET = "quorate/validator-set"
    VOTE = "quorate/vote"
    PROPOSAL = "quorate/proposal"
    TRANSACTION = "quorate/transaction"
    TRANSACTION_CONTENT = "quorate/transaction-content"
    PAYLOAD = "quorate/payload"
    RECEIPT = "quorate/receipt"
    STATE_KEY = "quorate/state-key"
    STATE_VALUE = "quorate/state-value"
    STATE_LEAF = "quorate/state-leaf"
    STATE_INNER = "quorate/state-inner"
    MERKLE_EMPTY = "quorate/merkle-empty"
    MERKLE_LEAF = "quorate/merkle-leaf"
    MERKLE_NODE = "quorate/merkle-node"
    CHUNK = "quorate/chunk"
    MODEL_STATE = "quorate/model-state"
    MODEL_INPUT = "quorate/model-input"
    HANDSHAKE = "quorate/handshake"
    TRANSPORT_BINDING = "quorate/transport-binding"
    KEY_POSSESSION = "quorate/key-possession"
    CHANGES = "quorate/changes"
    INVITE = "quorate/invite"
    EVIDENCE = "quorate/evidence"
    SEED = "quorate/seed"
    DRAW = "quorate/draw"
    PERMUTATION = "quorate/permutation"
    SEALED_MODEL = "quorate/sealed-model"
    SAMPLE = "quorate/sample"


def tagged_hash(tag: Tag, data: bytes) -> bytes:
    """Return SHA-256(u8 length of the tag ‖ tag ‖ data), 32 bytes."""
    return sha256(tag.prefix + data).digest()
