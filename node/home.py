"""The folder of one node: where its configuration, keys and data lie.

Everything that a node reads or writes is below one folder, so that it can be mounted, backed up
and moved as a whole. Nothing here opens a file; it only names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["NodeHome"]


@dataclass(frozen=True, slots=True)
class NodeHome:
    """Names of the files and folders of one node.

    Parameters
    ----------
    root
        The node's folder.

    Notes
    -----
    ``config/`` is written once, by ``quorate init``; ``keys/`` holds secrets (mode 0600); ``data/``
    is written by the node process alone and ``api/`` by its API process alone: LevelDB admits one
    process (docs/adr/0004).
    """

    root: Path

    @property
    def config_file(self) -> Path:
        """Settings of this node, TOML."""
        return self.root / "config" / "node.toml"

    @property
    def genesis_file(self) -> Path:
        """The genesis of the network, JSON, the same at every member."""
        return self.root / "config" / "genesis.json"

    @property
    def validator_key_file(self) -> Path:
        """The key that signs votes."""
        return self.root / "keys" / "validator.json"

    def list_validator_key_files(self) -> list[Path]:
        """Return the files of all keys that may sign votes: the present one and those to come.

        A key that the ledger does not list signs nothing, so the next one is simply laid beside.
        """
        return sorted(self.validator_key_file.parent.glob("validator*.json"))

    @property
    def transport_key_file(self) -> Path:
        """The key that proves this node's identity to its peers."""
        return self.root / "keys" / "transport.json"

    def list_transport_key_files(self) -> list[Path]:
        """Return the files of all transport keys, the first one first; the listed one is used."""
        first = self.transport_key_file
        others = sorted(path for path in first.parent.glob("transport*.json") if path != first)
        return [first, *others]

    @property
    def invite_file(self) -> Path:
        """The invite with which this node joined."""
        return self.root / "config" / "invite.txt"

    @property
    def account_key_file(self) -> Path:
        """The key of the organisation's own account."""
        return self.root / "keys" / "account.json"

    @property
    def ledger_folder(self) -> Path:
        """LevelDB of the node process."""
        return self.root / "data" / "ledger"

    @property
    def wal_folder(self) -> Path:
        """Write-ahead log of consensus."""
        return self.root / "data" / "wal"

    @property
    def payload_folder(self) -> Path:
        """Erasable payloads, each under a key of its own."""
        return self.root / "data" / "payloads"

    @property
    def snapshot_folder(self) -> Path:
        """Snapshots that this node serves."""
        return self.root / "data" / "snapshots"

    @property
    def api_folder(self) -> Path:
        """Read store of the API process."""
        return self.root / "api"

    @property
    def log_file(self) -> Path:
        """Where ``quorate devnet`` sends what this node prints."""
        return self.root / "node.log"
