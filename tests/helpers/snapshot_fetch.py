"""A fetch without sockets or clock: peers that answer, lie, fall silent, and one that listens."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path
from random import Random

from ledger.snapshot import Manifest
from node.snapshots.fetch_actions import (
    Action,
    Ask,
    DiscardState,
    DropPeer,
    FetchLimits,
    Finish,
    GiveUp,
    ImportState,
    SaveManifest,
    StoreChunk,
    StorePayload,
    StoreTensor,
)
from node.snapshots.fetcher import SnapshotFetcher
from node.snapshots.import_folder import ImportFolder, put_ledger_in_place
from node.snapshots.maker import make_snapshot
from node.snapshots.messages import Message, decode_message, encode_message
from node.snapshots.server import SnapshotLibrary
from node.snapshots.shelf import SnapshotShelf
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore
from primitives.epoch_chain import EpochChain
from primitives.errors import InvalidInputError
from tests.helpers.snapshots import EpochedChain

Answer = Callable[[Message], Message | None]

LATENCY_MS = 20
LIMITS = FetchLimits(
    height_min=1, bytes_max=2**40, patience_ms=3_000, stall_ms=60_000, answers_enough=2
)


class KilledError(Exception):
    """The process was killed before it did something."""


def serve(chain: EpochedChain, folder: Path, *heights: int) -> SnapshotLibrary:
    """Return an honest server of a chain, which took snapshots after some blocks."""
    shelf = SnapshotShelf(folder)
    for height in heights:
        make_snapshot(chain.values, height, shelf)
    return SnapshotLibrary(chain.values, chain.payloads, shelf)


class FetchScene:
    """One node that joins, with its disk, and its peers; one seed decides all that is random."""

    def __init__(
        self,
        chain: EpochedChain,
        folder: Path,
        peers: dict[int, Answer],
        *,
        limits: FetchLimits = LIMITS,
        seed: int = 1,
    ) -> None:
        self.chain = chain
        self.peers = peers
        self.limits = limits
        self.now_ms = 0
        self.random = Random(seed)
        self.ledger_folder = folder / "data" / "ledger"
        self.dropped: dict[int, str] = {}
        self.given_up = ""
        self.asked: list[tuple[int, Message]] = []
        self.stored_chunks = 0
        self.performed = 0
        self.is_finished = False
        self.payload_store = PayloadStore(folder / "data" / "payloads")
        self._wire: list[tuple[int, int, int, Message]] = []
        self._count = 0
        self.start()

    def start(self) -> None:
        """Begin a fetch, as a process does that finds what an earlier one left."""
        genesis = self.chain.network.genesis
        self.folder = ImportFolder(self.ledger_folder, genesis, self.payload_store)
        self._wire.clear()
        self.fetcher = SnapshotFetcher(
            EpochChain(genesis.chain_id, 0, genesis.to_validator_set()),
            self.limits,
            self.folder.list_held(),
            self.folder.load_manifest(),
            self.now_ms,
        )

    def connect(self, *numbers: int) -> None:
        for number in numbers:
            self._perform(self.fetcher.on_connected(number, self.now_ms))

    def disconnect(self, number: int) -> None:
        self._wire = [each for each in self._wire if each[2] != number]
        heapq.heapify(self._wire)
        self._perform(self.fetcher.on_disconnected(number, self.now_ms))

    def run(self, until: Callable[[], bool] = lambda: False, limit_ms: int = 600_000) -> None:
        """Let time pass until the fetch ends, or until something is so."""
        end_ms = self.now_ms + limit_ms
        while not (self.is_finished or self.given_up or until()):
            assert self.now_ms < end_ms, f"nothing came of it: {self.fetcher.progress}"
            if self._wire and self._wire[0][0] <= self.now_ms:
                _, _, peer, message = heapq.heappop(self._wire)
                self._perform(self.fetcher.on_message(peer, message, self.now_ms))
            else:
                self.now_ms += 10
                self._perform(self.fetcher.on_tick(self.now_ms))

    def join(self) -> EpochedChain:
        """Fetch with every peer connected, and return the ledger that came of it."""
        self.connect(*self.peers)
        self.run()
        assert self.is_finished, self.given_up
        return self.open_ledger()

    def open_ledger(self) -> EpochedChain:
        """Put the imported ledger in place and open it."""
        assert put_ledger_in_place(self.ledger_folder)
        database = LevelKeyValueStore(self.ledger_folder)
        joined = EpochedChain(self.chain.network, database)
        for _, transaction_id in self.list_payload_ids():
            payload = self.payload_store.read(transaction_id)
            if payload is not None:
                joined.payloads.add(transaction_id, payload)
        return joined

    def list_payload_ids(self) -> list[tuple[int, bytes]]:
        tip = self.chain.store.tip().height
        return [
            (height, each.transaction_id)
            for height in range(1, tip + 1)
            for each in self.chain.store.block(height)[1]
        ]

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            self.before_action(action)
            self.performed += 1
            self._perform_one(action)

    def before_action(self, action: Action) -> None:
        """Give a test the chance to end the process here."""

    def _perform_one(self, action: Action) -> None:  # noqa: C901 (one case for each kind)
        folder = self.folder
        match action:
            case Ask(peer, message):
                self.asked.append((peer, message))
                self._answer(peer, message)
            case DropPeer(peer, reason):
                self.dropped[peer] = reason
            case SaveManifest(manifest):
                folder.save_manifest(manifest)
            case StoreChunk(chunk_hash, data):
                self.stored_chunks += 1
                folder.store_chunk(chunk_hash, data)
            case ImportState(manifest):
                self._import(manifest)
            case StoreTensor(key, value):
                folder.store_tensor(key, value)
            case StorePayload(transaction_id, payload, key, envelope):
                folder.store_tensor(key, envelope)
                folder.store_payload(transaction_id, payload)
            case DiscardState():
                folder.discard_state()
            case Finish(manifest):
                folder.finish(manifest, self.fetcher.chain.ends)
                self.is_finished = True
            case GiveUp(reason):
                self.given_up = reason

    def _import(self, manifest: Manifest) -> None:
        folder, fetcher = self.folder, self.fetcher
        try:
            folder.import_state(manifest)
        except InvalidInputError as error:
            damaged = folder.find_damaged(manifest)
            if damaged:
                self._perform(fetcher.on_chunks_damaged(damaged, self.now_ms))
            else:
                self._perform(fetcher.on_import_failed(str(error), self.now_ms))
            return
        self._perform(
            fetcher.on_state_imported(
                folder.iterate_missing_tensors(manifest.height),
                folder.iterate_missing_payloads(manifest.height),
                self.now_ms,
            )
        )

    def _answer(self, peer: int, request: Message) -> None:
        """Put a peer's answer on the wire, through the codec."""
        answer = self.peers[peer](decode_message(encode_message(request)))
        if answer is not None:
            self._count += 1
            at_ms = self.now_ms + self.random.randint(1, LATENCY_MS)
            message = decode_message(encode_message(answer))
            heapq.heappush(self._wire, (at_ms, self._count, peer, message))


def check_same_ledger(joined: EpochedChain, chain: EpochedChain, height: int) -> None:
    """Check that a joined ledger stands at a height and goes on as the chain does."""
    assert joined.store.tip().height == height
    assert joined.store.tip().state_root == chain.store.stored_block(height).state_root
    for above in range(height + 1, chain.store.tip().height + 1):
        header, transactions = chain.store.block(above)
        for each in transactions:
            payload = chain.payloads.read(each.transaction_id)
            if payload is not None:
                joined.payloads.add(each.transaction_id, payload)
        joined.finalize(joined.executor.execute(header, transactions, None))
    assert joined.store.tip() == chain.store.tip()
