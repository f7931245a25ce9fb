"""What survives a crash of one node: synced records of the log, and blocks that were made final."""

from __future__ import annotations

from dataclasses import dataclass, field

from consensus.messages import Block
from primitives.certificates import Certificate

__all__ = ["SimulatedDisk", "StoredBlock"]


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A final block, the state root after it, and its own commit certificate if it has one."""

    block: Block
    state_root: bytes
    certificate: Certificate | None


@dataclass(slots=True)
class SimulatedDisk:
    """One node's disk.

    Appended records are lost in a crash until they are synced; a block is written whole or not.
    """

    blocks: list[StoredBlock] = field(default_factory=list)
    _synced: list[tuple[bytes, int]] = field(default_factory=list)
    _pending: list[tuple[bytes, int]] = field(default_factory=list)

    @property
    def records(self) -> list[bytes]:
        """Every record that would be found after a crash now."""
        return [record for record, _ in self._synced]

    def append(self, record: bytes, view: int) -> None:
        """Append a record to the log."""
        self._pending.append((record, view))

    def sync(self) -> None:
        """Make what was appended survive."""
        self._synced += self._pending
        self._pending.clear()

    def lose_unsynced(self, kept: int) -> None:
        """Crash: of what was appended since the last sync, the first ``kept`` happen to survive."""
        self._synced += self._pending[:kept]
        self._pending.clear()

    def prune(self, below_view: int) -> None:
        """Drop records of lower views."""
        self._synced = [each for each in self._synced if each[1] >= below_view]
