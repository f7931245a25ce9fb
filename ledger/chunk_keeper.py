"""Which chunks of tensors are kept: a count for each, and versions that are let go.

A chunk is kept as long as something refers to it: a stored version or a pinned one. The parameters
of a model's newest versions are all stored. Once a version was superseded long enough ago, its
parameters go, unless they are a *checkpoint*: a version whose number is a multiple of the model's
``checkpoint_interval``, or one that anything but contributions made. What went can be computed
again from the checkpoint before and the contributions since (ledger/version_replay.py). The oldest
checkpoints go too where the model keeps only its newest versions. In a store that began with a
snapshot, the version in force there is a checkpoint as well: nothing before it is stored.

All of this is about one store and no part of the state: two validators may keep different chunks.
Source: docs/spec/ledger.md §11.1.

Invariants
----------
1. The count of a chunk is how often the stored and pinned versions refer to it.
2. A chunk whose count is 0 is not stored.
3. A version that some unfinal block can still ask for is never let go: pins are state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from ledger.executed_block import ExecutedBlock
from ledger.key_value import KeyValueReader, WriteBatch
from ledger.layout import chunk_count_key, chunk_key, release_key, release_range, split_release_key
from ledger.model_records import Model, decode_model, model_key
from ledger.model_tensors import (
    ORIGINS,
    ModelTensors,
    ModelVersion,
    decode_model_tensors,
    decode_model_version,
    model_version_key,
    tensors_key,
)
from ledger.model_versions import PINNED_PREFIX, PinnedVersion, decode_pinned_version
from ledger.reader import LedgerReader

__all__ = ["RELEASES_PER_BLOCK", "RELEASE_LAG", "ChunkKeeper", "count_all", "is_checkpoint"]

RELEASE_LAG: Final = 25_000
"""Heights for which the parameters of every version stay stored: longer than snapshots of that
height are offered to those who join."""

RELEASES_PER_BLOCK: Final = 64
"""Versions that one block lets go of at most; what is left goes with the next ones."""

_COUNT_BYTES: Final = 8
"""All the zeros of all the models are one chunk: 2^32 references to it are a matter of days."""

_CONTRIBUTED: Final = ORIGINS.index("contributed")


def is_checkpoint(version: int, origin: int, interval: int) -> bool:
    """Say whether the parameters of a version are stored for good."""
    return version % interval == 0 or origin != _CONTRIBUTED


class ChunkKeeper:
    """Counts references to chunks as blocks become final, and lets go what nobody refers to.

    Parameters
    ----------
    reader : of the store.
    values : the store itself.
    lag : heights for which every version stays stored.
    """

    def __init__(self, reader: LedgerReader, values: KeyValueReader, lag: int) -> None:
        self._reader = reader
        self._values = values
        self._lag = lag

    def plan(self, block: ExecutedBlock) -> WriteBatch:
        """Return what a block changes about the counts; to be written together with the block."""
        changes: Counter[bytes] = Counter()
        puts: list[tuple[bytes, bytes]] = []
        for key, record in block.records.items():
            if isinstance(record, ModelTensors):
                changes.update(_chunks_of(record))
                puts.extend(self._supersede(key, record, block))
            elif key.startswith(PINNED_PREFIX):
                changes.update(self._change_pin(key, record))
        deletes: list[bytes] = []
        start, stop = release_range(block.height - self._lag)
        for number, (key, _) in enumerate(self._values.iterate(start, stop)):
            if number == RELEASES_PER_BLOCK:
                break
            deletes.append(key)
            name, version = split_release_key(key)
            tensors = self._read_tensors(name, version)
            if tensors is not None:
                changes.subtract(_chunks_of(tensors))
        more, gone = self._apply(changes, block)
        return WriteBatch([*puts, *more], [*deletes, *gone])

    def _supersede(
        self, key: bytes, tensors: ModelTensors, block: ExecutedBlock
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return which versions are to be let go, some time after a new one was made."""
        name = key[len(tensors_key("")) :].decode()
        model = block.records.get(model_key(name)) or self._reader.read(
            model_key(name), decode_model
        )
        if not isinstance(model, Model) or tensors.version == 0:
            return
        policies = model.description.policies
        interval, kept = policies.checkpoint_interval, policies.versions_kept
        before = self._read_version(name, tensors.version - 1)
        if before is not None and not self._is_kept(tensors.version - 1, before, interval):
            yield release_key(block.height, name, tensors.version - 1), b""
        retired = tensors.version - kept - interval
        if kept and retired >= 0:
            old = self._read_version(name, retired)
            if old is not None and self._is_kept(retired, old, interval):
                yield release_key(block.height, name, retired), b""

    def _is_kept(self, version: int, record: ModelVersion, interval: int) -> bool:
        """Say whether a version that was superseded stays stored in this store."""
        # One made at or below the base and superseded above it was in force in the snapshot.
        return is_checkpoint(version, record.origin, interval) or (
            record.height <= self._reader.base_height()
        )

    def _change_pin(self, key: bytes, record: object) -> Counter[bytes]:
        """Return what a new pin adds, or one that is taken away subtracts."""
        before = self._reader.read(key, decode_pinned_version)
        changes: Counter[bytes] = Counter()
        if isinstance(record, PinnedVersion) and before is None:
            changes.update(_chunks_of(record.tensors))
        elif record is None and before is not None:
            changes.subtract(_chunks_of(before.tensors))
        return changes

    def _apply(
        self, changes: Counter[bytes], block: ExecutedBlock
    ) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        puts, deletes = [], []
        for chunk_hash, change in changes.items():
            if not change:
                continue
            key = chunk_count_key(chunk_hash)
            count = _read_count(self._values, key) + change
            if count > 0:
                puts.append((key, count.to_bytes(_COUNT_BYTES, "big")))
            else:
                deletes.append(key)
                if chunk_hash not in block.chunks:
                    deletes.append(chunk_key(chunk_hash))
        return puts, deletes

    def _read_version(self, name: str, version: int) -> ModelVersion | None:
        return self._reader.read(model_version_key(name, version), decode_model_version)

    def _read_tensors(self, name: str, version: int) -> ModelTensors | None:
        """Return the descriptor of a version, or None if it went before the store began."""
        record = self._read_version(name, version)
        if record is None:
            return None
        height = max(record.height, self._reader.base_height())
        tensors = self._reader.read(tensors_key(name), decode_model_tensors, height)
        return tensors if tensors is not None and tensors.version == version else None


def count_all(descriptors: Iterable[ModelTensors]) -> list[tuple[bytes, bytes]]:
    """Return the counts of a store that begins with these descriptors, from a snapshot."""
    counts: Counter[bytes] = Counter()
    for tensors in descriptors:
        counts.update(_chunks_of(tensors))
    return [
        (chunk_count_key(chunk_hash), count.to_bytes(_COUNT_BYTES, "big"))
        for chunk_hash, count in counts.items()
    ]


def _chunks_of(tensors: ModelTensors) -> Counter[bytes]:
    return Counter(chunk for tensor in tensors.tensors for chunk in tensor.chunks)


def _read_count(values: KeyValueReader, key: bytes) -> int:
    data = values.get(key)
    return 0 if data is None else int.from_bytes(data, "big")
