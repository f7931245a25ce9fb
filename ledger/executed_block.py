"""A block and everything that its execution made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.model_tensors import ModelArrays
from ledger.receipt import Receipt
from ledger.state import Layer
from ledger.transaction import Transaction
from primitives.header import BlockHeader
from primitives.sparse_merkle import TreeUpdate

__all__ = ["ExecutedBlock"]


@dataclass(slots=True, eq=False)
class ExecutedBlock:
    """A block and everything that its execution made; nothing of it changes but `parent`.

    Parameters
    ----------
    header : of the block.
    transactions : of its body.
    receipts : one per transaction, in order.
    receipts_root : over the receipts, 32 bytes.
    writes : state key → new value or None, ascending by key.
    records : the same as records.
    chunks : new chunks of tensors by their hashes.
    models : arrays of the models that the block created or changed.
    tree : the new version of the state tree; its number is the height.
    parent : the block before, as long as that is not final; cut when this block is stored, so that
        final blocks can be freed.
    """

    header: BlockHeader
    transactions: Sequence[Transaction]
    receipts: Sequence[Receipt]
    receipts_root: bytes
    writes: Mapping[bytes, bytes | None]
    records: Layer
    chunks: Mapping[bytes, bytes]
    models: Mapping[str, ModelArrays]
    tree: TreeUpdate
    parent: ExecutedBlock | None = None

    @property
    def height(self) -> int:
        """Position in the chain."""
        return self.header.height

    @property
    def block_id(self) -> bytes:
        """Hash of the header."""
        return self.header.block_id

    @property
    def state_root(self) -> bytes:
        """Root of the state after the block, 32 bytes; what COMMIT votes carry."""
        return self.tree.root

    def lineage_above(self, height: int) -> Iterator[ExecutedBlock]:
        """Return this block and its ancestors above a height, nearest first."""
        block: ExecutedBlock | None = self
        while block is not None and block.height > height:
            yield block
            block = block.parent
