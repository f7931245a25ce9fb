"""Reading a ledger: blocks, receipts, the state at any final height, proofs, model parameters.

Works on any key-value store with the layout of `ledger.layout`, a validator's own or a copy that
is fed with its write batches. Source: docs/spec/ledger.md §11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ledger.errors import PrunedHeightError, UnknownHeightError
from ledger.genesis import Genesis, genesis_from_json
from ledger.key_value import KeyValueReader
from ledger.layout import (
    GENESIS_KEY,
    TIP_KEY,
    block_id_key,
    block_key,
    chunk_key,
    envelopes_key,
    epoch_end_key,
    node_key,
    receipts_key,
    split_transaction_place,
    split_versioned_key,
    transaction_key,
    unpack_item,
    unpack_items,
    versioned_prefix_range,
    versioned_range,
)
from ledger.model_tensors import ModelArrays, decode_model_tensors, load_arrays, tensors_key
from ledger.parameters import Parameters, decode_parameters
from ledger.proof import ParentLink, StateProof
from ledger.receipt import Receipt, decode_receipt
from ledger.schema import CHAIN_PARAMETERS, CHAIN_PARENT
from ledger.snapshot_keys import BASE_KEY
from ledger.stored_records import StoredBlock, Tip, decode_own, decode_stored_block, decode_tip
from ledger.transaction import Transaction, decode_transaction
from primitives.certificates import Certificate
from primitives.epoch_end import EpochEnd, decode_epoch_end
from primitives.errors import CorruptStateError
from primitives.header import BlockHeader
from primitives.sparse_merkle import prove
from primitives.state_keys import state_key_hash

__all__ = ["FinalTransaction", "LedgerReader"]

T = TypeVar("T")

_REMOVED = 0


@dataclass(frozen=True, slots=True)
class FinalTransaction:
    """A final transaction and where it is.

    Parameters
    ----------
    height : of its block.
    index : its place in the block.
    transaction : without its payload.
    receipt : what became of it.
    """

    height: int
    index: int
    transaction: Transaction
    receipt: Receipt


class LedgerReader:
    """Reads what is final.

    Parameters
    ----------
    values : a store in which a genesis was written at least.

    Notes
    -----
    Methods that take a height raise `UnknownHeightError` if it is not final here,
    `PrunedHeightError` if it lies below the snapshot that the store began with, and all of them
    `CorruptStateError` if what must be there is missing or does not read back.
    """

    def __init__(self, values: KeyValueReader) -> None:
        self._values = values

    def genesis(self) -> Genesis:
        """Return the genesis that the chain started with."""
        return decode_own(self._require(GENESIS_KEY).decode(), genesis_from_json)

    def tip(self) -> Tip:
        """Return the last final block."""
        return decode_own(self._require(TIP_KEY), decode_tip)

    def base_height(self) -> int:
        """Return the first height whose state is held: 0, or that of the snapshot it began with."""
        data = self._values.get(BASE_KEY)
        return 0 if data is None else int.from_bytes(data, "big")

    def stored_block(self, height: int) -> StoredBlock:
        """Return a block's header, roots and certificate."""
        data = self._values.get(block_key(height)) if height >= 0 else None
        if data is None:
            self._check_height(height)
            raise UnknownHeightError(height, self.tip().height)
        return decode_own(data, decode_stored_block)

    def header(self, height: int) -> BlockHeader:
        """Return a block's header."""
        return self.stored_block(height).header

    def certificate(self, height: int) -> tuple[int, Certificate | None]:
        """Return the commit certificate that made a block final, and the height it is for.

        The height is above the block's own if the block became final with a descendant. The
        genesis block has none.
        """
        block = self.stored_block(height)
        return block.certified_height, block.certificate

    def epoch_end(self, epoch: int) -> EpochEnd | None:
        """Return how an epoch ended, or None if its last block is not final here."""
        data = self._values.get(epoch_end_key(epoch))
        return None if data is None else decode_own(data, decode_epoch_end)

    def parameters(self) -> Parameters:
        """Return the governed parameters in force at the tip."""
        value = self._require_value(CHAIN_PARAMETERS, self.tip().height)
        return decode_own(value, decode_parameters)

    def block(self, height: int) -> tuple[BlockHeader, list[Transaction]]:
        """Return a block's header and its transactions without their payloads."""
        self._check_body(height)
        header = self.header(height)
        envelopes = unpack_items(self._require(envelopes_key(height)))
        return header, [decode_own(envelope, decode_transaction) for envelope in envelopes]

    def receipts(self, height: int) -> list[Receipt]:
        """Return the receipts of a block, one per transaction in order."""
        self._check_height(height)
        self._check_body(height)
        packed = self._require(receipts_key(height))
        return [decode_own(receipt, decode_receipt) for receipt in unpack_items(packed)]

    def height_of(self, block_id: bytes) -> int | None:
        """Return the height of a final block, or None if there is no such final block."""
        height = self._values.get(block_id_key(block_id))
        return None if height is None else int.from_bytes(height, "big")

    def find_transaction(self, transaction_id: bytes) -> FinalTransaction | None:
        """Return a final transaction with its receipt, or None."""
        place = self._values.get(transaction_key(transaction_id))
        if place is None:
            return None
        height, index = split_transaction_place(place)
        envelope = unpack_item(self._require(envelopes_key(height)), index)
        return FinalTransaction(
            height, index, decode_own(envelope, decode_transaction), self._receipt_at(height, index)
        )

    def receipt(self, transaction_id: bytes) -> Receipt | None:
        """Return the receipt of a final transaction, or None."""
        place = self._values.get(transaction_key(transaction_id))
        return None if place is None else self._receipt_at(*split_transaction_place(place))

    def get(self, key: bytes, height: int | None = None) -> bytes | None:
        """Return the value of a state key, or None if it had none.

        Parameters
        ----------
        key : the state key.
        height : after which block; the tip if left out.
        """
        if height is not None:
            self._check_height(height)
        return self._value_at(key, height)

    def read(self, key: bytes, decode: Callable[[bytes], T], height: int | None = None) -> T | None:
        """Return the record of a state key, or None; see `get`."""
        value = self.get(key, height)
        return None if value is None else decode_own(value, decode)

    def scan(
        self,
        prefix: bytes,
        *,
        height: int | None = None,
        start_after: bytes | None = None,
        limit: int,
        reverse: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Return state keys that start with a prefix, and their values, in the order of the keys.

        Parameters
        ----------
        prefix : what the keys start with.
        height : after which block; the tip if left out.
        start_after : a state key: only what comes after it, in the direction of the scan.
        limit : most pairs, ≥ 1.
        reverse : from the last key to the first.
        """
        if height is not None:
            self._check_height(height)
        found: list[tuple[bytes, bytes]] = []
        for key in self._keys(prefix, start_after, reverse):
            value = self._value_at(key, height)
            if value is not None:
                found.append((key, value))
                if len(found) == limit:
                    break
        return found

    def get_node(self, key: bytes) -> bytes | None:
        """Return a node of the state tree."""
        return self._values.get(node_key(key))

    def prove(self, key: bytes, height: int) -> StateProof:
        """Return the proof of what a state key held after a block.

        Raises
        ------
        UnknownHeightError
            If the height is not final here; also 0 as long as there is no other block, because
            nobody signs the genesis block by itself.
        """
        block = self.stored_block(height)
        certified_height, certificate = self.certificate(max(height, 1))
        if certificate is None:
            raise CorruptStateError(f"block {height} has no certificate")
        parent_hash = state_key_hash(CHAIN_PARENT)
        certified = self.stored_block(certified_height).header
        tails: tuple[BlockHeader, ...] = ()
        if certificate.block_id != certified.block_id:
            end = self.epoch_end(certified.epoch)
            if end is None:
                raise CorruptStateError(f"block {certified_height} is certified by unknown tails")
            tails = (certified, *end.tails)
        links = [
            ParentLink(self._require_value(CHAIN_PARENT, above), prove(self, above, parent_hash))
            for above in range(certified_height, height, -1)
        ]
        return StateProof(
            certificate=certificate,
            tails=tails,
            links=tuple(links),
            header=block.header,
            key=key,
            value=self._value_at(key, height),
            path=prove(self, height, state_key_hash(key)),
        )

    def load_model_state(self, name: str, height: int | None = None) -> ModelArrays | None:
        """Return a model's parameters after a block, or None if there was no such model.

        Parameters
        ----------
        name : of the model.
        height : after which block; the tip if left out.
        """
        tensors = self.read(tensors_key(name), decode_model_tensors, height)
        return None if tensors is None else load_arrays(tensors, self.read_chunk)

    def _keys(self, prefix: bytes, start_after: bytes | None, reverse: bool) -> Iterator[bytes]:
        """Return the state keys under a prefix that ever had a value, each once."""
        low, high = versioned_prefix_range(prefix)
        if start_after is not None:
            first, last = versioned_range(start_after)
            low, high = (low, min(high, first)) if reverse else (max(low, last), high)
        while True:
            # A key has many versions: jump to the next key instead of reading over them.
            pair = next(iter(self._values.iterate(low, high, reverse)), None)
            if pair is None:
                return
            key, _ = split_versioned_key(pair[0])
            yield key
            first, last = versioned_range(key)
            low, high = (low, first) if reverse else (last, high)

    def _value_at(self, key: bytes, height: int | None) -> bytes | None:
        start, stop = versioned_range(key, height)
        for _, value in self._values.iterate(start, stop):
            return None if value[0] == _REMOVED else value[1:]
        return None

    def _receipt_at(self, height: int, index: int) -> Receipt:
        return decode_own(unpack_item(self._require(receipts_key(height)), index), decode_receipt)

    def read_chunk(self, chunk_hash: bytes) -> bytes | None:
        """Return a chunk of a tensor, or None if it is not stored any more."""
        return self._values.get(chunk_key(chunk_hash))

    def _require(self, key: bytes) -> bytes:
        value = self._values.get(key)
        if value is None:
            raise CorruptStateError(f"{key!r} is missing in the store")
        return value

    def _require_value(self, key: bytes, height: int) -> bytes:
        value = self.get(key, height)
        if value is None:
            raise CorruptStateError(f"{key!r} is missing in the state at height {height}")
        return value

    def _check_height(self, height: int) -> None:
        tip_height = self.tip().height
        if not 0 <= height <= tip_height:
            raise UnknownHeightError(height, tip_height)
        base_height = self.base_height()
        if height < base_height:
            raise PrunedHeightError(height, base_height)

    def _check_body(self, height: int) -> None:
        """Check that a block's transactions are held; a snapshot has its state alone."""
        base_height = self.base_height()
        if base_height and height == base_height:
            raise PrunedHeightError(height, base_height + 1)
