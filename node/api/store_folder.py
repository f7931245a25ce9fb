"""The folder of the follower's read store, in which a new store can replace the old one.

A snapshot from the node fills a new store beside the current one, so that reads go on meanwhile
and a process that dies half way finds the old store whole. ``current`` names the store in use and
is replaced in one step.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ledger.key_value import KeyValueStore

__all__ = ["OpenStore", "StoreFolder"]

OpenStore = Callable[[Path], KeyValueStore]

_POINTER = "current"
_PREFIX = "store-"


class StoreFolder:
    """Opens, fills and replaces the read store.

    Parameters
    ----------
    folder
        Belongs to this process alone; made if it does not exist.
    open_store
        Opens, or makes, the key-value store in a folder.
    """

    def __init__(self, folder: Path, open_store: OpenStore) -> None:
        self._folder = folder
        self._open_store = open_store
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder

    def open_current(self) -> KeyValueStore | None:
        """Open the store in use and remove what replacements left behind; None at first start."""
        name = self._read_pointer()
        self._remove_all_but({name} if name else set())
        if name is None:
            return None
        return self._open_store(self._folder / name)

    def open_incoming(self) -> tuple[str, KeyValueStore]:
        """Open an empty store beside the current one; return its name with it.

        The store that the current one replaced, and any that was never adopted, are removed: only
        now, because requests may have been reading the former for a while.
        """
        current = self._read_pointer()
        self._remove_all_but({current} if current else set())
        number = 1 + (int(current.removeprefix(_PREFIX)) if current else 0)
        name = f"{_PREFIX}{number:06d}"
        return name, self._open_store(self._folder / name)

    def adopt(self, name: str) -> None:
        """Make the named store the one in use."""
        written = self._folder / f"{_POINTER}.new"
        written.write_text(name, encoding="ascii")
        written.replace(self._folder / _POINTER)

    def _read_pointer(self) -> str | None:
        """Return the name of the store in use; a pointer that names none is as good as none."""
        try:
            name = (self._folder / _POINTER).read_text(encoding="ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        is_store = name.startswith(_PREFIX) and name.removeprefix(_PREFIX).isdigit()
        return name if is_store and (self._folder / name).is_dir() else None

    def _remove_all_but(self, kept: set[str]) -> None:
        for path in self._folder.glob(f"{_PREFIX}*"):
            if path.name not in kept:
                shutil.rmtree(path)
