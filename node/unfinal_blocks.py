"""Blocks that consensus has shown us and that are not final yet, with their decoded transactions.

A tree of a few blocks: building and judging a block ask it which transactions the ancestors hold
already, execution asks it for the transactions, refunds for their payloads. Bodies are decoded
once, when a block is judged. Used from the event loop and, for reading, from the ledger's thread;
each block is put once and never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ledger.transaction import Transaction
from primitives.accounts import AccountId
from primitives.header import BlockHeader

__all__ = ["AncestorTransactions", "UnfinalBlock", "UnfinalBlocks", "make_unfinal_block"]


@dataclass(frozen=True, slots=True)
class UnfinalBlock:
    """A judged block.

    Parameters
    ----------
    header
        As proposed.
    body
        Its wire bytes, payloads included.
    transactions
        Decoded, with their payloads, by id, in order.
    next_nonces
        For every sender among them the nonce after its last one.
    """

    header: BlockHeader
    body: bytes
    transactions: dict[bytes, Transaction]
    next_nonces: dict[AccountId, int]


def make_unfinal_block(
    header: BlockHeader, body: bytes, transactions: Sequence[Transaction]
) -> UnfinalBlock:
    """Return a judged block from its decoded transactions."""
    next_nonces: dict[AccountId, int] = {}
    for transaction in transactions:
        known = next_nonces.get(transaction.sender, 0)
        next_nonces[transaction.sender] = max(known, transaction.nonce + 1)
    by_id = {transaction.transaction_id: transaction for transaction in transactions}
    return UnfinalBlock(header, body, by_id, next_nonces)


@dataclass(frozen=True, slots=True)
class AncestorTransactions:
    """What the unfinal ancestors of a block hold.

    Parameters
    ----------
    ids
        Their transactions.
    next_nonces
        For every sender among them the nonce after its last one.
    """

    ids: frozenset[bytes]
    next_nonces: dict[AccountId, int]


class UnfinalBlocks:
    """The judged blocks above the last final one, by id."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, UnfinalBlock] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def put(self, block: UnfinalBlock) -> None:
        """Remember a judged block."""
        self._blocks[block.header.block_id] = block

    def get(self, block_id: bytes) -> UnfinalBlock | None:
        """Return a block, if it was judged and is neither final nor discarded."""
        return self._blocks.get(block_id)

    def remove(self, block_id: bytes) -> None:
        """Forget a block that is final or discarded."""
        self._blocks.pop(block_id, None)

    def remove_up_to(self, height: int) -> None:
        """Forget everything that a final block of this height leaves behind."""
        for block_id, block in list(self._blocks.items()):
            if block.header.height <= height:
                del self._blocks[block_id]

    def iterate_ancestors(self, block_id: bytes) -> Iterator[UnfinalBlock]:
        """Yield the block and its unfinal ancestors, youngest first."""
        block = self._blocks.get(block_id)
        while block is not None:
            yield block
            block = self._blocks.get(block.header.parent_id)

    def get_ancestor_transactions(self, parent_id: bytes) -> AncestorTransactions:
        """Return what a block on this parent must not hold again."""
        return _merge(list(self.iterate_ancestors(parent_id)))

    def get_next_nonces(self, is_live: Callable[[BlockHeader], bool]) -> dict[AccountId, int]:
        """Return the nonces after those of every block that may still become final by itself."""
        live = [block for block in self._blocks.values() if is_live(block.header)]
        return _merge(live).next_nonces


def _merge(blocks: Sequence[UnfinalBlock]) -> AncestorTransactions:
    ids: set[bytes] = set()
    next_nonces: dict[AccountId, int] = {}
    for block in blocks:
        ids.update(block.transactions)
        for sender, nonce in block.next_nonces.items():
            next_nonces[sender] = max(nonce, next_nonces.get(sender, 0))
    return AncestorTransactions(frozenset(ids), next_nonces)
