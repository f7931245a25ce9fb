"""The API process's end of the feed: keeps the follower up to date and carries requests back.

It connects again by itself, with growing pauses, for as long as the process lives; while the node
is away, reads go on from what the follower holds and requests fail at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from ledger.payload import Payload
from node.api.feed_frames import (
    BatchPart,
    Frame,
    Hello,
    NodeStatus,
    Pair,
    PayloadReply,
    PayloadRequest,
    SnapshotEnd,
    SnapshotPart,
    StatusReply,
    StatusRequest,
    SubmitReply,
    SubmitRequest,
    Welcome,
)
from node.api.feed_stream import BATCH_BYTES_MAX, frame_bytes, read_frame
from primitives.errors import InvalidInputError, QuorateError

__all__ = ["FeedClient", "FeedSink", "NodeUnreachableError"]

_log = logging.getLogger(__name__)

PAUSE_FIRST_S = 0.05
PAUSE_MAX_S = 2.0
WELCOME_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 10.0
STATUS_AGE_MAX_S = 0.25
"""A status younger than this is answered again, so that polling the API does not reach the node."""

REQUESTS_MAX = 2_048
"""Most requests that wait for a reply; above the node's own bound, so that the node decides."""


_Reply = TypeVar("_Reply", SubmitReply, StatusReply, PayloadReply)


class NodeUnreachableError(QuorateError):
    """The node is not there, did not answer in time, or has too much to answer."""


class FeedSink(Protocol):
    """Where the feed ends: the follower's store."""

    def get_position(self) -> tuple[int, bytes] | None:
        """Return height and block id of the last applied block, None when there is none."""

    def begin_snapshot(self) -> None:
        """Prepare for a whole new state; the old one is shown until :meth:`end_snapshot`."""

    def add_snapshot_pairs(self, puts: Sequence[Pair]) -> None:
        """Take some pairs of the new state."""

    def end_snapshot(self, height: int) -> None:
        """Show the new state, which is that of ``height``; raises ``CorruptStateError``."""

    def apply_batch(self, height: int, puts: Sequence[Pair], deletes: Sequence[bytes]) -> None:
        """Write one block's batch as one."""


class FeedClient:
    """One connection to the node, renewed for ever by :meth:`run`.

    Parameters
    ----------
    path
        Of the node's socket.
    sink
        Where committed batches go.
    """

    def __init__(self, path: Path, sink: FeedSink) -> None:
        self._path = path
        self._sink = sink
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._next_number = 0
        self._status: tuple[float, NodeStatus] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the node has welcomed this process and has not hung up."""
        return self._writer is not None

    async def run(self) -> None:
        """Connect, follow, and connect again, until cancelled."""
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                if await self._follow_once():
                    pause_s = PAUSE_FIRST_S
            except (InvalidInputError, OSError, TimeoutError) as error:
                _log.info("node not reachable: %s", error or type(error).__name__)
            except Exception:
                # A full disk, say: reads go on, readiness says no, and the next attempt may do.
                _log.exception("the read store could not follow the node")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def submit(self, envelope: bytes, payload: Payload | None) -> None:
        """Hand a transaction to the node's mempool.

        Raises
        ------
        InvalidInputError
            The node refused it; code, field, value and limit are the node's.
        NodeUnreachableError
            The node did not answer; whether it took the transaction is unknown, and sending the
            same bytes again is safe.
        """
        reply = await self._request(
            lambda number: SubmitRequest(number, envelope, payload), SubmitReply
        )
        if reply.refusal is not None:
            raise reply.refusal.to_error()

    async def read_status(self) -> NodeStatus:
        """Return what the node knows of itself, at most ``STATUS_AGE_MAX_S`` old.

        Raises
        ------
        NodeUnreachableError
            The node did not answer.
        """
        now_s = asyncio.get_running_loop().time()
        if self._status is None or now_s - self._status[0] > STATUS_AGE_MAX_S:
            reply = await self._request(StatusRequest, StatusReply)
            self._status = (now_s, reply.status)
        return self._status[1]

    async def read_payload(self, transaction_id: bytes) -> Payload | None:
        """Return the payload of a transaction, or None when the node does not hold it.

        Raises
        ------
        InvalidInputError
            ``too_many_requests``.
        NodeUnreachableError
            The node did not answer.
        """
        reply = await self._request(
            lambda number: PayloadRequest(number, transaction_id), PayloadReply
        )
        if reply.refusal is not None:
            raise reply.refusal.to_error()
        return reply.payload

    async def _follow_once(self) -> bool:
        """Follow until the connection ends; return whether the node welcomed this process."""
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            position = self._sink.get_position() or (None, None)
            writer.write(frame_bytes(Hello(*position)))
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                welcome = await read_frame(reader)
            if not isinstance(welcome, Welcome):
                raise InvalidInputError("malformed", "the node did not say welcome")
            self._writer = writer
            await self._follow(reader, welcome)
            return True
        finally:
            self._writer = None
            self._status = None
            writer.close()
            self._fail_waiting()

    async def _follow(self, reader: asyncio.StreamReader, welcome: Welcome) -> None:
        inbound = _Inbound(self._sink, welcome)
        while (frame := await read_frame(reader)) is not None:
            match frame:
                case SubmitReply(number) | StatusReply(number) | PayloadReply(number):
                    future = self._waiting.pop(number, None)
                    if future is not None and not future.done():
                        future.set_result(frame)
                case _:
                    inbound.take(frame)

    async def _request(self, build: Callable[[int], Frame], reply_type: type[_Reply]) -> _Reply:
        writer = self._writer
        if writer is None or len(self._waiting) >= REQUESTS_MAX:
            raise NodeUnreachableError("the node is not reachable; try again later")
        number = self._next_number
        self._next_number += 1
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            writer.write(frame_bytes(build(number)))
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                reply = await future
        except TimeoutError as error:
            raise NodeUnreachableError(
                f"the node did not answer within {REQUEST_TIMEOUT_S:g} seconds"
            ) from error
        finally:
            self._waiting.pop(number, None)
        if not isinstance(reply, reply_type):
            raise NodeUnreachableError("the node gave the answer to another question")
        return reply

    def _fail_waiting(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(NodeUnreachableError("the node hung up"))
        self._waiting.clear()


class _Inbound:
    """Puts parts together and checks that heights follow one another."""

    def __init__(self, sink: FeedSink, welcome: Welcome) -> None:
        self._sink = sink
        self._height = welcome.height
        self._in_snapshot = welcome.reset
        self._puts: list[Pair] = []
        self._deletes: list[bytes] = []
        self._size_bytes = 0
        if welcome.reset:
            sink.begin_snapshot()

    def take(self, frame: Frame) -> None:
        """Take the next frame of the feed; raises ``malformed`` or ``too_large``."""
        match frame:
            case SnapshotPart(puts) if self._in_snapshot:
                self._sink.add_snapshot_pairs(puts)
            case SnapshotEnd(height) if self._in_snapshot and height == self._height:
                self._sink.end_snapshot(height)
                self._in_snapshot = False
            case BatchPart(height) if not self._in_snapshot and height == self._height + 1:
                self._take_part(frame)
            case _:
                raise InvalidInputError(
                    "malformed", f"{type(frame).__name__} does not follow height {self._height}"
                )

    def _take_part(self, part: BatchPart) -> None:
        self._puts.extend(part.puts)
        self._deletes.extend(part.deletes)
        self._size_bytes += sum(len(key) + len(value) for key, value in part.puts)
        if self._size_bytes > BATCH_BYTES_MAX:
            raise InvalidInputError(
                "too_large",
                f"a batch of {self._size_bytes} bytes is above the limit {BATCH_BYTES_MAX}",
                field="batch",
                value=self._size_bytes,
                limit=BATCH_BYTES_MAX,
            )
        if part.is_last:
            self._sink.apply_batch(part.height, self._puts, self._deletes)
            self._height = part.height
            self._puts, self._deletes, self._size_bytes = [], [], 0
