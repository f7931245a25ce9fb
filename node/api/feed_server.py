"""The node's end of the feed: committed batches out to API processes, submissions back in.

What the node process has to do, all on its event loop::

    doors = NodeDoors(submit=..., read_status=..., read_payload=...)
    feed = FeedServer(choose_socket_path(home), LedgerFeedSource(store), doors)
    await feed.start()                          # removes a dead socket file, listens, mode 0600
    feed.publish(height, puts, deletes)         # after each block's batch was written; never waits
    await feed.stop()

and, for the API process itself (see :mod:`node.api.__main__`)::

    python -m node.api --home HOME --host HOST --port PORT --exit-with-parent   (stdin = a pipe)

Nothing here can delay a vote for long: ``publish`` only appends to a bounded list of recent
batches; each reader takes them from there at its own pace, and one that falls off its end, or
that does not take bytes for ``drain_timeout_s``, is dropped and must begin with a snapshot.
Submissions are limited in rate and in number under way, and refused at once beyond that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ledger.key_value import KeyValueReader, KeyValueStore
from ledger.payload import Payload
from ledger.reader import LedgerReader
from node.api.feed_frames import (
    BatchPart,
    Frame,
    Hello,
    NodeStatus,
    Pair,
    PayloadReply,
    PayloadRequest,
    Refusal,
    SnapshotEnd,
    StatusReply,
    StatusRequest,
    SubmitReply,
    SubmitRequest,
    Welcome,
)
from node.api.feed_stream import frame_bytes, read_frame, split_batch, split_snapshot
from p2p.rate_limit import TokenBucket
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = [
    "FeedLimits",
    "FeedServer",
    "FeedSnapshot",
    "FeedSource",
    "LedgerFeedSource",
    "NodeDoors",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """Bounds of the feed.

    ``recent_bytes_max`` and ``recent_batches_max`` bound the list of recent batches: how far a
    reader may lag behind before it must begin anew.
    """

    recent_bytes_max: int = 32 * 1024 * 1024
    recent_batches_max: int = 4_096
    readers_max: int = 4
    submissions_per_second_max: int = 5_000
    submissions_waiting_max: int = 1_024
    reads_per_second_max: int = 200
    hello_timeout_s: float = 5.0
    drain_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class NodeDoors:
    """What an API process may ask of the node.

    Parameters
    ----------
    submit
        Take an envelope and its payload into the mempool; raises ``InvalidInputError`` to refuse.
    read_status
        What the node knows of itself; must be cheap.
    read_payload
        The payload of a transaction id, or None.
    """

    submit: Callable[[bytes, Payload | None], Awaitable[None]]
    read_status: Callable[[], NodeStatus]
    read_payload: Callable[[bytes], Payload | None]


class FeedSnapshot(Protocol):
    """The whole store at one height, unchanged by later writes."""

    height: int

    def pairs(self) -> Iterable[Pair]:
        """Return every key with its value, ascending; read in another thread."""

    def close(self) -> None:
        """Let the store forget the snapshot."""


class FeedSource(Protocol):
    """The node's own store, as far as the feed needs it."""

    chain_id: bytes

    def get_tip_height(self) -> int:
        """Return the height of the last final block."""

    def get_block_id(self, height: int) -> bytes | None:
        """Return the id of the final block at ``height``, or None above the tip."""

    def open_snapshot(self) -> FeedSnapshot:
        """Return the store as it is now."""


class LedgerFeedSource:
    """The node's ledger as the source of a feed.

    Parameters
    ----------
    store
        The node's key-value store, in which a genesis was written at least.
    """

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._ledger = LedgerReader(store)
        self.chain_id = self._ledger.genesis().chain_id

    def get_tip_height(self) -> int:
        """Return the height of the last final block."""
        return self._ledger.tip().height

    def get_block_id(self, height: int) -> bytes | None:
        """Return the id of the final block at ``height``, or None above the tip."""
        if height > self.get_tip_height():
            return None
        return self._ledger.header(height).block_id

    def open_snapshot(self) -> FeedSnapshot:
        """Return the store as it is now."""
        return _LedgerSnapshot(self._store.snapshot())


class _LedgerSnapshot:
    """The node's key-value store at one height."""

    def __init__(self, store: KeyValueReader) -> None:
        self._store = store
        self.height = LedgerReader(store).tip().height

    def pairs(self) -> Iterable[Pair]:
        """Return every key with its value, ascending."""
        return self._store.iterate()

    def close(self) -> None:
        """Let the store forget the snapshot."""
        self._store.close()


class _ReaderDroppedError(Exception):
    """A reader broke the protocol or could not keep up; its connection is closed."""


class _RecentBatches:
    """The last batches, bounded in number and bytes, encoded when the first reader wants them."""

    def __init__(self, tip_height: int, limits: FeedLimits) -> None:
        self._limits = limits
        self._tip_height = tip_height
        self._batches: deque[_Batch] = deque()
        self._size_bytes = 0
        self._published = asyncio.Event()

    @property
    def tip_height(self) -> int:
        """Height of the last batch."""
        return self._tip_height

    def append(self, batch: _Batch) -> None:
        """Add the batch of the next height, forget the oldest beyond the bounds, wake readers."""
        if batch.height != self._tip_height + 1:
            raise InvariantViolationError(
                f"batch of height {batch.height} follows that of height {self._tip_height}"
            )
        self._tip_height = batch.height
        self._batches.append(batch)
        self._size_bytes += batch.size_bytes
        limits = self._limits
        while self._batches and (
            self._size_bytes > limits.recent_bytes_max
            or len(self._batches) > limits.recent_batches_max
        ):
            self._size_bytes -= self._batches.popleft().size_bytes
        self._published.set()
        self._published = asyncio.Event()

    def covers(self, height: int) -> bool:
        """Return whether every batch above ``height`` is here."""
        return self._tip_height - len(self._batches) <= height <= self._tip_height

    async def get_after(self, height: int) -> _Batch:
        """Return the batch that follows ``height``, waiting for it if it is still to come."""
        # A snapshot may be ahead of the batches for a moment: it is read straight from the disk.
        while height >= self._tip_height:
            await self._published.wait()
        if not self.covers(height):
            raise _ReaderDroppedError(f"lags behind: has {height}, tip is {self._tip_height}")
        return self._batches[height - self._tip_height]


class _Batch:
    """What one block wrote, and its frames once somebody asked for them."""

    def __init__(self, height: int, puts: Sequence[Pair], deletes: Sequence[bytes]) -> None:
        self.height = height
        self.size_bytes = sum(len(key) + len(value) for key, value in puts)
        self.size_bytes += sum(map(len, deletes))
        self._parts: tuple[BatchPart, ...] = tuple(split_batch(height, puts, deletes))
        self._frames: tuple[bytes, ...] | None = None

    def to_frames(self) -> tuple[bytes, ...]:
        """Return the bytes of every part, with lengths; encoded once for all readers."""
        if self._frames is None:
            self._frames = tuple(frame_bytes(part) for part in self._parts)
            self._parts = ()
        return self._frames


class FeedServer:
    """Listens for API processes of this machine.

    Parameters
    ----------
    path
        Of the socket; see :func:`node.api.feed_stream.choose_socket_path`.
    source
        The node's own store.
    doors
        What readers may ask of the node.
    limits
        Bounds of the feed.
    """

    def __init__(
        self, path: Path, source: FeedSource, doors: NodeDoors, limits: FeedLimits | None = None
    ) -> None:
        self._path = path
        self._source = source
        self._doors = doors
        self._limits = limits or FeedLimits()
        self._recent = _RecentBatches(source.get_tip_height(), self._limits)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._submissions_waiting = 0
        self._submission_rate = _make_bucket(self._limits.submissions_per_second_max)
        self._read_rate = _make_bucket(self._limits.reads_per_second_max)

    async def start(self) -> None:
        """Listen; a socket file left by a process that died is replaced."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._path.parent.stat().st_uid != os.getuid():
            raise InvalidInputError(
                "invalid_configuration",
                f"{self._path.parent} belongs to another user",
                field="socket",
                value=str(self._path),
            )
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._on_connection, self._path)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Close every connection and remove the socket; may be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await server.wait_closed()
        self._path.unlink(missing_ok=True)

    @property
    def reader_count(self) -> int:
        """Connections open now."""
        return len(self._connections)

    def publish(self, height: int, puts: Sequence[Pair], deletes: Sequence[bytes]) -> None:
        """Tell every reader what the block at ``height`` wrote; call it once it is on disk.

        Raises
        ------
        InvariantViolationError
            ``height`` does not follow the last one.
        """
        self._recent.append(_Batch(height, puts, deletes))

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= self._limits.readers_max:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (_ReaderDroppedError, InvalidInputError, ConnectionError, TimeoutError) as error:
            _log.warning("reader of the feed dropped: %s", error)
        except asyncio.CancelledError:
            # Only stop() cancels; asyncio would log a cancelled connection as a failure.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._limits.hello_timeout_s):
            hello = await read_frame(reader)
        if not isinstance(hello, Hello):
            raise _ReaderDroppedError("did not say hello")
        feeding = asyncio.create_task(self._feed(hello, writer))
        answering = asyncio.create_task(self._answer(reader, writer))
        try:
            done, _ = await asyncio.wait({feeding, answering}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            feeding.cancel()
            answering.cancel()
            await asyncio.gather(feeding, answering, return_exceptions=True)

    async def _feed(self, hello: Hello, writer: asyncio.StreamWriter) -> None:
        """Send everything after what ``hello`` says, for ever."""
        position = hello.last_height
        if position is None or not self._can_continue(hello, position):
            position = await self._send_snapshot(writer)
        else:
            await self._send(writer, frame_bytes(self._welcome(position, reset=False)))
        while True:
            batch = await self._recent.get_after(position)
            for data in batch.to_frames():
                await self._send(writer, data)
            position = batch.height

    def _can_continue(self, hello: Hello, position: int) -> bool:
        return (
            self._recent.covers(position)
            and self._source.get_block_id(position) == hello.last_block_id
        )

    def _welcome(self, height: int, *, reset: bool) -> Welcome:
        return Welcome(self._source.chain_id, height, reset)

    async def _send_snapshot(self, writer: asyncio.StreamWriter) -> int:
        """Send the whole store as it is now; return its height."""
        snapshot = self._source.open_snapshot()
        try:
            await self._send(writer, frame_bytes(self._welcome(snapshot.height, reset=True)))
            frames = map(frame_bytes, split_snapshot(snapshot.pairs()))
            while (data := await asyncio.to_thread(next, frames, None)) is not None:
                await self._send(writer, data)
        finally:
            snapshot.close()
        await self._send(writer, frame_bytes(SnapshotEnd(snapshot.height)))
        return snapshot.height

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        async with asyncio.timeout(self._limits.drain_timeout_s):
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the reader hangs up; replies may overtake one another."""
        async with asyncio.TaskGroup() as submissions:
            while (frame := await read_frame(reader)) is not None:
                if isinstance(frame, SubmitRequest):
                    refusal = self._reserve_submission()
                    if refusal is None:
                        submissions.create_task(self._submit(frame, writer))
                    else:
                        await self._send(writer, frame_bytes(SubmitReply(frame.number, refusal)))
                else:
                    await self._send(writer, frame_bytes(self._answer_read(frame)))

    def _reserve_submission(self) -> Refusal | None:
        """Count one more submission under way, or say why there is no room."""
        now_s = asyncio.get_running_loop().time()
        waiting_max = self._limits.submissions_waiting_max
        if self._submissions_waiting >= waiting_max:
            return _refuse_load("submissions under way", waiting_max)
        if not self._submission_rate.take(1, now_s):
            return _refuse_load("submissions a second", self._limits.submissions_per_second_max)
        self._submissions_waiting += 1
        return None

    async def _submit(self, request: SubmitRequest, writer: asyncio.StreamWriter) -> None:
        refusal = None
        try:
            await self._doors.submit(request.envelope, request.payload)
        except InvalidInputError as error:
            refusal = Refusal.from_error(error)
        finally:
            self._submissions_waiting -= 1
        await self._send(writer, frame_bytes(SubmitReply(request.number, refusal)))

    def _answer_read(self, frame: Frame) -> Frame:
        match frame:
            case StatusRequest(number):
                return StatusReply(number, self._doors.read_status())
            case PayloadRequest():
                return self._read_payload(frame)
            case _:
                raise _ReaderDroppedError(f"sent {type(frame).__name__}, which is no request")

    def _read_payload(self, request: PayloadRequest) -> PayloadReply:
        now_s = asyncio.get_running_loop().time()
        if not self._read_rate.take(1, now_s):
            refusal = _refuse_load("payload reads a second", self._limits.reads_per_second_max)
            return PayloadReply(request.number, refusal, None)
        payload = self._doors.read_payload(request.transaction_id)
        return PayloadReply(request.number, None, payload)


def _make_bucket(per_second_max: int) -> TokenBucket:
    """Return a bucket that holds one second's worth."""
    return TokenBucket(per_second_max, per_second_max)


def _refuse_load(what: str, limit: int) -> Refusal:
    return Refusal(
        "too_many_requests",
        f"more than {limit} {what}; try again later",
        field=what,
        limit=str(limit),
    )
