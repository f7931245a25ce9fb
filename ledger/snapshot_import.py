"""Makes a store of a snapshot: an empty one in, one that opens at the snapshot's height out.

::

    import_state    pairs of every chunk ─► store; their hashes ─► scratch, which sorts them
                    sorted hashes ─► tree nodes ─► store; the root must be the certified one
    tensor_put,     what the state names by hashes or ids, each checked against the name
    envelope_put
    finish_import   block, ends of epochs, genesis and at last the tip, in one synced batch

Until the last batch the store has no tip, so nothing takes it for a ledger. Memory is bounded by a
batch. Source: docs/spec/snapshots.md §5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ledger.chunk_keeper import count_all
from ledger.genesis import Genesis
from ledger.key_value import KeyValueStore
from ledger.layout import (
    GENESIS_KEY,
    HEIGHT_BYTES,
    TIP_KEY,
    block_id_key,
    block_key,
    chunk_key,
    epoch_end_key,
    node_key,
    versioned_key,
)
from ledger.payload import Payload
from ledger.snapshot import Manifest, decode_chunk, hash_chunk
from ledger.snapshot_export import iterate_descriptors
from ledger.snapshot_keys import BASE_KEY, IMPORTED_KEY, kept_envelope_key
from ledger.snapshot_tree import TreeBuilder
from ledger.stored_records import Tip
from ledger.transaction import decode_transaction
from primitives.epoch_end import EpochEnd
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.hashing import Tag, tagged_hash
from primitives.state_keys import state_key_hash, state_value_hash

__all__ = ["envelope_put", "finish_import", "import_state", "tensor_put"]

_BATCH_ITEMS: Final = 4_096
_PRESENT: Final = b"\x01"

Pair = tuple[bytes, bytes]


def import_state(
    manifest: Manifest, chunks: Iterable[bytes], target: KeyValueStore, scratch: KeyValueStore
) -> None:
    """Put the state of a snapshot into an empty store and check its root.

    Parameters
    ----------
    manifest : verified.
    chunks : all of them, in order; each is checked against its hash again.
    target : empty. On success it holds values, tree nodes and a note that it does, synced.
    scratch : empty, of the caller's to throw away afterwards.

    Raises
    ------
    InvalidInputError
        ``bad_snapshot``: the chunks do not give the certified root, or not the number of keys that
        the manifest says; ``bad_chunk``, or as `decode_chunk`. Both stores are then worthless.
    """
    count = _put_values(manifest, chunks, target, scratch)
    if count != manifest.key_count:
        raise _bad(f"holds {count} keys, its manifest says {manifest.key_count}")
    builder = TreeBuilder(manifest.height)
    batch: list[Pair] = []
    for key, node in builder.build(scratch.iterate()):
        batch.append((node_key(key), node))
        if len(batch) == _BATCH_ITEMS:
            target.write(batch, (), sync=False)
            batch.clear()
    if builder.root != manifest.block.state_root:
        raise _bad(
            f"has state root {builder.root.hex()}, certified is {manifest.block.state_root.hex()}"
        )
    target.write([*batch, (IMPORTED_KEY, manifest.snapshot_id)], (), sync=True)


def tensor_put(chunk_hash: bytes, data: bytes) -> Pair:
    """Return how a chunk of a tensor is stored.

    Raises
    ------
    InvalidInputError
        ``bad_chunk``: it does not have that hash.
    """
    if tagged_hash(Tag.CHUNK, data) != chunk_hash:
        raise _bad_chunk(chunk_hash)
    return chunk_key(chunk_hash), data


def envelope_put(transaction_id: bytes, envelope: bytes, payload: Payload) -> Pair:
    """Return how an envelope is kept whose payload was handed over with it.

    Raises
    ------
    InvalidInputError
        ``bad_payload``: the envelope is not the transaction's, or the payload not the envelope's;
        or as `decode_transaction`.
    """
    transaction = decode_transaction(envelope)
    if (
        transaction.transaction_id != transaction_id
        or transaction.payload_commitment != payload.commitment
    ):
        raise InvalidInputError(
            "bad_payload",
            f"the payload handed over is not that of transaction {transaction_id.hex()}",
            field="payload",
            value=transaction_id.hex(),
        )
    return kept_envelope_key(transaction_id), envelope


def finish_import(
    manifest: Manifest, ends: Sequence[EpochEnd], genesis: Genesis, target: KeyValueStore
) -> None:
    """Make a ledger of a store into which everything else was put; durable on return.

    Parameters
    ----------
    manifest : that of `import_state`.
    ends : of every epoch before ``manifest.epoch`` that is known, verified.
    genesis : of the chain.
    target : the store.

    Raises
    ------
    InvariantViolationError
        If the state was not imported before.
    """
    if target.get(IMPORTED_KEY) != manifest.snapshot_id:
        raise InvariantViolationError("the tip was to be set before the state was there")
    block, header = manifest.block, manifest.block.header
    height = header.height.to_bytes(HEIGHT_BYTES, "big")
    tip = Tip(
        header.height, header.block_id, block.state_root, block.receipts_root, header.timestamp_ms
    )
    puts = [
        (GENESIS_KEY, genesis.to_json().encode()),
        (block_key(header.height), block.encode()),
        (block_id_key(header.block_id), height),
        *((epoch_end_key(end.header.epoch), end.encode()) for end in ends),
        (BASE_KEY, height),
        (TIP_KEY, tip.encode()),
    ]
    puts += count_all(iterate_descriptors(target, header.height))
    target.write(puts, (IMPORTED_KEY,), sync=True)


def _put_values(
    manifest: Manifest, chunks: Iterable[bytes], target: KeyValueStore, scratch: KeyValueStore
) -> int:
    """Store the pairs of all chunks, and their hashes; return how many there were."""
    height = manifest.height
    expected = iter(manifest.chunk_hashes)
    last: bytes | None = None
    count = 0
    for chunk in chunks:
        chunk_hash = next(expected, None)
        if hash_chunk(chunk) != chunk_hash:
            raise _bad_chunk(chunk_hash or b"")
        pairs = decode_chunk(chunk, last)
        last = pairs[-1][0]
        count += len(pairs)
        target.write(
            [(versioned_key(key, height), _PRESENT + value) for key, value in pairs], (), sync=False
        )
        scratch.write(
            [(state_key_hash(key), state_value_hash(value)) for key, value in pairs], (), sync=False
        )
    if next(expected, None) is not None:
        raise _bad("lacks chunks")
    return count


def _bad_chunk(chunk_hash: bytes) -> InvalidInputError:
    return InvalidInputError(
        "bad_chunk", f"a chunk does not have the hash {chunk_hash.hex()}", field="chunk"
    )


def _bad(complaint: str) -> InvalidInputError:
    return InvalidInputError("bad_snapshot", f"the snapshot {complaint}", field="snapshot")
