"""From what a block wrote to the block as it is certified: encodings, tree, roots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledger.executed_block import ExecutedBlock
from ledger.model_tensors import ModelArrays
from ledger.receipt import Receipt, compute_receipts_root
from ledger.state import Layer
from ledger.transaction import Transaction
from primitives.header import BlockHeader
from primitives.sparse_merkle import NodeReader, update_tree
from primitives.state_keys import state_key_hash, state_value_hash

__all__ = ["BlockOutcome", "TreeNodes", "assemble_block"]


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What executing the transactions of a block left behind.

    Parameters
    ----------
    receipts : one per transaction, in order.
    records : state keys and their new records.
    chunks, models : as in `ExecutedBlock`.
    """

    receipts: Sequence[Receipt]
    records: Layer
    chunks: Mapping[bytes, bytes]
    models: Mapping[str, ModelArrays]


class TreeNodes:
    """Nodes of the state tree of a chain of unfinal blocks and of the final state below.

    Parameters
    ----------
    blocks : unfinal blocks; a node's version is the height that wrote it, and blocks of other
        branches may have written other nodes under the same key, so only these are asked.
    final : the nodes of final versions.
    """

    def __init__(self, blocks: Iterable[ExecutedBlock], final: NodeReader) -> None:
        self._by_version = {block.height: block.tree.nodes for block in blocks}
        self._final = final

    def get_node(self, key: bytes) -> bytes | None:
        """Return the node under a key, or None."""
        nodes = self._by_version.get(int.from_bytes(key[:8], "big"))
        return self._final.get_node(key) if nodes is None else nodes.get(key)


def assemble_block(
    header: BlockHeader,
    transactions: Sequence[Transaction],
    outcome: BlockOutcome,
    nodes: NodeReader,
    parent: ExecutedBlock | None,
) -> ExecutedBlock:
    """Encode what a block wrote, update the state tree once, and return the executed block.

    Parameters
    ----------
    header, transactions : of the block.
    outcome : of its execution.
    nodes : tree nodes of the version before.
    parent : the block before, if it is not final.
    """
    writes: dict[bytes, bytes | None] = {}
    changes: dict[bytes, bytes | None] = {}
    for key in sorted(outcome.records):
        record = outcome.records[key]
        value = None if record is None else record.encode()
        writes[key] = value
        changes[state_key_hash(key)] = None if value is None else state_value_hash(value)
    previous_version = header.height - 1 if header.height else None
    return ExecutedBlock(
        header=header,
        transactions=transactions,
        receipts=outcome.receipts,
        receipts_root=compute_receipts_root([receipt.encode() for receipt in outcome.receipts]),
        writes=writes,
        records=outcome.records,
        chunks=outcome.chunks,
        models=outcome.models,
        tree=update_tree(nodes, previous_version, header.height, changes),
        parent=parent,
    )
