"""Builds the state tree of a whole state from its sorted leaves, in memory that does not grow.

`primitives.sparse_merkle.update_tree` holds every leaf and every new node of a batch in memory,
which a batch of a whole state would not fit. Here the leaves pass by once, in the order of their
key hashes. Two neighbours part at the depth of their first different bit, so a leaf lies one below
the deeper of the two places where it parts from its neighbours, and a subtree is finished as soon
as a leaf comes that parts further up. What is unfinished is one path: at most 256 left halves.
The nodes are, bit for bit, those of `update_tree`. Source: docs/spec/encoding.md §12.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Final

from primitives.errors import InvalidInputError
from primitives.hashing import HASH_BYTES, ZERO_HASH
from primitives.sparse_merkle import root_key
from primitives.sparse_merkle_proof import DEPTH_BITS_MAX, hash_inner, hash_leaf

__all__ = ["TreeBuilder"]

_VERSION_BYTES: Final = 8
_EMPTY_NODE: Final = b"\x00"
_LEAF_KIND: Final = b"\x01"
_INNER_KIND: Final = b"\x02"
_NO_CHILD: Final = bytes(1 + _VERSION_BYTES + HASH_BYTES)
_DEPTH_FIELDS: Final = tuple(depth.to_bytes(2, "big") for depth in range(DEPTH_BITS_MAX + 1))
# Masks that keep the bits of a path above a depth.
_MASKS: Final = tuple(
    (1 << DEPTH_BITS_MAX) - (1 << (DEPTH_BITS_MAX - depth)) for depth in range(DEPTH_BITS_MAX + 1)
)
_NO_NEIGHBOUR: Final = -1

Pair = tuple[bytes, bytes]


class TreeBuilder:
    """Makes the nodes of one version of the state tree, from nothing.

    Parameters
    ----------
    version : under which the nodes are stored, the height of the block.

    Attributes
    ----------
    root : hash of the whole tree, once `build` has come to its end.
    """

    def __init__(self, version: int) -> None:
        self.root = ZERO_HASH
        self._root_key = root_key(version)
        self._version = version.to_bytes(_VERSION_BYTES, "big")

    def build(self, leaves: Iterable[Pair]) -> Iterator[Pair]:
        """Yield the key and the bytes of every node, each once, children before their parents.

        Parameters
        ----------
        leaves : key hash and value hash, 32 bytes each, strictly ascending.

        Raises
        ------
        InvalidInputError
            ``malformed`` if the leaves do not ascend.
        """
        # Left halves that wait for their right ones: depth of the node over both, and reference.
        waiting: list[tuple[int, bytes]] = []
        reference = _NO_CHILD
        parts_before = _NO_NEIGHBOUR
        for key_hash, value_hash, parts_after in _look_ahead(leaves):
            path = int.from_bytes(key_hash, "big")
            depth = max(parts_before, parts_after) + 1
            yield self._node_key(path, depth), _LEAF_KIND + key_hash + value_hash
            reference = _LEAF_KIND + self._version + hash_leaf(key_hash, value_hash)
            while waiting and waiting[-1][0] > parts_after:
                above, left = waiting.pop()
                reference = yield from self._lift(reference, path, depth, above + 1)
                yield self._node_key(path, above), _INNER_KIND + left + reference
                reference = self._refer(left, reference)
                depth = above
            reference = yield from self._lift(reference, path, depth, parts_after + 1)
            waiting.append((parts_after, reference))
            parts_before = parts_after
        if reference == _NO_CHILD:
            yield self._root_key, _EMPTY_NODE
        self.root = reference[1 + _VERSION_BYTES :]

    def _lift(
        self, reference: bytes, path: int, depth: int, target: int
    ) -> Generator[Pair, None, bytes]:
        """Put inner nodes with one child over a subtree until it is at a depth; return the top."""
        for above in range(depth - 1, target - 1, -1):
            left, right = reference, _NO_CHILD
            if path >> (DEPTH_BITS_MAX - 1 - above) & 1:
                left, right = right, left
            yield self._node_key(path, above), _INNER_KIND + left + right
            reference = self._refer(left, right)
        return reference

    def _refer(self, left: bytes, right: bytes) -> bytes:
        """Return the reference to the inner node over two children."""
        digest = hash_inner(left[1 + _VERSION_BYTES :], right[1 + _VERSION_BYTES :])
        return _INNER_KIND + self._version + digest

    def _node_key(self, path: int, depth: int) -> bytes:
        """Return version, depth as u16, and the bits of the path, padded to whole bytes."""
        bits = (path & _MASKS[depth]).to_bytes(HASH_BYTES, "big")[: (depth + 7) >> 3]
        return self._version + _DEPTH_FIELDS[depth] + bits


def _look_ahead(leaves: Iterable[Pair]) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield each leaf with the depth at which it parts from the next one; -1 for the last."""
    before: Pair | None = None
    for leaf in leaves:
        if before is not None:
            if leaf[0] <= before[0]:
                raise InvalidInputError(
                    "malformed", "the leaves of a state tree must ascend", field="leaves"
                )
            different = int.from_bytes(before[0], "big") ^ int.from_bytes(leaf[0], "big")
            yield *before, DEPTH_BITS_MAX - different.bit_length()
        before = leaf
    if before is not None:
        yield *before, _NO_NEIGHBOUR
