"""The keys of one node, in the clear only in memory.

Key files are read again when they change: a key that is laid beside the present one takes over by
itself as soon as the ledger lists it. Opening an encrypted file takes a moment on purpose, so what
was opened is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from node.home import NodeHome
from node.storage.keystore import load_seed, read_key_file
from primitives.keys import PrivateKey

__all__ = ["NodeKeys"]


class NodeKeys:
    """Opens the key files of a node.

    Parameters
    ----------
    home
        Where they are.
    read_password
        Called with an encrypted key file; returns its password, or raises `InvalidInputError`.
    """

    def __init__(self, home: NodeHome, read_password: Callable[[Path], str]) -> None:
        self._home = home
        self._read_password = read_password
        self._opened: dict[tuple[Path, int], bytes] = {}

    def load_validator_keys(self) -> dict[bytes, PrivateKey]:
        """Return the keys that may sign votes, by public key."""
        keys = [PrivateKey(seed) for seed in self._open(self._home.list_validator_key_files())]
        return {key.public_key: key for key in keys}

    def load_transport_seeds(self) -> dict[bytes, bytes]:
        """Return the seeds of the transport keys by public key, the preferred one first."""
        seeds = self._open(self._home.list_transport_key_files())
        return {PrivateKey(seed).public_key: seed for seed in seeds}

    def load_account_key(self) -> PrivateKey:
        """Return the key of the organisation's account; raises `InvalidInputError` without one."""
        return PrivateKey(self.open(self._home.account_key_file))

    def open(self, path: Path) -> bytes:
        """Return the seed in a key file; raises as :func:`node.storage.keystore.load_seed`."""
        mark = (path, path.stat().st_mtime_ns if path.exists() else 0)
        seed = self._opened.get(mark)
        if seed is None:
            password = self._read_password(path) if read_key_file(path).is_encrypted else None
            seed = self._opened[mark] = load_seed(path, password)
        return seed

    def _open(self, paths: Iterable[Path]) -> list[bytes]:
        return [self.open(path) for path in paths]
