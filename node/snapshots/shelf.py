"""The folder in which a node keeps its snapshots, each in a folder of its own.

::

    0000000000012000/manifest           encoded manifest
    0000000000012000/00000000.chunk     its chunks
    0000000000012000.new/               being made; whatever a crash left of one is deleted

A folder gets its final name only when everything in it is on disk, so what has such a name is
whole. What the disk has damaged since is noticed when it is read, and the snapshot is taken off
the shelf: handing on damaged chunks would look like lying.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ledger.snapshot import MANIFEST_BYTES_MAX, Manifest, decode_manifest, hash_chunk
from node.storage.durable_files import make_folder, sync_folder
from primitives.errors import InvalidInputError

__all__ = ["SNAPSHOTS_KEPT", "SnapshotShelf", "chunk_file_name", "write_file"]

logger = logging.getLogger(__name__)

SNAPSHOTS_KEPT: Final = 2
"""Who fetches the older one can go on while the newer one is made and after."""

_NAME: Final = re.compile(r"[0-9]{16}")
_MANIFEST: Final = "manifest"


def chunk_file_name(number: int) -> str:
    """Return the name of a chunk's file."""
    return f"{number:08d}.chunk"


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file and return once its bytes are on disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fdatasync(file.fileno())


class SnapshotShelf:
    """Snapshots on disk; one thread puts them there, any thread reads.

    Parameters
    ----------
    folder
        Made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder
        self._manifests: dict[bytes, tuple[Manifest, Path]] = {}
        for path in sorted(folder.iterdir()):
            if _NAME.fullmatch(path.name):
                self._load(path)
            else:
                _delete(path)
        self._drop_old()

    @property
    def newest(self) -> Manifest | None:
        """The newest snapshot, or None."""
        manifests = [manifest for manifest, _ in self._manifests.copy().values()]
        return max(manifests, key=lambda manifest: manifest.height, default=None)

    def put(
        self,
        height: int,
        chunks: Iterable[tuple[bytes, int]],
        finish: Callable[[list[tuple[bytes, int]], int], Manifest],
    ) -> Manifest:
        """Write a snapshot, durably, and take those off that are too many.

        Parameters
        ----------
        height
            After which block.
        chunks
            Chunks and how many keys each holds; one is in memory at a time.
        finish
            Makes the manifest of hash and length of each chunk, and the number of keys.

        Raises
        ------
        OSError
            The disk did not take it; the shelf is as it was.
        """
        path = self._folder / f"{height:016d}"
        new = path.with_suffix(".new")
        _delete(new)
        make_folder(new)
        try:
            listed: list[tuple[bytes, int]] = []
            key_count = 0
            for number, (chunk, count) in enumerate(chunks):
                write_file(new / chunk_file_name(number), chunk)
                listed.append((hash_chunk(chunk), len(chunk)))
                key_count += count
            manifest = finish(listed, key_count)
            write_file(new / _MANIFEST, manifest.encode())
            sync_folder(new)
            _delete(path)
            new.rename(path)
        except BaseException:
            _delete(new)
            raise
        sync_folder(self._folder)
        self._manifests[manifest.snapshot_id] = (manifest, path)
        self._drop_old()
        return manifest

    def read_chunk(self, snapshot_id: bytes, number: int) -> bytes | None:
        """Return a chunk, or None if it is not held or the disk has damaged it."""
        found = self._manifests.get(snapshot_id)
        if found is None or number >= len(found[0].chunk_hashes):
            return None
        manifest, path = found
        try:
            chunk = (path / chunk_file_name(number)).read_bytes()
        except FileNotFoundError:
            return None
        if hash_chunk(chunk) == manifest.chunk_hashes[number]:
            return chunk
        logger.error("chunk %d of the snapshot in %s does not read back", number, path)
        self._take_off(snapshot_id)
        return None

    def _load(self, path: Path) -> None:
        try:
            with (path / _MANIFEST).open("rb") as file:
                manifest = decode_manifest(file.read(MANIFEST_BYTES_MAX + 1))
        except (OSError, InvalidInputError) as error:
            logger.error("the snapshot in %s does not read back: %s", path, error)
            _delete(path)
            return
        self._manifests[manifest.snapshot_id] = (manifest, path)

    def _drop_old(self) -> None:
        by_height = sorted(self._manifests.items(), key=lambda item: item[1][0].height)
        for snapshot_id, _ in by_height[:-SNAPSHOTS_KEPT]:
            self._take_off(snapshot_id)

    def _take_off(self, snapshot_id: bytes) -> None:
        found = self._manifests.pop(snapshot_id, None)
        if found is not None:
            _delete(found[1])


def _delete(path: Path) -> None:
    """Delete a folder or a file with all that is in it, whether it is there or not."""
    if path.is_dir():
        # The manifest goes first: a folder that is half gone must not look whole.
        (path / _MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
