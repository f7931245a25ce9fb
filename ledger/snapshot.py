"""A snapshot: the whole state after one final block, in chunks, and the manifest that proves it.

Who joins, or comes back after long, takes the state from a snapshot instead of executing every
block. The manifest holds everything that has to be believed and the certificates for it: the block
with its commit certificate, and the proof that the state after its child names its receipts root.
The chunks hold state keys and values in ascending order; they are believed because the tree that
is built of them has the certified root. What the state refers to by hash, chunks of tensors and
payloads, is in no manifest: it proves itself. Source: docs/spec/snapshots.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from ledger.proof import StateProof, decode_state_proof, verify_state_proof
from ledger.reader import LedgerReader
from ledger.schema import CHAIN_PARENT, ParentBlock, decode_parent_block
from ledger.stored_records import StoredBlock, decode_stored_block
from primitives.certificates import verify_certificate
from primitives.codec import Value, decode, encode
from primitives.epoch_chain import EpochChain
from primitives.epoch_end import find_link_fault
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash
from primitives.merkle import merkle_root

__all__ = [
    "CHUNKS_MAX",
    "CHUNK_BYTES_MAX",
    "MANIFEST_BYTES_MAX",
    "Manifest",
    "build_chunks",
    "build_manifest",
    "decode_chunk",
    "decode_manifest",
    "hash_chunk",
    "is_snapshot_height",
    "verify_manifest",
]

FORMAT_VERSION: Final = 1

CHUNK_BYTES: Final = 1024 * 1024
"""A chunk takes no more pairs once it would get larger than this."""

CHUNK_BYTES_MAX: Final = 3 * 1024 * 1024
"""Largest chunk: one with a single, very large value."""

CHUNKS_MAX: Final = 65_536
TRANSACTIONS_MAX: Final = 100_000

MANIFEST_BYTES_MAX: Final = 3_584 * 1024

_FIELD_COUNT: Final = 7
# What the encoding adds to a pair: two length prefixes.
_PAIR_OVERHEAD: Final = 10

Pair = tuple[bytes, bytes]


@dataclass(frozen=True)
class Manifest:
    """What a snapshot is of, and what it consists of.

    Parameters
    ----------
    block : the block after which the state is taken, with its commit certificate.
    transaction_ids : of the block's transactions, in order; they prove how many there are.
    receipts_proof : proves the record under ``chain/parent`` in the state after the next block.
    key_count : pairs in all chunks.
    byte_count : bytes in all chunks.
    chunk_hashes : hash of each chunk, in the order of the keys.
    """

    block: StoredBlock
    transaction_ids: tuple[bytes, ...]
    receipts_proof: StateProof
    key_count: int
    byte_count: int
    chunk_hashes: tuple[bytes, ...]

    @property
    def height(self) -> int:
        """Height of the block."""
        return self.block.header.height

    @property
    def epoch(self) -> int:
        """The epoch whose validators must be known to believe the manifest: the next block's."""
        return self.receipts_proof.certificate.epoch

    @cached_property
    def snapshot_id(self) -> bytes:
        """What the chunks are chunks of, 32 bytes.

        Nodes hold commit certificates of different signers, so their manifests of one snapshot
        differ; this does not.
        """
        content = (
            self.block.header.block_id,
            self.block.state_root,
            self.key_count,
            b"".join(self.chunk_hashes),
        )
        return tagged_hash(Tag.CHUNK, encode(content))

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                FORMAT_VERSION,
                self.block.encode(),
                b"".join(self.transaction_ids),
                self.receipts_proof.encode(),
                self.key_count,
                self.byte_count,
                b"".join(self.chunk_hashes),
            )
        )


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest whose canonical bytes are `data`; nothing is verified.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    reader = FieldReader(decode(data, bytes_max=MANIFEST_BYTES_MAX), "manifest", _FIELD_COUNT)
    reader.integer("format", FORMAT_VERSION, FORMAT_VERSION)
    block = decode_stored_block(reader.bytes("block", bytes_max=MANIFEST_BYTES_MAX))
    transaction_ids = _read_hashes(reader, "transaction_ids", TRANSACTIONS_MAX)
    proof = decode_state_proof(reader.bytes("receipts_proof", bytes_max=MANIFEST_BYTES_MAX))
    key_count = reader.counter("key_count")
    byte_count = reader.integer("byte_count", 0, CHUNKS_MAX * CHUNK_BYTES_MAX)
    chunk_hashes = _read_hashes(reader, "chunk_hashes", CHUNKS_MAX)
    reader.end()
    return Manifest(block, transaction_ids, proof, key_count, byte_count, chunk_hashes)


def verify_manifest(manifest: Manifest, chain: EpochChain) -> None:
    """Verify that the block is final and has the state root and the receipts root it is said to.

    Parameters
    ----------
    manifest : received; nothing in it is trusted. That the chunks give the state root is seen only
        once they are there.
    chain : reaches at least to ``manifest.epoch``.

    Raises
    ------
    InvalidInputError
        ``bad_manifest`` with what does not fit, or as `verify_certificate` and
        `verify_state_proof`.
    """
    block, header = manifest.block, manifest.block.header
    certificate = block.certificate
    if header.chain_id != chain.chain_id:
        raise _bad("is of another chain")
    if certificate is None or block.certified_height != header.height:
        raise _bad("is of a block without a commit certificate of its own")
    end = chain.end(header.epoch)
    tails = end.tails if end is not None and end.header == header else ()
    fault = find_link_fault(header, tails, certificate)
    if fault is not None:
        raise _bad(f"is not certified: {fault}")
    verify_certificate(certificate, chain.validator_set(header.epoch), chain.chain_id, chain.verify)
    if certificate.state_root != block.state_root:
        raise _bad("names another state root than its certificate")
    if merkle_root(manifest.transaction_ids) != header.body_root:
        raise _bad("lists transactions that are not those of its block")
    if len(manifest.transaction_ids) != block.transaction_count:
        raise _bad("counts other transactions than it lists")
    _verify_receipts_root(manifest, chain)


def _verify_receipts_root(manifest: Manifest, chain: EpochChain) -> None:
    """Verify through the block's child what no certificate of the block itself speaks of."""
    block, proof = manifest.block, manifest.receipts_proof
    validator_set = chain.validator_set(proof.certificate.epoch)
    verify_state_proof(proof, validator_set, chain.chain_id, chain.verify)
    if proof.key != CHAIN_PARENT or proof.value is None:
        raise _bad("proves another record than that of the parent")
    expected = ParentBlock(
        block.header.height, block.header.block_id, block.state_root, block.receipts_root
    )
    if decode_parent_block(proof.value) != expected:
        raise _bad("says of its block something else than the block's child does")


def is_snapshot_height(reader: LedgerReader, height: int) -> bool:
    """Return whether a snapshot can be taken after the block at a height.

    Its block needs a commit certificate of its own, its child must be final too, and its
    transactions must be here: those of the block with which a joined ledger begins are not.
    """
    if not reader.base_height() < height < reader.tip().height:
        return False
    certified_height, certificate = reader.certificate(height)
    return certificate is not None and certified_height == height


def build_manifest(
    reader: LedgerReader, height: int, chunks: Sequence[tuple[bytes, int]], key_count: int
) -> Manifest:
    """Return the manifest of a snapshot.

    Parameters
    ----------
    reader : of the ledger that the snapshot is of.
    height : one that `is_snapshot_height`.
    chunks : hash and length of each chunk.
    key_count : pairs in them.
    """
    block = reader.stored_block(height)
    certified_height, certificate = reader.certificate(height)
    _, transactions = reader.block(height)
    return Manifest(
        block=replace(block, certified_height=certified_height, certificate=certificate),
        transaction_ids=tuple(each.transaction_id for each in transactions),
        receipts_proof=reader.prove(CHAIN_PARENT, height + 1),
        key_count=key_count,
        byte_count=sum(length for _, length in chunks),
        chunk_hashes=tuple(chunk_hash for chunk_hash, _ in chunks),
    )


def hash_chunk(chunk: bytes) -> bytes:
    """Return by what hash a manifest names a chunk, 32 bytes."""
    return tagged_hash(Tag.CHUNK, chunk)


def build_chunks(pairs: Iterable[Pair]) -> Iterator[tuple[bytes, int]]:
    """Cut pairs of state keys and values, ascending, into chunks; one is in memory at a time.

    Yields
    ------
    tuple of bytes and int
        The chunk and how many pairs it holds. The same pairs always give the same chunks.

    Raises
    ------
    InvariantViolationError
        If a single pair is larger than a chunk may be.
    """
    items: list[bytes] = []
    size = 0
    for key, value in pairs:
        pair_size = len(key) + len(value) + _PAIR_OVERHEAD
        if pair_size > CHUNK_BYTES_MAX - _PAIR_OVERHEAD:
            raise InvariantViolationError(f"the value of {key!r} is too large for a snapshot")
        if items and size + pair_size > CHUNK_BYTES:
            yield encode(items), len(items) // 2
            items, size = [], 0
        items.append(key)
        items.append(value)
        size += pair_size
    if items:
        yield encode(items), len(items) // 2


def decode_chunk(chunk: bytes, after: bytes | None) -> list[Pair]:
    """Return the pairs of a chunk, strictly.

    Parameters
    ----------
    chunk : its bytes.
    after : the last key of the chunk before; None for the first chunk.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed`` or ``not_canonical``; ``malformed`` also if the keys do not
        ascend.
    """
    items = decode(chunk, bytes_max=CHUNK_BYTES_MAX, depth_max=1)
    if type(items) is not list or not items or len(items) % 2:
        raise _malformed("must be an array of keys and values")
    keys, values = _byte_strings(items[::2]), _byte_strings(items[1::2])
    previous = after
    for key in keys:
        if previous is not None and key <= previous:
            raise _malformed(f"holds {key!r} after {previous!r}; keys must ascend")
        previous = key
    return list(zip(keys, values, strict=True))


def _byte_strings(items: list[Value]) -> list[bytes]:
    found = [item for item in items if type(item) is bytes]
    if len(found) != len(items):
        raise _malformed("must hold byte strings only")
    return found


def _read_hashes(reader: FieldReader, name: str, count_max: int) -> tuple[bytes, ...]:
    joined = reader.bytes(name, bytes_max=count_max * HASH_BYTES)
    if len(joined) % HASH_BYTES:
        raise InvalidInputError(
            "malformed",
            f"manifest.{name} must be whole hashes of {HASH_BYTES} bytes",
            field=f"manifest.{name}",
            value=len(joined),
        )
    return tuple(joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES))


def _malformed(complaint: str) -> InvalidInputError:
    return InvalidInputError("malformed", f"snapshot chunk {complaint}", field="chunk")


def _bad(complaint: str) -> InvalidInputError:
    return InvalidInputError("bad_manifest", f"the snapshot {complaint}", field="manifest")
