"""The write-ahead log and the guard of the keyss as one, so that no order of calls can part them.

Whoever appends to the log need not know of the guard: a step of views is reserved before the first
record in it is written, and the log's end is noted after each sync; `node.storage.sign_guard` says
why in this order.
"""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Final

from node.storage.durable_files import sync_folder
from node.storage.sign_guard import (
    INSTANCE_BYTES,
    NEVER_SIGNED,
    UNKNOWN_VIEW,
    GuardState,
    LogEnd,
    SignGuard,
    make_instance,
)
from node.storage.wal import WriteAheadLog

__all__ = [
    "RESERVED_VIEWS",
    "GuardedLog",
    "LogState",
    "judge_history",
    "measure_log",
    "open_instance",
]

RESERVED_VIEWS: Final = 64
"""Views reserved at a time: one more sync for every so many views that are signed in, and the most
that a validator which lost its log waits longer than it had to."""

_INSTANCE_NAME: Final = "instance"


class LogState(Enum):
    """What comparing a log with the guard of the key came to."""

    NEW = "new"
    """The key has never signed."""

    WHOLE = "whole"
    """Every vote that left is in the log."""

    MISSING = "missing"
    """The log is another one, or none, than the key was last used with."""

    OLD = "old"
    """The log is a copy from before the last votes."""

    UNGUARDED = "unguarded"
    """The log holds votes of which the guard knows nothing: the guard is an old copy."""


def judge_history(guard: GuardState, instance: bytes, end: LogEnd, *, is_empty: bool) -> LogState:
    """Compare a log with the guard of the key.

    Parameters
    ----------
    guard
        What the guard says.
    instance, end
        Of the log, once opened: what a crash left half written is cut off.
    is_empty
        Whether the log holds no record.
    """
    if guard.instance == NEVER_SIGNED:
        return LogState.NEW if is_empty else LogState.UNGUARDED
    if guard.instance != instance:
        return LogState.MISSING
    return LogState.WHOLE if end >= guard.log_end else LogState.OLD


def measure_log(folder: Path) -> LogEnd:
    """Return where the log in a folder ends; its segments are numbered by their names."""
    last = max(folder.glob("*.wal"), default=None)
    return LogEnd(0, 0) if last is None else LogEnd(int(last.stem), last.stat().st_size)


def open_instance(folder: Path) -> bytes:
    """Return the name of the log in a folder; one that has none gets a new one, durably."""
    path = folder / _INSTANCE_NAME
    try:
        found = bytes.fromhex(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        found = b""
    if len(found) == INSTANCE_BYTES:
        return found
    # A crash hit while it was written: then nothing went with it yet.
    path.unlink(missing_ok=True)
    instance = make_instance()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, instance.hex().encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(folder)
    return instance


class GuardedLog:
    """A write-ahead log that keeps the guard of the key in step; one thread at a time.

    Parameters
    ----------
    folder
        Of the log.
    log
        Open, in that folder.
    guard
        Of the key.
    """

    def __init__(self, folder: Path, log: WriteAheadLog, guard: SignGuard) -> None:
        self._folder = folder
        self._log = log
        self._guard = guard
        self._instance = open_instance(folder)
        self._is_closed = False
        self._is_broken = False
        state = guard.state
        self.state = judge_history(
            state, self._instance, measure_log(folder), is_empty=not log.records()
        )
        """What comparing the log with the guard came to when it was opened."""
        # Until something is signed the guard stays as it is, so that a loss is found again (G4).
        self._is_guarded = self.state is LogState.WHOLE
        # Nothing above it was signed. It stays that of the guard until something higher is.
        self._signed_view = 0 if state.reserved_view == UNKNOWN_VIEW else state.reserved_view

    def records(self) -> list[bytes]:
        """Return what is in the log, in the order in which it was appended."""
        return self._log.records()

    def append(self, record: bytes, tag: int) -> None:
        """Append a record of a view; it is durable after the next :meth:`sync`."""
        self._is_broken = True
        if not self._is_guarded or tag > self._guard.state.reserved_view:
            self._reserve(tag)
        self._log.append(record, tag)
        self._signed_view = max(self._signed_view, tag)
        self._is_broken = False

    def sync(self) -> None:
        """Return once everything appended survives a loss of power, and the guard knows of it."""
        self._is_broken = True
        self._log.sync()
        end = measure_log(self._folder)
        if self._is_guarded and end != self._guard.state.log_end:
            self._guard.save(replace(self._guard.state, log_end=end), durable=False)
        self._is_broken = False

    def prune(self, below_tag: int) -> None:
        """Delete old segments without records of views from ``below_tag`` on.

        A floor that could still be forgotten deletes nothing: without it, nobody would know that
        there had been records, should the ledger be lost as well.
        """
        state = self._guard.state
        if self._is_guarded and below_tag - 1 > state.floor_view:
            self._guard.save(replace(state, floor_view=below_tag - 1), durable=False)
        self._log.prune(min(below_tag, self._guard.durable_floor_view + 1))

    def close(self) -> None:
        """Sync and close; a guard that goes with the log then says exactly how far it reaches."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._log.close()
            if self._is_guarded and not self._is_broken:
                self._settle()
        finally:
            self._guard.close()

    def _reserve(self, view: int) -> None:
        """Let the guard go with this log, and say that views from this one on may be signed in."""
        state = self._guard.state
        floor_view = state.floor_view
        if not self._is_guarded and self.state is not LogState.NEW:
            # Records were lost. Whoever allowed this view knew that it is above all of them.
            floor_view = max(floor_view, view - 1)
        reserved = replace(
            state,
            instance=self._instance,
            reserved_view=max(self._signed_view, view + RESERVED_VIEWS - 1),
            floor_view=floor_view,
            log_end=measure_log(self._folder),
        )
        self._guard.save(reserved, durable=True)
        self._is_guarded = True

    def _settle(self) -> None:
        settled = replace(
            self._guard.state,
            reserved_view=self._signed_view,
            log_end=measure_log(self._folder),
        )
        self._guard.save(settled, durable=True)
