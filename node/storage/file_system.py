"""The few things that a log asks of a disk, as a protocol, and the disk of this machine.

The simulator has a disk of its own behind the same protocol, which loses, tears and refuses what a
real one may, so that the log that runs there is the one that runs here. What a file system promises
is no more than this: bytes survive once `AppendFile.sync` has returned, and a file's being there,
or being gone, once `FileSystem.sync_folder` has.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from node.storage.durable_files import make_folder, sync_folder

__all__ = ["AppendFile", "FileSystem", "LocalFileSystem"]


class AppendFile(Protocol):
    """A file that is written at its end."""

    @property
    def size(self) -> int:
        """Bytes in the file, those not handed to the system yet included."""
        ...

    def write(self, data: bytes) -> None:
        """Append bytes; raises ``OSError`` if the disk refuses."""
        ...

    def flush(self) -> None:
        """Hand what was written to the system, so that it can be read back."""
        ...

    def sync(self) -> None:
        """Return once everything written survives a loss of power."""
        ...

    def close(self) -> None:
        """Give the file back, without a sync."""
        ...


class FileSystem(Protocol):
    """What a log needs of a disk."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, durably; nothing happens if it is there."""
        ...

    def list_files(self, folder: Path, suffix: str) -> list[Path]:
        """Return the files of a folder whose names end so, in the order of their names."""
        ...

    def read(self, path: Path) -> bytes:
        """Return all bytes of a file."""
        ...

    def create(self, path: Path) -> AppendFile:
        """Make a file that is not there yet."""
        ...

    def open_end(self, path: Path) -> AppendFile:
        """Open a file to append to it; what it holds already is on disk on return."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file off."""
        ...

    def delete(self, path: Path) -> None:
        """Delete a file."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Make the creation and deletion of a folder's files durable."""
        ...


class _LocalFile:
    """A file of this machine."""

    def __init__(self, path: Path, mode: str) -> None:
        self._file = path.open(mode)
        self._size = self._file.tell()

    @property
    def size(self) -> int:
        """Bytes in the file, those not handed to the system yet included."""
        return self._size

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._size += len(data)

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def sync(self) -> None:
        """Return once everything written survives a loss of power."""
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class LocalFileSystem:
    """The disk of this machine."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder that only its owner can enter, and those above it, durably."""
        make_folder(folder)

    def list_files(self, folder: Path, suffix: str) -> list[Path]:
        """Return the files of a folder whose names end so, in the order of their names."""
        return sorted(folder.glob(f"*{suffix}"))

    def read(self, path: Path) -> bytes:
        """Return all bytes of a file."""
        return path.read_bytes()

    def create(self, path: Path) -> AppendFile:
        """Make a file that is not there yet."""
        return _LocalFile(path, "xb")

    def open_end(self, path: Path) -> AppendFile:
        """Open a file to append to it; what it holds already is on disk on return."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return _LocalFile(path, "ab")

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file off."""
        os.truncate(path, size)

    def delete(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Make the creation and deletion of a folder's files durable."""
        sync_folder(folder)
