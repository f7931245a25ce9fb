"""From readable keys and values to the hashes that the state tree holds.

Source: docs/spec/encoding.md §11.
"""

from __future__ import annotations

from primitives.hashing import Tag, tagged_hash

__all__ = ["state_key_hash", "state_value_hash"]


def state_key_hash(key: bytes) -> bytes:
    """Return where a readable key (``account/…``) sits in the state tree, 32 bytes."""
    return tagged_hash(Tag.STATE_KEY, key)


def state_value_hash(value: bytes) -> bytes:
    """Return what the state tree holds for a value, 32 bytes."""
    return tagged_hash(Tag.STATE_VALUE, value)
