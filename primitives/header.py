"""The block header: what a proposer signs and validators agree on.

It holds nothing that the proposer would have to execute: state and receipts roots are certified by
the COMMIT votes and by the next state. The one result that it does name, the next validator set,
was fixed some blocks before. Source: docs/spec/encoding.md §7.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from primitives.codec import decode, encode
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES, ZERO_HASH, Tag, tagged_hash
from primitives.validator_set import VALIDATORS_MAX

__all__ = [
    "HEADER_BYTES_MAX",
    "PROTOCOL_VERSION",
    "PROTOCOL_VERSION_MAX",
    "BlockHeader",
    "decode_header",
]

PROTOCOL_VERSION = 1
"""That a chain starts with."""

PROTOCOL_VERSION_MAX = 1
"""The newest one that this software knows; validators vote on when blocks follow it."""

HEADER_BYTES_MAX = 224
"""Larger than any header can be: 4 hashes, 6 integers of at most 9 bytes, one small index."""

_FIELD_COUNT = 11
_PROTOCOL_VERSION_MAX = 2**16 - 1


@dataclass(frozen=True)
class BlockHeader:
    """One block's place in the chain, and the root of its body.

    Parameters
    ----------
    protocol_version : rules by which the block is to be read, 1 to 65,535.
    chain_id : the genesis hash, 32 bytes.
    epoch : which validator set decides, ≥ 0.
    height : position in the chain; genesis is 0.
    view : the leader's attempt in which the block was proposed; genesis is 0.
    parent_id : `block_id` of the parent, or zeros for genesis.
    parent_view : view of the parent.
    timestamp_ms : proposer's time, milliseconds since 1970, UTC.
    proposer : validator index.
    body_root : Merkle root over the transaction ids, 32 bytes.
    next_validators_hash : in the last block of an epoch the hash of the validator set that decides
        the next one, so that a chain of such headers leads from genesis to any set; else zeros.

    Notes
    -----
    Ranges are checked where bytes come in (`decode_header`). How the fields of a block must relate
    to those of its parent is a rule of consensus and of the ledger.
    """

    protocol_version: int
    chain_id: bytes
    epoch: int
    height: int
    view: int
    parent_id: bytes
    parent_view: int
    timestamp_ms: int
    proposer: int
    body_root: bytes
    next_validators_hash: bytes = ZERO_HASH

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return self._encoded

    @cached_property
    def block_id(self) -> bytes:
        """Identify the block, 32 bytes."""
        return tagged_hash(Tag.BLOCK_HEADER, self._encoded)

    @cached_property
    def _encoded(self) -> bytes:
        return encode(
            (
                self.protocol_version,
                self.chain_id,
                self.epoch,
                self.height,
                self.view,
                self.parent_id,
                self.parent_view,
                self.timestamp_ms,
                self.proposer,
                self.body_root,
                self.next_validators_hash,
            )
        )


def decode_header(data: bytes) -> BlockHeader:
    """Return the header whose canonical bytes are `data`.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    reader = FieldReader(decode(data, bytes_max=HEADER_BYTES_MAX), "header", _FIELD_COUNT)
    header = BlockHeader(
        protocol_version=reader.integer("protocol_version", 1, _PROTOCOL_VERSION_MAX),
        chain_id=reader.bytes("chain_id", HASH_BYTES),
        epoch=reader.counter("epoch"),
        height=reader.counter("height"),
        view=reader.counter("view"),
        parent_id=reader.bytes("parent_id", HASH_BYTES),
        parent_view=reader.counter("parent_view"),
        timestamp_ms=reader.counter("timestamp_ms"),
        proposer=reader.integer("proposer", 0, VALIDATORS_MAX - 1),
        body_root=reader.bytes("body_root", HASH_BYTES),
        next_validators_hash=reader.bytes("next_validators_hash", HASH_BYTES),
    )
    reader.end()
    return header
