"""Performs what consensus asks for, in order, and tells it what came of it.

Theory of operation
-------------------
The consensus core is a pure state machine: events in, actions out. This file is its shell. All
events, from peers, from timers and from the ledger's thread, go into one queue; a *turn* takes
what is there, steps the core for each, and performs the actions:

1. every record that the core wants persisted is appended to the write-ahead log;
2. the log is synced to disk once;
3. everything else is done in the order asked for.

Invariants: (D1) no message leaves before the records of its turn are on disk
(docs/spec/consensus.md §7); (D2) the core is stepped by one task alone; (D3) nothing here waits
for a peer or for the ledger: validation, execution and finality are handed to threads and come
back as events; (D4) if the disk refuses or an invariant breaks, the node stops: a dead node is
safer than a lying one; (D5) records are pruned only after the blocks that make them needless are
durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol, assert_never

from consensus.actions import (
    Action,
    Broadcast,
    BuildBlock,
    DiscardBlocks,
    ExecuteBlock,
    FinalizeBlocks,
    Persist,
    PruneRecords,
    RaiseAlarm,
    ReportEvidence,
    ReportPeer,
    Send,
    ServeBlocks,
    ServeEpochEnd,
    ValidateBlock,
)
from consensus.core import Core
from consensus.events import ClockReading, Event, MessageReceived, Ticked, WorkChanged
from consensus.messages import Message, decode_message
from node.storage.wal import WriteAheadLog
from primitives.errors import InvalidInputError
from primitives.header import BlockHeader

__all__ = ["ConsensusDriver", "LedgerDoor", "MessageDoor"]

logger = logging.getLogger(__name__)

EVENTS_PER_TURN_MAX = 256
"""A turn ends after so many events, so that what they ask for leaves in time."""

EVENTS_WAITING_MAX = 20_000
"""Messages of peers beyond this are dropped and counted; retransmission brings them again."""


class MessageDoor(Protocol):
    """Sends messages to peers; never waits."""

    def send(self, peer: int, message: Message) -> None:
        """Send to one peer."""

    def broadcast(self, message: Message) -> None:
        """Send to every connected peer."""


class LedgerDoor(Protocol):
    """The ledger's side of consensus; every call returns at once and answers with an event."""

    def validate(self, action: ValidateBlock) -> None:
        """Judge a block; answers ``BlockValidated``."""

    def execute(self, action: ExecuteBlock) -> None:
        """Execute a block; answers ``BlockExecuted``."""

    def build(self, action: BuildBlock) -> None:
        """Choose a block's transactions; answers ``BlockBuilt``."""

    def finalize(self, action: FinalizeBlocks) -> None:
        """Make blocks durable."""

    def discard(self, action: DiscardBlocks) -> None:
        """Forget blocks that will never be final."""

    def serve(self, action: ServeBlocks) -> None:
        """Send final blocks to a peer."""

    def serve_epoch_end(self, action: ServeEpochEnd) -> None:
        """Send a peer the certificate by which an earlier epoch ended."""

    def has_work(self, is_live: Callable[[BlockHeader], bool]) -> bool:
        """Return whether a transaction waits that no live unfinal block holds."""

    def after_finality(self, call: Callable[[], None]) -> None:
        """Call back once every block handed to :meth:`finalize` so far is durable."""


class ConsensusDriver:
    """The one task that steps the core.

    Parameters
    ----------
    core
        Recovered, never stepped.
    wal
        Its write-ahead log.
    messages, ledger
        Where actions go.
    read_clocks
        The two clocks of this process.
    on_broken
        Called once, with the reason, when the node must stop.
    """

    def __init__(
        self,
        core: Core,
        wal: WriteAheadLog,
        messages: MessageDoor,
        ledger: LedgerDoor,
        read_clocks: Callable[[], ClockReading],
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self._core = core
        self._wal = wal
        self._messages = messages
        self._ledger = ledger
        self._read_clocks = read_clocks
        self._on_broken = on_broken
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._work_known = False
        self.counters: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to take turns."""
        self._task = asyncio.create_task(self._run(), name="consensus-driver")

    async def stop(self) -> None:
        """Take no more turns; what was persisted stays."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def post(self, event: Event) -> None:
        """Put an event into the queue; only on the event loop."""
        self._events.append(event)
        self._wake.set()

    def post_bytes(self, peer: int, data: bytes) -> None:
        """Put a peer's message into the queue, or count why not."""
        if len(self._events) >= EVENTS_WAITING_MAX:
            self.counters["messages_dropped"] += 1
            return
        try:
            message = decode_message(data)
        except InvalidInputError as error:
            self.counters["messages_malformed"] += 1
            logger.warning("message of peer %d refused: %s", peer, error)
            return
        self.post(MessageReceived(peer, message))

    def note_work(self) -> None:
        """Look again, in the next turn, whether transactions wait."""
        self._wake.set()

    async def _run(self) -> None:
        try:
            self._carry_out(self._core.start(self._read_clocks()))
            while True:
                await self._wait_for_event()
                self._take_turn()
                # Sockets and timers get their turn even while events keep coming.
                await asyncio.sleep(0)
        except Exception as error:
            logger.critical("consensus stops: %s", error, exc_info=True)
            self._on_broken(error)

    async def _wait_for_event(self) -> None:
        if self._events:
            return
        self._wake.clear()
        deadline = self._core.next_deadline()
        if deadline is None:
            await self._wake.wait()
            return
        wait_ms = deadline - self._read_clocks().monotonic_ms
        if wait_ms > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await self._wake.wait()

    def _take_turn(self) -> None:
        actions: list[Action] = []
        now = self._read_clocks()
        for _ in range(min(len(self._events), EVENTS_PER_TURN_MAX)):
            actions.extend(self._core.step(self._events.popleft(), now))
        deadline = self._core.next_deadline()
        if deadline is not None and deadline <= now.monotonic_ms:
            actions.extend(self._core.step(Ticked(), now))
        work = self._ledger.has_work(self._is_live)
        if work != self._work_known:
            self._work_known = work
            actions.extend(self._core.step(WorkChanged(work), now))
        self._carry_out(actions)

    def _is_live(self, header: BlockHeader) -> bool:
        """Return whether an unfinal block is being voted on or prepared."""
        state = self._core.state
        if header.view >= state.view:
            return True
        record = state.log.find(header.view)
        certificate = None if record is None else record.block_certificate
        return certificate is not None and certificate.block_id == header.block_id

    def _carry_out(self, actions: list[Action]) -> None:
        self._persist(actions)
        for action in actions:
            self._perform(action)

    def _persist(self, actions: list[Action]) -> None:
        """Put every record of the turn on disk, with one sync."""
        records = [action for action in actions if isinstance(action, Persist)]
        for action in records:
            self._wal.append(action.record, action.view)
        if records:
            self._wal.sync()

    def _perform(self, action: Action) -> None:  # noqa: C901 (one case for each kind of action)
        match action:
            case Persist():
                pass  # On disk already, by D1.
            case Broadcast(message):
                self._messages.broadcast(message)
            case Send(peer, message):
                self._messages.send(peer, message)
            case ValidateBlock():
                self._ledger.validate(action)
            case ExecuteBlock():
                self._ledger.execute(action)
            case BuildBlock():
                self._ledger.build(action)
            case FinalizeBlocks():
                self._ledger.finalize(action)
            case DiscardBlocks():
                self._ledger.discard(action)
            case ServeBlocks():
                self._ledger.serve(action)
            case ServeEpochEnd():
                self._ledger.serve_epoch_end(action)
            case PruneRecords(below_view):
                self._ledger.after_finality(lambda: self._wal.prune(below_view))
            case ReportEvidence(evidence):
                self.counters["evidence"] += 1
                logger.error(
                    "validator %d broke a vote rule: %s", evidence.validator, evidence.kind.name
                )
            case ReportPeer(peer, code):
                self.counters[f"peer_fault_{code}"] += 1
                logger.warning("peer %d sent what no correct peer sends: %s", peer, code)
            case RaiseAlarm(code, text):
                self.counters[f"alarm_{code}"] += 1
                logger.error("alarm %s: %s", code, text)
            case _:
                assert_never(action)
