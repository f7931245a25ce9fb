"""The composition root: makes the parts of a node and connects them.

This is the only place that knows all of them. Starting order: lock the home, open the disks, put
the genesis in place if the ledger is empty, recover consensus from the log, listen to peers, open
the feed for the API, take the first turn. Stopping is the same in reverse; nothing is lost either
way, since everything that matters is on disk before it is said (node/driver.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consensus.events import ClockReading, PeerConnected, PeerDisconnected
from consensus.records import find_highest_epoch
from consensus.safety import Signer
from consensus.watch import Watch
from ledger.executor import BlockExecutor
from ledger.genesis import Genesis, genesis_from_json
from ledger.invite import Invite, invite_from_text
from ledger.members import decode_member, member_key
from ledger.metering import compute_units
from ledger.payload import Payload
from ledger.reader import LedgerReader
from ledger.schema import CHAIN_VALIDATORS, decode_validators
from node.api.feed_frames import NodeStatus
from node.api.feed_server import FeedLimits, FeedServer, LedgerFeedSource, NodeDoors
from node.api.feed_stream import choose_socket_path
from node.api_process import ApiProcess
from node.background import Background
from node.clock import read_monotonic_ms, read_wall_ms
from node.configuration import NodeSettings
from node.consensus_report import NodeFacts, build_node_status
from node.data_format import open_data_folder
from node.divergence_desk import DivergenceDesk, LedgerToExamine
from node.driver import ConsensusDriver, DriverCallbacks
from node.epochs import EpochStarter, SigningRecords
from node.evidence_reporter import EvidenceReporter
from node.final_state import FinalState
from node.guests import GuestDoor
from node.home import NodeHome
from node.kernel_loading import load_kernels
from node.ledger_service import (
    FinalBlock,
    LedgerCallbacks,
    LedgerService,
    LedgerThreads,
)
from node.mempool import Mempool, MempoolLimits
from node.message_door import PeerMessageDoor
from node.node_keys import NodeKeys
from node.peering import Peering
from node.recovery import Assurance, Disks, note_damage, open_disks
from node.snapshot_join import join_by_snapshot
from node.snapshots.import_folder import put_ledger_in_place
from node.snapshots.service import SnapshotService, SnapshotSettings
from node.storage.home_lock import HomeLock
from node.submissions import Submissions
from node.unfinal_blocks import UnfinalBlocks
from p2p.frames import Channel
from p2p.tcp import PeerCallbacks, PeerNetwork
from primitives.accounts import AccountId
from primitives.errors import InvalidInputError, QuorateError
from primitives.keys import check_verifier

__all__ = ["Companion", "Node", "NodeHandles", "load_genesis", "load_invite"]

logger = logging.getLogger(__name__)

RESEND_INTERVAL_S = 2.0
"""A transaction that waited so long is sent to every validator again: it may have been missed."""

RESENT_MAX = 512


def load_genesis(home: NodeHome) -> Genesis:
    """Return the genesis of a node's home.

    Raises
    ------
    InvalidInputError
        The file is missing, or is no genesis.
    """
    try:
        text = home.genesis_file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(
            "invalid_configuration",
            f"there is no genesis at {home.genesis_file}; `quorate init` makes one",
            field="genesis",
            value=str(home.genesis_file),
        ) from error
    return genesis_from_json(text)


def load_invite(home: NodeHome) -> Invite | None:
    """Return the invite with which a node joined, or None; raises if the file holds no invite."""
    try:
        text = home.invite_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return invite_from_text(text)


@dataclass(frozen=True, slots=True)
class NodeHandles:
    """What a companion of a running node may use.

    Parameters
    ----------
    reader
        Of the final state.
    read_status
        Returns what the node knows of itself.
    submit
        Takes a transaction; returns when the mempool has accepted it.
    get_next_nonce
        Of an account, in the final state.
    """

    reader: LedgerReader
    read_status: Callable[[], NodeStatus]
    submit: Callable[[bytes, Payload | None], Awaitable[Any]]
    get_next_nonce: Callable[[AccountId], int]


Companion = Callable[[NodeHandles], Coroutine[Any, Any, None]]
"""Runs beside a node, in its event loop."""


def _refuse_password(path: Path) -> str:
    raise InvalidInputError(
        "password_missing", f"{path} is encrypted and no password was given", field="password"
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """The running parts of a node."""

    disks: Disks
    mempool: Mempool
    service: LedgerService
    network: PeerNetwork
    driver: ConsensusDriver
    submissions: Submissions
    reporter: EvidenceReporter
    desk: DivergenceDesk
    snapshots: SnapshotService
    far_behind: asyncio.Event


class Node:
    """One running node.

    Parameters
    ----------
    home
        Its folder.
    settings
        Its settings.
    assurance
        What the operator says about a validator key whose history is not on disk.
    keys
        Of the node; opens plain files alone if left out.
    companion
        Runs beside the node; its end does not end the node, its failure does.
    """

    def __init__(
        self,
        home: NodeHome,
        settings: NodeSettings,
        assurance: Assurance = Assurance.NONE,
        *,
        keys: NodeKeys | None = None,
        companion: Companion | None = None,
    ) -> None:
        self._home = home
        self._assurance = assurance
        self._settings = settings
        self._companion = companion
        self._genesis = load_genesis(home)
        self._keys = keys or NodeKeys(home, _refuse_password)
        self._keys.load_transport_seeds()
        self._peering = Peering(self._genesis, settings, self._keys, load_invite(home))
        self._watch = Watch()
        self._background = Background(self._stop_broken)
        self._broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set; raises what broke the node if it cannot go on."""
        check_verifier()
        with HomeLock(self._home.root):
            open_data_folder(self._home.ledger_folder.parent)
            put_ledger_in_place(self._home.ledger_folder)
            while await self._run_once(stop):
                await join_by_snapshot(
                    self._home,
                    self._genesis,
                    self._peering,
                    self._settings.snapshots.threshold,
                )

    async def _run_once(self, stop: asyncio.Event) -> bool:
        """Run until the end; return whether the node is to join by a snapshot and run again."""
        async with AsyncExitStack() as stack:
            parts = self._make_parts(stack)
            await self._start(stack, parts)
            logger.info(
                "%s runs: chain %s, REST on http://%s:%d",
                self._settings.validator or "observer",
                self._genesis.chain_id.hex()[:16],
                self._settings.api.host,
                self._settings.api.port,
            )
            stopping = asyncio.ensure_future(stop.wait())
            behind = asyncio.ensure_future(parts.far_behind.wait())
            ends: set[asyncio.Future[Any]] = {stopping, behind, self._broken}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            behind.cancel()
        if self._broken.done():
            note_damage(self._home, self._broken.result())
            raise _explain(self._broken.result(), self._home)
        return parts.far_behind.is_set() and not stop.is_set()

    def _make_parts(self, stack: AsyncExitStack) -> _Parts:
        disks = open_disks(self._home, self._genesis, self._assurance, stack)
        threads = _make_threads(stack)
        state = FinalState(LedgerReader(disks.database))
        mempool = Mempool(MempoolLimits(), lambda transaction: compute_units(state, transaction))
        service = LedgerService(
            store=disks.store,
            database=disks.database,
            executor=BlockExecutor(disks.store, disks.payloads),
            payloads=disks.payloads,
            unfinal=UnfinalBlocks(),
            mempool=mempool,
            threads=threads,
        )
        reader = LedgerReader(disks.database)
        self._check_keys(reader)
        guests = GuestDoor(self._genesis.chain_id, state, read_wall_ms)
        network = self._peering.make_network(self._peering.read_registry(reader), guests.admit)
        submissions = Submissions(
            chain_id=self._genesis.chain_id,
            mempool=mempool,
            ledger=service,
            executor=threads.judging,
            send_to_peers=lambda data: network.broadcast(Channel.TRANSACTION, data),
            on_broken=self._stop_broken,
        )
        reporter = EvidenceReporter(
            chain_id=self._genesis.chain_id,
            reader=LedgerReader(disks.database),
            load_key=lambda: next(iter(self._keys.load_validator_keys().values()), None),
            get_next_nonce=service.get_next_nonce,
            submit=submissions.submit,
            run=self._background.run,
        )
        driver = ConsensusDriver(
            self._make_starter(disks).begin,
            disks.log,
            PeerMessageDoor(network),
            service,
            _read_clocks,
            DriverCallbacks(reporter.report, lambda code: desk.on_alarm(code), self._stop_broken),
        )
        desk = DivergenceDesk(
            driver.turns,
            LedgerToExamine(
                disks.database, disks.payloads, threads.ledger, service.forget_executed
            ),
            self._home.ledger_folder.with_name("divergence"),
            self._background.run,
            self._stop_broken,
        )
        far_behind = asyncio.Event()
        snapshots = self._make_snapshots(disks, service, driver, network, far_behind.set)
        return _Parts(
            disks=disks,
            mempool=mempool,
            service=service,
            network=network,
            driver=driver,
            submissions=submissions,
            reporter=reporter,
            desk=desk,
            snapshots=snapshots,
            far_behind=far_behind,
        )

    def _make_snapshots(
        self,
        disks: Disks,
        service: LedgerService,
        driver: ConsensusDriver,
        network: PeerNetwork,
        on_far_behind: Callable[[], None],
    ) -> SnapshotService:
        wanted = self._settings.snapshots
        return SnapshotService(
            disks.database,
            disks.payloads,
            self._home.snapshot_folder,
            SnapshotSettings(wanted.interval, wanted.threshold, wanted.bytes_per_second),
            faults_max=driver.turns.core.state.validators.faults_max,
            read_final_height=lambda: service.final_height,
            send=lambda peer, data: network.send(peer, Channel.SNAPSHOT, data),
            on_far_behind=on_far_behind,
        )

    def _make_starter(self, disks: Disks) -> EpochStarter:
        reader = LedgerReader(disks.database)
        records = disks.log.records()
        # Read again for a later epoch only if an earlier life of this node had got that far.
        begun_epoch = find_highest_epoch(records)
        is_first = True
        history = disks.history

        def load_records(epoch: int) -> SigningRecords:
            nonlocal begun_epoch, is_first
            lost = is_first and history.must_observe
            found = disks.log.records() if epoch <= begun_epoch or is_first else []
            is_first, begun_epoch = False, max(epoch, begun_epoch)
            return SigningRecords(found, lost, history.sign_floor_view, history.is_accepted)

        return EpochStarter(
            reader, self._settings.consensus, self._load_signers, load_records, self._watch
        )

    def _load_signers(self) -> dict[bytes, Signer]:
        keys = self._keys.load_validator_keys()
        return {public_key: key.sign for public_key, key in keys.items()}

    def _check_keys(self, reader: LedgerReader) -> None:
        """Refuse to start as a validator that the ledger knows by another key."""
        keys = self._keys.load_validator_keys()
        for seat, name in _read_names(reader).items():
            if name == self._settings.validator and name and seat not in keys:
                raise InvalidInputError(
                    "invalid_configuration",
                    f"{self._home.validator_key_file.parent} holds keys"
                    f" {', '.join(key.hex() for key in keys) or 'none'}, the ledger lists"
                    f" {seat.hex()} for {name}; lay its file beside them, or let the members"
                    " decide on another key (docs/operations.md)",
                    field="validator",
                    value=name,
                )

    async def _start(self, stack: AsyncExitStack, parts: _Parts) -> None:
        """Connect the parts and set them going; each is stopped in reverse."""
        feed = self._make_feed(parts)
        service, network, driver = parts.service, parts.network, parts.driver
        service.connect(
            LedgerCallbacks(
                post=driver.post,
                send=PeerMessageDoor(network).send,
                on_final=_Publisher(feed, parts, self._peering).publish,
                on_execution_failed=parts.desk.on_execution_failed,
                on_broken=self._stop_broken,
                read_wall_ms=read_wall_ms,
            )
        )
        network.connect(
            PeerCallbacks(
                on_message=_Dispatcher(parts).on_message,
                on_connected=_Dispatcher(parts).on_connected,
                on_disconnected=_Dispatcher(parts).on_disconnected,
            )
        )
        stack.push_async_callback(service.drain)
        load_kernels(LedgerReader(parts.disks.database))
        await feed.start()
        stack.push_async_callback(feed.stop)
        parts.submissions.start(driver.note_work)
        stack.push_async_callback(self._background.stop)
        stack.push_async_callback(parts.submissions.stop)
        driver.start()
        stack.push_async_callback(driver.stop)
        parts.snapshots.start()
        stack.push_async_callback(parts.snapshots.stop)
        await network.start()
        stack.push_async_callback(network.stop)
        resending = asyncio.create_task(_resend(parts), name="resend")
        stack.push_async_callback(_cancel, resending)
        if self._companion is not None:
            self._background.run(self._companion(self._make_handles(parts)))
        if self._settings.api.enabled:
            socket_path = choose_socket_path(self._home.root)
            api = ApiProcess(self._settings.api, socket_path, self._home.api_folder)
            api.start()
            stack.push_async_callback(api.stop)

    def _make_handles(self, parts: _Parts) -> NodeHandles:
        return NodeHandles(
            reader=LedgerReader(parts.disks.database),
            read_status=lambda: self._read_status(parts),
            submit=parts.submissions.submit,
            get_next_nonce=parts.service.get_next_nonce,
        )

    def _make_feed(self, parts: _Parts) -> FeedServer:
        doors = NodeDoors(
            submit=parts.submissions.submit,
            read_status=lambda: self._read_status(parts),
            read_payload=parts.disks.payloads.read,
        )
        return FeedServer(
            choose_socket_path(self._home.root),
            LedgerFeedSource(parts.disks.database),
            doors,
            FeedLimits(submissions_per_second_max=self._settings.api.submissions_per_second_max),
        )

    def _read_status(self, parts: _Parts) -> NodeStatus:
        facts = NodeFacts(
            name=self._settings.validator,
            validator_names=_read_names(LedgerReader(parts.disks.database)),
            final_height=parts.service.final_height,
            mempool=parts.mempool,
            counters={
                **parts.submissions.counters,
                **parts.driver.turns.counters,
                **parts.network.statistics(),
            },
        )
        state = parts.driver.turns.core.state
        return build_node_status(facts, state, self._watch, read_monotonic_ms())

    def _stop_broken(self, error: BaseException) -> None:
        if not self._broken.done():
            self._broken.set_result(error)


class _Publisher:
    """Tells the rest of the node, and the API process, what became final."""

    def __init__(self, feed: FeedServer, parts: _Parts, peering: Peering) -> None:
        self._feed = feed
        self._parts = parts
        self._peering = peering

    def publish(self, block: FinalBlock) -> None:
        """Hand on what a block wrote."""
        executed = block.executed
        self._feed.publish(executed.height, block.batch.puts, block.batch.deletes)
        if self._peering.is_concerned(executed.writes):
            self._peering.refresh(self._parts.network, LedgerReader(self._parts.disks.database))
        self._parts.reporter.on_final(executed.height)
        self._parts.snapshots.on_final(executed.height)
        self._parts.driver.note_work()


class _Dispatcher:
    """Sorts what peers send: transactions to the mempool's door, the rest to consensus."""

    def __init__(self, parts: _Parts) -> None:
        self._submissions = parts.submissions
        self._driver = parts.driver
        self._snapshots = parts.snapshots

    def on_connected(self, peer: int) -> None:
        """Take note of a peer that can be sent to."""
        self._driver.post(PeerConnected(peer))
        self._snapshots.on_connected(peer)

    def on_disconnected(self, peer: int) -> None:
        """Take note of a peer that is gone."""
        self._driver.post(PeerDisconnected(peer))
        self._snapshots.on_disconnected(peer)

    def on_message(self, peer: int, channel: Channel, data: bytes) -> None:
        """Take one message of a peer."""
        if channel is Channel.SNAPSHOT:
            self._snapshots.on_bytes(peer, data)
        elif channel is Channel.TRANSACTION:
            self._submissions.take_from_peer(peer, data)
        else:
            self._driver.post_bytes(peer, data)


def _read_names(reader: LedgerReader) -> dict[bytes, str]:
    """Return the names of the present validators by their keys."""
    names: dict[bytes, str] = {}
    validators = reader.read(CHAIN_VALIDATORS, decode_validators)
    for validator in () if validators is None else validators.validators:
        member = reader.read(member_key(validator.account), decode_member)
        names[validator.public_key] = "" if member is None else member.name
    return names


def _explain(error: BaseException, home: NodeHome) -> BaseException:
    """Return what broke the node, in words that help where the operating system's do not."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return QuorateError(
            f"no room left on the disk of {home.ledger_folder.parent}: make some and start again;"
            " nothing was lost"
        )
    return error


async def _resend(parts: _Parts) -> None:
    """Send transactions again that have been waiting since the last look."""
    before: set[bytes] = set()
    while True:
        await asyncio.sleep(RESEND_INTERVAL_S)
        waiting = parts.mempool.waiting()[:RESENT_MAX]
        late = [each for each in waiting if each.transaction_id in before]
        parts.submissions.send_again(late)
        parts.network.recheck_guests()
        before = {each.transaction_id for each in waiting}


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _make_threads(stack: AsyncExitStack) -> LedgerThreads:
    ledger = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
    judging = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judging")
    stack.callback(ledger.shutdown)
    stack.callback(judging.shutdown)
    return LedgerThreads(ledger, judging)


def _read_clocks() -> ClockReading:
    return ClockReading(read_monotonic_ms(), read_wall_ms())
