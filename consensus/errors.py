"""Exceptions of consensus.

A peer's bytes never raise in the core; these are about our own disk::

    CorruptStateError
    └── ContradictoryRecordsError   the write-ahead log holds votes that no one guard allowed
"""

from __future__ import annotations

from primitives.errors import CorruptStateError

__all__ = ["ContradictoryRecordsError"]


class ContradictoryRecordsError(CorruptStateError):
    """Records contradict each other: two processes shared one key, or logs were mixed."""
