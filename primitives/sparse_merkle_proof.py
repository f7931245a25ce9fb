"""What a light client needs of the state tree: proofs, and the one verifier.

A proof shows that a key has a value in the state with a given root, or that it has none. The tree
itself is in ``primitives.sparse_merkle``. Source: docs/spec/encoding.md §12.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES, ZERO_HASH, Tag

__all__ = [
    "DEPTH_BITS_MAX",
    "PROOF_BYTES_MAX",
    "Proof",
    "decode_proof",
    "hash_inner",
    "hash_leaf",
    "verify_proof",
]

DEPTH_BITS_MAX = 256
"""Longest path from the root: one bit of the key hash per step."""

PROOF_BYTES_MAX = 128 + DEPTH_BITS_MAX * HASH_BYTES

_FIELD_COUNT = 2

# `tagged_hash` written out below: verifying a proof is little else than these two hashes.
_LEAF_PREFIX = Tag.STATE_LEAF.prefix
_INNER_PREFIX = Tag.STATE_INNER.prefix


@dataclass(frozen=True, slots=True)
class Proof:
    """The path from the root to where a key is, or would be.

    Parameters
    ----------
    siblings : hashes beside the path, from the root down, 32 bytes each; zeros for an empty
        subtree. At most `DEPTH_BITS_MAX`.
    other_leaf : key hash and value hash of a different leaf that occupies the place of an absent
        key; None if the key is present or its place is empty.
    """

    siblings: tuple[bytes, ...]
    other_leaf: tuple[bytes, bytes] | None = None

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        other = None if self.other_leaf is None else b"".join(self.other_leaf)
        return encode((b"".join(self.siblings), other))


def decode_proof(data: bytes) -> Proof:
    """Return the proof whose canonical bytes are `data`.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed`` or ``not_canonical``.
    """
    reader = FieldReader(decode(data, bytes_max=PROOF_BYTES_MAX), "proof", _FIELD_COUNT)
    joined = reader.bytes("siblings", bytes_max=DEPTH_BITS_MAX * HASH_BYTES)
    if len(joined) % HASH_BYTES:
        raise InvalidInputError(
            "malformed",
            f"proof.siblings must be whole hashes of {HASH_BYTES} bytes, found {len(joined)} bytes",
            field="proof.siblings",
            value=len(joined),
            limit=HASH_BYTES,
        )
    other = reader.optional_bytes("other_leaf", length=2 * HASH_BYTES)
    reader.end()
    return Proof(
        siblings=tuple(joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)),
        other_leaf=None if other is None else (other[:HASH_BYTES], other[HASH_BYTES:]),
    )


def hash_leaf(key_hash: bytes, value_hash: bytes) -> bytes:
    """Return the hash of a leaf; the whole key is in it, not only the part below its depth."""
    return sha256(_LEAF_PREFIX + key_hash + value_hash).digest()


def hash_inner(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node over the hashes of its two subtrees."""
    return sha256(_INNER_PREFIX + left + right).digest()


def verify_proof(root: bytes, key_hash: bytes, value_hash: bytes | None, proof: Proof) -> bool:
    """Return whether the state under `root` holds `value_hash` at `key_hash`.

    Parameters
    ----------
    root : certified state root, 32 bytes.
    key_hash : `primitives.state_keys.state_key_hash` of the key.
    value_hash : `primitives.state_keys.state_value_hash` of the value, or None to verify that the
        key is absent.
    proof : from anybody.

    Notes
    -----
    Strict: for one root and key at most one statement and one proof of it is accepted. Never raises
    on bytes from outside.
    """
    hashes = [root, key_hash, *proof.siblings, *(proof.other_leaf or ())]
    if value_hash is not None:
        hashes.append(value_hash)
    depth = len(proof.siblings)
    if depth > DEPTH_BITS_MAX or any(len(item) != HASH_BYTES for item in hashes):
        return False
    path = int.from_bytes(key_hash, "big")
    if value_hash is not None:
        if proof.other_leaf is not None:
            return False
        node = hash_leaf(key_hash, value_hash)
    elif proof.other_leaf is None:
        node = ZERO_HASH
    else:
        # The other leaf must lie on the path of the absent key, and be another one.
        difference = path ^ int.from_bytes(proof.other_leaf[0], "big")
        if difference == 0 or difference >> (DEPTH_BITS_MAX - depth):
            return False
        node = hash_leaf(*proof.other_leaf)
    for level in range(depth - 1, -1, -1):
        sibling = proof.siblings[level]
        goes_right = path >> (DEPTH_BITS_MAX - 1 - level) & 1
        node = hash_inner(sibling, node) if goes_right else hash_inner(node, sibling)
    return node == root
