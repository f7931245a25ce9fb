"""Connections to the other members: the one file of this package with sockets.

Theory of operation
-------------------
A full mesh with one connection for each pair: the member with the lower index dials, again and
again with growing pauses; the other listens. TLS 1.3 proves the transport key of both ends, which
must be the one that the registry lists (p2p/certificate.py); one hello each way makes sure that
both mean the same network. From then on each end has a reader, which hands every frame to the
callback, and a writer, which empties a bounded queue, votes first.

Invariants: (N1) not one frame of an unlisted key is looked at; (N2) sending never waits: a peer
that does not read is reset; (N3) nothing of one connection survives it: the upper layer
retransmits; (N4) whatever a peer sends, the worst that happens is the end of its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from p2p.certificate import TransportIdentity, get_certificate_key
from p2p.frames import (
    FRAME_HEADER_BYTES,
    Channel,
    decode_frame_header,
    encode_frame,
)
from p2p.hello import Hello, check_hello, decode_hello
from p2p.outbound_queue import OutboundQueue
from p2p.rate_limit import TokenBucket
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["PeerAddress", "PeerCallbacks", "PeerNetwork"]

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 5.0
HANDSHAKES_MAX = 16
REDIAL_PAUSE_S_MIN = 0.1
REDIAL_PAUSE_S_MAX = 2.0
PING_INTERVAL_S = 2.0
SILENCE_S_MAX = 8.0
WRITE_BYTES_MAX = 256 * 1024
STUCK_WRITE_S_MAX = 10.0
STREAM_BUFFER_BYTES = 1024 * 1024
FRAMES_PER_SECOND_MAX = 20_000
BYTES_PER_SECOND_MAX = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Another member: its index, its transport key (32 bytes) and where it listens."""

    index: int
    public_key: bytes
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PeerCallbacks:
    """What the network tells its owner, on the event loop; a callback must not wait."""

    on_message: Callable[[int, Channel, bytes], None]
    on_connected: Callable[[int], None]
    on_disconnected: Callable[[int], None]


class _Connection:
    """One established connection and what waits to be sent on it."""

    def __init__(
        self, peer: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.peer = peer
        self.reader = reader
        self.writer = writer
        self.queue = OutboundQueue()
        self.wake = asyncio.Event()

    def put(self, channel: Channel, frame: bytes) -> None:
        """Queue a frame; a stuck peer loses its connection."""
        if not self.queue.put(channel, frame):
            logger.warning("peer %d takes nothing; its connection is reset", self.peer)
            self.reset()
            return
        self.wake.set()

    def reset(self) -> None:
        """End the connection at once."""
        self.queue.clear()
        self.writer.transport.abort()


class PeerNetwork:
    """Connections to all other members.

    Parameters
    ----------
    identity
        Our key and certificate on this network.
    own_index
        Our number among the members.
    peers
        The other members.
    listen
        Host and port to listen on; port 0 picks a free one, see :attr:`port`.
    chain_id
        The genesis hash.
    random
        Spreads redials; security does not depend on it.
    """

    def __init__(
        self,
        *,
        identity: TransportIdentity,
        own_index: int,
        peers: Sequence[PeerAddress],
        listen: tuple[str, int],
        chain_id: bytes,
        random: Random,
    ) -> None:
        self._own_index = own_index
        self._peers = {peer.index: peer for peer in peers}
        self._index_by_key = {peer.public_key: peer.index for peer in peers}
        self._listen = listen
        self._chain_id = chain_id
        self._connected_callbacks: PeerCallbacks | None = None
        self._random = random
        self._server_context = _make_context(identity, ssl.PROTOCOL_TLS_SERVER)
        self._client_context = _make_context(identity, ssl.PROTOCOL_TLS_CLIENT)
        self._connections: dict[int, _Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes = 0
        self._server: asyncio.Server | None = None
        self.counters: Counter[str] = Counter()

    def connect(self, callbacks: PeerCallbacks) -> None:
        """Say whom to tell; called once, before the start."""
        self._connected_callbacks = callbacks

    @property
    def _callbacks(self) -> PeerCallbacks:
        if self._connected_callbacks is None:
            raise InvariantViolationError("the network was not told whom to tell")
        return self._connected_callbacks

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before the start."""
        if self._server is None:
            return 0
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connected(self) -> list[int]:
        """Indices of the peers that can be sent to now, ascending."""
        return sorted(self._connections)

    async def start(self) -> None:
        """Listen, and dial every member with a higher index."""
        host, port = self._listen
        self._server = await asyncio.start_server(
            self._on_accepted,
            host,
            port,
            ssl=self._server_context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            limit=STREAM_BUFFER_BYTES,
        )
        for peer in self._peers.values():
            if peer.index > self._own_index:
                self._spawn(self._keep_dialling(peer))

    async def stop(self) -> None:
        """End every connection and listen no more."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.reset()
        self._connections.clear()

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Send to one peer if it is connected; never waits."""
        connection = self._connections.get(peer)
        if connection is not None:
            self._put(connection, channel, encode_frame(channel, data))

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Send to every connected peer; never waits."""
        frame = encode_frame(channel, data)
        for connection in list(self._connections.values()):
            self._put(connection, channel, frame)

    def _put(self, connection: _Connection, channel: Channel, frame: bytes) -> None:
        self.counters[f"bytes_sent_{channel.name.lower()}"] += len(frame)
        connection.put(channel, frame)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_dialling(self, peer: PeerAddress) -> None:
        pause_s = REDIAL_PAUSE_S_MIN
        while True:
            if await self._dial(peer):
                pause_s = REDIAL_PAUSE_S_MIN
            await asyncio.sleep(pause_s * (0.5 + self._random.random()))
            pause_s = min(2 * pause_s, REDIAL_PAUSE_S_MAX)

    async def _dial(self, peer: PeerAddress) -> bool:
        """Connect and serve until the connection ends; return whether it was established."""
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(
                    peer.host, peer.port, ssl=self._client_context, limit=STREAM_BUFFER_BYTES
                ),
                HANDSHAKE_TIMEOUT_S,
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            logger.debug("peer %d does not answer: %s", peer.index, error)
            return False
        return await self._serve(reader, writer, expected=peer.index)

    async def _on_accepted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._handshakes >= HANDSHAKES_MAX:
            self.counters["handshakes_refused"] += 1
            writer.transport.abort()
            return
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await self._serve(reader, writer, expected=None)

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        expected: int | None,
    ) -> bool:
        """Shake hands, then read and write until the connection ends."""
        try:
            peer = await self._shake_hands(reader, writer, expected)
        except (InvalidInputError, OSError, EOFError, TimeoutError, ssl.SSLError) as error:
            self.counters["handshakes_failed"] += 1
            logger.warning("connection refused: %s", error)
            writer.transport.abort()
            return False
        connection = _Connection(peer, reader, writer)
        self._replace(connection)
        writing = asyncio.create_task(self._write(connection))
        try:
            await self._read(connection)
        except (InvalidInputError, OSError, EOFError, TimeoutError, ssl.SSLError) as error:
            logger.info("connection to peer %d ended: %s", peer, error or type(error).__name__)
        finally:
            writing.cancel()
            connection.reset()
            if self._connections.get(peer) is connection:
                del self._connections[peer]
                self._callbacks.on_disconnected(peer)
        return True

    def _replace(self, connection: _Connection) -> None:
        """Make a connection the one of its peer: the newest wins, the old may be half dead."""
        old = self._connections.pop(connection.peer, None)
        if old is not None:
            old.reset()
            self._callbacks.on_disconnected(connection.peer)
        self._connections[connection.peer] = connection
        self._callbacks.on_connected(connection.peer)

    async def _shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, expected: int | None
    ) -> int:
        """Find out who the peer is; return its index.

        Raises
        ------
        InvalidInputError
            ``unknown_peer`` or ``wrong_chain``.
        """
        self._handshakes += 1
        try:
            certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            peer = self._index_by_key.get(get_certificate_key(certificate))
            if peer is None or (expected is not None and peer != expected):
                raise InvalidInputError(
                    "unknown_peer", "the peer's transport key is not the one that is registered"
                )
            writer.write(
                encode_frame(Channel.HELLO, Hello(self._chain_id, self._own_index).encode())
            )
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                channel, data = await _read_frame(reader)
            if channel is not Channel.HELLO:
                raise InvalidInputError("malformed", f"the first frame is {channel.name}, no HELLO")
            check_hello(decode_hello(data), chain_id=self._chain_id, index=peer)
            return peer
        finally:
            self._handshakes -= 1

    async def _read(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        frames = TokenBucket(FRAMES_PER_SECOND_MAX, FRAMES_PER_SECOND_MAX)
        volume = TokenBucket(BYTES_PER_SECOND_MAX, BYTES_PER_SECOND_MAX)
        while True:
            async with asyncio.timeout(SILENCE_S_MAX):
                channel, data = await _read_frame(connection.reader)
            now_s = loop.time()
            if not (frames.take(1, now_s) and volume.take(len(data), now_s)):
                raise InvalidInputError("too_many_requests", "the peer sends more than it may")
            self.counters[f"bytes_received_{channel.name.lower()}"] += len(data)
            if channel is not Channel.PING:
                self._callbacks.on_message(connection.peer, channel, data)

    async def _write(self, connection: _Connection) -> None:
        ping = encode_frame(Channel.PING, b"")
        queue, writer = connection.queue, connection.writer
        try:
            while True:
                if not len(queue):
                    connection.wake.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PING_INTERVAL_S):
                            await connection.wake.wait()
                writer.write(queue.take(WRITE_BYTES_MAX) or ping)
                async with asyncio.timeout(STUCK_WRITE_S_MAX):
                    await writer.drain()
        except (OSError, TimeoutError, ssl.SSLError):
            connection.reset()


async def _read_frame(reader: asyncio.StreamReader) -> tuple[Channel, bytes]:
    channel, size = decode_frame_header(await reader.readexactly(FRAME_HEADER_BYTES))
    return channel, await reader.readexactly(size)


def _make_context(identity: TransportIdentity, protocol: int) -> ssl.SSLContext:
    """Return a TLS 1.3 context that shows our certificate and asks for the other's."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=identity.authority_pem.decode("ascii"))
    # The standard library reads keys from files alone; this one lives for an instant.
    descriptor, name = tempfile.mkstemp()
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(identity.certificate_pem + identity.private_key_pem)
        context.load_cert_chain(path)
    finally:
        path.unlink()
    return context
