"""Snapshots in a running node: made, served, and asked about, to notice when we are far behind.

All that the node's wiring has to know: one object with a start and a stop, fed with connections,
messages of the channel SNAPSHOT and final heights.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.key_value import KeyValueReader
from ledger.snapshot import decode_manifest
from node.snapshots.joining import SNAPSHOT_THRESHOLD
from node.snapshots.maker import SNAPSHOT_INTERVAL, SnapshotMaker
from node.snapshots.messages import Offer, OfferRequest, decode_message, encode_message
from node.snapshots.server import (
    BYTES_PER_SECOND,
    PayloadReader,
    SnapshotLibrary,
    SnapshotServer,
)
from node.snapshots.shelf import SnapshotShelf
from primitives.errors import InvalidInputError

__all__ = ["LagWatch", "SnapshotService", "SnapshotSettings"]

ASK_INTERVAL_S: Final = 30.0
"""How often peers are asked what they offer."""


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """How a node deals with snapshots.

    Parameters
    ----------
    interval
        Heights between snapshots that it makes.
    threshold
        Heights that others' snapshots must be ahead of it, so that it joins by one.
    bytes_per_second
        Most that it sends to all peers together.
    """

    interval: int = SNAPSHOT_INTERVAL
    threshold: int = SNAPSHOT_THRESHOLD
    bytes_per_second: int = BYTES_PER_SECOND


class LagWatch:
    """Notices from what others offer that catching up block by block would take too long.

    Parameters
    ----------
    threshold
        Heights that an offer must be ahead of us.
    believed_count
        So many peers must offer one: f + 1, so that one of them is honest.
    """

    def __init__(self, threshold: int, believed_count: int) -> None:
        self._threshold = threshold
        self._believed_count = believed_count
        self._offered: dict[int, int] = {}

    def on_offer(self, peer: int, offer: Offer) -> None:
        """Take note of what a peer offers; what does not decode counts for nothing."""
        self._offered.pop(peer, None)
        if offer.manifest:
            with contextlib.suppress(InvalidInputError):
                self._offered[peer] = decode_manifest(offer.manifest).height

    def on_disconnected(self, peer: int) -> None:
        """Forget what a peer offered."""
        self._offered.pop(peer, None)

    def is_far_behind(self, final_height: int) -> bool:
        """Return whether enough peers offer a snapshot far above our height."""
        ahead = [each for each in self._offered.values() if each > final_height + self._threshold]
        return len(ahead) >= self._believed_count


class SnapshotService:
    """Everything about snapshots that goes on while a node runs.

    Parameters
    ----------
    values
        The ledger's store.
    payloads
        Of final blocks.
    folder
        For this node's snapshots.
    settings
        See :class:`SnapshotSettings`.
    faults_max
        How many validators may lie: f.
    read_final_height
        Height of the last final block.
    send
        Sends bytes to a peer on the channel SNAPSHOT.
    on_far_behind
        Called once: the node should end its core and join by a snapshot.
    """

    def __init__(
        self,
        values: KeyValueReader,
        payloads: PayloadReader,
        folder: Path,
        settings: SnapshotSettings,
        *,
        faults_max: int,
        read_final_height: Callable[[], int],
        send: Callable[[int, bytes], None],
        on_far_behind: Callable[[], None],
    ) -> None:
        shelf = SnapshotShelf(folder)
        self._maker = SnapshotMaker(values, shelf, settings.interval)
        library = SnapshotLibrary(values, payloads, shelf)
        self._server = SnapshotServer(library, send, settings.bytes_per_second)
        self._watch = LagWatch(settings.threshold, faults_max + 1)
        self._read_final_height = read_final_height
        self._send = send
        self._on_far_behind = on_far_behind
        self._peers: set[int] = set()
        self._has_told = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def counters(self) -> dict[str, int]:
        """What happened, by name."""
        return dict(self._server.counters)

    def start(self) -> None:
        """Begin to serve and to ask."""
        self._tasks = [
            asyncio.create_task(self._server.serve(), name="snapshot-server"),
            asyncio.create_task(self._ask_around(), name="snapshot-watch"),
        ]

    async def stop(self) -> None:
        """End everything; the database may be closed afterwards."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._maker.stop)

    def on_connected(self, peer: int) -> None:
        """Ask a peer what it offers."""
        self._peers.add(peer)
        self._send(peer, encode_message(OfferRequest()))

    def on_disconnected(self, peer: int) -> None:
        """Forget a peer."""
        self._peers.discard(peer)
        self._watch.on_disconnected(peer)

    def on_final(self, height: int) -> None:
        """Take note that a block is final, which may be one to take a snapshot after."""
        self._maker.on_final(height)

    def on_bytes(self, peer: int, data: bytes) -> None:
        """Take what a peer sent on the channel."""
        try:
            message = decode_message(data)
        except InvalidInputError:
            self._server.counters["snapshot_messages_malformed"] += 1
            return
        if not isinstance(message, Offer):
            self._server.on_request(peer, message)
            return
        self._watch.on_offer(peer, message)
        if not self._has_told and self._watch.is_far_behind(self._read_final_height()):
            self._has_told = True
            self._on_far_behind()

    async def _ask_around(self) -> None:
        while True:
            await asyncio.sleep(ASK_INTERVAL_S)
            for peer in sorted(self._peers):
                self._send(peer, encode_message(OfferRequest()))
