"""The API process's own copy of the ledger, kept up by the feed, and who waits for it.

The node has executed, certified and synced every batch that arrives here, so nothing is executed or
verified again; the batch is written as one, and whoever waits for its height or for one of its
transactions is told. Everything here runs on the event loop of the API process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ledger.genesis import Genesis
from ledger.key_value import KeyValueStore
from ledger.reader import LedgerReader
from ledger.stored_records import Tip
from node.api.feed_frames import Pair
from node.api.store_folder import StoreFolder
from primitives.errors import CorruptStateError, InvalidInputError, InvariantViolationError

__all__ = ["Follower"]

WAITERS_MAX = 10_000
"""Requests that may wait for transactions at one time."""


class Follower:
    """A read store that follows the node.

    Parameters
    ----------
    folder
        Where the store lies.
    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder
        self._store = folder.open_current()
        self._ledger: LedgerReader | None = None
        self._tip: Tip | None = None
        self._genesis: Genesis | None = None
        self._incoming: tuple[str, KeyValueStore] | None = None
        self._waiting: dict[bytes, set[asyncio.Future[None]]] = {}
        self._waiting_count = 0
        self._changed = asyncio.Event()
        if self._store is not None:
            self._show(self._store)

    @property
    def folder(self) -> Path:
        """Where the read store is."""
        return self._folder.path

    @property
    def is_empty(self) -> bool:
        """Whether no state has arrived yet."""
        return self._ledger is None

    @property
    def ledger(self) -> LedgerReader:
        """The ledger at the last height that arrived.

        Raises
        ------
        InvalidInputError
            ``not_ready``: no state has arrived yet.
        """
        if self._ledger is None:
            raise _not_ready()
        return self._ledger

    @property
    def tip(self) -> Tip:
        """The last block that arrived; refuses with ``not_ready`` as :attr:`ledger` does."""
        if self._tip is None:
            raise _not_ready()
        return self._tip

    @property
    def chain_id(self) -> bytes:
        """The genesis hash; refuses with ``not_ready`` before the first state."""
        return self._get_genesis().chain_id

    @property
    def chain_name(self) -> str:
        """The network's name for people; refuses with ``not_ready`` before the first state."""
        return self._get_genesis().chain_name

    def close(self) -> None:
        """Close the store; nothing may be read afterwards."""
        self._ledger, self._tip = None, None
        for store in (self._store, self._incoming[1] if self._incoming else None):
            if store is not None:
                store.close()
        self._store, self._incoming = None, None

    def get_position(self) -> tuple[int, bytes] | None:
        """Return height and block id of the last applied block, None when there is none."""
        tip = self._tip
        return None if tip is None else (tip.height, tip.block_id)

    def begin_snapshot(self) -> None:
        """Prepare a store for a whole new state; the old one is shown until it is complete."""
        if self._incoming is not None:
            self._incoming[1].close()
        self._incoming = self._folder.open_incoming()

    def add_snapshot_pairs(self, puts: Sequence[Pair]) -> None:
        """Write some pairs of the new state."""
        self._get_incoming()[1].write(puts, (), sync=False)

    def end_snapshot(self, height: int) -> None:
        """Show the new state instead of the old one.

        Raises
        ------
        CorruptStateError
            What arrived is not the state of ``height``.
        """
        name, store = self._get_incoming()
        # A synced write reaches the disk after everything written before it.
        store.write((), (), sync=True)
        self._incoming = None
        if LedgerReader(store).tip().height != height:
            raise CorruptStateError(f"the snapshot is not that of height {height}")
        self._folder.adopt(name)
        # The old store is closed when the last request that reads from it has let go of it.
        self._store = store
        self._genesis = None
        self._show(store)
        self._wake_final()

    def apply_batch(self, height: int, puts: Sequence[Pair], deletes: Sequence[bytes]) -> None:
        """Write one block's batch and wake those who waited for it."""
        if self._store is None:
            raise InvariantViolationError(f"batch of height {height} before any state")
        self._store.write(puts, deletes, sync=False)
        self._show(self._store)
        self._wake_final()

    async def wait_for_height(self, height: int, timeout_s: float) -> bool:
        """Wait until a height has arrived; return whether it has."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._tip is None or self._tip.height < height:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def wait_for_transaction(self, transaction_id: bytes, timeout_s: float) -> bool:
        """Wait until a transaction is final; return whether it is.

        Raises
        ------
        InvalidInputError
            ``too_many_requests``: too many wait already.
        """
        if self._is_final(transaction_id):
            return True
        if self._waiting_count >= WAITERS_MAX:
            raise InvalidInputError(
                "too_many_requests", f"more than {WAITERS_MAX} requests wait", limit=WAITERS_MAX
            )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(transaction_id, set())
        waiting.add(future)
        self._waiting_count += 1
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting_count -= 1
            waiting.discard(future)
            if not waiting and self._waiting.get(transaction_id) is waiting:
                del self._waiting[transaction_id]
        return True

    def _show(self, store: KeyValueStore) -> None:
        self._ledger = LedgerReader(store)
        self._tip = self._ledger.tip()
        self._changed.set()
        self._changed = asyncio.Event()

    def _get_genesis(self) -> Genesis:
        if self._genesis is None:
            self._genesis = self.ledger.genesis()
        return self._genesis

    def _get_incoming(self) -> tuple[str, KeyValueStore]:
        if self._incoming is None:
            raise InvariantViolationError("pairs of a snapshot that has not begun")
        return self._incoming

    def _is_final(self, transaction_id: bytes) -> bool:
        return self._ledger is not None and self._ledger.receipt(transaction_id) is not None

    def _wake_final(self) -> None:
        for transaction_id in [name for name in self._waiting if self._is_final(name)]:
            for future in self._waiting.pop(transaction_id):
                if not future.done():
                    future.set_result(None)


def _not_ready() -> InvalidInputError:
    return InvalidInputError("not_ready", "the first blocks have not arrived from the node")
