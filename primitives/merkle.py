"""Merkle trees over lists: one root for a block's transactions or receipts.

The shape is that of RFC 6962 (certificate transparency): the left subtree is the largest full one,
so no leaf is ever duplicated and a root fits exactly one list. Source: RFC 9162 §2.1;
docs/spec/encoding.md §10.
"""

from __future__ import annotations

from collections.abc import Sequence

from primitives.errors import InvariantViolationError
from primitives.hashing import HASH_BYTES, Tag, tagged_hash

__all__ = ["merkle_path", "merkle_root", "verify_merkle_path"]


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over `leaves` in their order, 32 bytes.

    Parameters
    ----------
    leaves : byte strings of any length; an empty list has a root of its own.
    """
    if not leaves:
        return tagged_hash(Tag.MERKLE_EMPTY, b"")
    level = [tagged_hash(Tag.MERKLE_LEAF, leaf) for leaf in leaves]
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def merkle_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the sibling hashes from the leaf at `index` up to the root.

    Raises
    ------
    InvariantViolationError
        If there is no such leaf; the caller looked the index up in the same list.
    """
    if not 0 <= index < len(leaves):
        raise InvariantViolationError(f"leaf index {index} is not below {len(leaves)}")
    level = [tagged_hash(Tag.MERKLE_LEAF, leaf) for leaf in leaves]
    path = []
    while len(level) > 1:
        sibling = index ^ 1
        # The last node of an odd level has no sibling and moves up as it is.
        if sibling < len(level):
            path.append(level[sibling])
        level = _parents(level)
        index >>= 1
    return tuple(path)


def verify_merkle_path(
    root: bytes, leaf: bytes, index: int, count: int, path: Sequence[bytes]
) -> bool:
    """Return whether `leaf` is number `index` of the `count` leaves under `root`.

    Parameters
    ----------
    root : 32 bytes.
    leaf : the leaf itself, not its hash.
    index : position of the leaf, from 0.
    count : how many leaves the tree has.
    path : sibling hashes from the bottom up, as `merkle_path` returns them.

    Notes
    -----
    Strict: the path must have exactly the hashes that this position in a tree of this size needs.
    Never raises on bytes from outside.
    """
    if not 0 <= index < count:
        return False
    node = tagged_hash(Tag.MERKLE_LEAF, leaf)
    last = count - 1
    siblings = iter(path)
    while last > 0:
        if index & 1 or index < last:
            sibling = next(siblings, b"")
            if len(sibling) != HASH_BYTES:
                return False
            pair = sibling + node if index & 1 else node + sibling
            node = tagged_hash(Tag.MERKLE_NODE, pair)
        index >>= 1
        last >>= 1
    return next(siblings, None) is None and node == root


def _parents(level: list[bytes]) -> list[bytes]:
    """Hash a level in pairs; an odd last node moves up unhashed."""
    parents = [
        tagged_hash(Tag.MERKLE_NODE, left + right)
        for left, right in zip(level[::2], level[1::2], strict=False)
    ]
    if len(level) % 2:
        parents.append(level[-1])
    return parents
