"""The final chain on disk: everything that a block wrote, in one batch per block.

`LedgerStore` is the only writer of its key-value store. It remembers decoded records, tree nodes
and model parameters of the tip, because the next block most likely touches them again.
Source: docs/spec/ledger.md §11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, cast

from ledger.cache import BoundedCache
from ledger.chunk_keeper import RELEASE_LAG, ChunkKeeper
from ledger.errors import DivergedStateError
from ledger.executed_block import ExecutedBlock
from ledger.genesis import Genesis
from ledger.genesis_block import build_genesis_block
from ledger.key_value import KeyValueStore, WriteBatch
from ledger.layout import (
    GENESIS_KEY,
    TIP_KEY,
    block_id_key,
    block_key,
    chunk_key,
    envelopes_key,
    epoch_end_key,
    node_key,
    pack_items,
    receipts_key,
    stale_nodes_key,
    transaction_key,
    transaction_place,
    versioned_key,
)
from ledger.model_tensors import ModelArrays, total_bytes
from ledger.reader import LedgerReader
from ledger.receipt import ReceiptStatus
from ledger.schema import CHAIN_VALIDATORS, Record, RecordT, Validators
from ledger.stored_records import StoredBlock, Tip, decode_own
from primitives.certificates import Certificate
from primitives.epoch_end import EpochEnd, find_link_fault
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader

__all__ = ["LedgerStore", "TipState"]

RECORDS_MAX: Final = 65_536
TREE_NODES_MAX: Final = 65_536
MODEL_BYTES_MAX: Final = 128 * 1024 * 1024

_PRESENT: Final = b"\x01"
_REMOVED: Final = b"\x00"
Pair = tuple[bytes, bytes]


class _Unread:
    """Marks a key whose record is not remembered."""


_UNREAD: Final = _Unread()


class TipState:
    """The final state as records, for the executor.

    Parameters
    ----------
    read_value : reads the value of a state key at the tip.
    """

    def __init__(self, read_value: Callable[[bytes], bytes | None]) -> None:
        self._read_value = read_value
        self._records: BoundedCache[bytes, Record | None] = BoundedCache(RECORDS_MAX)

    def get(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        """Return the record under a key, or None if there is none.

        Raises
        ------
        CorruptStateError
            If the value does not read back.
        """
        known = self._records.get(key, _UNREAD)
        if known is not _UNREAD:
            return cast("RecordT | None", known)
        value = self._read_value(key)
        record = None if value is None else decode_own(value, decode)
        self._records.put(key, record)
        return record

    def forget(self) -> None:
        """Forget every record that was read or written."""
        self._records = BoundedCache(RECORDS_MAX)

    def remember(self, key: bytes, record: Record | None) -> None:
        """Take note of what the key holds from now on."""
        self._records.put(key, record)


class LedgerStore(LedgerReader):
    """The final chain; see `LedgerReader` for what can be read.

    Parameters
    ----------
    values : where it is kept; new or written by this class.
    release_lag : heights for which the parameters of every version stay stored.
    """

    def __init__(self, values: KeyValueStore, *, release_lag: int = RELEASE_LAG) -> None:
        super().__init__(values)
        self._store = values
        self._keeper = ChunkKeeper(self, values, release_lag)
        self._tip: Tip | None = None
        self._nodes: BoundedCache[bytes, bytes] = BoundedCache(TREE_NODES_MAX)
        self._models: BoundedCache[str, ModelArrays] = BoundedCache(MODEL_BYTES_MAX, total_bytes)
        self.tip_state = TipState(self.get)

    @property
    def is_new(self) -> bool:
        """Whether nothing was written yet, not even a genesis."""
        return self._store.get(TIP_KEY) is None

    def initialise(self, genesis: Genesis) -> WriteBatch:
        """Write the genesis block into a new store, or confirm that it is the one that is there.

        Returns
        -------
        WriteBatch
            What was written; empty if the store was not new.

        Raises
        ------
        InvalidInputError
            ``wrong_chain`` if the store belongs to another genesis.
        """
        if not self.is_new:
            stored = self.genesis().chain_id
            if stored != genesis.chain_id:
                raise InvalidInputError(
                    "wrong_chain",
                    f"the store holds chain {stored.hex()}, the genesis is of"
                    f" {genesis.chain_id.hex()}",
                    field="genesis",
                    value=genesis.chain_id.hex(),
                    limit=stored.hex(),
                )
            return WriteBatch(())
        block = build_genesis_block(genesis)
        puts = _block_puts(block, None, 0)
        batch = WriteBatch([(GENESIS_KEY, genesis.to_json().encode()), *puts])
        self._store.write(batch.puts, batch.deletes, sync=True)
        self.advance(block)
        return batch

    def tip(self) -> Tip:
        """Return the last final block."""
        if self._tip is None:
            self._tip = super().tip()
        return self._tip

    def commit(
        self, block: ExecutedBlock, certificate: Certificate, certified_height: int | None = None
    ) -> WriteBatch:
        """Make a block final: write its batch, synced, and advance; return the batch.

        Raises as `commit_batch`.
        """
        batch = self.commit_batch(block, certificate, certified_height)
        self._store.write(batch.puts, batch.deletes, sync=True)
        self.advance(block)
        return batch

    def commit_batch(
        self,
        block: ExecutedBlock,
        certificate: Certificate,
        certified_height: int | None = None,
        tails: tuple[BlockHeader, ...] = (),
    ) -> WriteBatch:
        """Return everything that makes a block final, and write nothing.

        Parameters
        ----------
        block : the child of the tip.
        certificate : commit certificate that made it final, verified before.
        certified_height : height of the certificate's block, if that is a descendant of `block`;
            if it is a tail, that of the epoch's last block.
        tails : from the epoch's last block to the certified one, ascending.

        Raises
        ------
        InvariantViolationError
            If the block is not a child of the tip, or the certificate is for another block.
        DivergedStateError
            If a quorum certified another state root than the block's.
        """
        tip = self.tip()
        if block.header.parent_id != tip.block_id:
            raise InvariantViolationError(
                f"block {block.block_id.hex()} at height {block.height} is not a child of the tip"
                f" {tip.block_id.hex()} at height {tip.height}"
            )
        if certified_height is None or certified_height == block.height:
            certified_height = block.height
            _check_certified(block, certificate, tails)
        puts = _block_puts(block, certificate, certified_height)
        if block.header.next_validators_hash != ZERO_HASH:
            puts.append(_epoch_end_put(block, certificate, tails))
        puts.extend(self._transaction_places(block))
        kept = self._keeper.plan(block)
        return WriteBatch([*puts, *kept.puts], kept.deletes)

    def advance(self, block: ExecutedBlock) -> None:
        """Take note that a block's batch was written; its parent is released."""
        self._tip = _tip_of(block)
        for key, record in block.records.items():
            self.tip_state.remember(key, record)
        for key in block.tree.stale:
            self._nodes.discard(key)
        for key, node in block.tree.nodes.items():
            self._nodes.put(key, node)
        for name, arrays in block.models.items():
            self._models.put(name, arrays)
        block.parent = None

    def forget_cached(self) -> None:
        """Forget what is remembered of the tip, so that everything is read from the disk anew."""
        self._tip = None
        self._nodes = BoundedCache(TREE_NODES_MAX)
        self._models = BoundedCache(MODEL_BYTES_MAX, total_bytes)
        self.tip_state.forget()

    def get_node(self, key: bytes) -> bytes | None:
        """Return a node of the state tree."""
        node = self._nodes.get(key)
        return super().get_node(key) if node is None else node

    def load_model_state(self, name: str, height: int | None = None) -> ModelArrays | None:
        """Return a model's parameters after a block, or None; not to be written to."""
        if height is not None:
            return super().load_model_state(name, height)
        arrays = self._models.get(name)
        if arrays is None:
            arrays = super().load_model_state(name)
            if arrays is not None:
                self._models.put(name, arrays)
        return arrays

    def _transaction_places(self, block: ExecutedBlock) -> Iterator[Pair]:
        """Return the index of a block's transactions.

        A leader may put a final transaction into a block again, where it is void; its id goes on
        to lead to where it took effect.
        """
        for index, receipt in enumerate(block.receipts):
            key = transaction_key(receipt.transaction_id)
            if receipt.status is not ReceiptStatus.VOID or self._store.get(key) is None:
                yield key, transaction_place(block.height, index)


def _check_certified(
    block: ExecutedBlock, certificate: Certificate, tails: tuple[BlockHeader, ...]
) -> None:
    fault = find_link_fault(block.header, tails, certificate)
    if fault is not None:
        raise InvariantViolationError(
            f"the certificate for block {certificate.block_id.hex()} does not certify"
            f" {block.block_id.hex()}: {fault}"
        )
    if certificate.state_root != block.state_root:
        raise DivergedStateError(block.height, certificate.state_root, block.state_root)


def _epoch_end_put(
    block: ExecutedBlock, certificate: Certificate, tails: tuple[BlockHeader, ...]
) -> Pair:
    """Return the proof of how the epoch ended that the block is the last one of."""
    following = block.records.get(CHAIN_VALIDATORS)
    if not isinstance(following, Validators):
        raise InvariantViolationError(f"block {block.height} ends an epoch and names no validators")
    keys = following.to_validator_set().public_keys
    end = EpochEnd(block.header, tails, certificate, keys)
    return epoch_end_key(block.header.epoch), end.encode()


def _tip_of(block: ExecutedBlock) -> Tip:
    return Tip(
        block.height,
        block.block_id,
        block.state_root,
        block.receipts_root,
        block.header.timestamp_ms,
    )


def _block_puts(
    block: ExecutedBlock, certificate: Certificate | None, certified_height: int
) -> list[Pair]:
    """Return what a block adds to the store, but for the places of its transactions."""
    height = block.height
    stored = StoredBlock(
        block.header,
        block.state_root,
        block.receipts_root,
        len(block.transactions),
        certified_height,
        certificate,
    )
    puts = [
        (TIP_KEY, _tip_of(block).encode()),
        (block_key(height), stored.encode()),
        (block_id_key(block.block_id), height.to_bytes(8, "big")),
        (envelopes_key(height), pack_items([item.raw for item in block.transactions])),
        (receipts_key(height), pack_items([item.encode() for item in block.receipts])),
        (stale_nodes_key(height), pack_items(block.tree.stale)),
    ]
    puts.extend(
        (versioned_key(key, height), _REMOVED if value is None else _PRESENT + value)
        for key, value in block.writes.items()
    )
    puts.extend((node_key(key), node) for key, node in block.tree.nodes.items())
    puts.extend((chunk_key(chunk_hash), chunk) for chunk_hash, chunk in block.chunks.items())
    return puts
