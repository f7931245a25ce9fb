"""Joins by a snapshot before anything of consensus exists, or finds that there is none of use.

The shell around `node.snapshots.fetcher`: connections, clock and disk. While it runs there is no
core and no signer, so nothing is signed. It answers peers that ask the same, so that the members
of a network that is just being born do not wait for each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ledger.genesis import Genesis
from ledger.reader import LedgerReader
from ledger.schema import CHAIN_VALIDATORS, decode_validators
from ledger.snapshot import Manifest
from node.clock import read_monotonic_ms
from node.snapshots.fetch_actions import (
    Action,
    Ask,
    DiscardState,
    DropPeer,
    FetchLimits,
    FetchProgress,
    Finish,
    GiveUp,
    ImportState,
    SaveManifest,
    StoreChunk,
    StorePayload,
    StoreTensor,
)
from node.snapshots.fetcher import SnapshotFetcher
from node.snapshots.import_folder import ImportFolder
from node.snapshots.messages import Message, Offer, OfferRequest, decode_message, encode_message
from p2p.frames import Channel
from p2p.tcp import PeerCallbacks
from primitives.epoch_chain import EpochChain
from primitives.epoch_end import EpochEnd
from primitives.errors import CorruptStateError, InvalidInputError

__all__ = [
    "SNAPSHOT_THRESHOLD",
    "JoinResult",
    "Joining",
    "JoiningNetwork",
    "KnownChain",
    "read_known_chain",
]

logger = logging.getLogger(__name__)

SNAPSHOT_THRESHOLD: Final = 5_000
"""Heights that a snapshot must be ahead of us to be worth it; fewer are executed sooner."""

TICK_S: Final = 0.1
PATIENCE_MS: Final = 3_000
STALL_MS: Final = 60_000
REPORT_INTERVAL_S: Final = 5.0


class JoiningNetwork(Protocol):
    """Connections to the other members; :class:`p2p.tcp.PeerNetwork` is one."""

    def connect(self, callbacks: PeerCallbacks) -> None:
        """Say whom to tell."""

    async def start(self) -> None:
        """Begin to connect."""

    async def stop(self) -> None:
        """End every connection."""

    def send(self, peer: int, channel: Channel, data: bytes) -> None:
        """Send to one peer if it is connected; never waits."""


@dataclass(frozen=True, slots=True)
class JoinResult:
    """How joining ended.

    Parameters
    ----------
    height
        Of the snapshot that was imported and is ready to be put in place; None if there was none.
    reason
        Why not, for people.
    counters
        What happened, by name.
    """

    height: int | None
    reason: str
    counters: Counter[str]


@dataclass(frozen=True, slots=True)
class KnownChain:
    """What is known already, and trusted, when a fetch begins.

    Parameters
    ----------
    height
        Of our own tip.
    chain
        Begins with the validators of the epoch that the next block is of.
    ends
        Of the epochs before it, as far as our store has them.
    """

    height: int
    chain: EpochChain
    ends: tuple[EpochEnd, ...]


def read_known_chain(genesis: Genesis, reader: LedgerReader | None) -> KnownChain:
    """Return what the genesis says, or our own ledger if there is one.

    Parameters
    ----------
    genesis
        Of the chain.
    reader
        Of our ledger; None if it is empty. Not used afterwards.
    """
    if reader is None:
        return KnownChain(0, EpochChain(genesis.chain_id, 0, genesis.to_validator_set()), ())
    height = reader.tip().height
    epoch = genesis.parameters.epoch_of(height + 1)
    validators = reader.read(CHAIN_VALIDATORS, decode_validators)
    if validators is None:
        raise CorruptStateError("the state has no validators")
    ends = [reader.epoch_end(number) for number in range(epoch)]
    return KnownChain(
        height,
        EpochChain(genesis.chain_id, epoch, validators.to_validator_set()),
        tuple(end for end in ends if end is not None),
    )


class Joining:
    """One attempt to join by a snapshot.

    Parameters
    ----------
    network
        Not connected to anybody yet; belongs to this attempt alone.
    folder
        Where the snapshot becomes a ledger.
    known
        What is trusted.
    bytes_max
        Room on the disk for a state.
    threshold
        Heights that a snapshot must be ahead of us.
    patience_ms, stall_ms
        How long to wait for a first offer, and for anything of use later.
    answers_enough
        So many peers must lack something before it is taken for absent; f + 1 if left out.
    """

    def __init__(
        self,
        network: JoiningNetwork,
        folder: ImportFolder,
        known: KnownChain,
        *,
        bytes_max: int,
        threshold: int = SNAPSHOT_THRESHOLD,
        patience_ms: int = PATIENCE_MS,
        stall_ms: int = STALL_MS,
        answers_enough: int | None = None,
    ) -> None:
        self._network = network
        self._folder = folder
        self._known = known
        self._fetcher = SnapshotFetcher(
            known.chain,
            FetchLimits(
                height_min=known.height + threshold + 1,
                bytes_max=bytes_max,
                patience_ms=patience_ms,
                stall_ms=stall_ms,
                answers_enough=answers_enough
                or known.chain.validator_set(known.chain.epoch).faults_max + 1,
            ),
            folder.list_held(),
            folder.load_manifest(),
            read_monotonic_ms(),
        )
        self._works: set[asyncio.Task[None]] = set()
        self._result: asyncio.Future[JoinResult] = asyncio.get_running_loop().create_future()
        self.counters: Counter[str] = Counter()

    @property
    def progress(self) -> FetchProgress:
        """How far it is, for people."""
        return self._fetcher.progress

    async def run(self) -> JoinResult:
        """Join, or find out that there is nothing to join by.

        Raises
        ------
        OSError
            The disk did not take what was fetched.
        """
        self._network.connect(
            PeerCallbacks(
                on_message=self._on_message,
                on_connected=lambda peer: self._perform(
                    self._fetcher.on_connected(peer, read_monotonic_ms())
                ),
                on_disconnected=lambda peer: self._perform(
                    self._fetcher.on_disconnected(peer, read_monotonic_ms())
                ),
            )
        )
        ticking = asyncio.create_task(self._tick())
        try:
            await self._network.start()
            return await self._result
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, *self._works, return_exceptions=True)
            await self._network.stop()
            self._folder.close()

    async def _tick(self) -> None:
        reported_s = -REPORT_INTERVAL_S
        loop = asyncio.get_running_loop()
        while True:
            self._perform(self._fetcher.on_tick(read_monotonic_ms()))
            if loop.time() - reported_s >= REPORT_INTERVAL_S:
                reported_s = loop.time()
                logger.info("joining: %s", self.progress)
            await asyncio.sleep(TICK_S)

    def _on_message(self, peer: int, channel: Channel, data: bytes) -> None:
        if channel is not Channel.SNAPSHOT:
            return
        try:
            message = decode_message(data)
        except InvalidInputError as error:
            self._perform(self._fetcher.on_malformed(peer, str(error), read_monotonic_ms()))
            return
        if isinstance(message, OfferRequest):
            self._send(peer, Offer(self._known.height, b""))
        else:
            self._perform(self._fetcher.on_message(peer, message, read_monotonic_ms()))

    def _send(self, peer: int, message: Message) -> None:
        self._network.send(peer, Channel.SNAPSHOT, encode_message(message))

    def _perform(self, actions: list[Action]) -> None:
        """Do what the fetcher asks for; what fails ends the attempt."""
        try:
            for action in actions:
                self._perform_one(action)
        except Exception as error:
            # Whoever waits for the result is told; a callback of the network has no one to tell.
            self._fail(error)

    def _perform_one(self, action: Action) -> None:  # noqa: C901 (one case for each kind of action)
        folder = self._folder
        match action:
            case Ask(peer, message):
                self._send(peer, message)
            case DropPeer(peer, reason):
                self.counters["snapshot_liars"] += 1
                logger.warning("peer %d is not asked for snapshots again: %s", peer, reason)
            case SaveManifest(manifest):
                logger.info("joining by the snapshot of height %d", manifest.height)
                folder.save_manifest(manifest)
            case StoreChunk(chunk_hash, data):
                self.counters["snapshot_chunks_fetched"] += 1
                folder.store_chunk(chunk_hash, data)
            case ImportState(manifest):
                self._work(self._import_state(manifest))
            case StoreTensor(key, value):
                folder.store_tensor(key, value)
            case StorePayload(transaction_id, payload, key, envelope):
                folder.store_tensor(key, envelope)
                folder.store_payload(transaction_id, payload)
            case DiscardState():
                folder.discard_state()
            case Finish(manifest):
                self._work(self._finish(manifest))
            case GiveUp(reason):
                self._end(None, reason)

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._on_work_done)

    def _on_work_done(self, task: asyncio.Task[None]) -> None:
        self._works.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _import_state(self, manifest: Manifest) -> None:
        folder, fetcher = self._folder, self._fetcher
        try:
            await asyncio.to_thread(folder.import_state, manifest)
        except InvalidInputError as error:
            damaged = await asyncio.to_thread(folder.find_damaged, manifest)
            if damaged:
                self._perform(fetcher.on_chunks_damaged(damaged, read_monotonic_ms()))
            else:
                self._perform(fetcher.on_import_failed(str(error), read_monotonic_ms()))
            return
        self._perform(
            fetcher.on_state_imported(
                folder.iterate_missing_tensors(manifest.height),
                folder.iterate_missing_payloads(manifest.height),
                read_monotonic_ms(),
            )
        )

    async def _finish(self, manifest: Manifest) -> None:
        ends = (*self._known.ends, *self._known.chain.ends)
        await asyncio.to_thread(self._folder.finish, manifest, ends)
        self._end(manifest.height, "")

    def _end(self, height: int | None, reason: str) -> None:
        if not self._result.done():
            absent = self.progress.payloads_absent
            self.counters["snapshot_payloads_absent"] = absent
            self._result.set_result(JoinResult(height, reason, self.counters))

    def _fail(self, error: BaseException) -> None:
        if not self._result.done():
            self._result.set_exception(error)
