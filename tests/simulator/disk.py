"""One node's disk: what survives a crash of it, and what a bad disk does.

Files keep the bytes that were synced. Of the others a crash leaves nothing, a torn front part, or
pages with holes between them, as chance has it. The final blocks are written in atomic, synced
batches, as LevelDB does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ledger.key_value import MemoryKeyValueStore
from node.storage.file_system import AppendFile

__all__ = ["DiskFaults", "SimulatedFiles", "SimulatedValues"]

Pair = tuple[bytes, bytes]


@dataclass(slots=True)
class DiskFaults:
    """What is wrong with a disk just now, and the effect at which its node dies.

    Parameters
    ----------
    bytes_left : room on the disk; None if there is enough.
    fails_sync : every sync is refused.
    on_effect : called before each thing that is done to the world.
    """

    on_effect: Callable[[], None]
    bytes_left: int | None = None
    fails_sync: bool = False

    def take(self, size: int) -> int:
        """Take room for so many bytes; return how many there is room for."""
        if self.bytes_left is None:
            return size
        taken = min(size, self.bytes_left)
        self.bytes_left -= taken
        return taken

    def check_sync(self) -> None:
        """Refuse to sync if the disk does."""
        if self.fails_sync:
            raise OSError(5, "Input/output error")


@dataclass(slots=True)
class _File:
    """Bytes, how many of them are safe, and where the unsafe writes begin."""

    data: bytearray = field(default_factory=bytearray)
    synced: int = 0
    writes: list[int] = field(default_factory=list)
    # What is on disk while a truncation is not.
    untruncated: bytes | None = None

    def sync(self) -> None:
        """Make all bytes safe."""
        self.synced = len(self.data)
        self.writes.clear()
        self.untruncated = None

    def survive(self, random: Random) -> None:
        """Keep what a crash leaves."""
        if self.untruncated is not None and random.random() < 0.5:
            self.data = bytearray(self.untruncated)
        elif self.synced < len(self.data):
            self._lose_writes(random)
        self.sync()

    def _lose_writes(self, random: Random) -> None:
        choice = random.randrange(4)
        if choice == 0:
            del self.data[self.synced :]
        elif choice == 1:
            del self.data[random.randint(self.synced, len(self.data)) :]
        elif choice == 2:
            ends = [*self.writes[1:], len(self.data)]
            for start, end in zip(self.writes, ends, strict=True):
                if random.random() < 0.5:
                    self.data[start:end] = bytes(end - start)


class _OpenFile:
    """A file that is being written."""

    def __init__(self, file: _File, faults: DiskFaults) -> None:
        self._file = file
        self._faults = faults

    @property
    def size(self) -> int:
        return len(self._file.data)

    def write(self, data: bytes) -> None:
        self._faults.on_effect()
        taken = self._faults.take(len(data))
        self._file.writes.append(len(self._file.data))
        self._file.data += data[:taken]
        if taken < len(data):
            raise OSError(28, "No space left on device")

    def flush(self) -> None:
        pass

    def sync(self) -> None:
        self._faults.on_effect()
        self._faults.check_sync()
        self._file.sync()

    def close(self) -> None:
        pass


class SimulatedFiles:
    """Implements `node.storage.file_system.FileSystem`.

    Parameters
    ----------
    faults : what is wrong with the disk.
    """

    def __init__(self, faults: DiskFaults) -> None:
        self._faults = faults
        self._files: dict[Path, _File] = {}
        # Made or deleted since the last sync of the folder.
        self._unlisted: set[Path] = set()
        self._deleted: dict[Path, _File] = {}

    def make_folder(self, folder: Path) -> None:
        pass

    def list_files(self, folder: Path, suffix: str) -> list[Path]:
        return sorted(
            path for path in self._files if path.parent == folder and path.suffix == suffix
        )

    def read(self, path: Path) -> bytes:
        return bytes(self._files[path].data)

    def create(self, path: Path) -> AppendFile:
        self._faults.on_effect()
        if path in self._files:
            raise FileExistsError(path)
        if self._faults.take(1) < 1:
            raise OSError(28, "No space left on device")
        self._files[path] = _File()
        self._unlisted.add(path)
        return _OpenFile(self._files[path], self._faults)

    def open_end(self, path: Path) -> AppendFile:
        file = _OpenFile(self._files[path], self._faults)
        file.sync()
        return file

    def truncate(self, path: Path, size: int) -> None:
        self._faults.on_effect()
        file = self._files[path]
        file.untruncated = bytes(file.data)
        del file.data[size:]
        file.synced = min(file.synced, size)

    def delete(self, path: Path) -> None:
        self._faults.on_effect()
        self._deleted[path] = self._files.pop(path)

    def sync_folder(self, folder: Path) -> None:
        self._faults.on_effect()
        self._faults.check_sync()
        self._unlisted.clear()
        self._deleted.clear()

    def crash(self, random: Random) -> None:
        """Lose what was not synced, in one of the ways in which disks do."""
        for path in sorted(self._unlisted & self._files.keys()):
            if random.random() < 0.5:
                del self._files[path]
        for path, file in self._deleted.items():
            if path not in self._files and random.random() < 0.5:
                self._files[path] = file
        self._unlisted.clear()
        self._deleted.clear()
        for _, file in sorted(self._files.items()):
            file.survive(random)

    def flip_bit(self, random: Random) -> bool:
        """Change one bit of what was synced; say whether there was any."""
        paths = [path for path, file in sorted(self._files.items()) if file.data]
        if not paths:
            return False
        data = self._files[random.choice(paths)].data
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return True

    def wipe(self) -> None:
        """Lose every file."""
        self._files.clear()

    def copy_bytes(self) -> dict[Path, bytes]:
        """Return what a backup made now holds."""
        return {path: bytes(file.data) for path, file in self._files.items()}

    def restore_bytes(self, backup: dict[Path, bytes]) -> None:
        """Bring a backup back."""
        self._files = {path: _File(bytearray(data), len(data)) for path, data in backup.items()}


class SimulatedValues(MemoryKeyValueStore):
    """A key-value store whose batches are atomic, and lost in a crash unless they were synced."""

    def __init__(self, faults: DiskFaults) -> None:
        super().__init__()
        self._faults = faults
        self._unsynced: list[tuple[list[Pair], list[bytes]]] = []

    def write(self, puts: Sequence[Pair], deletes: Sequence[bytes], sync: bool) -> None:
        self._faults.on_effect()
        size = sum(len(key) + len(value) for key, value in puts)
        if self._faults.take(size) < size:
            raise OSError(28, "No space left on device")
        if sync:
            self._faults.check_sync()
            self._unsynced.clear()
        else:
            self._unsynced.append(self._describe_undo([key for key, _ in puts] + list(deletes)))
        super().write(puts, deletes, sync)

    def crash(self, random: Random) -> None:
        """Lose some of the last batches that were not synced, the youngest first."""
        lost = random.randint(0, len(self._unsynced))
        for _ in range(lost):
            puts, deletes = self._unsynced.pop()
            super().write(puts, deletes, True)
        self._unsynced.clear()

    def fill(self, backup: MemoryKeyValueStore) -> None:
        """Take over everything that a backup holds."""
        super().write(list(backup.iterate()), (), True)

    def _describe_undo(self, keys: Sequence[bytes]) -> tuple[list[Pair], list[bytes]]:
        before = [(key, self.get(key)) for key in keys]
        return (
            [(key, value) for key, value in before if value is not None],
            [key for key, value in before if value is None],
        )
