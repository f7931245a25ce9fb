"""A node's feed and its reader over a real Unix domain socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.payload import Payload
from node.api.feed_client import FeedClient, NodeUnreachableError
from node.api.feed_frames import NodeStatus, Pair
from node.api.feed_server import FeedLimits, FeedServer, NodeDoors
from node.api.feed_stream import choose_socket_path, frame_bytes, split_batch
from primitives.errors import InvalidInputError, InvariantViolationError
from tests.helpers.api import make_healthy_report

PAYLOAD = Payload(b"\x05" * 32, b"samples")
CHAIN_ID = b"\x07" * 32
STATUS = NodeStatus(
    "north", 1, 5, 9, 3, 3, 0, 0, False, "1.2.3", (("connections_made", 3),), make_healthy_report()
)


def make_block_id(height: int) -> bytes:
    return height.to_bytes(32, "big")


@dataclass
class RecordingSnapshot:
    height: int
    content: dict[bytes, bytes]
    is_closed: bool = False

    def pairs(self) -> Iterator[Pair]:
        yield from sorted(self.content.items())

    def close(self) -> None:
        self.is_closed = True


@dataclass
class DictionarySource:
    """A node's store that is a dictionary."""

    height: int = 0
    content: dict[bytes, bytes] = field(default_factory=lambda: {b"genesis": b"first"})
    chain_id: bytes = CHAIN_ID
    snapshots: list[RecordingSnapshot] = field(default_factory=list)

    def get_tip_height(self) -> int:
        return self.height

    def get_block_id(self, height: int) -> bytes | None:
        return make_block_id(height) if height <= self.height else None

    def open_snapshot(self) -> RecordingSnapshot:
        snapshot = RecordingSnapshot(self.height, dict(self.content))
        self.snapshots.append(snapshot)
        return snapshot


class DictionarySink:
    """A follower's store that is a dictionary, and a bell for each block."""

    def __init__(self) -> None:
        self.content: dict[bytes, bytes] = {}
        self.position: tuple[int, bytes] | None = None
        self.resets = 0
        self.applied: list[int] = []
        self._incoming: dict[bytes, bytes] = {}
        self._changed = asyncio.Event()

    def get_position(self) -> tuple[int, bytes] | None:
        return self.position

    def begin_snapshot(self) -> None:
        self.resets += 1
        self._incoming = {}

    def add_snapshot_pairs(self, puts: Sequence[Pair]) -> None:
        self._incoming.update(puts)

    def end_snapshot(self, height: int) -> None:
        self.content = self._incoming
        self._move_to(height)

    def apply_batch(self, height: int, puts: Sequence[Pair], deletes: Sequence[bytes]) -> None:
        self.content.update(puts)
        for key in deletes:
            self.content.pop(key, None)
        self.applied.append(height)
        self._move_to(height)

    async def wait_for(self, height: int) -> None:
        async with asyncio.timeout(10):
            while self.position is None or self.position[0] < height:
                await self._changed.wait()
                self._changed.clear()

    def _move_to(self, height: int) -> None:
        self.position = (height, make_block_id(height))
        self._changed.set()


class Scene:
    """A node's feed, one reader, and what the node was asked."""

    def __init__(self, path: Path, limits: FeedLimits) -> None:
        self.source = DictionarySource()
        self.path = path
        self.submitted: list[tuple[bytes, Payload | None]] = []
        self.gate: asyncio.Event | None = None
        self.limits = limits
        self.server = self.make_server()
        self.sink = DictionarySink()
        self.client = FeedClient(path, self.sink)
        self._following: asyncio.Task[None] | None = None

    def make_server(self) -> FeedServer:
        doors = NodeDoors(self._submit, lambda: STATUS, self._read_payload)
        return FeedServer(self.path, self.source, doors, self.limits)

    def write_block(self, puts: Sequence[Pair] = (), deletes: Sequence[bytes] = ()) -> None:
        self.source.height += 1
        self.source.content.update(puts)
        self.server.publish(self.source.height, puts, deletes)

    def follow(self) -> None:
        self._following = asyncio.create_task(self.client.run())

    async def stop_following(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _submit(self, envelope: bytes, payload: Payload | None) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if envelope == b"bad":
            raise InvalidInputError("nonce_gap", "nonce 9", field="nonce", value=9, limit=7)
        self.submitted.append((envelope, payload))

    @staticmethod
    def _read_payload(transaction_id: bytes) -> Payload | None:
        return PAYLOAD if transaction_id == bytes(32) else None


def play(
    tmp_path: Path,
    act: Callable[[Scene], Awaitable[None]],
    limits: FeedLimits | None = None,
) -> None:
    async def run() -> None:
        scene = Scene(choose_socket_path(tmp_path), limits or FeedLimits())
        await scene.server.start()
        try:
            await act(scene)
        finally:
            await scene.stop_following()
            await scene.server.stop()

    asyncio.run(run())


def test_an_empty_reader_receives_a_snapshot_and_then_every_block(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        scene.write_block([(b"a", b"1"), (b"b", b"2")])
        scene.write_block([(b"a", b"3")], [b"b"])
        await scene.sink.wait_for(2)
        assert scene.sink.content == {b"genesis": b"first", b"a": b"3"}
        assert scene.sink.resets == 1
        assert scene.source.snapshots[0].is_closed

    play(tmp_path, act)


def test_a_reader_that_comes_back_continues_where_it_was(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        await scene.stop_following()
        for _ in range(5):
            scene.write_block([(b"k", bytes([scene.source.height + 1]))])
        scene.follow()
        await scene.sink.wait_for(5)
        assert scene.sink.applied == [1, 2, 3, 4, 5]
        assert scene.sink.resets == 1

    play(tmp_path, act)


def test_a_reader_too_far_behind_begins_with_a_snapshot(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        await scene.stop_following()
        for _ in range(4):
            scene.write_block([(b"k", bytes([scene.source.height + 1]))])
        scene.follow()
        await scene.sink.wait_for(4)
        assert scene.sink.resets == 2
        assert scene.sink.content[b"k"] == b"\x04"

    play(tmp_path, act, FeedLimits(recent_batches_max=3))


def test_recent_batches_are_bounded_in_bytes_too(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        await scene.stop_following()
        scene.write_block([(b"k", bytes(600))])
        scene.write_block([(b"k", bytes(600))])
        scene.follow()
        await scene.sink.wait_for(2)
        assert scene.sink.resets == 2

    play(tmp_path, act, FeedLimits(recent_bytes_max=1_000))


def test_a_reader_of_another_history_begins_with_a_snapshot(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.sink.position = (0, b"\xee" * 32)
        scene.follow()
        await scene.sink.wait_for(0)
        scene.write_block()
        await scene.sink.wait_for(1)
        assert scene.sink.resets == 1

    play(tmp_path, act)


def test_a_block_larger_than_a_part_is_applied_as_one(tmp_path: Path) -> None:
    puts = [(number.to_bytes(4, "big"), bytes(300_000)) for number in range(12)]
    deletes = [number.to_bytes(4, "big") for number in range(100, 20_100)]

    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        scene.write_block(puts, deletes)
        await scene.sink.wait_for(1)
        assert scene.sink.applied == [1]
        assert scene.sink.content == {b"genesis": b"first", **dict(puts)}

    assert len(list(split_batch(1, puts, deletes))) > 3
    play(tmp_path, act)


def test_a_restarted_node_is_followed_without_a_snapshot(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        scene.write_block()
        await scene.sink.wait_for(1)
        await scene.server.stop()
        scene.server = scene.make_server()
        await scene.server.start()
        scene.write_block()
        await scene.sink.wait_for(2)
        assert scene.sink.resets == 1 + (scene.sink.applied != [1, 2])

    play(tmp_path, act)


def test_submissions_reach_the_node_and_refusals_come_back(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        await scene.client.submit(b"envelope", PAYLOAD)
        await scene.client.submit(b"plain", None)
        with pytest.raises(InvalidInputError) as caught:
            await scene.client.submit(b"bad", None)
        assert scene.submitted == [(b"envelope", PAYLOAD), (b"plain", None)]
        error = caught.value
        assert (error.code, error.field, error.value, error.limit) == (
            "nonce_gap",
            "nonce",
            "9",
            "7",
        )

    play(tmp_path, act)


def test_submissions_beyond_those_under_way_are_refused_at_once(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.gate = asyncio.Event()
        scene.follow()
        await scene.sink.wait_for(0)
        tasks = {asyncio.create_task(scene.client.submit(b"x", None)) for _ in range(3)}
        refused, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        scene.gate.set()
        with pytest.raises(InvalidInputError) as caught:
            await refused.pop()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert caught.value.code == "too_many_requests"
        assert len(scene.submitted) == 2

    play(tmp_path, act, FeedLimits(submissions_waiting_max=2))


def test_submissions_beyond_the_rate_are_refused(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        outcomes = await asyncio.gather(
            *(scene.client.submit(b"x", None) for _ in range(50)), return_exceptions=True
        )
        refused = [error for error in outcomes if error is not None]
        assert refused
        assert {error.code for error in refused if isinstance(error, InvalidInputError)} == {
            "too_many_requests"
        }
        assert len(scene.submitted) == 50 - len(refused)

    play(tmp_path, act, FeedLimits(submissions_per_second_max=3))


def test_status_and_payloads_are_read_through_the_socket(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        assert await scene.client.read_status() == STATUS
        assert await scene.client.read_payload(bytes(32)) == PAYLOAD
        assert await scene.client.read_payload(b"\x01" * 32) is None

    play(tmp_path, act)


def test_payload_reads_beyond_the_rate_are_refused(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        outcomes = await asyncio.gather(
            *(scene.client.read_payload(bytes(32)) for _ in range(9)), return_exceptions=True
        )
        assert any(isinstance(outcome, InvalidInputError) for outcome in outcomes)

    play(tmp_path, act, FeedLimits(reads_per_second_max=2))


def test_a_reader_whose_store_fails_tries_again(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        apply, failures = scene.sink.apply_batch, [RuntimeError("disk full")]

        def fail_once(height: int, puts: Sequence[Pair], deletes: Sequence[bytes]) -> None:
            if failures:
                raise failures.pop()
            apply(height, puts, deletes)

        scene.sink.apply_batch = fail_once  # type: ignore[method-assign]
        scene.follow()
        await scene.sink.wait_for(0)
        scene.write_block([(b"a", b"1")])
        await scene.sink.wait_for(1)
        assert scene.sink.content[b"a"] == b"1"
        assert scene.sink.resets == 1

    play(tmp_path, act)


def test_without_a_node_every_request_fails_at_once(tmp_path: Path) -> None:
    async def act() -> None:
        client = FeedClient(tmp_path / "nobody.sock", DictionarySink())
        assert not client.is_connected
        with pytest.raises(NodeUnreachableError):
            await client.submit(b"envelope", None)

    asyncio.run(act())


def test_requests_under_way_fail_when_the_node_hangs_up(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.gate = asyncio.Event()
        scene.follow()
        await scene.sink.wait_for(0)
        waiting = asyncio.create_task(scene.client.submit(b"one", None))
        await asyncio.sleep(0)
        await scene.server.stop()
        with pytest.raises(NodeUnreachableError):
            await waiting

    play(tmp_path, act)


@pytest.mark.parametrize(
    "greeting",
    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", frame_bytes(next(split_batch(1, (), ())))],
    ids=["too long", "malformed", "no hello"],
)
def test_a_stranger_on_the_socket_is_hung_up_on(tmp_path: Path, greeting: bytes) -> None:
    async def act(scene: Scene) -> None:
        reader, writer = await asyncio.open_unix_connection(scene.path)
        writer.write(greeting)
        assert await reader.read() == b""
        writer.close()
        scene.follow()
        await scene.sink.wait_for(0)

    play(tmp_path, act)


def test_no_more_readers_are_taken_than_the_limit(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.follow()
        await scene.sink.wait_for(0)
        reader, writer = await asyncio.open_unix_connection(scene.path)
        assert await reader.read() == b""
        writer.close()
        assert scene.server.reader_count == 1

    play(tmp_path, act, FeedLimits(readers_max=1))


def test_a_block_out_of_order_is_our_own_fault(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        with pytest.raises(InvariantViolationError):
            scene.server.publish(2, (), ())

    play(tmp_path, act)


def test_the_socket_is_for_this_user_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        assert scene.path.stat().st_mode & 0o777 == 0o600
        await scene.server.stop()
        await scene.server.stop()
        assert not scene.path.exists()

    play(tmp_path, act)


def test_a_home_too_deep_for_a_socket_gets_one_in_the_temporary_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    path = choose_socket_path(deep)
    assert len(bytes(path)) <= 100
    assert path == choose_socket_path(deep)
    assert path != choose_socket_path(tmp_path / ("e" * 120))
