"""A proxy between every pair of validators: cuts, delays, throttles and clogs connections.

Each validator is reached by the others through a listener of the proxy. Who dials is found out from
the system: the socket at the other end belongs to one of the validators' processes (Linux, no root
needed). Bytes are never changed or lost inside a connection, since TCP would not do that either: a
*cut* direction holds them back, and with them everything behind, until it is healed; a connection
that is opened meanwhile is accepted and led nowhere, which is also what a *clogged* peer does, one
that accepts and never reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Direction", "FaultProxy"]

HOST = "127.0.0.1"
CHUNK_BYTES = 16 * 1024
CHUNKS_HELD_MAX = 64
START_PATIENCE_S = 10.0


@dataclass(slots=True)
class Direction:
    """What happens to the bytes from one validator to another.

    Parameters
    ----------
    delay_s, jitter_s
        Each piece arrives this much later, give or take; their order stays.
    bytes_per_second
        How much passes, None for no limit.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_second: int | None = None
    is_cut: bool = False
    passed_bytes: int = 0
    is_open: asyncio.Event = field(default_factory=asyncio.Event)


class FaultProxy:
    """One listener for each validator, on a thread of its own.

    Parameters
    ----------
    listen_ports
        Where the others reach each validator.
    target_ports
        Where each validator really listens.
    get_processes
        Returns the process ids of the validators that run now, by index.
    seed
        Of the jitter.
    """

    def __init__(
        self,
        listen_ports: Sequence[int],
        target_ports: Sequence[int],
        get_processes: Callable[[], Mapping[int, int]],
        seed: int = 1,
    ) -> None:
        self._listen_ports = listen_ports
        self._target_ports = target_ports
        self._get_processes = get_processes
        self._chance = random.Random(seed)
        self._directions = {
            (sender, receiver): Direction()
            for sender in range(len(target_ports))
            for receiver in range(len(target_ports))
            if sender != receiver
        }
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def start(self) -> None:
        """Listen."""
        for direction in self._directions.values():
            direction.is_open.set()
        self._thread.start()
        assert self._is_ready.wait(START_PATIENCE_S), "the proxy does not listen"

    def stop(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def cut(self, sender: int, receiver: int) -> None:
        """Hold back everything from one validator to another."""
        direction = self._directions[sender, receiver]
        direction.is_cut = True
        self._loop.call_soon_threadsafe(direction.is_open.clear)

    def slow(
        self,
        sender: int,
        receiver: int,
        *,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        bytes_per_second: int | None = None,
    ) -> None:
        """Delay or throttle from one validator to another."""
        direction = self._directions[sender, receiver]
        direction.delay_s, direction.jitter_s = delay_s, jitter_s
        direction.bytes_per_second = bytes_per_second

    def heal(self) -> None:
        """End every fault; what was held back goes on."""
        for pair, direction in self._directions.items():
            self.slow(*pair)
            direction.is_cut = False
            self._loop.call_soon_threadsafe(direction.is_open.set)

    def get_passed_bytes(self, sender: int, receiver: int) -> int:
        """Return how much has arrived."""
        return self._directions[sender, receiver].passed_bytes

    async def _run(self) -> None:
        servers = [
            await asyncio.start_server(self._make_accept(index), HOST, port)
            for index, port in enumerate(self._listen_ports)
        ]
        self._is_ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_accept(
        self, target: int
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._serve(target, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return accept

    async def _serve(
        self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            dialler = self._find_dialler(writer.get_extra_info("peername")[1], target)
            try:
                if dialler is not None:
                    await self._join(dialler, target, reader, writer)
            finally:
                writer.transport.abort()

    def _find_dialler(self, port: int, target: int) -> int | None:
        """Return whose process holds the socket at the other end."""
        inode = _find_socket(port, self._listen_ports[target])
        for index, process_id in self._get_processes().items():
            if inode is not None and _holds_socket(process_id, inode):
                return index
        return None

    async def _join(
        self,
        dialler: int,
        target: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        forth, back = self._directions[dialler, target], self._directions[target, dialler]
        # A connection needs both ways to come about.
        await forth.is_open.wait()
        await back.is_open.wait()
        far_reader, far_writer = await asyncio.open_connection(HOST, self._target_ports[target])
        try:
            async with asyncio.TaskGroup() as group:
                for direction, source, sink in (
                    (forth, reader, far_writer),
                    (back, far_reader, writer),
                ):
                    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_HELD_MAX)
                    group.create_task(self._take(direction, source, held))
                    group.create_task(_pass_on(direction, held, sink))
        except* OSError:
            pass  # one end is gone, so the other goes too
        finally:
            far_writer.transport.abort()

    async def _take(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        held: asyncio.Queue[tuple[float, bytes]],
    ) -> None:
        while data := await source.read(CHUNK_BYTES):
            jitter_s = self._chance.uniform(-direction.jitter_s, direction.jitter_s)
            await held.put((self._loop.time() + direction.delay_s + jitter_s, data))
        raise ConnectionResetError


async def _pass_on(
    direction: Direction, held: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, data = await held.get()
        await asyncio.sleep(max(0.0, due - loop.time()))
        if direction.bytes_per_second is not None:
            await asyncio.sleep(len(data) / direction.bytes_per_second)
        await direction.is_open.wait()
        sink.write(data)
        await sink.drain()
        direction.passed_bytes += len(data)


def _find_socket(local_port: int, remote_port: int) -> str | None:
    """Return the inode of a TCP socket by its two ports; the format is that of proc(5)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = tuple(int(fields[column].rpartition(":")[2], 16) for column in (1, 2))
        if ports == (local_port, remote_port):
            return fields[9]
    return None


def _holds_socket(process_id: int, inode: str) -> bool:
    folder = Path(f"/proc/{process_id}/fd")
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 (descriptors come and go while we look)
            with contextlib.suppress(OSError):
                if os.readlink(folder / name) == f"socket:[{inode}]":  # noqa: PTH115
                    return True
    return False
