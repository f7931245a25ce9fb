"""The state as one block sees and changes it: layers of records over the store.

::

    journal      what the running transaction wrote; dropped if its body fails
    written      what the block wrote so far
    ancestors    what each unfinal block before it wrote, nearest first
    base         the final state in the store

Layers hold decoded, immutable records, so an account that is touched by a thousand transactions of
a block is decoded at most once and encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from ledger.schema import Record, RecordT, StateReader

__all__ = ["BlockState", "Layer"]

Layer = Mapping[bytes, Record | None]
"""State keys and their new records; None is a removed key."""


class _Absent:
    """Marks a key that a layer says nothing about."""


_ABSENT: Final = _Absent()


class BlockState:
    """Records of a block under execution.

    Parameters
    ----------
    ancestors : layers of the unfinal blocks below, nearest first.
    base : the final state below those.
    """

    __slots__ = ("_ancestors", "_base", "_journal", "_written")

    def __init__(self, ancestors: Sequence[Layer], base: StateReader) -> None:
        self._ancestors = tuple(ancestors)
        self._base = base
        self._written: dict[bytes, Record | None] = {}
        self._journal: dict[bytes, Record | None] = {}

    @property
    def written(self) -> Layer:
        """What the block wrote, without the running transaction."""
        return self._written

    def get(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        """Return the record under a key, or None if there is none."""
        record = self._journal.get(key, _ABSENT)
        if record is _ABSENT:
            # As `get_kept`, which would be one more call for each record that is read.
            record = self._written.get(key, _ABSENT)
            if record is _ABSENT:
                return self.get_before(key, decode)
        return cast("RecordT | None", record)

    def put(self, key: bytes, record: Record | None) -> None:
        """Write a record, or remove the key if it is None."""
        self._journal[key] = record

    @property
    def journal(self) -> Layer:
        """What was written since the last `keep` or `undo`."""
        return self._journal

    def get_kept(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        """Return the record under a key as the last `keep` or `undo` left it, or None."""
        record = self._written.get(key, _ABSENT)
        return self.get_before(key, decode) if record is _ABSENT else cast("RecordT | None", record)

    def keep(self) -> None:
        """Make what was written since the last `keep` or `undo` part of the block."""
        self._written.update(self._journal)
        self._journal.clear()

    def undo(self) -> None:
        """Drop what was written since the last `keep` or `undo`."""
        self._journal.clear()

    def get_before(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        """Return the record that a key had before this block, or None."""
        for layer in self._ancestors:
            record = layer.get(key, _ABSENT)
            if record is not _ABSENT:
                return cast("RecordT | None", record)
        return self._base.get(key, decode)
