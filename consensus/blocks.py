"""The unfinal blocks, as a tree that hangs from the last final one.

What is kept: at most one uncertified proposal per view that this validator has not prepared (and
those only for a few views), blocks that it has prepared (at most ``held_blocks_max`` non-empty
ones) and blocks that certificates name (at most K non-empty ones on a branch). Empty blocks are
small and, beyond K, come at the pace of timeouts. Source: docs/spec/consensus.md §5.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from consensus.messages import PrePrepare
from primitives.header import BlockHeader

__all__ = ["UNPREPARED_VIEWS_MAX", "BlockEntry", "BlockTree", "Judgement"]

UNPREPARED_VIEWS_MAX = 8
"""Views for which a proposal that was neither prepared here nor certified is kept."""


class Judgement(Enum):
    """Where a block stands with the driver."""

    UNKNOWN = "unknown"
    ASKED = "asked"
    VALID = "valid"


@dataclass(slots=True)
class BlockEntry:
    """One unfinal block.

    Parameters
    ----------
    pre_prepare : the block, and the certificates it came with.
    source : peer that gave it; None if it is our own or from the write-ahead log.
    judgement : the driver's.
    certified : a quorum has prepared the block or a descendant of it.
    prepared_here : this validator has signed a PREPARE for it.
    durable : a record in the write-ahead log holds it.
    execution_requested : ``ExecuteBlock`` has been emitted.
    state_root : the root after executing it, once known.
    retry_at_ms : not to be judged again before.
    """

    pre_prepare: PrePrepare
    source: int | None = None
    judgement: Judgement = Judgement.UNKNOWN
    certified: bool = False
    prepared_here: bool = False
    durable: bool = False
    execution_requested: bool = False
    state_root: bytes | None = None
    retry_at_ms: int = 0

    @property
    def header(self) -> BlockHeader:
        """The block's header."""
        return self.pre_prepare.header


class BlockTree:
    """Unfinal blocks by id.

    Parameters
    ----------
    final : header of the last final block.
    empty_body_root : tells which blocks are empty.
    """

    def __init__(self, final: BlockHeader, empty_body_root: bytes) -> None:
        self.final = final
        self._empty_body_root = empty_body_root
        self._entries: dict[bytes, BlockEntry] = {}
        # Blocks of which execution has not been requested, in order of arrival.
        self.unsettled: dict[bytes, BlockEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, block_id: bytes) -> BlockEntry | None:
        """Return an unfinal block, if it is here."""
        return self._entries.get(block_id)

    def is_final_tip(self, block_id: bytes) -> bool:
        """Say whether a block is the last final one."""
        return block_id == self.final.block_id

    def is_empty(self, header: BlockHeader) -> bool:
        """Say whether a block holds no transactions."""
        return header.body_root == self._empty_body_root

    def find_header(self, block_id: bytes) -> BlockHeader | None:
        """Return the header of an unfinal block or of the last final one."""
        if self.is_final_tip(block_id):
            return self.final
        entry = self._entries.get(block_id)
        return None if entry is None else entry.header

    def insert(self, entry: BlockEntry) -> None:
        """Add a block that is not here yet and not being executed."""
        block_id = entry.header.block_id
        self._entries[block_id] = entry
        self.unsettled[block_id] = entry
        if entry.certified or self._has_certified_child(block_id):
            self.mark_certified(block_id)

    def remove(self, block_id: bytes) -> None:
        """Forget a block that is here."""
        del self._entries[block_id]
        self.unsettled.pop(block_id, None)

    def mark_certified(self, block_id: bytes) -> None:
        """Note that a quorum has prepared a block, and so, before, each of its ancestors.

        Keeps the invariant that the ancestors of a certified block, as far as they are here, are
        marked too; that is why the walk may end at the first one that is.
        """
        entry = self._entries.get(block_id)
        while entry is not None:
            entry.certified = True
            parent = self._entries.get(entry.header.parent_id)
            entry = None if parent is None or parent.certified else parent

    def find_missing(self, block_id: bytes) -> bytes | None:
        """Return the id of the nearest block between this one and the final tip that is not here.

        None if there is no such block, or if the branch does not lead to the final tip.
        """
        while not self.is_final_tip(block_id):
            entry = self._entries.get(block_id)
            if entry is None:
                return block_id
            if entry.header.height <= self.final.height + 1 and not self.is_final_tip(
                entry.header.parent_id
            ):
                return None
            block_id = entry.header.parent_id
        return None

    def get_chain(self, block_id: bytes) -> list[BlockEntry] | None:
        """Return the blocks above the final tip up to this one, ascending; None if one is missing.

        Empty for the final tip itself.
        """
        chain: list[BlockEntry] = []
        while not self.is_final_tip(block_id):
            entry = self._entries.get(block_id)
            if entry is None:
                return None
            chain.append(entry)
            block_id = entry.header.parent_id
        chain.reverse()
        return chain

    def count_non_empty(self, chain: list[BlockEntry]) -> int:
        """Return how many blocks of a chain hold transactions."""
        return sum(not self.is_empty(entry.header) for entry in chain)

    def count_held(self) -> int:
        """Return how many non-empty unfinal blocks this validator has prepared."""
        return self.count_non_empty([each for each in self._entries.values() if each.prepared_here])

    def finalize(self, chain: list[BlockEntry]) -> tuple[bytes, ...]:
        """Make the last block of a chain the final tip.

        Returns
        -------
        tuple of bytes
            Ids of the blocks that can never be final any more, ascending by arrival.
        """
        for entry in chain:
            self.remove(entry.header.block_id)
        self.final = chain[-1].header
        kept = {self.final.block_id}
        dead: list[bytes] = []
        # A block has a higher view than its parent, so parents are decided before their children.
        for block_id, entry in sorted(self._entries.items(), key=lambda item: item[1].header.view):
            if entry.header.view <= self.final.view or self._hangs_from_dead(entry, kept):
                dead.append(block_id)
            else:
                kept.add(block_id)
        for block_id in dead:
            self.remove(block_id)
        return tuple(dead)

    def drop_unprepared(self, below_view: int) -> tuple[bytes, ...]:
        """Forget proposals of old views that were neither prepared here nor certified."""
        stale = [
            block_id
            for block_id, entry in self.unsettled.items()
            if entry.header.view < below_view
            and not (entry.certified or entry.prepared_here)
            and entry.judgement is not Judgement.ASKED
        ]
        for block_id in stale:
            self.remove(block_id)
        return tuple(stale)

    def _has_certified_child(self, block_id: bytes) -> bool:
        return any(
            entry.certified and entry.header.parent_id == block_id
            for entry in self._entries.values()
        )

    def _hangs_from_dead(self, entry: BlockEntry, kept: set[bytes]) -> bool:
        """Say whether a block's parent was discarded; a parent not yet received is not dead."""
        parent_id = entry.header.parent_id
        if parent_id in kept:
            return False
        return parent_id in self._entries or entry.header.parent_view <= self.final.view
