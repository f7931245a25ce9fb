"""One process for each home: two nodes with one key would sign against each other."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from primitives.errors import InvalidInputError

__all__ = ["HomeLock"]


class HomeLock:
    """Holds a node's folder for this process; the kernel gives it back however the process ends.

    Parameters
    ----------
    root
        The folder of the node.

    Raises
    ------
    InvalidInputError
        ``home_in_use``: another process holds it; the message says which.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "lock"
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise InvalidInputError(
                "home_in_use",
                f"{self._path.parent} is in use by process {holder or 'unknown'}; two nodes must"
                " never share a key",
                field="home",
                value=str(self._path.parent),
            ) from error
        os.truncate(self._descriptor, 0)
        os.write(self._descriptor, str(os.getpid()).encode("ascii"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
