"""Reads a whole version of the state out of the store, in the order of its keys, and lazily.

The store is versioned, so what is read stays the state after one block however far the chain goes
on meanwhile. Source: docs/spec/snapshots.md §2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ledger.campaign_records import CAMPAIGN_PREFIX, decode_campaign
from ledger.contribution_records import decode_contribution
from ledger.exchange_records import EXCHANGE_PIECES_PREFIX, decode_exchange_pieces
from ledger.hidden_pieces import HiddenPieces
from ledger.key_value import KeyValueReader
from ledger.layout import (
    split_versioned_key,
    versioned_key,
    versioned_prefix_range,
    versioned_range,
)
from ledger.model_tensors import ModelTensors, decode_model_tensors
from ledger.model_uploads import UPLOAD_PREFIX, decode_upload
from ledger.model_validation import VALIDATION_PREFIX, decode_validation
from ledger.model_versions import PINNED_PREFIX, decode_pinned_version
from ledger.stored_records import decode_own

__all__ = [
    "iterate_descriptors",
    "iterate_payload_ids",
    "iterate_state",
    "iterate_tensor_chunks",
]

_STEPS_MAX: Final = 16
"""Versions of one key that are stepped over one by one; beyond, seeking is cheaper."""

_REMOVED: Final = 0
_TENSORS: Final = b"tensor/"
_CONTRIBUTIONS: Final = b"contribution/"

Pair = tuple[bytes, bytes]


def iterate_state(values: KeyValueReader, height: int, prefix: bytes = b"") -> Iterator[Pair]:
    """Yield the state keys after a block and their values, ascending.

    Parameters
    ----------
    values : the store; it may be written to meanwhile.
    height : of a final block whose state was not pruned.
    prefix : only keys that start with it.
    """
    low, stop = versioned_prefix_range(prefix)
    while True:
        for pair, seek in _step(values, height, low, stop):
            if pair is not None:
                yield pair
            if seek is not None:
                low = seek
                break
        else:
            return


def _step(
    values: KeyValueReader, height: int, low: bytes, stop: bytes
) -> Iterator[tuple[Pair | None, bytes | None]]:
    """Yield pairs in order, and where to go on as soon as stepping on would be a waste."""
    current: bytes | None = None
    is_settled = False
    steps = 0
    for stored, value in values.iterate(low, stop):
        key, version = split_versioned_key(stored)
        if key != current:
            current, is_settled, steps = key, False, 0
        steps += 1
        if not is_settled and version <= height:
            is_settled = True
            if value[0] != _REMOVED:
                yield (key, value[1:]), None
        elif steps > _STEPS_MAX:
            # Versions come newest first: above the height, or below what was found.
            yield None, versioned_range(key)[1] if is_settled else versioned_key(key, height)


def iterate_tensor_chunks(values: KeyValueReader, height: int) -> Iterator[bytes]:
    """Yield the hash of every chunk that the state refers to, with repetitions."""
    for tensors in iterate_descriptors(values, height):
        for tensor in tensors.tensors:
            yield from tensor.chunks


def iterate_descriptors(values: KeyValueReader, height: int) -> Iterator[ModelTensors]:
    """Yield the current parameters of every model, and those of every pinned version."""
    for _, value in iterate_state(values, height, _TENSORS):
        yield decode_own(value, decode_model_tensors)
    for _, value in iterate_state(values, height, PINNED_PREFIX):
        yield decode_own(value, decode_pinned_version).tensors


def iterate_payload_ids(values: KeyValueReader, height: int) -> Iterator[bytes]:
    """Yield the transactions whose payloads the state refers to: execution may read them again."""
    for _, value in iterate_state(values, height, _CONTRIBUTIONS):
        yield decode_own(value, decode_contribution).transaction_id
    for _, value in iterate_state(values, height, UPLOAD_PREFIX):
        for part in decode_own(value, decode_upload).parts:
            yield part.transaction_id
    for _, value in iterate_state(values, height, VALIDATION_PREFIX):
        for piece in decode_own(value, decode_validation).pieces:
            if piece.transaction_id is not None:
                yield piece.transaction_id
    for pieces in _iterate_hidden_pieces(values, height):
        for hidden in pieces.pieces:
            if hidden.transaction_id is not None:
                yield hidden.transaction_id


def _iterate_hidden_pieces(values: KeyValueReader, height: int) -> Iterator[HiddenPieces]:
    """Yield the test data of exchanges and campaigns."""
    for _, value in iterate_state(values, height, EXCHANGE_PIECES_PREFIX):
        yield decode_own(value, decode_exchange_pieces).hidden
    for _, value in iterate_state(values, height, CAMPAIGN_PREFIX):
        yield decode_own(value, decode_campaign).pieces
