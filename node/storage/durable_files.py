"""Writing so that it survives a loss of power: whole buffers, and folders that know their files."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["create_private_file", "make_folder", "sync_folder", "write_at"]


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at an offset and return once it is on disk."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written
    os.fdatasync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the creation, renaming or deletion of files in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter, and those above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def create_private_file(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone can read, durably; leave none behind if that fails.

    Raises
    ------
    FileExistsError
        Nothing is written over.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise
    sync_folder(path.parent)
