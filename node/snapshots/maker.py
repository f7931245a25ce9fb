"""Makes snapshots in the background: a thread of low priority, at every so many heights.

The store is versioned, so the thread reads what was final at one height while the chain goes on.
It rests as long as it works, so that blocks never wait for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from ledger.key_value import KeyValueReader
from ledger.reader import LedgerReader
from ledger.snapshot import Manifest, build_chunks, build_manifest, is_snapshot_height
from ledger.snapshot_export import iterate_state
from node.snapshots.shelf import SnapshotShelf
from primitives.errors import QuorateError

__all__ = ["SNAPSHOT_INTERVAL", "SnapshotMaker", "make_snapshot"]

logger = logging.getLogger(__name__)

SNAPSHOT_INTERVAL: Final = 10_000
"""Heights between snapshots, unless the settings say otherwise."""

_NICENESS: Final = 10
_REST_S_MAX: Final = 1.0


def make_snapshot(
    values: KeyValueReader,
    height: int,
    shelf: SnapshotShelf,
    on_chunk: Callable[[], None] = lambda: None,
) -> Manifest:
    """Put a snapshot of the state after a block on the shelf.

    Parameters
    ----------
    values
        The ledger's store.
    height
        One that :func:`ledger.snapshot.is_snapshot_height`.
    shelf
        Where it goes.
    on_chunk
        Called after every chunk; may raise to give up.
    """
    reader = LedgerReader(values)

    def iterate_chunks() -> Iterator[tuple[bytes, int]]:
        for chunk in build_chunks(iterate_state(values, height)):
            yield chunk
            on_chunk()

    return shelf.put(
        height,
        iterate_chunks(),
        lambda listed, count: build_manifest(reader, height, listed, count),
    )


class _StoppedError(Exception):
    """The node stops; what was made so far is thrown away."""


class SnapshotMaker:
    """Keeps a fresh snapshot on the shelf.

    Parameters
    ----------
    values
        The ledger's store; reading from it is safe in any thread.
    shelf
        Where snapshots go; this class alone puts them there.
    interval
        Heights between snapshots, ≥ 1.
    """

    def __init__(
        self, values: KeyValueReader, shelf: SnapshotShelf, interval: int = SNAPSHOT_INTERVAL
    ) -> None:
        self._values = values
        self._reader = LedgerReader(values)
        self._shelf = shelf
        self._interval = interval
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._work: Future[None] | None = None
        self._is_stopping = threading.Event()

    def on_final(self, height: int) -> None:
        """Take note that a block is final; begins a snapshot when one is due. Never waits."""
        if self._work is not None and not self._work.done():
            return
        newest = self._shelf.newest
        due = (newest.height // self._interval + 1 if newest else 1) * self._interval
        # The child of the snapshot's block must be final too.
        candidate = height - 1
        if candidate >= due and is_snapshot_height(self._reader, candidate):
            self._work = self._thread.submit(self._make, candidate)

    def stop(self) -> None:
        """Give up what is being made, and wait until the thread has ended."""
        self._is_stopping.set()
        self._thread.shutdown()

    def _make(self, height: int) -> None:
        # On Linux a thread has a priority of its own.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        began_s = time.monotonic()
        worked_since_s = began_s

        def rest() -> None:
            nonlocal worked_since_s
            pause_s = min(time.monotonic() - worked_since_s, _REST_S_MAX)
            if self._is_stopping.wait(pause_s):
                raise _StoppedError
            worked_since_s = time.monotonic()

        try:
            manifest = make_snapshot(self._values, height, self._shelf, rest)
        except _StoppedError:
            return
        except (OSError, QuorateError) as error:
            # The node goes on without: others may have one. Damage is found where it matters.
            logger.error("the snapshot of height %d could not be made: %s", height, error)
            return
        logger.info(
            "snapshot of height %d: %d keys in %d chunks, %d bytes, %.1f s",
            height,
            manifest.key_count,
            len(manifest.chunk_hashes),
            manifest.byte_count,
            time.monotonic() - began_s,
        )
