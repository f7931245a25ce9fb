"""Where a snapshot becomes a ledger: files that survive a kill, and a swap that is all or nothing.

::

    data/snapshot-fetch/manifest         what is being fetched
    data/snapshot-fetch/<hash>.chunk     what is there of it, each file under the hash of its bytes
    data/ledger-scratch/                 sorts hashes while the state is imported
    data/ledger-new/                     the ledger to be
    data/ledger-ready/                   the same once it is complete: a rename, so never half of it
    data/ledger-old/                     the ledger before, for the moment of the swap

Invariants: (G1) until `ledger-ready` is there the old ledger is untouched; (G2) from then on a
start finishes the swap, however often it is interrupted; (G3) a file under a hash is checked
against it whenever it is read.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from ledger.genesis import Genesis
from ledger.layout import chunk_key
from ledger.payload import Payload
from ledger.snapshot import (
    CHUNK_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    Manifest,
    decode_manifest,
    hash_chunk,
)
from ledger.snapshot_export import iterate_payload_ids, iterate_tensor_chunks
from ledger.snapshot_import import finish_import, import_state
from ledger.snapshot_keys import IMPORTED_KEY, kept_envelope_key
from node.snapshots.shelf import write_file
from node.storage.durable_files import make_folder, sync_folder
from node.storage.leveldb import LevelKeyValueStore
from primitives.epoch_end import EpochEnd
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["ImportFolder", "put_ledger_in_place"]

logger = logging.getLogger(__name__)

_FETCH: Final = "snapshot-fetch"
_SCRATCH: Final = "ledger-scratch"
_NEW: Final = "ledger-new"
_READY: Final = "ledger-ready"
_OLD: Final = "ledger-old"

_PAYLOADS_WAITING_MAX: Final = 64


class PayloadStore(Protocol):
    """Where payloads of final blocks are kept."""

    def read(self, transaction_id: bytes) -> Payload | None:
        """Return a payload, or None if it is not held."""

    def write_many(self, payloads: Sequence[tuple[bytes, Payload]]) -> None:
        """Put payloads on disk, durably."""


def put_ledger_in_place(ledger_folder: Path) -> bool:
    """Finish the swap of an imported ledger, if there is one; return whether there was.

    Parameters
    ----------
    ledger_folder
        Where the node's ledger is; nobody has it open.
    """
    data = ledger_folder.parent
    ready, old = data / _READY, data / _OLD
    is_ready = ready.is_dir()
    if is_ready:
        if ledger_folder.is_dir():
            shutil.rmtree(old, ignore_errors=True)
            ledger_folder.rename(old)
        ready.rename(ledger_folder)
        sync_folder(data)
        logger.info("the ledger in %s is the one that was imported", ledger_folder)
    elif old.is_dir() and not ledger_folder.is_dir():
        raise InvariantViolationError(f"{old} is there without a ledger to replace it")
    for name in (_OLD, _SCRATCH, *((_FETCH, _NEW) if is_ready else ())):
        shutil.rmtree(data / name, ignore_errors=True)
    return is_ready


class ImportFolder:
    """One import under way; resumes what an earlier process left.

    Parameters
    ----------
    ledger_folder
        Where the node's ledger is, or will be; its neighbours are used.
    genesis
        Of the chain.
    payloads
        Of final blocks.
    """

    def __init__(self, ledger_folder: Path, genesis: Genesis, payloads: PayloadStore) -> None:
        self._data = ledger_folder.parent
        self._genesis = genesis
        self._payloads = payloads
        self._target: LevelKeyValueStore | None = None
        self._waiting: list[tuple[bytes, Payload]] = []
        self._fetch = self._data / _FETCH
        make_folder(self._fetch)

    def load_manifest(self) -> Manifest | None:
        """Return the manifest of an earlier attempt, or None."""
        try:
            with (self._fetch / "manifest").open("rb") as file:
                return decode_manifest(file.read(MANIFEST_BYTES_MAX + 1))
        except (FileNotFoundError, InvalidInputError):
            return None

    def list_held(self) -> set[bytes]:
        """Return the hashes of the chunks that are on disk; a damaged file is deleted."""
        held = set()
        for path in self._fetch.glob("*.chunk"):
            chunk_hash = bytes.fromhex(path.stem)
            if self._read_chunk(chunk_hash) is not None:
                held.add(chunk_hash)
        return held

    def save_manifest(self, manifest: Manifest) -> None:
        """Remember what is fetched; chunks that are not of it are deleted."""
        write_file(self._fetch / "manifest", manifest.encode())
        wanted = {each.hex() for each in manifest.chunk_hashes}
        for path in self._fetch.glob("*.chunk"):
            if path.stem not in wanted:
                path.unlink()

    def store_chunk(self, chunk_hash: bytes, data: bytes) -> None:
        """Write a chunk; if power is lost, a torn file is found out by its hash."""
        self._chunk_path(chunk_hash).write_bytes(data)

    def find_damaged(self, manifest: Manifest) -> list[bytes]:
        """Return the hashes of chunks that are not on disk although they were stored."""
        return [each for each in manifest.chunk_hashes if self._read_chunk(each) is None]

    def import_state(self, manifest: Manifest) -> None:
        """Make the state of the chunks; nothing happens if an earlier attempt did already.

        Raises
        ------
        InvalidInputError
            As `ledger.snapshot_import.import_state`; what was written is deleted.
        """
        if (self._data / _NEW).is_dir():
            self._target = LevelKeyValueStore(self._data / _NEW)
            if self._target.get(IMPORTED_KEY) == manifest.snapshot_id:
                return
        self.discard_state()
        scratch_folder = self._data / _SCRATCH
        shutil.rmtree(scratch_folder, ignore_errors=True)
        self._target = LevelKeyValueStore(self._data / _NEW)
        scratch = LevelKeyValueStore(scratch_folder)
        try:
            import_state(manifest, self._iterate_chunks(manifest), self._target, scratch)
        except InvalidInputError:
            self.discard_state()
            raise
        finally:
            scratch.close()
            shutil.rmtree(scratch_folder, ignore_errors=True)

    def discard_state(self) -> None:
        """Delete what was imported."""
        if self._target is not None:
            self._target.close()
            self._target = None
        shutil.rmtree(self._data / _NEW, ignore_errors=True)

    def iterate_missing_tensors(self, height: int) -> Iterator[bytes]:
        """Yield the hashes of the chunks of tensors that the state names and are not stored."""
        target = self._require_target()
        for chunk_hash in iterate_tensor_chunks(target, height):
            if target.get(chunk_key(chunk_hash)) is None:
                yield chunk_hash

    def iterate_missing_payloads(self, height: int) -> Iterator[bytes]:
        """Yield the transactions whose payloads the state refers to and are not stored."""
        target = self._require_target()
        for transaction_id in iterate_payload_ids(target, height):
            if (
                target.get(kept_envelope_key(transaction_id)) is None
                or self._payloads.read(transaction_id) is None
            ):
                yield transaction_id

    def store_tensor(self, key: bytes, value: bytes) -> None:
        """Put a chunk of a tensor, or an envelope, into the ledger to be."""
        self._require_target().write([(key, value)], (), sync=False)

    def store_payload(self, transaction_id: bytes, payload: Payload) -> None:
        """Keep a payload; durable with a later one, or at the end."""
        self._waiting.append((transaction_id, payload))
        if len(self._waiting) >= _PAYLOADS_WAITING_MAX:
            self._flush_payloads()

    def finish(self, manifest: Manifest, ends: Sequence[EpochEnd]) -> None:
        """Complete the ledger; the next start puts it in place.

        Parameters
        ----------
        manifest
            That of the import.
        ends
            Of every epoch that is over, verified.
        """
        self._flush_payloads()
        folder = self._data / _NEW
        self._require_target().close()
        # Opened anew, LevelDB has its log in synced tables: the tip will not outlive what it is of.
        self._target = LevelKeyValueStore(folder)
        finish_import(manifest, ends, self._genesis, self._target)
        self.close()
        folder.rename(self._data / _READY)
        sync_folder(self._data)

    def close(self) -> None:
        """Close what is open; everything stays for the next attempt."""
        if self._target is not None:
            self._flush_payloads()
            self._target.close()
            self._target = None

    def _flush_payloads(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._payloads.write_many(waiting)

    def _iterate_chunks(self, manifest: Manifest) -> Iterator[bytes]:
        for chunk_hash in manifest.chunk_hashes:
            yield self._read_chunk(chunk_hash) or b""

    def _read_chunk(self, chunk_hash: bytes) -> bytes | None:
        path = self._chunk_path(chunk_hash)
        try:
            with path.open("rb") as file:
                data = file.read(CHUNK_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        if hash_chunk(data) == chunk_hash:
            return data
        path.unlink()
        return None

    def _chunk_path(self, chunk_hash: bytes) -> Path:
        return self._fetch / f"{chunk_hash.hex()}.chunk"

    def _require_target(self) -> LevelKeyValueStore:
        if self._target is None:
            raise InvariantViolationError("no state was imported")
        return self._target
