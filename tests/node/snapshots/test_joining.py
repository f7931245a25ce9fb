"""A node joins over real connections; what a running node says, serves and notices meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ledger import snapshot as snapshot_module
from ledger.reader import LedgerReader
from ledger.snapshot import decode_manifest
from node.snapshots.import_folder import ImportFolder, put_ledger_in_place
from node.snapshots.joining import Joining, JoinResult, read_known_chain
from node.snapshots.messages import (
    ANSWER_BYTES,
    Chunk,
    ChunkRequest,
    EpochEnds,
    EpochEndsRequest,
    Message,
    Offer,
    OfferRequest,
    Payloads,
    PayloadsRequest,
    decode_message,
    encode_message,
)
from node.snapshots.server import WAITING_MAX, SnapshotLibrary, SnapshotServer
from node.snapshots.service import LagWatch, SnapshotService, SnapshotSettings
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore
from p2p.frames import Channel
from p2p.tcp import PeerCallbacks
from tests.helpers.peer_network import make_member
from tests.helpers.snapshot_fetch import check_same_ledger, serve
from tests.helpers.snapshots import EpochedChain, import_snapshot, make_chain

HEIGHT = 8
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def chain() -> EpochedChain:
    chain = make_chain(accounts=20)
    chain.create_model()
    chain.contribute()
    chain.run_many(8)
    return chain


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "CHUNK_BYTES", 600)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE_S))


class Servers:
    """Members 1, 2, … over real connections, and the ports on which they listen."""

    def __init__(self, library: SnapshotLibrary | None, count: int) -> None:
        self.members = [make_member(number, {0: 0}) for number in range(1, count + 1)]
        self.servers = [
            SnapshotServer(
                library,
                lambda peer, data, network=member.network: network.send(  # type: ignore[misc]
                    peer, Channel.SNAPSHOT, data
                ),
            )
            for member in self.members
        ]
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> dict[int, int]:
        ports: dict[int, int] = {}
        for member, server in zip(self.members, self.servers, strict=True):
            member.network.connect(
                PeerCallbacks(
                    on_message=lambda peer, _, data, server=server: server.on_request(  # type: ignore[misc]
                        peer, decode_message(data)
                    ),
                    on_connected=lambda _: None,
                    on_disconnected=lambda _: None,
                )
            )
            await member.network.start()
            self.tasks.append(asyncio.create_task(server.serve()))
            ports[len(ports) + 1] = member.network.port
        return ports

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for member in self.members:
            await member.network.stop()


async def join(
    chain: EpochedChain, folder: Path, ports: dict[int, int], **options: Any
) -> JoinResult:
    payloads = PayloadStore(folder / "payloads")
    genesis = chain.network.genesis
    joining = Joining(
        make_member(0, ports).network,
        ImportFolder(folder / "ledger", genesis, payloads),
        options.pop("known", None) or read_known_chain(genesis, None),
        **{"bytes_max": 2**30, "threshold": 0, **options},
    )
    try:
        return await joining.run()
    finally:
        payloads.close()


def open_ledger(chain: EpochedChain, folder: Path) -> EpochedChain:
    assert put_ledger_in_place(folder / "ledger")
    joined = EpochedChain(chain.network, LevelKeyValueStore(folder / "ledger"))
    payloads = PayloadStore(folder / "payloads")
    for height in range(1, chain.store.tip().height + 1):
        for each in chain.store.block(height)[1]:
            payload = payloads.read(each.transaction_id)
            if payload is not None:
                joined.payloads.add(each.transaction_id, payload)
    payloads.close()
    return joined


def test_a_new_node_joins_over_connections(chain: EpochedChain, tmp_path: Path) -> None:
    async def test() -> None:
        async with Servers(serve(chain, tmp_path / "shelf", HEIGHT), 3) as ports:
            result = await join(chain, tmp_path / "data", ports)
        assert result.height == HEIGHT
        assert result.counters["snapshot_liars"] == 0
        assert result.counters["snapshot_chunks_fetched"] > 5

    run(test)
    check_same_ledger(open_ledger(chain, tmp_path / "data"), chain, HEIGHT)


def test_a_node_that_fell_far_behind_goes_on_from_its_own_validators(
    chain: EpochedChain, tmp_path: Path
) -> None:
    """It believes its own store, not the genesis again, and keeps the ends of epochs it has."""
    behind = import_snapshot(chain, chain.take_snapshot(5))
    known = read_known_chain(chain.network.genesis, LedgerReader(behind.values))
    assert (known.height, known.chain.epoch) == (5, 1)
    assert [end.header.height for end in known.ends] == [5]

    async def test() -> None:
        async with Servers(serve(chain, tmp_path / "shelf", HEIGHT), 2) as ports:
            result = await join(chain, tmp_path / "data", ports, known=known)
        assert result.height == HEIGHT

    run(test)
    joined = open_ledger(chain, tmp_path / "data")
    assert joined.store.epoch_end(0) == chain.store.epoch_end(0)
    check_same_ledger(joined, chain, HEIGHT)


@pytest.mark.parametrize("library", ["nothing to offer", "not far enough"])
def test_a_network_without_a_snapshot_of_use_keeps_nobody_waiting(
    chain: EpochedChain, tmp_path: Path, library: str
) -> None:
    async def test() -> None:
        found = None if library == "nothing to offer" else serve(chain, tmp_path / "s", HEIGHT)
        async with Servers(found, 3) as ports:
            result = await join(
                chain, tmp_path / "data", ports, threshold=HEIGHT, patience_ms=3_600_000
            )
        assert result.height is None
        assert "no snapshot of use" in result.reason

    run(test)
    assert not put_ledger_in_place(tmp_path / "data" / "ledger")


class RecordingNetwork:
    """Remembers what is sent, and connects nobody."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Channel, Message]] = []

    def connect(self, callbacks: PeerCallbacks) -> None:
        self.callbacks = callbacks

    async def start(self) -> None:
        self.callbacks.on_message(5, Channel.SNAPSHOT, encode_message(OfferRequest()))
        self.callbacks.on_message(5, Channel.SYNC, b"of no concern")

    async def stop(self) -> None:
        pass

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        self.sent.append((peer, channel, decode_message(data)))


def test_who_joins_answers_others_that_do(chain: EpochedChain, tmp_path: Path) -> None:
    """A network that is being born: nobody has anything, everybody asks, and nobody waits."""

    async def test() -> None:
        network = RecordingNetwork()
        genesis = chain.network.genesis
        with contextlib.closing(PayloadStore(tmp_path / "payloads")) as payloads:
            folder = ImportFolder(tmp_path / "ledger", genesis, payloads)
            known = read_known_chain(genesis, None)
            joining = Joining(network, folder, known, bytes_max=2**30, patience_ms=0)
            result = await joining.run()
        assert result.height is None
        assert network.sent == [(5, Channel.SNAPSHOT, Offer(0, b""))]

    run(test)


def test_a_disk_that_fails_ends_the_attempt(
    chain: EpochedChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(ImportFolder, "store_chunk", fail)

    async def test() -> None:
        async with Servers(serve(chain, tmp_path / "shelf", HEIGHT), 1) as ports:
            with pytest.raises(OSError, match="no space"):
                await join(chain, tmp_path / "data", ports)

    run(test)
    assert not put_ledger_in_place(tmp_path / "data" / "ledger")


class TestServer:
    def test_each_peer_has_its_turn_and_floods_are_dropped(
        self, chain: EpochedChain, tmp_path: Path
    ) -> None:
        library = serve(chain, tmp_path, HEIGHT)
        sent: list[int] = []

        async def test() -> None:
            done = asyncio.Event()

            def send(peer: int, _: bytes) -> None:
                sent.append(peer)
                if len(sent) == WAITING_MAX + 2:
                    done.set()

            server = SnapshotServer(library, send)
            for _ in range(WAITING_MAX + 5):
                server.on_request(1, EpochEndsRequest(0))
            for _ in range(2):
                server.on_request(2, EpochEndsRequest(0))
            serving = asyncio.create_task(server.serve())
            await done.wait()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            assert server.counters["snapshot_requests_dropped"] == 5

        run(test)
        assert sent[:4] == [1, 2, 1, 2]
        assert sent[4:] == [1] * (WAITING_MAX - 2)

    def test_what_is_no_request_is_not_answered(self, chain: EpochedChain, tmp_path: Path) -> None:
        library = serve(chain, tmp_path, HEIGHT)
        assert library.answer(Offer(1, b"")) is None
        assert library.answer(Chunk(bytes(32), 0, b"")) is None

    def test_what_is_not_held_is_said(self, chain: EpochedChain, tmp_path: Path) -> None:
        library = serve(chain, tmp_path)
        assert library.answer(OfferRequest()) == Offer(chain.store.tip().height, b"")
        assert library.answer(ChunkRequest(bytes(32), 3)) == Chunk(bytes(32), 3, b"")
        assert library.answer(EpochEndsRequest(99)) == EpochEnds(99, ())

    def test_an_answer_is_cut_before_it_gets_too_large(self, tmp_path: Path) -> None:
        chain = make_chain(accounts=3)
        chain.create_model("wide", features=20_000)
        ids = tuple(chain.contribute("wide", features=20_000) for _ in range(16))
        library = serve(chain, tmp_path)
        answer = library.answer(PayloadsRequest(ids))
        assert isinstance(answer, Payloads)
        assert 1 < len(answer.items) < 16
        assert tuple(each.transaction_id for each in answer.items) == ids[: len(answer.items)]
        assert len(encode_message(answer)) < ANSWER_BYTES + 4_096

    def test_a_joined_node_hands_on_what_it_got(self, chain: EpochedChain, tmp_path: Path) -> None:
        """It holds no blocks below its base, and yet the payloads of their transactions."""
        joined = import_snapshot(chain, chain.take_snapshot(HEIGHT))
        mine, theirs = serve(joined, tmp_path / "a"), serve(chain, tmp_path / "b")
        ids = tuple(chain.store.block(height)[1][0].transaction_id for height in (1, 2))
        assert mine.answer(PayloadsRequest(ids)) == theirs.answer(PayloadsRequest(ids))
        assert joined.store.epoch_end(0) == chain.store.epoch_end(0)
        answer = mine.answer(EpochEndsRequest(0))
        assert isinstance(answer, EpochEnds)
        assert len(answer.ends) == 1


class TestLagWatch:
    def test_f_plus_1_offers_far_above_are_believed(self, chain: EpochedChain) -> None:
        offer = Offer(10**9, chain.take_snapshot(HEIGHT).manifest.encode())
        watch = LagWatch(threshold=5, believed_count=2)
        watch.on_offer(1, offer)
        watch.on_offer(1, offer)
        assert not watch.is_far_behind(0), "one peer may lie"
        watch.on_offer(2, offer)
        assert watch.is_far_behind(2)
        assert not watch.is_far_behind(3), "not more than the threshold"
        watch.on_disconnected(2)
        assert not watch.is_far_behind(2)

    def test_claims_without_a_manifest_count_for_nothing(self) -> None:
        watch = LagWatch(threshold=5, believed_count=1)
        for manifest in (b"", b"garbage"):
            watch.on_offer(1, Offer(10**9, manifest))
            assert not watch.is_far_behind(0)


def test_the_service_makes_serves_and_notices(tmp_path: Path) -> None:
    chain = make_chain(accounts=5)
    sent: list[tuple[int, Message]] = []
    told: list[bool] = []

    async def test() -> None:
        service = SnapshotService(
            chain.values,
            chain.payloads,
            tmp_path,
            SnapshotSettings(interval=4, threshold=10),
            faults_max=0,
            read_final_height=lambda: chain.store.tip().height,
            send=lambda peer, data: sent.append((peer, decode_message(data))),
            on_far_behind=lambda: told.append(True),
        )
        service.start()
        try:
            service.on_connected(3)
            assert sent == [(3, OfferRequest())]
            for _ in range(6):
                chain.run_many(1)
                service.on_final(chain.store.tip().height)
            while service._maker._work is not None and not service._maker._work.done():
                await asyncio.sleep(0)
            service.on_bytes(3, b"garbage")
            assert service.counters["snapshot_messages_malformed"] == 1
            service.on_bytes(3, encode_message(OfferRequest()))
            while len(sent) < 2:
                await asyncio.sleep(0)
            peer, offer = sent[1]
            assert peer == 3
            assert isinstance(offer, Offer)
            assert decode_manifest(offer.manifest).height == 4
            service.on_bytes(3, encode_message(offer))
            assert told == []
            far = make_chain(accounts=5)
            far.run_many(20)
            ahead = Offer(20, far.take_snapshot(18).manifest.encode())
            for _ in range(2):
                service.on_bytes(3, encode_message(ahead))
            assert told == [True], "said once"
            service.on_disconnected(3)
        finally:
            await service.stop()

    run(test)


def test_known_chain_of_a_new_node_is_that_of_the_genesis(chain: EpochedChain) -> None:
    known = read_known_chain(chain.network.genesis, None)
    assert (known.height, known.chain.epoch, known.ends) == (0, 0, ())
    assert known.chain.validator_set(0) == chain.network.genesis.to_validator_set()
    fresh = make_chain(accounts=20)
    with_genesis = read_known_chain(chain.network.genesis, LedgerReader(fresh.values))
    assert (with_genesis.height, with_genesis.chain.epoch) == (0, 0)
