"""The state tree: a binary sparse Merkle tree whose versions share what did not change.

A key hash is a path of 256 bits from the root. A subtree with a single leaf *is* that leaf, so
paths are about log2(number of keys) long. Nodes are never overwritten: a node is stored under the
version that wrote it and its path, an update writes the nodes on the changed paths, and reports
which nodes of the version before it replaced, so that they can be pruned when old versions are.
Source: Gao et al., "Jellyfish Merkle Tree" (2021), here with two children instead of sixteen;
docs/spec/encoding.md §12.

Layout of a stored node, by its first byte::

    0                                        empty; only the root of an empty tree is stored as this
    1 | key hash 32 | value hash 32          leaf
    2 | left reference | right reference     inner node
    reference = kind 1 | version 8 | hash 32 to a child, 41 zeros if there is none

Invariants: an inner node has at least two leaves below it; a reference is equal to another exactly
if both stand for the same stored node, so unchanged subtrees are recognised without reading them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, Protocol

from primitives.errors import CorruptStateError, InvariantViolationError
from primitives.hashing import HASH_BYTES
from primitives.sparse_merkle_proof import DEPTH_BITS_MAX, Proof, hash_inner, hash_leaf

__all__ = ["NodeReader", "TreeUpdate", "prove", "root_key", "update_tree"]

_EMPTY, _LEAF, _INNER = 0, 1, 2
_VERSION_BYTES = 8
_REFERENCE_BYTES = 1 + _VERSION_BYTES + HASH_BYTES
_NODE_BYTES = {_EMPTY: 1, _LEAF: 1 + 2 * HASH_BYTES, _INNER: 1 + 2 * _REFERENCE_BYTES}
_NO_CHILD = bytes(_REFERENCE_BYTES)
_EMPTY_ROOT_NODE = b"\x00"
_LEAF_KIND = b"\x01"
_INNER_KIND = b"\x02"
_DEPTH_FIELDS = tuple(depth.to_bytes(2, "big") for depth in range(DEPTH_BITS_MAX + 1))


class NodeReader(Protocol):
    """Where stored nodes are read from."""

    def get_node(self, key: bytes) -> bytes | None:
        """Return the node stored under `key`, or None."""


@dataclass(frozen=True, slots=True)
class TreeUpdate:
    """What one version adds to the store.

    Parameters
    ----------
    root : hash of the whole tree, 32 bytes; zeros for an empty tree.
    nodes : new nodes by their keys. No key was in the store before.
    stale : keys of nodes of the previous version that this version no longer uses.
    """

    root: bytes
    nodes: dict[bytes, bytes]
    stale: tuple[bytes, ...]


def root_key(version: int) -> bytes:
    """Return under which key the root node of a version is stored."""
    return _node_key(version.to_bytes(_VERSION_BYTES, "big"), 0, 0)


def update_tree(
    reader: NodeReader,
    previous_version: int | None,
    version: int,
    changes: Mapping[bytes, bytes | None],
) -> TreeUpdate:
    """Return the tree of `version`: that of `previous_version` with `changes` applied.

    Parameters
    ----------
    reader : holds the nodes of `previous_version`.
    previous_version : the version to start from; None starts from the empty tree.
    version : above `previous_version`, in [0, 2^64).
    changes : key hash (32 bytes) to value hash (32 bytes), or to None to remove the key. Setting a
        key to what it is, or removing an absent one, changes nothing.

    Returns
    -------
    TreeUpdate
        The root node is always among the new nodes, at ``root_key(version)``.

    Raises
    ------
    CorruptStateError
        If a node of the previous version is missing or malformed.
    InvariantViolationError
        If the versions do not ascend, or a key or value is not 32 bytes.

    Notes
    -----
    The result does not depend on the order of `changes` nor on how they are spread over versions,
    except for the versions in node keys. Cost: O(changes × log2(keys)) hashes.
    """
    if previous_version is not None and version <= previous_version:
        raise InvariantViolationError(f"version {version} is not above {previous_version}")
    update = _Update(reader, version, changes)
    if previous_version is None:
        return update.finish(update.apply(_NO_CHILD, 0, 0, 0, len(changes)))
    previous_key = root_key(previous_version)
    root_node = _read_node(reader, previous_key, 0)
    reference = _root_reference(root_node, previous_version)
    result = update.apply(reference, 0, 0, 0, len(changes))
    if result != reference:
        if reference == _NO_CHILD:
            update.stale.append(previous_key)
        return update.finish(result)
    update.stale.append(previous_key)
    update.nodes[root_key(version)] = root_node
    return TreeUpdate(reference[1 + _VERSION_BYTES :], update.nodes, tuple(update.stale))


def prove(reader: NodeReader, version: int, key_hash: bytes) -> Proof:
    """Return the proof of what `version` holds, or does not hold, at `key_hash`.

    Raises
    ------
    CorruptStateError
        If the version is not in the store, or one of its nodes is missing or malformed.
    InvariantViolationError
        If the key hash is not 32 bytes.
    """
    if len(key_hash) != HASH_BYTES:
        raise InvariantViolationError(f"key hash must have {HASH_BYTES} bytes")
    path = int.from_bytes(key_hash, "big")
    siblings: list[bytes] = []
    node = _read_node(reader, root_key(version), 0)
    while node[0] == _INNER:
        left, right = node[1 : 1 + _REFERENCE_BYTES], node[1 + _REFERENCE_BYTES :]
        if path >> (DEPTH_BITS_MAX - 1 - len(siblings)) & 1:
            left, right = right, left
        siblings.append(right[1 + _VERSION_BYTES :])
        if left == _NO_CHILD:
            return Proof(tuple(siblings))
        depth = len(siblings)
        prefix = path >> (DEPTH_BITS_MAX - depth) << (DEPTH_BITS_MAX - depth)
        node = _read_node(reader, _node_key(left[1 : 1 + _VERSION_BYTES], prefix, depth), depth)
    if node[0] == _EMPTY or node[1 : 1 + HASH_BYTES] == key_hash:
        return Proof(tuple(siblings))
    return Proof(tuple(siblings), (node[1 : 1 + HASH_BYTES], node[1 + HASH_BYTES :]))


class _PendingLeaf(NamedTuple):
    """A leaf whose depth is not settled yet: it rises while it is alone in its subtree."""

    path: int
    content: bytes


_Subtree = bytes | _PendingLeaf
"""A reference to what is stored or absent, or a leaf that its parent will store."""

_path_of = itemgetter(0)


class _Update:
    """One batch of changes on its way down the tree and up again.

    Changes are sorted by path, so those below a node are a slice, handed down as two indices.
    ``prefix`` is a node's path as an integer of 256 bits, zero below its depth.
    """

    __slots__ = ("_paths", "_reader", "_values", "_version", "nodes", "stale")

    def __init__(
        self, reader: NodeReader, version: int, changes: Mapping[bytes, bytes | None]
    ) -> None:
        for key, value in changes.items():
            if len(key) != HASH_BYTES or (value is not None and len(value) != HASH_BYTES):
                raise InvariantViolationError(f"keys and values must have {HASH_BYTES} bytes")
        ordered = sorted(changes)
        self._reader = reader
        self._version = version.to_bytes(_VERSION_BYTES, "big")
        self._paths = [int.from_bytes(key, "big") for key in ordered]
        self._values = [changes[key] for key in ordered]
        self.nodes: dict[bytes, bytes] = {}
        self.stale: list[bytes] = []

    def apply(self, reference: bytes, prefix: int, depth: int, low: int, high: int) -> _Subtree:
        """Return the subtree at `reference` with the changes [low, high) applied."""
        kind = reference[0]
        if kind == _EMPTY:
            return self._build(self._leaves(low, high), prefix, depth)
        key = _node_key(reference[1 : 1 + _VERSION_BYTES], prefix, depth)
        node = _read_node(self._reader, key, depth)
        if node[0] != kind:
            raise CorruptStateError(f"tree node {key.hex()} is not of the kind its parent says")
        if kind == _LEAF:
            return self._apply_to_leaf(reference, key, node, (prefix, depth), (low, high))
        bit = 1 << (DEPTH_BITS_MAX - 1 - depth)
        middle = bisect_left(self._paths, prefix | bit, low, high)
        old_left = node[1 : 1 + _REFERENCE_BYTES]
        old_right = node[1 + _REFERENCE_BYTES :]
        left: _Subtree = old_left
        right: _Subtree = old_right
        if low < middle:
            left = self.apply(old_left, prefix, depth + 1, low, middle)
        if middle < high:
            right = self.apply(old_right, prefix | bit, depth + 1, middle, high)
        if left == old_left and right == old_right:
            return reference
        self.stale.append(key)
        return self._join(left, right, prefix, depth)

    def finish(self, subtree: _Subtree) -> TreeUpdate:
        """Store the root and return what the version adds."""
        reference = self._settle(subtree, 0, 0)
        if reference == _NO_CHILD:
            self.nodes[_node_key(self._version, 0, 0)] = _EMPTY_ROOT_NODE
        return TreeUpdate(reference[1 + _VERSION_BYTES :], self.nodes, tuple(self.stale))

    def _apply_to_leaf(
        self,
        reference: bytes,
        key: bytes,
        node: bytes,
        position: tuple[int, int],
        span: tuple[int, int],
    ) -> _Subtree:
        """Merge the changes of `span` with the one leaf that was there."""
        low, high = span
        leaf = _PendingLeaf(int.from_bytes(node[1 : 1 + HASH_BYTES], "big"), node[1:])
        leaves = self._leaves(low, high)
        at = bisect_left(self._paths, leaf.path, low, high)
        if at == high or self._paths[at] != leaf.path:
            leaves.insert(bisect_left(leaves, leaf.path, key=_path_of), leaf)
        if leaves == [leaf]:
            return reference
        self.stale.append(key)
        return self._build(leaves, *position)

    def _leaves(self, low: int, high: int) -> list[_PendingLeaf]:
        """Return the leaves that the changes [low, high) set, in order."""
        return [
            _PendingLeaf(path, path.to_bytes(HASH_BYTES, "big") + value)
            for path, value in zip(self._paths[low:high], self._values[low:high], strict=True)
            if value is not None
        ]

    def _build(self, leaves: list[_PendingLeaf], prefix: int, depth: int) -> _Subtree:
        """Return a new subtree of exactly these leaves, which are in order."""
        if not leaves:
            return _NO_CHILD
        if len(leaves) == 1:
            return leaves[0]
        bit = 1 << (DEPTH_BITS_MAX - 1 - depth)
        middle = bisect_left(leaves, prefix | bit, key=_path_of)
        left = self._build(leaves[:middle], prefix, depth + 1)
        right = self._build(leaves[middle:], prefix | bit, depth + 1)
        return self._join(left, right, prefix, depth)

    def _join(self, left: _Subtree, right: _Subtree, prefix: int, depth: int) -> _Subtree:
        """Return the subtree over two children; a leaf that is left alone rises."""
        bit = 1 << (DEPTH_BITS_MAX - 1 - depth)
        if left == _NO_CHILD and (right == _NO_CHILD or _is_leaf(right)):
            return self._lift(right, prefix | bit, depth + 1)
        if right == _NO_CHILD and _is_leaf(left):
            return self._lift(left, prefix, depth + 1)
        left_reference = self._settle(left, prefix, depth + 1)
        right_reference = self._settle(right, prefix | bit, depth + 1)
        self.nodes[_node_key(self._version, prefix, depth)] = (
            _INNER_KIND + left_reference + right_reference
        )
        digest = hash_inner(
            left_reference[1 + _VERSION_BYTES :], right_reference[1 + _VERSION_BYTES :]
        )
        return _INNER_KIND + self._version + digest

    def _lift(self, subtree: _Subtree, prefix: int, depth: int) -> _Subtree:
        """Take a leaf out of its place, so that it can be stored further up."""
        if isinstance(subtree, _PendingLeaf) or subtree == _NO_CHILD:
            return subtree
        key = _node_key(subtree[1 : 1 + _VERSION_BYTES], prefix, depth)
        node = _read_node(self._reader, key, depth)
        if node[0] != _LEAF:
            raise CorruptStateError(f"tree node {key.hex()} is not of the kind its parent says")
        self.stale.append(key)
        return _PendingLeaf(int.from_bytes(node[1 : 1 + HASH_BYTES], "big"), node[1:])

    def _settle(self, subtree: _Subtree, prefix: int, depth: int) -> bytes:
        """Store a leaf that has found its place; return the reference to the subtree."""
        if not isinstance(subtree, _PendingLeaf):
            return subtree
        content = subtree.content
        self.nodes[_node_key(self._version, prefix, depth)] = _LEAF_KIND + content
        digest = hash_leaf(content[:HASH_BYTES], content[HASH_BYTES:])
        return _LEAF_KIND + self._version + digest


def _is_leaf(subtree: _Subtree) -> bool:
    return isinstance(subtree, _PendingLeaf) or subtree[0] == _LEAF


def _node_key(version: bytes, prefix: int, depth: int) -> bytes:
    """Return version ‖ u16 depth ‖ the bits of the path, padded with zeros to whole bytes."""
    bits = prefix.to_bytes(HASH_BYTES, "big")[: (depth + 7) >> 3]
    return version + _DEPTH_FIELDS[depth] + bits


def _read_node(reader: NodeReader, key: bytes, depth: int) -> bytes:
    """Return a stored node whose kind and length fit each other and its depth."""
    node = reader.get_node(key)
    if node is None:
        raise CorruptStateError(f"tree node {key.hex()} is missing")
    kind = node[0] if node else _EMPTY
    if len(node) != _NODE_BYTES.get(kind, 0):
        raise CorruptStateError(f"tree node {key.hex()} is malformed")
    if (kind == _INNER and depth == DEPTH_BITS_MAX) or (kind == _EMPTY and depth):
        raise CorruptStateError(f"tree node {key.hex()} cannot be at depth {depth}")
    return node


def _root_reference(root_node: bytes, version: int) -> bytes:
    """Return the reference that a parent of the root would hold."""
    kind = root_node[0]
    if kind == _EMPTY:
        return _NO_CHILD
    if kind == _LEAF:
        digest = hash_leaf(root_node[1 : 1 + HASH_BYTES], root_node[1 + HASH_BYTES :])
    else:
        left, right = root_node[1 : 1 + _REFERENCE_BYTES], root_node[1 + _REFERENCE_BYTES :]
        digest = hash_inner(left[1 + _VERSION_BYTES :], right[1 + _VERSION_BYTES :])
    return root_node[:1] + version.to_bytes(_VERSION_BYTES, "big") + digest
