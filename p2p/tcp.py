"""Connections to the other members: the one file of this package with sockets.

Theory of operation
-------------------
A full mesh with one connection for each pair: the member with the lower index dials, again and
again with growing pauses; the other listens. TLS 1.3 proves the transport key of both ends, which
must be the one that the registry lists (p2p/certificate.py); one hello each way makes sure that
both mean the same network. From then on each end has a reader, which hands every frame to the
callback, a writer, which empties a bounded queue, votes first, and sends a ping when there is
nothing else, and a watch, which ends a connection that has fallen silent.

Invariants: (N1) of an unlisted key one frame is looked at, its hello, where guests are let in, and
nothing is sent to it before; (N2) sending never waits: a peer that does not read is reset; (N3)
nothing of one connection survives it: the upper layer retransmits; (N4) whatever a peer sends, the
worst that happens is the end of its connection.
Source: docs/spec/p2p.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, SupportsIndex

from p2p.certificate import TransportIdentity, get_certificate_key
from p2p.frames import FRAME_HEADER_BYTES, Channel, decode_frame_header, encode_frame
from p2p.guests import GUEST_NUMBER_FIRST, GuestBook, GuestCheck
from p2p.handshake_slots import HandshakeSlots
from p2p.hello import UNKNOWN_INDEX, Hello, check_hello, decode_hello, make_hello_frame
from p2p.network_timing import NetworkTiming
from p2p.outbound_queue import OutboundQueue
from p2p.peer_book import PeerAddress, PeerBook
from p2p.rate_limit import InboundLimits, TokenBucket
from p2p.redial import RedialBackoff
from p2p.tls import listen_on, make_context
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["NetworkTiming", "PeerAddress", "PeerCallbacks", "PeerNetwork"]

logger = logging.getLogger(__name__)

ACCEPT_PAUSE_S: Final = 0.1
CANCEL_INTERVAL_S: Final = 0.1
WRITE_BYTES_MAX: Final = 256 * 1024
STREAM_BUFFER_BYTES: Final = 256 * 1024

# A member may come back so often; beyond it, its calls are refused for a while.
_CALLS_PER_SECOND: Final = 2
_CALLS_BURST: Final = 10

_PING: Final = encode_frame(Channel.PING, b"")

# What a network or a peer can do to a connection. An SSLError is an OSError.
_CONNECTION_ERRORS: Final = (InvalidInputError, OSError, EOFError, TimeoutError)


@dataclass(frozen=True, slots=True)
class PeerCallbacks:
    """What the network tells its owner, on the event loop; a callback must not wait."""

    on_message: Callable[[int, Channel, bytes], None]
    on_connected: Callable[[int], None]
    on_disconnected: Callable[[int], None]


class _Reader(asyncio.StreamReader):
    """A stream reader that remembers whether anything arrived."""

    has_heard = False

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take what arrived."""
        self.has_heard = True
        super().feed_data(data)


class _Stream(NamedTuple):
    reader: _Reader
    writer: asyncio.StreamWriter


class _Connection:
    """One established connection and what waits to be sent on it."""

    def __init__(self, peer: int, stream: _Stream) -> None:
        self.peer = peer
        self.reader, self.writer = stream
        self.queue = OutboundQueue()
        self.wake = asyncio.Event()

    def put(self, channel: Channel, frame: bytes) -> bool:
        """Queue a frame; False if the peer is stuck, and its connection was reset for it."""
        if self.queue.put(channel, frame):
            self.wake.set()
            return True
        self.reset()
        return False

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
        Our number among the members; above all of theirs as long as we do not know it.
    peers
        The other members.
    listen
        Host and port to listen on; port 0 picks a free one, see :attr:`port`.
    chain_id
        The genesis hash.
    random
        Spreads redials; security does not depend on it.
    timing
        How patient to be.
    dials_all
        We are an observer: we dial all others, whatever their numbers.
    invitation
        What we show as long as we are not listed.
    admit_guest
        Decides about callers that are not listed; None refuses them all.

    Raises
    ------
    InvalidInputError
        ``invalid_configuration``: two members share an index or a transport key.
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
        timing: NetworkTiming | None = None,
        dials_all: bool = False,
        invitation: bytes = b"",
        admit_guest: GuestCheck | None = None,
    ) -> None:
        self._own_key = identity.public_key
        self._book = PeerBook(own_index, self._own_key, peers, dials_all=dials_all)
        self._guests = GuestBook(admit_guest)
        self._invitation = invitation
        self._listen = listen
        self._chain_id = chain_id
        self._random = random
        self._timing = timing or NetworkTiming()
        self._hello = make_hello_frame(chain_id, own_index, invitation)
        self._server_context = make_context(identity, ssl.PROTOCOL_TLS_SERVER)
        self._client_context = make_context(identity, ssl.PROTOCOL_TLS_CLIENT)
        self._callbacks: PeerCallbacks | None = None
        self._listener: socket.socket | None = None
        self._slots = HandshakeSlots()
        self._welcomes: dict[int, asyncio.Task[None]] = {}
        self._limits: dict[int, InboundLimits] = {}
        self._calls: dict[int, TokenBucket] = {}
        self._limit(peers)
        self._dials: dict[tuple[PeerAddress, bool], asyncio.Task[None]] = {}
        self._connections: dict[int, _Connection] = {}
        self._complaints: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.counters: Counter[str] = Counter()

    def connect(self, callbacks: PeerCallbacks) -> None:
        """Say whom to tell; called once, before the start."""
        self._callbacks = callbacks

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before the start."""
        return 0 if self._listener is None else int(self._listener.getsockname()[1])

    @property
    def connected(self) -> list[int]:
        """Indices of the peers that can be sent to now, ascending."""
        return sorted(self._connections)

    def statistics(self) -> dict[str, int]:
        """Return counts since the start and the present state, by name, for people and monitors."""
        waiting = sum(connection.queue.size_bytes for connection in self._connections.values())
        return {
            **self.counters,
            "peers_connected": sum(map(self._book.is_expected, self._connections)),
            "peers_expected": self._book.count_expected(),
            "observers_connected": sum(map(self._book.lists_observer, self._connections)),
            "guests_connected": len(self._guests),
            "handshakes_pending": len(self._slots),
            "queued_bytes": waiting,
        }

    async def start(self) -> None:
        """Listen, and dial every member with a higher index.

        Raises
        ------
        InvalidInputError
            ``cannot_listen``: the address is not ours, or is taken.
        InvariantViolationError
            If :meth:`connect` was not called.
        """
        if self._callbacks is None:
            raise InvariantViolationError("the network was not told whom to tell")
        self._listener = listen_on(*self._listen)
        self._spawn(self._accept_forever(self._listener))
        self._dial_members()

    def update_members(
        self, own_index: int, peers: Sequence[PeerAddress], *, dials_all: bool = False
    ) -> None:
        """Take note that the registry has changed; only on the event loop.

        Who is no longer listed, or has another key now, is disconnected; who is new is dialled or
        admitted.

        Parameters
        ----------
        own_index, peers, dials_all
            As when the network was made.

        Raises
        ------
        InvalidInputError
            ``invalid_configuration``: two members share an index or a transport key.
        """
        book = PeerBook(own_index, self._own_key, peers, dials_all=dials_all)
        kept = {peer.index for peer in peers if self._book.knows(peer)}
        kept |= {guest.number for guest in self._guests if not book.lists(guest.public_key)}
        self._book = book
        self._hello = make_hello_frame(self._chain_id, own_index, self._invitation)
        for index in [each for each in self._limits if each not in kept]:
            del self._limits[index], self._calls[index]
        self._limit(peers)
        for index, connection in list(self._connections.items()):
            if index not in kept:
                connection.reset()
        if self._listener is not None:
            self._dial_members()

    def recheck_guests(self) -> None:
        """Ask again about every guest, and end the connections of those that may not stay."""
        for number in self._guests.list_refused():
            if number in self._connections:
                logger.info("guest %d may not stay", number)
                self._connections[number].reset()
            self._guests.leave(number)

    def change_identity(self, identity: TransportIdentity) -> None:
        """Show another key from now on; every connection is made anew with it."""
        self._own_key = identity.public_key
        self._server_context = make_context(identity, ssl.PROTOCOL_TLS_SERVER)
        self._client_context = make_context(identity, ssl.PROTOCOL_TLS_CLIENT)
        for connection in list(self._connections.values()):
            connection.reset()

    def _limit(self, peers: Sequence[PeerAddress]) -> None:
        for peer in peers:
            if peer.index not in self._limits:
                self._limits[peer.index] = InboundLimits()
                self._calls[peer.index] = TokenBucket(_CALLS_PER_SECOND, _CALLS_BURST)

    def _dial_members(self) -> None:
        """Dial whom we are to dial, and no one else."""
        duties, strays = self._book.list_dialled(), self._book.list_strays()
        wanted = {(peer, True) for peer in duties} | {(peer, False) for peer in strays}
        for dial in [each for each in self._dials if each not in wanted]:
            self._dials.pop(dial).cancel()
        for dial in wanted:
            if dial not in self._dials:
                self._dials[dial] = self._spawn(self._keep_dialling(*dial))

    async def stop(self) -> None:
        """End every connection and listen no more."""
        while tasks := list(self._tasks):
            # Again and again: a task group whose own tasks fail at this moment forgets it.
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCEL_INTERVAL_S)
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Send to one peer if it is connected; never waits.

        Raises
        ------
        InvalidInputError
            ``too_large``: the message exceeds the cap of its channel.
        """
        frame = encode_frame(channel, data)
        connection = self._connections.get(peer)
        if connection is not None:
            self._put(connection, channel, frame)

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Send to every connected peer; never waits; raises as :meth:`send`."""
        frame = encode_frame(channel, data)
        for connection in list(self._connections.values()):
            # Guests read what is decided; what waits to be is no business of theirs.
            if channel is not Channel.TRANSACTION or connection.peer < GUEST_NUMBER_FIRST:
                self._put(connection, channel, frame)

    def _put(self, connection: _Connection, channel: Channel, frame: bytes) -> None:
        if connection.put(channel, frame):
            self.counters[f"bytes_sent_{channel.name.lower()}"] += len(frame)
            return
        self.counters["peers_stuck"] += 1
        logger.warning("peer %d takes nothing; its connection is reset", connection.peer)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.counters["tasks_broken"] += 1
            logger.error("a network task broke", exc_info=error)

    async def _keep_dialling(self, peer: PeerAddress, is_duty: bool) -> None:
        loop = asyncio.get_running_loop()
        backoff = RedialBackoff(self._random.random)
        while self._dials.get((peer, is_duty)) is asyncio.current_task():
            _forget_cancellations()
            while not is_duty:
                await asyncio.sleep(self._timing.stray_interval_s)
                if peer.index not in self._connections:
                    break
            lasted_s = 0.0
            connection = await self._establish(
                self._open_dialled(peer),
                lambda key: self._book.identify_dialled(key, peer),
                lambda error: self._complain_once(peer, error),
            )
            if connection is not None:
                self._complaints.pop(peer.index, None)
                began_s = loop.time()
                await self._serve(connection)
                lasted_s = loop.time() - began_s
            await asyncio.sleep(backoff.compute_pause_s(lasted_s))

    def _complain_once(self, peer: PeerAddress, error: Exception) -> None:
        """Say why a member cannot be reached when the reason changes; dialling never ends."""
        reason = str(error) or type(error).__name__
        if self._complaints.get(peer.index) != reason:
            self._complaints[peer.index] = reason
            logger.warning(
                "peer %d at %s:%d cannot be reached: %s", peer.index, peer.host, peer.port, reason
            )

    async def _accept_forever(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:
                # Out of file descriptors, most likely: connections that end will bring some back.
                self.counters["accepts_failed"] += 1
                logger.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            ticket, evicted = self._slots.admit(str(address[0]))
            if evicted is not None:
                self.counters["handshakes_evicted"] += 1
                self._welcomes[evicted].cancel()
            self._welcomes[ticket] = self._spawn(self._welcome(accepted, ticket))
            # A task that is cancelled before its first step would neither close nor leave.
            await asyncio.sleep(0)

    async def _welcome(self, accepted: socket.socket, ticket: int) -> None:
        try:
            connection = await self._establish(
                self._open_accepted(accepted),
                self._identify_caller,
                lambda error: logger.info("a connection was refused: %s", error),
            )
        finally:
            self._slots.leave(ticket)
            del self._welcomes[ticket]
        if connection is not None:
            await self._serve(connection)

    def _identify_caller(self, public_key: bytes) -> int:
        peer = self._book.identify_caller(public_key)
        if not self._calls[peer].take(1, asyncio.get_running_loop().time()):
            raise InvalidInputError(
                "too_many_requests",
                f"peer {peer} connects more than {_CALLS_PER_SECOND} times a second",
                field="connection",
                limit=_CALLS_PER_SECOND,
            )
        return peer

    async def _open_dialled(self, peer: PeerAddress) -> _Stream:
        return await self._open(
            lambda make: asyncio.get_running_loop().create_connection(
                make, peer.host, peer.port, ssl=self._client_context
            )
        )

    async def _open_accepted(self, accepted: socket.socket) -> _Stream:
        try:
            return await self._open(
                lambda make: asyncio.get_running_loop().connect_accepted_socket(
                    make, accepted, ssl=self._server_context
                )
            )
        except BaseException:
            accepted.close()
            raise

    async def _open(self, connect: Callable[[_MakeProtocol], Awaitable[Any]]) -> _Stream:
        loop = asyncio.get_running_loop()
        reader = _Reader(limit=STREAM_BUFFER_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await connect(lambda: protocol)
        return _Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def _establish(
        self,
        opening: Coroutine[Any, Any, _Stream],
        identify: Callable[[bytes], int],
        complain: Callable[[Exception], None],
    ) -> _Connection | None:
        """Open a connection and find out who the peer is; None if that fails."""
        connection = stream = None
        try:
            async with asyncio.timeout(self._timing.handshake_timeout_s):
                stream = await opening
                connection = _Connection(await self._shake_hands(stream, identify), stream)
        except _CONNECTION_ERRORS as error:
            self.counters["handshakes_failed"] += 1
            complain(error)
        finally:
            if stream is not None and connection is None:
                stream.writer.transport.abort()
        return connection

    async def _shake_hands(self, stream: _Stream, identify: Callable[[bytes], int]) -> int:
        """Return the index of the peer, once its key and its hello are right.

        Raises
        ------
        InvalidInputError
            ``unknown_peer``, ``wrong_chain``, ``too_many_requests``, or its hello is malformed.
        """
        certificate = stream.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        public_key = get_certificate_key(certificate)
        is_caller = identify == self._identify_caller
        if is_caller and self._guests.is_open and not self._book.lists(public_key):
            return await self._receive_guest(stream, public_key)
        peer = identify(public_key)
        stream.writer.write(self._hello)
        check_hello(await _read_hello(stream), chain_id=self._chain_id, index=peer)
        return peer

    async def _receive_guest(self, stream: _Stream, public_key: bytes) -> int:
        """Hear a stranger out before a word of ours; return the number it gets."""
        self._guests.limit_calls(public_key, asyncio.get_running_loop().time())
        hello = await _read_hello(stream)
        check_hello(hello, chain_id=self._chain_id, index=UNKNOWN_INDEX)
        guest = self._guests.admit(public_key, hello.invitation)
        stream.writer.write(self._hello)
        return guest.number

    async def _serve(self, connection: _Connection) -> None:
        """Read and write until the connection ends; raises nothing that a peer could cause."""
        peer = connection.peer
        try:
            self._register(connection)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection))
                group.create_task(self._write(connection))
                group.create_task(self._watch(connection))
        except* _CONNECTION_ERRORS as errors:
            reasons = {str(error) or type(error).__name__ for error in errors.exceptions}
            logger.info("the connection to peer %d ended: %s", peer, "; ".join(sorted(reasons)))
        except* Exception:
            # The fault is ours, in a callback; one connection must not take the others along.
            self.counters["connections_broken"] += 1
            logger.exception("the connection to peer %d broke", peer)
        finally:
            connection.reset()
            self._unregister(connection)

    def _register(self, connection: _Connection) -> None:
        """Make a connection the one of its peer: the newest wins, the old may be half dead."""
        old = self._connections.get(connection.peer)
        if old is not None:
            old.reset()
            self._unregister(old, is_replaced=True)
        self._connections[connection.peer] = connection
        self.counters["connections_made"] += 1
        self._tell().on_connected(connection.peer)

    def _unregister(self, connection: _Connection, *, is_replaced: bool = False) -> None:
        if self._connections.get(connection.peer) is connection:
            del self._connections[connection.peer]
            if not is_replaced:
                self._guests.leave(connection.peer)
            self._tell().on_disconnected(connection.peer)

    def _tell(self) -> PeerCallbacks:
        if self._callbacks is None:
            raise InvariantViolationError("the network was not told whom to tell")
        return self._callbacks

    async def _read(self, connection: _Connection) -> None:
        time = asyncio.get_running_loop().time
        peer, reader = connection.peer, connection.reader
        guest, on_message = self._guests.get(peer), self._tell().on_message
        limits = self._limits.get(peer) if guest is None else guest.limits
        if limits is None:
            raise ConnectionError(f"peer {peer} left the registry meanwhile")
        while True:
            channel, size = decode_frame_header(await reader.readexactly(FRAME_HEADER_BYTES))
            if channel is Channel.HELLO:
                raise _refuse_channel("a connection has one HELLO", channel)
            data = await reader.readexactly(size)
            self.counters[f"bytes_received_{channel.name.lower()}"] += FRAME_HEADER_BYTES + size
            wait_s = limits.charge(channel, size, time())
            if wait_s is None:
                self.counters[f"frames_dropped_{channel.name.lower()}"] += 1
            elif channel is not Channel.PING:
                on_message(peer, channel, data)
            if wait_s != 0:
                # Also after a drop: a flood that sits in the buffer must not hold the loop.
                self.counters["reads_slowed"] += 1
                await asyncio.sleep(wait_s or 0)

    async def _write(self, connection: _Connection) -> None:
        queue, writer, wake = connection.queue, connection.writer, connection.wake
        while True:
            if not queue:
                wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._timing.ping_interval_s):
                        await wake.wait()
            frames = memoryview(queue.take(WRITE_BYTES_MAX) or _PING)
            # In pieces: what must be fast enough is every piece, not the whole of a large frame.
            for start in range(0, len(frames), WRITE_BYTES_MAX):
                writer.write(frames[start : start + WRITE_BYTES_MAX])
                async with asyncio.timeout(self._timing.stuck_write_s_max):
                    await writer.drain()

    async def _watch(self, connection: _Connection) -> None:
        """Find a peer that is gone without a word: pulled cable, stopped machine."""
        silent_intervals = 0
        while silent_intervals < self._timing.silent_intervals_max:
            connection.reader.has_heard = False
            await asyncio.sleep(self._timing.ping_interval_s)
            silent_intervals = 0 if connection.reader.has_heard else silent_intervals + 1
        self.counters["peers_silent"] += 1
        raise TimeoutError(f"the peer was silent for {silent_intervals} ping intervals")


_MakeProtocol = Callable[[], asyncio.StreamReaderProtocol]


def _forget_cancellations() -> None:
    # A task group of Python 3.11 whose tasks failed leaves its own task counted as being cancelled,
    # and a timeout in it passes for a cancellation. Who really cancels asks again.
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


async def _read_hello(stream: _Stream) -> Hello:
    header = await stream.reader.readexactly(FRAME_HEADER_BYTES)
    channel, size = decode_frame_header(header)
    if channel is not Channel.HELLO:
        raise _refuse_channel("the first frame must be HELLO", channel)
    return decode_hello(await stream.reader.readexactly(size))


def _refuse_channel(rule: str, channel: Channel) -> InvalidInputError:
    return InvalidInputError(
        "malformed", f"{rule}, found {channel.name}", field="frame.channel", value=channel.name
    )
