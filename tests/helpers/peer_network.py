"""Members on the loopback interface for the tests of p2p, and peers that do not keep the rules."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import uvloop

from p2p.certificate import TransportIdentity, make_identity
from p2p.frames import FRAME_HEADER_BYTES, Channel, decode_frame_header, encode_frame
from p2p.hello import Hello
from p2p.tcp import NetworkTiming, PeerAddress, PeerCallbacks, PeerNetwork
from p2p.tls import make_context

CHAIN = b"\x07" * 32
HOST = "127.0.0.1"
PATIENCE_S = 20.0
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

Event = tuple[Any, ...]


def run(test: Callable[[], Coroutine[Any, Any, None]], loop: str = "asyncio") -> None:
    """Run a test on an event loop; one that waits in vain fails instead of hanging."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(test(), PATIENCE_S))


def make_member_identity(index: int, chain_id: bytes = CHAIN) -> TransportIdentity:
    return make_identity(bytes([index + 1]) * 32, chain_id)


@dataclass
class Member:
    """One network and what it told its owner, in order."""

    network: PeerNetwork
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    async def expect(self, *event: Any) -> None:
        """Wait for the next event, which must be this one."""
        found = await self.events.get()
        assert found == event

    async def skip_to(self, *event: Any) -> None:
        """Wait for an event, whatever comes before it."""
        while await self.events.get() != event:
            pass

    async def wait_for_count(self, name: str, least: int = 1) -> None:
        """Wait until something was counted that is told to nobody."""
        while self.network.counters[name] < least:
            await asyncio.sleep(0)


def make_member(
    index: int,
    ports: dict[int, int],
    *,
    chain_id: bytes = CHAIN,
    port: int = 0,
    timing: NetworkTiming | None = None,
    on_message: Callable[[int, Channel, bytes], None] | None = None,
    observers: Collection[int] = (),
    own_index: int | None = None,
    **options: Any,
) -> Member:
    """Return member `index`; the others are at `ports`, 0 for those that it never dials."""
    peers = [
        PeerAddress(
            other, make_member_identity(other).public_key, HOST, at, dials_us=other in observers
        )
        for other, at in ports.items()
    ]
    network = PeerNetwork(
        **options,
        identity=make_member_identity(index, chain_id),
        own_index=index if own_index is None else own_index,
        peers=peers,
        listen=(HOST, port),
        chain_id=chain_id,
        random=Random(index),
        timing=timing,
    )
    member = Member(network)
    put = member.events.put_nowait
    network.connect(
        PeerCallbacks(
            on_message=on_message or (lambda *message: put(("message", *message))),
            on_connected=lambda peer: put(("connected", peer)),
            on_disconnected=lambda peer: put(("disconnected", peer)),
        )
    )
    return member


@contextlib.asynccontextmanager
async def running(*members: Member) -> AsyncIterator[None]:
    """Start members in order; stop them all at the end."""
    try:
        for member in members:
            await member.network.start()
        yield
    finally:
        for member in members:
            await member.network.stop()


@contextlib.asynccontextmanager
async def running_mesh(count: int) -> AsyncIterator[list[Member]]:
    """Start `count` members; yield them once every pair is connected."""
    members: dict[int, Member] = {}
    async with contextlib.AsyncExitStack() as stack:
        # Who is dialled starts first, so that its port is known.
        for index in reversed(range(count)):
            ports = {
                other: members[other].network.port if other in members else 0
                for other in range(count)
                if other != index
            }
            members[index] = make_member(index, ports)
            await stack.enter_async_context(running(members[index]))
        for member in members.values():
            for _ in range(count - 1):
                assert (await member.events.get())[0] == "connected"
        yield [members[index] for index in range(count)]


class Wire(NamedTuple):
    """The bare ends of a TLS connection, for peers that do not keep the rules."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read_frame(self) -> tuple[Channel, bytes]:
        header = await self.reader.readexactly(FRAME_HEADER_BYTES)
        channel, size = decode_frame_header(header)
        return channel, await self.reader.readexactly(size)

    async def read_until_closed(self) -> bytes:
        """Return what still comes before the other side ends the connection."""
        heard = bytearray()
        with contextlib.suppress(OSError, EOFError):
            while data := await self.reader.read(65536):
                heard += data
        return bytes(heard)

    def abort(self) -> None:
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def calling(
    member: Member, identity: TransportIdentity, *, say: bytes = b""
) -> AsyncIterator[Wire]:
    """Dial a member with TLS, and say something at once."""
    context = make_context(identity, ssl.PROTOCOL_TLS_CLIENT)
    wire = Wire(*await asyncio.open_connection(HOST, member.network.port, ssl=context))
    wire.writer.write(say)
    try:
        yield wire
    finally:
        wire.abort()


def hello_of(index: int, chain_id: bytes = CHAIN) -> bytes:
    return encode_frame(Channel.HELLO, Hello(chain_id, index).encode())
